"""Pretrained encoders: networks that others trained on much music.

Their inner values, the embeddings, describe a sound so well that a small classifier above them
needs few clips. Each kind of encoder has a file here.
"""

from genrecore.config.registry import import_modules
from genrecore.models.encoders.registered import ENCODER_KINDS, PUBLISHED, Encoder, EncoderCard

import_modules(__name__, __path__)

__all__ = ["ENCODER_KINDS", "PUBLISHED", "Encoder", "EncoderCard"]
