"""Datasets: each loader returns a clip table (`genrecore.data.clips`) and nothing else.

A dataset is a file here that registers its loader; the files of this folder are all imported.
"""

from genrecore.config.registry import import_modules
from genrecore.data.datasets.registered import DATASETS, check_folder, how_to_get, load

import_modules(__name__, __path__)

__all__ = ["DATASETS", "check_folder", "how_to_get", "load"]
