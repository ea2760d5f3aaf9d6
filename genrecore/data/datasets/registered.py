"""The registry of datasets, filled by the modules beside this one, and the door to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from genrecore.config.registry import Registry
from genrecore.data import clips
from genrecore.store.progress import Report, silent


@dataclass(frozen=True)
class DatasetFacts:
    """What there is to know of a dataset.

    Attributes:
        needs_folder: Whether its files must lie in a folder already.
        medium: What it gives: `audio`, `image` or `table`; or a function of its options that says.
        made_up: Whether it is synthetic, not real music.
        archives: What can be downloaded of it, names in `ARCHIVES`; empty where nothing can.
        download_gib: How much that is.
    """

    needs_folder: bool = False
    medium: str | Callable[[Any], str] = "audio"
    made_up: bool = False
    archives: tuple[str, ...] = ()
    download_gib: float = 0.0


DATASETS = Registry("dataset", DatasetFacts)
"""Datasets. The thing is `loader(options, report) -> clip table`."""


def load(name: str, options: Mapping[str, Any], report: Report = silent) -> pd.DataFrame:
    """Clip table of a dataset, one row a clip, columns as in `genrecore.data.clips`, no split yet.

    Args:
        name: A name in `DATASETS`.
        options: Values for the dataset's options; what is absent takes its default.
        report: Told about the progress of what takes long.

    Raises:
        UsageError: No such dataset, an unknown option or a value out of range.
        GenrecoreError: The files are not there, or cannot be learned from.
    """
    dataset = DATASETS.choose(name, options)
    table = dataset.thing(dataset.options, report)
    clips.check(table, name)
    return table
