"""Published accuracies by dataset and split: facts with their sources, and their intervals.

The table is `records.csv` beside the other tables of `genrecore.data`. Random splits, which put
clips of one artist on both sides, are one group, whatever their shares or folds.
"""

from __future__ import annotations

import csv
import importlib.resources
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import inf, isnan, nan, sqrt
from typing import Any

from genrecore.evaluation.clustered import Interval
from genrecore.evaluation.significance import wilson

_FOLDER = importlib.resources.files("genrecore.data") / "tables"

RANDOM = "random"
"""The group of all splits that draw clips at random, whosever they are."""


@dataclass(frozen=True)
class PublishedResult:
    """An accuracy that somebody else measured.

    Attributes:
        dataset: A name in `DATASETS`.
        split: A name in `SPLITS`, or one that begins with `random`.
        system: What was measured.
        pretraining: On what it was trained before.
        parameters_m: Millions of parameters; nan where not known.
        protocol: What was trained for this dataset.
        accuracy: A share.
        spread: As printed, over seeds, a share; nan where none is.
        n_test: Test clips; 0 where not known.
        kind: `printed` by its authors, `reproduced` by others, or `independent` of both.
        source: Where it stands.
        note: What must be known of it.
    """

    dataset: str
    split: str
    system: str
    pretraining: str
    parameters_m: float
    protocol: str
    accuracy: float
    spread: float
    n_test: int
    kind: str
    source: str
    note: str

    @property
    def title(self) -> str:
        """Its name; a reproduction says that it is one."""
        return f"{self.system} ({self.kind})" if self.kind == "reproduced" else self.system

    @property
    def group(self) -> str:
        """Its split, or `RANDOM`."""
        return RANDOM if self.split.startswith(RANDOM) else self.split

    @cached_property
    def interval(self) -> Interval:
        """The accuracy with its interval: Wilson's for as many clips as would have the error of the
        test clips and the spread together. Where the number of clips is not known its ends are nan,
        and the error is the spread's alone."""
        variance = 0.0 if isnan(self.spread) else self.spread**2
        if not self.n_test:
            return Interval(self.accuracy, nan, nan, sqrt(variance), inf)
        of_a_clip = self.accuracy * (1 - self.accuracy)
        variance += of_a_clip / self.n_test
        n_clips = of_a_clip / variance
        ends = wilson(self.accuracy * n_clips, n_clips)
        return Interval(self.accuracy, *ends, sqrt(variance), inf)


@lru_cache(maxsize=1)
def published_results() -> tuple[PublishedResult, ...]:
    """All published results, in the order of the table."""
    text = (_FOLDER / "records.csv").read_text(encoding="utf-8")
    results = []
    for row in csv.DictReader(text.splitlines()):
        values: dict[str, Any] = dict(row)
        values |= {name: float(row[name] or nan) / 100 for name in ("accuracy", "spread")}
        values["parameters_m"] = float(row["parameters_m"] or nan)
        values["n_test"] = int(row["n_test"] or 0)
        results.append(PublishedResult(**values))
    return tuple(results)


def datasets_with_records() -> list[str]:
    """The names of the datasets of which results are published."""
    return list(dict.fromkeys(result.dataset for result in published_results()))
