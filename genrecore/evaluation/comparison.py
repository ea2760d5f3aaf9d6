"""Several runs next to one another: scores from their stored predictions, and what they share.

The only module that looks at more than one run. Scores are computed when they are read;
`scores.json` in a run folder is a cache keyed by the predictions file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from genrecore.errors import GenrecoreError
from genrecore.evaluation import caveats, metrics, verdicts
from genrecore.evaluation import differences as contrasts
from genrecore.evaluation import pairwise as pairs
from genrecore.evaluation.bootstrap import Interval
from genrecore.evaluation.pairwise import Side
from genrecore.store.files import read_json, write_json
from genrecore.store.progress import Phase
from genrecore.store.run import Run

_SCORES_FORMAT = 2  # raised when a score's definition changes


@dataclass(frozen=True)
class Comparison:
    """Runs, or systems of several runs, compared on their test clips.

    A run's key is its id, a system's its signature; tables name it `run_id`.

    Attributes:
        runs: The runs, in the order given; of systems all of theirs.
        titles: What each key is called, in the order given.
        table: One row a key, as `leaderboard` makes it, in that order, and `artists_low,
            artists_high`: the 95 % interval of the accuracy, artists resampled; `n_runs`;
            `seed_low, seed_high`: the least and the greatest accuracy of its runs.
        notes: What a reader must know first: differing test clips, datasets or splits.
        pairs: One row a pair: `run_a, run_b, title_a, title_b, n_clips`; how many both, only a,
            only b, neither got right (`both, only_a, only_b, neither`, of systems the mean over
            their runs); `difference, low, high, error`: a minus b as shares, 95 % interval and
            standard error, artists (and seeds, where there are `seeds`) resampled; McNemar's `p`
            (mid-p; of several seeds Student's t), `p_exact`, and `p_holm`, adjusted for all
            pairs; `verdict, better, resolved, sentence` as `verdicts.judge` says.
        per_genre: `run_id, title, genre, n_clips, recall, recall_low, recall_high, precision, f1`.
        confusions: Labelled × predicted counts by key; of systems the sum over their runs.
        calibration: `run_id, title` and what `metrics.calibration` gives.
        dependence: As `contrasts.dependence`.
        curves: As `curves`, of each run; `run_id` is the run's, `key` the system's.
        shared: The clips that all were tested on, sorted.
        n_tested: Clips that any of them was tested on.
        band: Differences smaller than this share count as none in practice.
    """

    runs: list[Run]
    titles: dict[str, str]
    table: pd.DataFrame
    notes: list[str]
    pairs: pd.DataFrame
    per_genre: pd.DataFrame
    confusions: dict[str, pd.DataFrame]
    calibration: pd.DataFrame
    dependence: pd.DataFrame
    curves: pd.DataFrame
    shared: list[str]
    n_tested: int
    band: float

    @property
    def differ(self) -> bool:
        """Whether they were tested on different clips."""
        return len(self.shared) < self.n_tested

    @property
    def can_ask(self) -> bool:
        """Whether pairs were not compared that share clips: `on_shared` compares them."""
        return bool(((self.pairs["n_clips"] > 0) & self.pairs["difference"].isna()).any())


def scores(run: Run) -> dict[str, Any]:
    """Every registered score of a run's test predictions, with the interval of the accuracy.

    Raises:
        GenrecoreError: The run has no test predictions.
    """
    path = run.folder / "predictions.parquet"
    try:
        stat = path.stat()
    except OSError:
        raise GenrecoreError(
            f"The run {run.run_id} has no test predictions (it is {run.state})."
        ) from None
    key = [_SCORES_FORMAT, stat.st_size, stat.st_mtime_ns]
    cached = read_json(run.folder / "scores.json")
    if cached.get("key") == key:
        return {k: float("nan") if v is None else v for k, v in cached["scores"].items()}
    table = run.predictions
    if table is None:
        raise GenrecoreError(f"The run {run.run_id} has no test predictions.")
    computed = metrics.scores(table)
    plain = {k: None if v != v else v for k, v in computed.items()}  # JSON knows no nan
    with contextlib.suppress(OSError):  # a store that cannot be written is still read
        write_json(run.folder / "scores.json", {"key": key, "scores": plain})
    return computed


def pooled_accuracies(run: Run) -> dict[str, float]:
    """Test accuracy by each way of making a clip's verdict of its segments, a key of
    `metrics.POOLINGS`; empty where every clip is one segment."""
    table = run.segments
    if table is None:
        return {}
    test = table[table["split"] == "test"]
    if test["clip_id"].is_unique:
        return {}
    return {
        name: metrics.scores(metrics.clip_proba(test, name).reset_index())["accuracy"]
        for name in metrics.POOLINGS
    }


def leaderboard(runs: list[Run]) -> pd.DataFrame:
    """One row a tested run, the most accurate first.

    Columns: `run_id, title, model, dataset, split, n_clips, accuracy, accuracy_low, accuracy_high,
    macro_f1, balanced_accuracy, top_2, log_loss, calibration_error, best_epoch, n_epochs, train_s,
    n_parameters, created, badge`.
    """
    rows = [_row(run) for run in runs if (run.folder / "predictions.parquet").exists()]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return table.sort_values("accuracy", ascending=False, kind="stable", ignore_index=True)


_COLUMNS = [
    "run_id", "title", "model", "dataset", "split", "n_clips", "accuracy", "accuracy_low",
    "accuracy_high", "macro_f1", "balanced_accuracy", "top_2", "log_loss", "calibration_error",
    "best_epoch", "n_epochs", "train_s", "n_parameters", "created",
    "badge",
]  # fmt: skip


SCORES = ("macro_f1", "balanced_accuracy", "top_2", "log_loss", "calibration_error")
"""Of a clip's probabilities, besides the accuracy."""


def _row(run: Run) -> dict[str, Any]:
    computed, status = scores(run), run.status
    known = ("n_clips", "accuracy", "accuracy_low", "accuracy_high", *SCORES)
    return {
        "run_id": run.run_id,
        "title": run.title,
        "model": run.config.model.name,
        "dataset": run.config.dataset.name,
        "split": f"{run.config.split.name}, fold {run.config.fold}",
        **{name: computed[name] for name in known},
        "best_epoch": status.get("best_epoch"),
        "n_epochs": status.get("epoch"),
        "train_s": run.worked_s,
        "n_parameters": status.get("n_parameters"),
        "created": run.created,
        "badge": run.badge,
    }


def compare(runs: list[Run], band: float = verdicts.BAND, on_shared: bool = False) -> Comparison:
    """Two or more tested runs, compared.

    Args:
        runs: The runs.
        band: Differences smaller than this share count as none in practice.
        on_shared: Whether runs that were tested on different clips are compared on those that all
            share, everything else left out; else such pairs are not compared, and their sentence
            says so.

    Raises:
        GenrecoreError: Fewer than two runs, one twice, or one without test predictions.
    """
    if len(runs) < 2:
        raise GenrecoreError(f"A comparison needs at least two runs; found {len(runs)}.")
    if len({run.run_id for run in runs}) < len(runs):
        raise GenrecoreError("A run cannot be compared with itself; name each run once.")
    seen: dict[str, int] = {}
    sides = []
    for run in runs:
        n = seen[run.title] = seen.get(run.title, 0) + 1
        title = run.title if n == 1 else f"{run.title} ({n})"
        sides.append(Side(run.run_id, title, (run,), (predicted(run),)))
    return of_sides(sides, band, on_shared)


def of_sides(
    sides: Sequence[Side],
    band: float = verdicts.BAND,
    on_shared: bool = False,
    notes: Sequence[str] = (),
) -> Comparison:
    """Sides compared, each a run or a system.

    Args:
        sides: At least two, their titles distinct.
        band: As for `compare`.
        on_shared: As for `compare`.
        notes: Come first.
    """
    shared = frozenset.intersection(*(side.clips for side in sides))
    everything = frozenset().union(*(side.clips for side in sides))
    said = [*notes, *caveats.of(sides, shared, on_shared)]
    cut = on_shared and bool(shared) and shared != everything
    if cut:
        sides = [side.on(shared) for side in sides]
    artists = pairs.artists_of(sides)
    found = pairs.judged(sides, artists, band, on_shared)
    titles = {side.key: side.title for side in sides}
    confusions = {side.key: metrics.confusion(*_pooled(side)) for side in sides}
    per_genre = [_per_genre(side, confusions[side.key], artists) for side in sides]
    rows = [
        _side_row(side, interval, cut)
        for side, interval in zip(sides, found.accuracies, strict=True)
    ]
    return Comparison(
        runs=[run for side in sides for run in side.runs],
        titles=titles,
        table=pd.DataFrame(rows, columns=[*_COLUMNS, *_MORE]),
        notes=said,
        pairs=found.table,
        per_genre=pd.concat(per_genre, ignore_index=True),
        confusions=confusions,
        calibration=pd.concat([_calibration(side) for side in sides], ignore_index=True),
        dependence=contrasts.dependence(sides),
        curves=pd.concat(
            [curves(run).assign(key=side.key) for side in sides for run in side.runs],
            ignore_index=True,
        ),
        shared=sorted(shared),
        n_tested=len(shared) if cut else len(everything),
        band=band,
    )


_MORE = ["artists_low", "artists_high", "n_runs", "seed_low", "seed_high"]


def _side_row(side: Side, interval: Interval, cut: bool) -> dict[str, Any]:
    """A row of `Comparison.table`.

    Args:
        side: Of what.
        interval: Its accuracy, resampled.
        cut: Whether its tests are no longer those that its runs' scores are of.
    """
    rows = [_row(run) for run in side.runs]
    single = len(side.tests) == 1 and not cut and len(side.runs) == 1
    if single:
        row = rows[0]
        each = [row["accuracy"]]
    else:
        scored = [metrics.scores(table) for table in side.tests]
        each = [one["accuracy"] for one in scored]
        row = rows[0] | {name: _mean(one[name] for one in scored) for name in ("accuracy", *SCORES)}
        row |= {name: _mean(one[name] for one in rows) for name in ("train_s", "n_parameters")}
        low, high = max(0.0, interval.low), min(1.0, interval.high)
        if len(side.tests) == 1:
            low, high = scored[0]["accuracy_low"], scored[0]["accuracy_high"]
        # An epoch of several runs is no number; the greatest number of epochs is.
        epochs = {one["best_epoch"] for one in rows}
        row |= {"accuracy_low": low, "accuracy_high": high, "n_clips": len(side.clips)}
        row |= {"best_epoch": epochs.pop() if len(epochs) == 1 else None}
        row |= {"n_epochs": max((one["n_epochs"] or 0) for one in rows) or None}
        row |= {"created": max(one["created"] for one in rows)}
        row |= {"badge": next((one["badge"] for one in rows if one["badge"]), "")}
        row |= {"split": _in_short(one["split"] for one in rows)}
    ends = {"artists_low": interval.low, "artists_high": interval.high}
    ends |= {"seed_low": min(each, default=nan), "seed_high": max(each, default=nan)}
    return row | ends | {"run_id": side.key, "title": side.title, "n_runs": len(side.tests)}


def _mean(values: Iterable[Any]) -> float:
    known = [float(value) for value in values if value is not None and value == value]
    return sum(known) / len(known) if known else nan


def _in_short(texts: Iterable[str]) -> str:
    found = list(dict.fromkeys(texts))
    return found[0] if len(found) == 1 else f"{found[0]} and {len(found) - 1} more"


def _pooled(side: Side) -> tuple[pd.DataFrame, list[str]]:
    """The tests of a side below one another, and the genres that they know."""
    genres = list(dict.fromkeys(name for one in side.tests for name in metrics.genres_in(one)))
    table = side.tests[0] if len(side.tests) == 1 else pd.concat(side.tests, ignore_index=True)
    missing = [f"p_{genre}" for genre in genres if f"p_{genre}" not in side.tests[0]]
    if missing:  # a genre that one of the runs did not know got nothing from it
        names = [f"p_{genre}" for genre in genres]
        table = table.assign(**table[names].where(table[names].notna(), 0.0))
    return table, genres


def _per_genre(side: Side, matrix: pd.DataFrame, artists: pd.Series) -> pd.DataFrame:
    """`Comparison.per_genre` of one side: of one run with Wilson's intervals, of several tests with
    those of artists and seeds resampled."""
    found = metrics.per_genre_of(matrix)
    if len(side.tests) > 1:
        again = pairs.recalls(side, artists)
        found = found.drop(columns=again.columns).merge(
            again, left_on="genre", right_index=True, how="left"
        )
        found["n_clips"] = found["n_clips"].fillna(0).astype(int)
    columns = ["genre", "n_clips", "recall", "recall_low", "recall_high", "precision", "f1"]
    return found[columns].assign(run_id=side.key, title=side.title)[["run_id", "title", *columns]]


def _calibration(side: Side) -> pd.DataFrame:
    found = metrics.calibration(*_pooled(side))
    return found.assign(run_id=side.key, title=side.title)


_COUNT_STEPS = (Phase.TRAINING, Phase.TESTING, Phase.EMBEDDING)  # their total counts steps


def curves(run: Run) -> pd.DataFrame:
    """`run_id, title, epoch, split, loss, accuracy, lr, step, seconds` of one run, train and
    validation: `step` counts optimiser steps (nan where their number is not known), `seconds` the
    time since training began, both to the end of the epoch."""
    history = run.history
    total, phase = run.status.get("total"), str(run.status.get("phase"))
    n_steps = float(total or nan) / run.n_epochs if phase in _COUNT_STEPS else nan
    splits = [split for split in ("train", "valid") if f"{split}_loss" in history]
    n = len(history)

    def twice(name: str) -> np.ndarray:
        values = history[name].to_numpy(dtype=float) if name in history else np.full(n, nan)
        return np.tile(values, len(splits))

    def of_split(name: str) -> np.ndarray:
        if not splits:
            return np.zeros(0)
        return np.concatenate([history[f"{one}_{name}"].to_numpy(dtype=float) for one in splits])

    epoch = np.tile(history["epoch"].to_numpy() if n else np.zeros(0, int), len(splits))
    seconds = history["seconds"].to_numpy(dtype=float).cumsum() if "seconds" in history else nan
    # Built at one go: twenty runs are read for one figure.
    return pd.DataFrame(
        {
            "run_id": run.run_id,
            "title": run.title,
            "epoch": epoch,
            "split": np.repeat(np.array(splits, dtype=object), n),
            "loss": of_split("loss"),
            "accuracy": of_split("accuracy"),
            "lr": twice("lr"),
            "step": epoch * n_steps,
            "seconds": np.tile(np.broadcast_to(seconds, n), len(splits)),
        }
    )


def predicted(run: Run) -> pd.DataFrame:
    """The test predictions of a run.

    Raises:
        GenrecoreError: It has none.
    """
    table = run.predictions
    if table is None:
        raise GenrecoreError(
            f"The run {run.run_id} has no test predictions (it is {run.state}); "
            "only finished runs can be compared."
        )
    return table[table["split"] == "test"].reset_index(drop=True)
