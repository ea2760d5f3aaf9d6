"""How far a run's probabilities may be believed: one temperature, fitted on validation clips.

A network is usually surer than it is right. One number, the temperature T, mends most of it and
changes no verdict: probabilities become proportional to p ** (1 / T). What comes out is measured on
clips that the temperature was not fitted on; a temperature that does not help there is not used.

Source: Guo, Pleiss, Sun & Weinberger (2017), On calibration of modern neural networks, section 4.2.
Ours works on a clip's pooled probabilities, whose logarithms are the logits (up to a constant)
where the clip is one segment.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from genrecore.errors import GenrecoreError
from genrecore.evaluation import metrics
from genrecore.store.files import read_json, write_json
from genrecore.store.run import Run

LEAST_CLIPS = 30
"""Fewer validation clips say too little: the temperature of 30 is uncertain by about a quarter."""

RANGE = (0.1, 10.0)
"""Temperatures that are looked at."""

_FORMAT = 1
_PARTS = 5
_SMALLEST = float(np.finfo(np.float32).tiny)  # what a float32 softmax tells from nothing


@dataclass(frozen=True)
class Calibration:
    """A run's temperature and what it does to validation clips that it was not fitted on.

    Attributes:
        temperature: Above 1 the run is too sure of itself, below 1 not sure enough; 1 where it is
            left as it is.
        n_clips: Validation clips it was fitted on.
        log_loss_before: Of those clips, in nats; nan where nothing was measured.
        log_loss_after: With a temperature fitted on four fifths of the clips and applied to the
            others, in turns.
        error_before: Expected calibration error, a share.
        error_after: Likewise after.
        note: Why the probabilities are left as they are; empty where they are not.
    """

    temperature: float
    n_clips: int
    log_loss_before: float
    log_loss_after: float
    error_before: float
    error_after: float
    note: str = ""

    @property
    def sentence(self) -> str:
        """What was done, for people."""
        if self.note:
            return self.note
        sure = "too sure" if self.temperature > 1 else "not sure enough"
        return (
            f"On {self.n_clips} validation clips the network was {sure} of itself; a temperature "
            f"of {self.temperature:.2f} takes the calibration error from "
            f"{100 * self.error_before:.1f} % to {100 * self.error_after:.1f} %."
        )

    def as_json(self) -> dict[str, Any]:
        """Its values, None for what was not measured: JSON knows no nan."""
        return {k: None if v != v else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Calibration:
        """What `as_json` was made of."""
        known: dict[str, Any] = {k: float("nan") if v is None else v for k, v in values.items()}
        return cls(**known)

    def apply(self, proba: np.ndarray) -> np.ndarray:
        """`tempered` with this temperature."""
        return tempered(proba, self.temperature)


def tempered(proba: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (…, genres) float64 proportional to proba ** (1 / temperature)."""
    wide = np.asarray(proba, np.float64)
    if temperature == 1.0:
        return wide
    logits = np.log(np.maximum(wide, _SMALLEST)) / temperature
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def fit(genre_index: np.ndarray, proba: np.ndarray) -> float:
    """The temperature within `RANGE` with the least log loss.

    Args:
        genre_index: The labelled genre's column, (n,).
        proba: Probabilities (n, genres).
    """

    def loss(log_temperature: float) -> float:
        return metrics.log_loss(genre_index, tempered(proba, float(np.exp(log_temperature))))

    # Of 1 / T the loss is convex, so it falls and rises once over log T, too.
    found = minimize_scalar(loss, bounds=tuple(np.log(RANGE)), method="bounded")
    return float(np.exp(found.x))


def of(run: Run) -> Calibration:
    """A run's calibration, from its stored predictions; `calibration.json` there is a cache.

    A run without enough validation clips gets the temperature 1 and a note that says so.
    """
    path = run.folder / "predictions.parquet"
    try:
        stat = path.stat()
    except OSError:
        return _left("It has no stored predictions, so its probabilities are left as they are.")
    key = [_FORMAT, stat.st_size, stat.st_mtime_ns]
    cached = read_json(run.folder / "calibration.json")
    if cached.get("key") == key:
        return Calibration.from_json(cached["calibration"])
    table = run.predictions
    if table is None:
        return _left("It has no stored predictions, so its probabilities are left as they are.")
    made = of_predictions(table)
    with contextlib.suppress(OSError):  # a store that cannot be written is still read
        write_json(run.folder / "calibration.json", {"key": key, "calibration": made.as_json()})
    return made


def of_predictions(predictions: pd.DataFrame) -> Calibration:
    """The calibration that a predictions table's validation clips allow."""
    valid = predictions[predictions["split"] == "valid"]
    try:
        genre_index, proba = metrics.as_arrays(valid, metrics.genres_in(predictions))
    except GenrecoreError as error:
        return _left(str(error))
    known = np.isfinite(proba).all(axis=1)
    genre_index, proba = genre_index[known], proba[known]
    n = len(proba)
    if n < LEAST_CLIPS:
        had = f"only {n} validation clip{'s' if n != 1 else ''}" if n else "no validation clips"
        return _left(
            f"It has {had}, and calibrating takes {LEAST_CLIPS}, so its probabilities are left as "
            "the network gives them.",
            n,
        )
    if (proba.argmax(axis=1) == genre_index).all():
        return _left(
            f"All of its {n} validation clips are recognised, so nothing says how sure is too "
            "sure; its probabilities are left as the network gives them.",
            n,
        )
    crossed = _crossed(genre_index, proba)
    before = metrics.log_loss(genre_index, proba)
    after = metrics.log_loss(genre_index, crossed)
    errors = [metrics.calibration_error(genre_index, p) for p in (proba, crossed)]
    if after >= before:
        return Calibration(
            1.0, n, before, before, errors[0], errors[0],
            f"As far as its {n} validation clips tell, its probabilities are right as they are: no "
            "temperature makes them better on clips that it was not fitted on.",
        )  # fmt: skip
    return Calibration(fit(genre_index, proba), n, before, after, errors[0], errors[1])


def _crossed(genre_index: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Each clip tempered as the other parts of the clips ask for.

    Clips are dealt out in turns within each genre, as a table that is sorted by genre needs.
    """
    part = np.empty(len(proba), dtype=np.int64)
    part[np.argsort(genre_index, kind="stable")] = np.arange(len(proba)) % _PARTS
    made = np.empty_like(proba, dtype=np.float64)
    for k in range(_PARTS):
        rest = part != k
        made[~rest] = tempered(proba[~rest], fit(genre_index[rest], proba[rest]))
    return made


def _left(note: str, n_clips: int = 0) -> Calibration:
    nan = float("nan")
    return Calibration(1.0, n_clips, nan, nan, nan, nan, note)
