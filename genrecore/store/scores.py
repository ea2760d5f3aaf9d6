"""`scores.json` in a run folder: scores kept until the test predictions or the metrics change."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from genrecore.store.files import changed, read_json, write_json
from genrecore.store.run import SCORES, Run

ACCURACY = ("accuracy", "accuracy_low", "accuracy_high")
"""Kept with every run: the accuracy on the test clips and the ends of its interval."""

FORMAT = 4
"""Another number whenever the definition of a metric changes."""


class _KeptScores(BaseModel):
    model_config = ConfigDict(strict=True)

    key: list[Any]
    scores: dict[str, int | float | None]


def read_scores(run: Run, metrics: Iterable[str] = ()) -> dict[str, Any] | None:
    """The kept scores of the run's predictions; None where there are none, or not all of these
    metrics. Accuracy and its interval are always among them."""
    kept = read_kept(run) if run.summary is None else run.summary.values["scores"]
    if not kept or not kept.keys() >= set(metrics):
        return None
    return {name: math.nan if value is None else value for name, value in kept.items()}


def read_kept(run: Run) -> dict[str, Any]:
    """What `scores.json` says of the predictions as they are; empty where it says nothing. Null
    stands for nan."""
    try:
        kept = _KeptScores.model_validate(read_json(run.folder / SCORES))
    except ValidationError:
        return {}
    fits = kept.key[:3] == _key(run) and kept.scores.keys() >= {"n_clips", *ACCURACY}
    return kept.scores if fits else {}


def keep_scores(run: Run, metrics: Sequence[str], scores: Mapping[str, Any]) -> None:
    """Keeps them, unless the store is read-only."""
    plain = {k: None if v != v else v for k, v in scores.items()}  # JSON lacks nan
    with contextlib.suppress(OSError):
        write_json(run.folder / SCORES, {"key": [*_key(run), list(metrics)], "scores": plain})


def _key(run: Run) -> list[int]:
    changed_ns, size = changed(run.folder / "predictions.parquet")
    return [FORMAT, size, changed_ns]
