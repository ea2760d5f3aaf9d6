"""Models: networks and what scikit-learn fits, one family a file."""

from genrecore.models import (
    cnn,
    crnn,
    dcnn,
    lstm,
    mlp,
    prcnn,
    rescnn,
    short_chunk,
    torchvision_nets,
)

# isort: split
from genrecore.models import classical  # listed after the networks
from genrecore.models.registered import MODELS

__all__ = [
    "MODELS",
    "classical",
    "cnn",
    "crnn",
    "dcnn",
    "lstm",
    "mlp",
    "prcnn",
    "rescnn",
    "short_chunk",
    "torchvision_nets",
]
