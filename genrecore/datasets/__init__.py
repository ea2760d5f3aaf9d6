"""Datasets: each loader returns a clip table (`genrecore.clips`) and nothing else."""

from genrecore.datasets import demo, gtzan  # importing registers what they define
from genrecore.datasets.registered import DATASETS, load

__all__ = ["DATASETS", "demo", "gtzan", "load"]
