"""What tells compared runs apart: genres, mistakes, settings, and what accuracy costs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError
from genrecore.evaluation import verdicts
from genrecore.evaluation.pairwise import Side

STRONG, WEAK = "strong", "not shown"
"""How far the accuracy on a genre depends on the model; see `dependence`."""

_LEVEL = 0.05


def dependence(sides: Sequence[Side]) -> pd.DataFrame:
    """How much the accuracy on each genre depends on the model, most first.

    After Hong, section 4.4, who sorts genres by eye into "strong correlation between accuracy and
    the model used" and weak. Here it is measured on the clips that all share: `effect` is the share
    of the variation within clips that goes with the model (partial eta squared; 0 none, 1 all),
    which is Cochran's Q over its greatest value (Serlin, Carr & Marascuilo 1982, A measure of
    association for selected nonparametric procedures); `p` that of Q (Cochran 1950, The comparison
    of percentages in matched samples), `p_holm` adjusted for all genres. `dependence` is `STRONG`
    where that is below 5 %, else `WEAK`: few clips show little. Of systems the mean over their runs
    counts, so that what p speaks of is these runs, the luck of their seeds included.

    Columns: `genre, n_clips, lowest, highest, worst, best, spread, effect, p, p_holm, dependence`;
    `lowest, highest` are recalls, `worst, best` the titles that have them, `spread` their
    difference. Empty where no clip is shared, or the datasets differ.
    """
    columns = ["genre", "n_clips", "lowest", "highest", "worst", "best", "spread", "effect", "p",
               "p_holm", "dependence"]  # fmt: skip
    shared = frozenset.intersection(*(side.clips for side in sides))
    if not shared or len({side.dataset for side in sides}) > 1:
        return pd.DataFrame(columns=columns)
    clips = pd.Index(sorted(shared))
    labels = pd.concat([table.set_index("clip_id")["genre"] for table in sides[0].tests]).astype(
        object
    )
    genre_of = labels[~labels.index.duplicated()].reindex(clips).to_numpy()
    shares = np.stack([np.nanmean(side.matrix(clips).astype(float), axis=0) for side in sides])
    rows: list[dict[str, Any]] = []
    for genre in sorted(set(genre_of)):
        of_genre = shares[:, genre_of == genre]
        recalls = of_genre.mean(axis=1)
        low, high = int(recalls.argmin()), int(recalls.argmax())
        effect, p = _cochran(of_genre)
        rows.append(
            {
                "genre": genre, "n_clips": of_genre.shape[1],
                "lowest": float(recalls[low]), "highest": float(recalls[high]),
                "worst": sides[low].title, "best": sides[high].title,
                "spread": float(recalls[high] - recalls[low]), "effect": effect, "p": p,
            }
        )  # fmt: skip
    adjusted = verdicts.holm([row["p"] for row in rows])
    for row, p in zip(rows, adjusted, strict=True):
        row |= {"p_holm": p, "dependence": STRONG if p < _LEVEL else WEAK}
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(
        ["spread", "effect", "genre"], ascending=[False, False, True], ignore_index=True
    )


def _cochran(right: np.ndarray) -> tuple[float, float]:
    """(share of the variation within clips that goes with the model, p of Cochran's Q).

    Args:
        right: Whether, or how often, each model is right on each clip, (models, clips).
    """
    from scipy import stats

    n_models, n_clips = right.shape
    within = ((right - right.mean(axis=0)) ** 2).sum()
    if within == 0:  # all models agree on every clip
        return 0.0, 1.0
    of_model = n_clips * ((right.mean(axis=1) - right.mean()) ** 2).sum()
    effect = float(of_model / within)
    q = (n_models - 1) * n_clips * effect
    return effect, float(stats.chi2.sf(q, n_models - 1))


def difference(a: pd.DataFrame, b: pd.DataFrame, recall: bool = True) -> pd.DataFrame:
    """Confusion matrix a minus b: of shares of the labelled genre, or of counts.

    Args:
        a: Labelled × predicted counts.
        b: Of the same genres; a column that one alone has counts as 0 in the other.
        recall: Whether each row is a share of its clips, nan where a genre has none.

    Raises:
        GenrecoreError: The matrices are of different genres.
    """
    if list(a.index) != list(b.index):
        raise GenrecoreError(
            "These runs know different genres, so that their confusions cannot be subtracted."
        )
    columns = [*a.columns, *(name for name in b.columns if name not in a.columns)]
    both = [one.reindex(columns=columns, fill_value=0) for one in (a, b)]
    if recall:
        both = [one.div(one.sum(axis=1).replace(0, np.nan), axis=0) for one in both]
    return both[0] - both[1]


def settings(configs: Mapping[str, RunConfig]) -> pd.DataFrame:
    """Only the settings in which configurations differ: a row a setting, `setting` and a column
    each, as texts; a setting that one does not have is an empty text.

    Args:
        configs: By what each is called.
    """
    flat = {name: configuration.flat(config) for name, config in configs.items()}
    keys = list(dict.fromkeys(key for values in flat.values() for key in values))
    rows = []
    for key in keys:
        values = [_shown(one[key]) if key in one else "" for one in flat.values()]
        if len(set(values)) > 1:
            rows.append({"setting": key} | dict(zip(flat, values, strict=True)))
    return pd.DataFrame(rows, columns=["setting", *flat])


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def pareto(accuracy: Sequence[float], cost: Sequence[float]) -> np.ndarray:
    """Which are on the Pareto front, (n,) bool: nobody is at least as accurate for at most the
    same cost, and better in one of them. What has no cost (nan) is not on it."""
    gain, price = np.asarray(accuracy, dtype=float), np.asarray(cost, dtype=float)
    front = np.isfinite(gain) & np.isfinite(price)
    for k in np.flatnonzero(front):
        as_good = (gain >= gain[k]) & (price <= price[k])
        front[k] = not (as_good & ((gain > gain[k]) | (price < price[k]))).any()
    return front
