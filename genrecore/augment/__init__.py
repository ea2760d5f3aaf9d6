"""Augmentations: what a network is shown in training instead of the plain examples."""

# Importing registers them; lists show them in this order.
from genrecore.augment import waves, masks, images, batches, variants  # isort: skip
from genrecore.augment.chain import STAGES, Chain
from genrecore.augment.presets import PRESETS
from genrecore.augment.registered import AUGMENTATIONS

__all__ = [
    "AUGMENTATIONS",
    "PRESETS",
    "STAGES",
    "Chain",
    "batches",
    "images",
    "masks",
    "variants",
    "waves",
]
