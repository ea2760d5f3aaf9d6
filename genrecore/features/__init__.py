"""Features turn a wave into what a network sees; standardisers put it on a common scale."""

from genrecore.config.registry import import_modules

# Importing registers them; these come first in lists and forms, then any new file.
from genrecore.features import log_mel, stft, mfcc, chroma, waveform, descriptors, dataset_images  # isort: skip
from genrecore.features.presets import PRESETS
from genrecore.features.registered import FEATURES, STANDARDISERS

import_modules(__name__, __path__)

__all__ = ["FEATURES", "PRESETS", "STANDARDISERS", "chroma", "dataset_images", "descriptors",
           "log_mel", "mfcc", "stft", "waveform"]  # fmt: skip
