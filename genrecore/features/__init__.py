"""Features turn a wave into what a network sees; standardisers put it on a common scale."""

# Importing registers them, in the order in which lists and forms show them.
from genrecore.features import log_mel, stft, mfcc, chroma, waveform, descriptors, dataset_images  # isort: skip
from genrecore.features import standardise, whitening
from genrecore.features.presets import PRESETS
from genrecore.features.registered import FEATURES, STANDARDISERS

__all__ = [
    "FEATURES",
    "PRESETS",
    "STANDARDISERS",
    "chroma",
    "dataset_images",
    "descriptors",
    "log_mel",
    "mfcc",
    "standardise",
    "stft",
    "waveform",
    "whitening",
]
