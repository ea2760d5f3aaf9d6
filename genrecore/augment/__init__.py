"""Augmentations: what a network is shown in training instead of the plain examples."""

from genrecore.augment.chain import STAGES, Chain
from genrecore.augment.registered import AUGMENTATIONS

__all__ = ["AUGMENTATIONS", "STAGES", "Chain"]
