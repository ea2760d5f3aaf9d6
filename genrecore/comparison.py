"""Several runs next to one another: scores from their stored predictions, and what they share.

The only module that looks at more than one run. Scores are computed when they are read;
`scores.json` in a run folder is a cache keyed by the predictions file.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from genrecore import clips as clip_tables
from genrecore import jobfolder, metrics, resampling, significance, verdicts
from genrecore.errors import GenrecoreError
from genrecore.resampling import Interval, Resamples
from genrecore.runs import Run

_SCORES_FORMAT = 2  # raised when a score's definition changes


@dataclass(frozen=True)
class Comparison:
    """Runs compared on their test clips.

    Attributes:
        runs: The runs, in the order given.
        table: One row a run, as `leaderboard` makes it, in that order.
        notes: What a reader must know first: differing test clips, datasets or splits.
        pairs: One row a pair, on the clips it shares: `run_a, run_b, title_a, title_b, n_clips`;
            how many both, only a, only b, neither got right (`both, only_a, only_b, neither`);
            `difference, low, high, error`: a minus b as shares, 95 % interval and standard error,
            artists resampled; McNemar's `p` (mid-p), `p_exact`, and `p_holm`, adjusted for all
            pairs; `verdict, better, resolved, sentence` as `verdicts.judge` says.
        per_genre: `run_id, title, genre, n_clips, recall, recall_low, recall_high, f1`.
        confusions: Labelled × predicted counts by run id.
        curves: `run_id, title, epoch, split (train or valid), loss, accuracy`.
    """

    runs: list[Run]
    table: pd.DataFrame
    notes: list[str]
    pairs: pd.DataFrame
    per_genre: pd.DataFrame
    confusions: dict[str, pd.DataFrame]
    curves: pd.DataFrame


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
    cached = jobfolder.read_json(run.folder / "scores.json")
    if cached.get("key") == key:
        return {k: float("nan") if v is None else v for k, v in cached["scores"].items()}
    table = run.predictions
    if table is None:
        raise GenrecoreError(f"The run {run.run_id} has no test predictions.")
    computed = metrics.scores(table)
    plain = {k: None if v != v else v for k, v in computed.items()}  # JSON knows no nan
    with contextlib.suppress(OSError):  # a store that cannot be written is still read
        jobfolder.write_json(run.folder / "scores.json", {"key": key, "scores": plain})
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
    macro_f1, best_epoch, n_epochs, train_s, n_parameters, created, badge`.
    """
    rows = [_row(run) for run in runs if (run.folder / "predictions.parquet").exists()]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return table.sort_values("accuracy", ascending=False, kind="stable", ignore_index=True)


_COLUMNS = [
    "run_id", "title", "model", "dataset", "split", "n_clips", "accuracy", "accuracy_low",
    "accuracy_high", "macro_f1", "best_epoch", "n_epochs", "train_s", "n_parameters", "created",
    "badge",
]  # fmt: skip


def _row(run: Run) -> dict[str, Any]:
    computed, status = scores(run), run.status
    known = ("n_clips", "accuracy", "accuracy_low", "accuracy_high", "macro_f1")
    return {
        "run_id": run.run_id,
        "title": run.title,
        "model": run.config.model.name,
        "dataset": run.config.dataset.name,
        "split": f"{run.config.split.name}, fold {run.config.fold}",
        **{name: computed[name] for name in known},
        "best_epoch": status.get("best_epoch"),
        "n_epochs": status.get("epoch"),
        "train_s": status.get("finished_at", np.nan) - status.get("started_at", np.nan),
        "n_parameters": status.get("n_parameters"),
        "created": run.created,
        "badge": run.badge,
    }


def compare(runs: list[Run], band: float = verdicts.BAND) -> Comparison:
    """Two or more tested runs, compared.

    Args:
        runs: The runs.
        band: Differences smaller than this share count as none in practice.

    Raises:
        GenrecoreError: Fewer than two runs, one twice, or one without test predictions.
    """
    if len(runs) < 2:
        raise GenrecoreError(f"A comparison needs at least two runs; found {len(runs)}.")
    if len({run.run_id for run in runs}) < len(runs):
        raise GenrecoreError("A run cannot be compared with itself; name each run once.")
    tested = {run.run_id: _tested(run) for run in runs}
    per_genre = [
        metrics.per_genre(tested[run.run_id], metrics.genres_in(tested[run.run_id])).assign(
            run_id=run.run_id, title=run.title
        )
        for run in runs
    ]
    columns = ["run_id", "title", "genre", "n_clips", "recall", "recall_low", "recall_high", "f1"]
    return Comparison(
        runs=list(runs),
        table=pd.DataFrame([_row(run) for run in runs], columns=_COLUMNS),
        notes=_notes(runs, tested),
        pairs=_pairs(runs, tested, band),
        per_genre=pd.concat(per_genre, ignore_index=True)[columns],
        confusions={
            run_id: metrics.confusion(table, metrics.genres_in(table))
            for run_id, table in tested.items()
        },
        curves=pd.concat([curves(run) for run in runs], ignore_index=True),
    )


def curves(run: Run) -> pd.DataFrame:
    """`run_id, title, epoch, split, loss, accuracy` of one run, train and validation."""
    history = run.history
    parts = []
    for split in ("train", "valid"):
        if f"{split}_loss" in history:
            part = history[["epoch", f"{split}_loss", f"{split}_accuracy"]].copy()
            part.columns = pd.Index(["epoch", "loss", "accuracy"])
            parts.append(part.assign(run_id=run.run_id, title=run.title, split=split))
    columns = ["run_id", "title", "epoch", "split", "loss", "accuracy"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _tested(run: Run) -> pd.DataFrame:
    table = run.predictions
    if table is None:
        raise GenrecoreError(
            f"The run {run.run_id} has no test predictions (it is {run.state}); "
            "only finished runs can be compared."
        )
    return table[table["split"] == "test"].reset_index(drop=True)


def _right(table: pd.DataFrame) -> pd.Series:
    """Whether each clip was classified rightly, by clip_id."""
    genres = metrics.genres_in(table)
    best = table[[f"p_{genre}" for genre in genres]].to_numpy().argmax(axis=1)
    right = np.array(genres, dtype=object)[best] == table["genre"].to_numpy(dtype=object)
    return pd.Series(right, index=table["clip_id"])


def _pairs(runs: list[Run], tested: dict[str, pd.DataFrame], band: float) -> pd.DataFrame:
    """A row a pair of runs; see `Comparison.pairs`."""
    right = {run.run_id: _right(tested[run.run_id]) for run in runs}
    artists = _artists(runs)
    first = right[runs[0].run_id].index
    alike = all(set(rows.index) == set(first) for rows in right.values())
    drawn = _resampled(list(right.values()), first, artists) if alike and len(first) else None
    rows: list[dict[str, Any]] = []
    for (k, a), (m, b) in itertools.combinations(enumerate(runs), 2):
        a_right, b_right = right[a.run_id], right[b.run_id]
        shared = a_right.index.intersection(b_right.index)
        if a.config.dataset.name != b.config.dataset.name:
            shared = shared[:0]
        in_a, in_b = a_right[shared].to_numpy(), b_right[shared].to_numpy()
        gap, p, exact = resampling.NOTHING, nan, nan
        only_a, only_b = int((in_a & ~in_b).sum()), int((in_b & ~in_a).sum())
        if len(shared):
            of_pair = drawn or _resampled([a_right, b_right], shared, artists)
            gap = of_pair.difference(k, m) if drawn else of_pair.difference(0, 1)
            gap = _not_too_narrow(gap, in_a, in_b)
            p = significance.mcnemar_mid_p(only_a, only_b)
            exact = significance.mcnemar_exact_p(only_a, only_b)
        rows.append(
            {
                "run_a": a.run_id, "run_b": b.run_id, "title_a": a.title, "title_b": b.title,
                "n_clips": len(shared), "both": int((in_a & in_b).sum()), "only_a": only_a,
                "only_b": only_b, "neither": int((~in_a & ~in_b).sum()), "difference": gap.value,
                "low": gap.low, "high": gap.high, "error": gap.error, "p": p, "p_exact": exact,
            }
        )  # fmt: skip
    adjusted = verdicts.holm([row["p"] for row in rows])
    n_pairs = sum(not np.isnan(p) for p in adjusted)
    for row, p in zip(rows, adjusted, strict=True):
        said = verdicts.judge(
            row["title_a"], row["title_b"], row["n_clips"], row["difference"],
            (row["low"], row["high"]), row["error"], p, n_pairs, band,
        )  # fmt: skip
        row |= {"p_holm": p, "verdict": said.word, "better": said.better}
        row |= {"resolved": said.resolved, "sentence": said.sentence}
    return pd.DataFrame(rows)


def _not_too_narrow(gap: Interval, in_a: np.ndarray, in_b: np.ndarray) -> Interval:
    """The interval, at least as wide as Newcombe's.

    Of few clips on which two runs never disagree every resample says that they are equal; that few
    clips say little only the other method knows.
    """
    _, low, high = significance.paired_difference(in_a, in_b)
    low, high = min(gap.low, low), max(gap.high, high)
    return Interval(gap.value, low, high, max(gap.error, (high - low) / (2 * 1.96)))


def _resampled(right: list[pd.Series], clips: pd.Index, artists: pd.Series) -> Resamples:
    groups = artists.reindex(clips).fillna(pd.Series("\0" + clips.astype(str), index=clips))
    return Resamples([rows[clips].to_numpy()[None] for rows in right], groups.to_numpy(dtype=str))


def _artists(runs: list[Run]) -> pd.Series:
    """The artist of each clip of these runs, by clip_id; missing where nobody knows."""
    known = [run.clips for run in runs]
    tables = [table[["clip_id", "artist"]] for table in known if table is not None]
    if not tables:
        return pd.Series(dtype=object)
    joined = pd.concat(tables).dropna().drop_duplicates("clip_id")
    return clip_tables.same_names(joined.set_index("clip_id")["artist"])


def _notes(runs: list[Run], tested: dict[str, pd.DataFrame]) -> list[str]:
    notes = []
    datasets = sorted({run.config.dataset.name for run in runs})
    if len(datasets) > 1:
        notes.append(f"These runs come from different datasets: {', '.join(datasets)}.")
    clips = {run_id: set(table["clip_id"]) for run_id, table in tested.items()}
    shared = set.intersection(*clips.values())
    for run in runs:
        own = len(clips[run.run_id] - shared)
        if own:
            notes.append(
                f"{run.title} was tested on {own} clips that not all the others were tested on; "
                f"accuracies in the table are each run's own, pairs use the shared clips only."
            )
    notes += [f"{run.title}: {run.leak}; its accuracy is flattered." for run in runs if run.leak]
    notes += [f"{run.title} is a rehearsal." for run in runs if run.config.rehearsal]
    splits = sorted({run.config.split.name for run in runs})
    if len(splits) > 1:
        notes.append(f"These runs were split differently: {', '.join(splits)}.")
    return notes
