"""The gap between a leaky and a clean split: accuracies pooled over folds, and their difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from genrecore.data import clips as clip_tables
from genrecore.errors import GenrecoreError
from genrecore.evaluation import metrics, significance
from genrecore.evaluation.bootstrap import Resamples
from genrecore.store.run import Run

LEAKY, CLEAN = "stratified", "by_artist"


@dataclass(frozen=True)
class Gap:
    """Accuracy on the leaky split minus accuracy on the clean one, as shares of all clips.

    Attributes:
        leaky: Pooled accuracy on the leaky folds.
        leaky_low: Lower end of its 95 % Wilson interval.
        leaky_high: Upper end.
        clean: Pooled accuracy on the clean folds.
        clean_low: Lower end of its 95 % Wilson interval.
        clean_high: Upper end.
        difference: leaky − clean.
        low: Lower end of its 95 % interval, artists resampled.
        high: Upper end.
        n_clips: Clips, each tested once in either split.
        n_artists: Artists resampled; a clip of unknown artist counts as an artist of its own.
        per_genre: `genre, n_clips`, and `leaky, clean` with `_low` and `_high` as above.
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
        accuracies = f"By clip {points(self.leaky)} %, by artist {points(self.clean)} %: "
        ends = f"{points(self.low)} to {points(self.high)}"
        if self.low > 0:
            return f"{accuracies}the leak adds {points(self.difference)} points (95 %: {ends})"
        return (
            f"{accuracies}whether the leak adds anything cannot be told "
            f"({points(self.difference)} points, 95 %: {ends})"
        )

    @property
    def sentence(self) -> str:
        """The gap in words."""
        found = (
            "The split by clip flatters this system"
            if self.low > 0
            else "The two splits cannot be told apart with these clips"
        )
        return (
            f"{found}: {points(self.leaky)} % of {self.n_clips} clips when artists are shared, "
            f"{points(self.clean)} % when they are not, {points(self.difference, '+')} points "
            f"(95 %: {points(self.low, '+')} to {points(self.high, '+')}, {self.n_artists} "
            "artists resampled)."
        )


def points(share: float, sign: str = "") -> str:
    """A share times 100 with one decimal; halves go up, as in tables and figures."""
    return f"{math.floor(1000 * share + 0.5) / 10:{sign}.1f}".replace("-", "−")


def gap(runs: Sequence[Run]) -> Gap:
    """What the finished runs of an experiment say.

    Raises:
        GenrecoreError: A clip is not tested exactly once in either split.
    """
    right = {name: _right([run for run in runs if run.config.split.name == name]) for name in
             (LEAKY, CLEAN)}  # fmt: skip
    leaky, clean = right[LEAKY], right[CLEAN]
    if set(leaky.index) != set(clean.index):
        raise GenrecoreError(
            f"The leaky folds test {len(leaky)} clips and the clean ones {len(clean)}, not the "
            "same; finish every fold of both."
        )
    clean = clean.loc[leaky.index]
    artists = clip_tables.same_names(leaky["artist"])
    artists = artists.fillna("\0" + leaky.index.to_series().astype("string"))
    both = [one["right"].to_numpy(dtype=bool)[None] for one in (leaky, clean)]
    gap = Resamples(both, artists.to_numpy(dtype=str)).difference(0, 1)
    everything = _shares(leaky["right"], clean["right"])
    rows = [
        {"genre": genre, "n_clips": len(part)} | _shares(part, clean.loc[part.index, "right"])
        for genre, part in leaky["right"].groupby(leaky["genre"])
    ]
    return Gap(
        **everything,
        difference=gap.value,
        low=gap.low,
        high=gap.high,
        n_clips=len(leaky),
        n_artists=int(artists.nunique()),
        per_genre=pd.DataFrame(rows),
    )


def _shares(leaky: pd.Series, clean: pd.Series) -> dict[str, float]:
    """`leaky, leaky_low, leaky_high, clean, clean_low, clean_high` of who is right, by clip."""
    found: dict[str, float] = {}
    for name, right in (("leaky", leaky), ("clean", clean)):
        low, high = significance.wilson(int(right.sum()), len(right))
        found |= {name: float(right.mean()), f"{name}_low": low, f"{name}_high": high}
    return found


def _right(runs: Sequence[Run]) -> pd.DataFrame:
    """`right, genre, artist` by clip_id over the test clips of several folds."""
    parts = []
    for run in runs:
        predictions, clips = run.predictions, run.clips
        if predictions is None or clips is None:
            raise GenrecoreError(f"The run {run.run_id} has no test predictions ({run.state}).")
        table = predictions[predictions["split"] == "test"].reset_index(drop=True)
        genres = metrics.genres_in(table)
        labelled, proba = metrics.as_arrays(table, genres)
        table = table.assign(right=proba.argmax(1) == labelled)[["clip_id", "genre", "right"]]
        parts.append(table.merge(clips[["clip_id", "artist"]], on="clip_id", how="left"))
    if not parts:
        raise GenrecoreError("There are no finished folds of one of the two splits.")
    table = pd.concat(parts, ignore_index=True)
    if not table["clip_id"].is_unique:
        raise GenrecoreError("A clip is tested by several of these runs; give one run a fold.")
    return table.set_index("clip_id").sort_index()
