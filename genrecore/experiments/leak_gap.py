"""The gap between a leaky and a clean split: the difference of accuracies pooled over folds.

Over all folds every clip is tested once in each split, so the gap is a paired difference on all
clips. Its interval resamples artists, because clips of one artist are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from genrecore.data import clips as clip_tables
from genrecore.errors import GenrecoreError
from genrecore.evaluation import metrics, significance
from genrecore.evaluation.bootstrap import Resamples
from genrecore.store.run import Run
from genrecore.words import percent, points, signed_points, thousands

LEAKY, CLEAN = "stratified", "by_artist"
"""The split by clip, which lets artists cross, and the split by artist, which does not."""


@dataclass(frozen=True)
class LeakGap:
    """Accuracy on the leaky split minus accuracy on the clean one, as shares of all clips.

    `leaky` and `clean` are accuracies pooled over the folds, with 95 % Wilson intervals; the
    interval of the difference resamples artists.

    Attributes:
        n_clips: Clips, each tested once in either split.
        n_artists: Artists resampled; a clip of unknown artist counts as an artist of its own.
        per_genre: `genre, n_clips`, and `leaky, clean` with `_low` and `_high`.
    """

    leaky: float
    leaky_low: float
    leaky_high: float
    clean: float
    clean_low: float
    clean_high: float
    difference: float
    low: float
    high: float
    n_clips: int
    n_artists: int
    per_genre: pd.DataFrame

    @property
    def headline(self) -> str:
        """The gap in one line."""
        accuracies = f"By clip {percent(self.leaky)}, by artist {percent(self.clean)}: "
        ends = f"95 %: {signed_points(self.low)} to {signed_points(self.high)}"
        if self.low > 0:
            return f"{accuracies}the leak adds {points(self.difference)} ({ends})"
        return (
            f"{accuracies}whether the leak adds anything cannot be told "
            f"({points(self.difference, sign=True)}, {ends})"
        )

    @property
    def sentence(self) -> str:
        """The gap in words."""
        finding = (
            "The split by clip flatters this system"
            if self.low > 0
            else "The two splits cannot be told apart with these clips"
        )
        return (
            f"{finding}: {percent(self.leaky)} of {thousands(self.n_clips)} clips when artists are "
            f"shared, {percent(self.clean)} when they are not, "
            f"{points(self.difference, sign=True)} (95 %: {signed_points(self.low)} to "
            f"{signed_points(self.high)}, {thousands(self.n_artists)} artists resampled)."
        )


def leak_gap(runs: Sequence[Run]) -> LeakGap:
    """The gap between the finished runs of a leak experiment.

    Raises:
        GenrecoreError: A clip is not tested exactly once in either split.
    """
    leaky, clean = (
        _tested([run for run in runs if run.config.split.name == split]) for split in (LEAKY, CLEAN)
    )
    if set(leaky.index) != set(clean.index):
        raise GenrecoreError(
            f"The leaky folds test {len(leaky)} clips and the clean ones {len(clean)}, not the "
            "same; finish every fold of both."
        )
    clean = clean.loc[leaky.index]
    artists = clip_tables.same_names(leaky["artist"])
    artists = artists.fillna("\0" + leaky.index.to_series().astype("string"))
    right = [table["right"].to_numpy(dtype=bool)[None] for table in (leaky, clean)]
    difference = Resamples(right, artists.to_numpy(dtype=str)).difference(0, 1)
    per_genre = [
        {"genre": genre, "n_clips": len(rows)} | _accuracies(rows, clean.loc[rows.index, "right"])
        for genre, rows in leaky["right"].groupby(leaky["genre"])
    ]
    return LeakGap(
        **_accuracies(leaky["right"], clean["right"]),
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        n_clips=len(leaky),
        n_artists=int(artists.nunique()),
        per_genre=pd.DataFrame(per_genre),
    )


def _accuracies(leaky: pd.Series, clean: pd.Series) -> dict[str, float]:
    """`leaky, leaky_low, leaky_high, clean, clean_low, clean_high`, of correctness by clip."""
    accuracies: dict[str, float] = {}
    for name, right in (("leaky", leaky), ("clean", clean)):
        low, high = significance.wilson(int(right.sum()), len(right))
        accuracies |= {name: float(right.mean()), f"{name}_low": low, f"{name}_high": high}
    return accuracies


def _tested(runs: Sequence[Run]) -> pd.DataFrame:
    """`right, genre, artist` of the test clips of several folds, by clip_id."""
    tables = []
    for run in runs:
        predictions, clips = run.predictions, run.clips
        if predictions is None or clips is None:
            raise GenrecoreError(f"The run {run.run_id} has no test predictions ({run.state}).")
        table = predictions[predictions["split"] == "test"].reset_index(drop=True)
        labels, proba = metrics.as_arrays(table, metrics.genres_in(table))
        table = table.assign(right=proba.argmax(1) == labels)[["clip_id", "genre", "right"]]
        tables.append(table.merge(clips[["clip_id", "artist"]], on="clip_id", how="left"))
    if not tables:
        raise GenrecoreError("There are no finished folds of one of the two splits.")
    table = pd.concat(tables, ignore_index=True)
    if not table["clip_id"].is_unique:
        raise GenrecoreError("A clip is tested by several of these runs; give one run a fold.")
    return table.set_index("clip_id").sort_index()
