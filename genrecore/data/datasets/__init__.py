"""Datasets: each loader returns a clip table (`genrecore.data.clips`) and nothing else."""

# Importing registers what they define; this is the order in which they are offered.
from genrecore.data.datasets import demo, gtzan, fma, folder, manifest  # isort: skip
from genrecore.data.datasets.registered import DATASETS, load

__all__ = ["DATASETS", "demo", "fma", "folder", "gtzan", "load", "manifest"]
