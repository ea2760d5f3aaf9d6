"""Augmentations: what a network is shown in training instead of the plain examples."""

from genrecore.augment import batches, masks, pictures, variants, waves  # importing registers them
from genrecore.augment.chain import STAGES, Chain
from genrecore.augment.presets import PRESETS
from genrecore.augment.registered import AUGMENTATIONS

__all__ = [
    "AUGMENTATIONS",
    "PRESETS",
    "STAGES",
    "Chain",
    "batches",
    "masks",
    "pictures",
    "variants",
    "waves",
]
