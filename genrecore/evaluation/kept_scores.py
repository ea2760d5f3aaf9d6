"""`scores.json` in a run folder: scores kept until the test predictions or the metrics change."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from genrecore.store.files import changed, write_json
from genrecore.store.run import SCORES, Run

ACCURACY = ("accuracy", "accuracy_low", "accuracy_high")
"""Kept with every run: the accuracy on the test clips and the ends of its interval."""

_FORMAT = 4  # raised when the definition of a metric changes


class _KeptScores(BaseModel):
    model_config = ConfigDict(strict=True)

    key: list[Any]
    scores: dict[str, int | float | None]


def read_scores(run: Run, metrics: Sequence[str] | None = None) -> dict[str, Any] | None:
    """The kept scores of the run's predictions; None where there are none of these metrics.

    Without `metrics` those kept may be any: accuracy and its interval are always among them.
    """
    try:
        kept = _KeptScores.model_validate(run.kept_scores)
    except ValidationError:
        return None
    key, scores = kept.key, kept.scores
    if key[:3] != _key(run) or (metrics is not None and key[3:] != [list(metrics)]):
        return None
    if not set(metrics or ()) | {"n_clips", *ACCURACY} <= set(scores):
        return None
    return {name: math.nan if value is None else value for name, value in scores.items()}


def keep_scores(run: Run, metrics: Sequence[str], scores: Mapping[str, Any]) -> None:
    """Keeps them, unless the store is read-only."""
    plain = {k: None if v != v else v for k, v in scores.items()}  # JSON lacks nan
    with contextlib.suppress(OSError):
        write_json(run.folder / SCORES, {"key": [*_key(run), list(metrics)], "scores": plain})


def _key(run: Run) -> list[int]:
    changed_ns, size = changed(run.folder / "predictions.parquet")
    return [_FORMAT, size, changed_ns]
