"""Models: networks from an image to one logit a genre, one family a file."""

from genrecore.models import cnn, mlp, torchvision_nets  # importing registers them
from genrecore.models.registered import MODELS

__all__ = ["MODELS", "cnn", "mlp", "torchvision_nets"]
