"""Features turn a wave into what a network sees; standardisers put it on a common scale."""

from genrecore.features import log_mel, provided, standardise  # importing registers them
from genrecore.features.registered import FEATURES, STANDARDISERS

__all__ = ["FEATURES", "STANDARDISERS", "log_mel", "provided", "standardise"]
