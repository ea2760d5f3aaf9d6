"""The leak laboratory: what a split that shares artists adds to the accuracy of the same system.

The same configuration is trained on every fold of a leaky split (by clip) and of a clean one (by
artist) of the same clips. Over all folds every clip is tested once in each, so the gap is a paired
difference on all clips; its interval resamples artists, because clips of one artist are not
independent of one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from genrecore import config as configuration
from genrecore import metrics, significance
from genrecore.clips import same_names
from genrecore.config import RunConfig
from genrecore.errors import GenrecoreError
from genrecore.runs import Run

LEAKY, CLEAN = "stratified", "by_artist"


@dataclass(frozen=True)
class Gap:
    """Accuracy on the leaky split minus accuracy on the clean one, as shares of all clips.

    Attributes:
        leaky: Pooled accuracy on the leaky folds.
        clean: Pooled accuracy on the clean folds.
        difference: leaky − clean.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n_clips: Clips, each tested once in either split.
        n_artists: Artists resampled; a clip of unknown artist counts as an artist of its own.
        per_genre: `genre, n_clips, leaky, clean`.
    """

    leaky: float
    clean: float
    difference: float
    low: float
    high: float
    n_clips: int
    n_artists: int
    per_genre: pd.DataFrame

    @property
    def sentence(self) -> str:
        """The gap in words."""
        points = 100 * self.difference
        found = (
            "The split by clip flatters this system"
            if self.low > 0
            else "The two splits cannot be told apart with these clips"
        )
        return (
            f"{found}: {100 * self.leaky:.1f} % of {self.n_clips} clips when artists are shared, "
            f"{100 * self.clean:.1f} % when they are not, {points:+.1f} points "
            f"(95 %: {100 * self.low:+.1f} to {100 * self.high:+.1f}, {self.n_artists} artists "
            "resampled)."
        )


def plan(config: RunConfig, n_folds: int = 5) -> list[RunConfig]:
    """Every fold of the leaky and of the clean split, not yet resolved."""
    values = [
        {
            "split": name,
            "split.n_folds": n_folds,
            "fold": fold,
            "allow_leaks": name == LEAKY,
        }
        for name in (LEAKY, CLEAN)
        for fold in range(n_folds)
    ]
    return [configuration.with_values(config, value) for value in values]


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
    artists = same_names(leaky["artist"]).fillna("clip " + leaky.index.to_series())
    difference, low, high = significance.grouped_difference(
        leaky["right"].to_numpy(), clean["right"].to_numpy(), artists.to_numpy(dtype=str)
    )
    per_genre = pd.DataFrame(
        {
            "n_clips": leaky.groupby("genre")["right"].size(),
            "leaky": leaky.groupby("genre")["right"].mean(),
            "clean": clean.groupby("genre")["right"].mean(),
        }
    ).reset_index()
    return Gap(
        leaky=float(leaky["right"].mean()),
        clean=float(clean["right"].mean()),
        difference=difference,
        low=low,
        high=high,
        n_clips=len(leaky),
        n_artists=int(artists.nunique()),
        per_genre=per_genre,
    )


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
