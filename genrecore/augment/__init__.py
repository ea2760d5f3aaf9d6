"""Augmentations: what a network is shown in training instead of the plain examples."""

from genrecore.config.registry import import_modules

# Importing registers them; lists show these first and in this order, then any new file.
from genrecore.augment import waves, masks, images, batches, variants  # isort: skip
from genrecore.augment.chain import STAGES, Chain
from genrecore.augment.presets import PRESETS
from genrecore.augment.registered import AUGMENTATIONS

import_modules(__name__, __path__)

__all__ = ["AUGMENTATIONS", "PRESETS", "STAGES", "Chain", "batches", "images", "masks", "variants",
           "waves"]  # fmt: skip
