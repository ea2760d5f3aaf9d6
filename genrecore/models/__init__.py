"""Models: networks from an image to one logit a genre, one family a file."""

from genrecore.models import (  # importing registers them
    cnn,
    mlp,
    rescnn,
    short_chunk,
    torchvision_nets,
)
from genrecore.models.registered import MODELS

__all__ = ["MODELS", "cnn", "mlp", "rescnn", "short_chunk", "torchvision_nets"]
