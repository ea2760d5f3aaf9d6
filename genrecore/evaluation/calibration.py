"""Temperature scaling: calibrates a run's probabilities.

A network is usually more certain than it is right. One number, the temperature T, corrects most of
that and changes no prediction: probabilities become proportional to p ** (1 / T). The effect is
measured on clips that the temperature was not fitted on; if it does not help there, it is not used.
Probabilities that are worse than equal ones either way are made nearly equal.

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
from pydantic import TypeAdapter
from scipy.optimize import minimize_scalar

from genrecore.errors import GenrecoreError
from genrecore.evaluation import metrics
from genrecore.store.files import read_json, write_json
from genrecore.store.run import Run
from genrecore.words import decimals, moved, percent, plural

MIN_CLIPS = 30
"""With fewer validation clips nothing is fitted: 30 leave an error of about a quarter."""

RANGE = (0.1, 100.0)
"""The lowest and the highest temperature; votes of a few neighbours, with their zeros, need 40."""

_FORMAT = 2
_N_PARTS = 5
_SMALLEST = float(np.finfo(np.float32).tiny)  # the least probability above 0 of a float32 softmax


@dataclass(frozen=True)
class Calibration:
    """A run's temperature, and its effect on validation clips that it was not fitted on.

    Attributes:
        temperature: Above 1 the run is overconfident, below 1 underconfident; 1 leaves the
            probabilities as they are.
        n_clips: Validation clips it was fitted on.
        log_loss_before: Log loss of those clips, in nats; nan where nothing was measured.
        log_loss_after: The same with temperatures fitted on the other clips (five-fold).
        error_before: Calibration error of those clips, a share.
        error_after: The same with temperatures fitted on the other clips.
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
        temperature = decimals(self.temperature, 2)
        effect = f"makes it {'less' if self.temperature > 1 else 'more'} sure of its predictions"
        if temperature == "1.00":
            effect = "hardly changes how sure it is"
        loss = moved(self.log_loss_before, self.log_loss_after, lambda loss: decimals(loss, 3))
        return (
            f"A temperature of {temperature}, chosen by log loss on "
            f"{plural(self.n_clips, 'validation clip')}, {effect}. On clips it was not chosen on, "
            f"the log loss {loss}; the calibration error "
            f"{moved(self.error_before, self.error_after, percent)}."
        )

    def as_json(self) -> dict[str, Any]:
        """Its values, with None for nan, which JSON lacks."""
        return {k: None if v != v else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Any) -> Calibration:
        """The calibration that `as_json` wrote.

        Raises:
            ValueError: It did not write these values.
        """
        items = values.items() if isinstance(values, dict) else ()
        fields = {k: float("nan") if v is None else v for k, v in items}
        calibration = TypeAdapter(cls).validate_python(fields)
        if not RANGE[0] <= calibration.temperature <= RANGE[1]:
            raise ValueError(f"found a temperature of {calibration.temperature}")
        return calibration

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


def fit_temperature(genre_index: np.ndarray, proba: np.ndarray) -> float:
    """The temperature within `RANGE` with the least log loss.

    Args:
        genre_index: The labelled genre's column, (n,).
        proba: Probabilities (n, genres).
    """

    def loss(log_temperature: float) -> float:
        return metrics.log_loss(genre_index, tempered(proba, float(np.exp(log_temperature))))

    # The loss is convex in 1 / T, so over log T, too, it has one minimum.
    minimum = minimize_scalar(loss, bounds=tuple(np.log(RANGE)), method="bounded")
    return float(np.exp(minimum.x))


def calibrate(run: Run) -> Calibration:
    """A run's calibration, from its stored predictions; `calibration.json` there is a cache.

    A run without enough validation clips gets the temperature 1 and a note that says so.
    """
    missing = "It has no stored predictions, so its probabilities are left as they are."
    try:
        stat = (run.folder / "predictions.parquet").stat()
    except OSError:
        return _unchanged(missing)
    key = [_FORMAT, stat.st_size, stat.st_mtime_ns]
    cached = read_json(run.folder / "calibration.json")
    if cached.get("key") == key:
        with contextlib.suppress(ValueError):  # damaged
            return Calibration.from_json(cached.get("calibration"))
    if run.predictions is None:
        return _unchanged(missing)
    calibration = calibrate_predictions(run.predictions)
    with contextlib.suppress(OSError):  # the store may be read-only
        content = {"key": key, "calibration": calibration.as_json()}
        write_json(run.folder / "calibration.json", content)
    return calibration


def calibrate_predictions(predictions: pd.DataFrame) -> Calibration:
    """The calibration from the validation clips of a predictions table."""
    valid = predictions[predictions["split"] == "valid"]
    try:
        genre_index, proba = metrics.as_arrays(valid, metrics.genres_in(predictions))
    except GenrecoreError as error:
        return _unchanged(str(error))
    is_finite = np.isfinite(proba).all(axis=1)
    genre_index, proba = genre_index[is_finite], proba[is_finite]
    n = len(proba)
    if n < MIN_CLIPS:
        clips = f"only {plural(n, 'validation clip')}" if n else "no validation clips"
        return _unchanged(
            f"It has {clips}, and calibrating takes {MIN_CLIPS}, so its probabilities are left as "
            "the network gives them.",
            n,
        )
    if (proba.argmax(axis=1) == genre_index).all():
        return _unchanged(
            f"All of its {n} validation clips are recognised, so nothing says how sure is too "
            "sure; its probabilities are left as the network gives them.",
            n,
        )
    crossed = _cross_calibrated(genre_index, proba)
    before = metrics.log_loss(genre_index, proba)
    after = metrics.log_loss(genre_index, crossed)
    errors = [metrics.calibration_error(genre_index, p) for p in (proba, crossed)]
    uniform = float(np.log(proba.shape[1]))
    if min(before, after) >= uniform:
        note = (
            f"On its {n} validation clips equal probabilities would have a lower log loss "
            f"({decimals(uniform, 3)}) than its own ({decimals(before, 3)}), so nearly equal ones "
            "are shown: it names a genre and cannot say how surely."
        )
        return Calibration(RANGE[1], n, before, uniform, errors[0], errors[1], note)
    if after >= before:
        note = (
            f"On its {n} validation clips no temperature lowers the log loss on clips that it was "
            "not chosen on, so its probabilities are left as the network gives them."
        )
        return Calibration(1.0, n, before, before, errors[0], errors[0], note)
    temperature = fit_temperature(genre_index, proba)
    return Calibration(temperature, n, before, after, errors[0], errors[1])


def _cross_calibrated(genre_index: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Each clip's probabilities with the temperature fitted on the other parts of the clips.

    Parts take clips in turns within each genre, because tables may be sorted by genre.
    """
    part = np.empty(len(proba), dtype=np.int64)
    part[np.argsort(genre_index, kind="stable")] = np.arange(len(proba)) % _N_PARTS
    crossed = np.empty_like(proba, dtype=np.float64)
    for k in range(_N_PARTS):
        rest = part != k
        temperature = fit_temperature(genre_index[rest], proba[rest])
        crossed[~rest] = tempered(proba[~rest], temperature)
    return crossed


def _unchanged(note: str, n_clips: int = 0) -> Calibration:
    nan = float("nan")
    return Calibration(1.0, n_clips, nan, nan, nan, nan, note)
