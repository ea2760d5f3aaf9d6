"""Models: networks and what scikit-learn fits, one family a file."""

from genrecore.config.registry import import_modules

# Importing registers them; lists show these networks first, then scikit-learn's, then any new file.
from genrecore.models import cnn, crnn, dcnn, lstm, mlp, prcnn, rescnn, short_chunk  # isort: skip
from genrecore.models import torchvision_nets, classical  # isort: skip
from genrecore.models.registered import MODELS

import_modules(__name__, __path__)

__all__ = ["MODELS", "classical", "cnn", "crnn", "dcnn", "lstm", "mlp", "prcnn", "rescnn",
           "short_chunk", "torchvision_nets"]  # fmt: skip
