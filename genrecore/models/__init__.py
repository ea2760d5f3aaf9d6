"""Models: networks from an image to one logit a genre, one family a file."""

from genrecore.models import cnn, torchvision_nets  # importing registers what they define
from genrecore.models.registered import MODELS

__all__ = ["MODELS", "cnn", "torchvision_nets"]
