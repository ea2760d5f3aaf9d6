"""Mistakes clip by clip: cells of a confusion matrix, certain mistakes, suspect labels.

Everything is read from stored predictions; the predicted genre is the most probable one, the first
of equals, as in `metrics`. A clip whose probabilities are not numbers counts as not recognised.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from genrecore.errors import GenrecoreError
from genrecore.evaluation import metrics
from genrecore.evaluation.calibration import calibrate
from genrecore.store.run import Run

CLIP_COLUMNS = ("artist", "album", "path", "medium", "duration_s", "content")

ORDERS = {
    "worst": "Worst: the labelled genre gets the smallest probability",
    "certain": "Most certain mistakes",
    "uncertain": "Most uncertain, right or wrong",
}
"""Orders of `sort_clips`, with their names for people."""

BOTH, ONLY_A, ONLY_B, NEITHER = "both right", "only A right", "only B right", "both wrong"


def clip_predictions(run: Run, split: str = "test") -> pd.DataFrame:
    """One row a clip: `clip_id, genre, predicted, right, label_proba, certainty, margin, entropy`,
    the probabilities `p_<genre>…`, and columns of the clip table (`CLIP_COLUMNS`). Probabilities
    are calibrated, as they are for an uploaded clip.

    `label_proba` and `certainty` are the probabilities of the labelled and of the predicted genre,
    `margin` is the labelled genre's probability minus the largest of the others; `entropy` is that
    of the probabilities as a share of the largest possible, 0 (certain) to 1 (all alike). Where
    probabilities are not numbers, `predicted` is `metrics.NO_PREDICTION` and these are nan.

    Raises:
        GenrecoreError: The run has no predictions of this split.
    """
    table = run.predictions
    if table is not None:
        table = table[table["split"] == split].reset_index(drop=True)
    if table is None or table.empty:
        raise GenrecoreError(
            f"The run {run.run_id} has no {split} predictions (it is {run.state})."
        )
    genres = metrics.genres_in(table)
    labelled, proba = metrics.as_arrays(table, genres)
    proba = calibrate(run).apply(proba)
    n = np.arange(len(table))
    predicted = metrics.predicted_index(proba)
    others = proba.copy()
    others[n, labelled] = -np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(proba == 0, 0.0, np.log(proba))
    rows = pd.DataFrame(
        {
            "clip_id": table["clip_id"],
            "genre": table["genre"],
            "predicted": np.array([*genres, metrics.NO_PREDICTION], dtype=object)[predicted],
            "right": predicted == labelled,
            "label_proba": proba[n, labelled],
            "certainty": np.where(predicted < 0, np.nan, proba[n, predicted]),
            "margin": proba[n, labelled] - others.max(axis=1),
            "entropy": -(proba * logs).sum(axis=1) / np.log(max(len(genres), 2)),
        }
    )
    named = pd.DataFrame(proba, columns=[f"p_{genre}" for genre in genres])
    rows = pd.concat([rows, named], axis=1)
    clips = run.clips
    if clips is None:
        return rows.assign(**dict.fromkeys(CLIP_COLUMNS))
    by_id = clips.drop_duplicates("clip_id").set_index("clip_id")
    columns = {
        name: rows["clip_id"].map(by_id[name]) if name in by_id else None for name in CLIP_COLUMNS
    }
    return rows.assign(**columns)


def cell(clips: pd.DataFrame, labelled: str, predicted: str) -> pd.DataFrame:
    """The clips of one cell of the confusion matrix, the most certain prediction first."""
    rows = clips[(clips["genre"] == labelled) & (clips["predicted"] == predicted)]
    return _highest_first(rows, "certainty")


def sort_clips(clips: pd.DataFrame, order: str) -> pd.DataFrame:
    """Clips in an order of `ORDERS`.

    Args:
        clips: From `clip_predictions`.
        order: `worst` and `certain` keep mistakes only, `uncertain` all clips.
    """
    wrong = clips[~clips["right"]]
    if order == "worst":
        return wrong.sort_values(["label_proba", "clip_id"], ignore_index=True)
    if order == "certain":
        return _highest_first(wrong, "certainty")
    return _highest_first(clips, "entropy")


def _highest_first(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    return rows.sort_values([column, "clip_id"], ascending=[False, True], ignore_index=True)


def contingency(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """The clips that two runs share: the columns of a, `who` recognises it (`BOTH`, `ONLY_A`,
    `ONLY_B` or `NEITHER`), and `predicted_b, certainty_b` of b."""
    rows_b = b.drop_duplicates("clip_id").set_index("clip_id")
    rows = a[a["clip_id"].isin(rows_b.index)].reset_index(drop=True)
    right_b = rows["clip_id"].map(rows_b["right"]).astype(bool).to_numpy()
    right_a = rows["right"].to_numpy(dtype=bool)
    who = np.select([right_a & right_b, right_a, right_b], [BOTH, ONLY_A, ONLY_B], default=NEITHER)
    return rows.assign(
        who=who,
        predicted_b=rows["clip_id"].map(rows_b["predicted"]),
        certainty_b=rows["clip_id"].map(rows_b["certainty"]),
    )


def disagreement(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The clips that all runs share, those on which the runs disagree most first: the columns of
    the first run, `n_verdicts` (how many different genres they predict) and `spread`.

    `spread` is the mean over all pairs of runs of half the summed distance of their probabilities,
    0 (all the same) to 1 (certain of different genres).

    Args:
        tables: From `clip_predictions`, one a run.

    Raises:
        GenrecoreError: Fewer than two runs, or runs with different genres.
    """
    proba, first, predicted = _shared(tables)
    if len(tables) < 2:
        raise GenrecoreError("Disagreement takes at least two runs.")
    # Sorted, the k-th of n lies above k others and below n - 1 - k: this sums over all pairs.
    n = len(tables)
    above = 2.0 * np.arange(n) - (n - 1)
    between = np.tensordot(above, np.sort(proba, axis=0), axes=1)
    spread = 0.5 * between.sum(axis=1) / (n * (n - 1) / 2)
    n_verdicts = [len(set(row)) for row in predicted.T]
    return _highest_first(first.assign(n_verdicts=n_verdicts, spread=spread), "spread")


def suspects(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All tested clips by normalised margin: those whose label is most likely wrong come first.

    Seeds and models are averaged, and the folds of a split together cover the whole dataset; no run
    counts for a clip that it was trained on. Columns: those of the first run that was tested on a
    clip, but with mean probabilities over all such runs (`label_proba, margin, suggested,
    suggested_proba`), `n_runs` (their number), `n_against` (how many of them predict another genre)
    and `suspect`: whether the confident joint counts the clip off the diagonal.

    Source: Northcutt, Jiang & Chuang (2021), Confident learning: estimating uncertainty in dataset
    labels, JAIR 70; sections 3.1 (thresholds: the mean probability of a genre over the clips
    labelled so) and 3.2 (ranking by normalised margin). Ours averages the probabilities of several
    runs before.

    Args:
        tables: From `clip_predictions`, one a run.

    Raises:
        GenrecoreError: No run, or runs with different genres.
    """
    if not tables:
        raise GenrecoreError("Suspect labels take the held-out predictions of at least one run.")
    first = pd.concat(list(tables), ignore_index=True).drop_duplicates("clip_id")
    first = first.reset_index(drop=True)
    genres = _same_genres(tables)
    columns = [f"p_{genre}" for genre in genres]
    sums = np.zeros((len(first), len(genres)))
    n_runs, n_against = np.zeros((2, len(first)), dtype=int)
    clips = pd.Index(first["clip_id"])
    for table in tables:
        finite = table[np.isfinite(table[columns].to_numpy(dtype=float)).all(axis=1)]
        index = clips.get_indexer(pd.Index(finite["clip_id"]))
        sums[index] += finite[columns].to_numpy(dtype=float)
        n_runs[index] += 1
        predicted = finite["predicted"].to_numpy(dtype=object)
        n_against[index] += predicted != first["genre"].to_numpy(dtype=object)[index]
    predicted_by_any = n_runs > 0
    first, sums = first[predicted_by_any].reset_index(drop=True), sums[predicted_by_any]
    n_runs, n_against = n_runs[predicted_by_any], n_against[predicted_by_any]
    proba = sums / n_runs[:, None]
    labelled = pd.Index(genres).get_indexer(pd.Index(first["genre"].astype(object)))
    n = np.arange(len(first))
    thresholds = [
        proba[labelled == k, k].mean() if (labelled == k).any() else np.inf
        for k in range(len(genres))
    ]
    confident = np.where(proba >= np.array(thresholds), proba, -np.inf)
    suspect = np.isfinite(confident.max(axis=1)) & (confident.argmax(axis=1) != labelled)
    others = proba.copy()
    others[n, labelled] = -np.inf
    suggested = others.argmax(axis=1)
    rows = first.assign(
        label_proba=proba[n, labelled],
        margin=proba[n, labelled] - others.max(axis=1),
        suggested=np.array(genres, dtype=object)[suggested],
        suggested_proba=proba[n, suggested],
        n_runs=n_runs,
        n_against=n_against,
        suspect=suspect,
    )
    return rows.sort_values(["margin", "clip_id"], ignore_index=True)


def _same_genres(tables: Sequence[pd.DataFrame]) -> list[str]:
    genres = metrics.genres_in(tables[0])
    if any(metrics.genres_in(table) != genres for table in tables[1:]):
        raise GenrecoreError("These runs have different genres, so their clips cannot be compared.")
    return genres


def _shared(tables: Sequence[pd.DataFrame]) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    """Probabilities (runs, clips, genres) of the clips that all share, the first run's rows of
    them, and the predicted genres (runs, clips)."""
    genres, ids = _same_genres(tables), tables[0]["clip_id"]
    for table in tables[1:]:
        ids = ids[ids.isin(table["clip_id"])]
    if not len(ids):
        raise GenrecoreError("These runs share no test clips.")
    columns = [f"p_{genre}" for genre in genres]
    aligned = [table.set_index("clip_id").loc[ids] for table in tables]
    proba = np.stack([table[columns].to_numpy(dtype=float) for table in aligned])
    predicted = np.stack([table["predicted"].to_numpy(dtype=object) for table in aligned])
    return proba, aligned[0].reset_index(), predicted
