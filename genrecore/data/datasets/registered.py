"""The registry of datasets, filled by the modules beside this one, and the door to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from genrecore.config.registry import Registry
from genrecore.data import clips
from genrecore.store.progress import Report, silent

DATASETS = Registry("dataset")
"""Datasets. Facts: `needs_folder`, whether its files must be there already; where they can be
downloaded, `archives`, and `download_gib`, how much that is; `made_up`, where it is no real music.

The thing is `loader(options, report) -> clip table`.
"""


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
    entry = DATASETS[name]
    table = entry.thing(entry.read_options(options, "dataset"), report)
    clips.check(table, name)
    return table
