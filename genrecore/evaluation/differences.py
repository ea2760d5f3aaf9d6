"""How compared runs differ: by genre, in confusions, in settings, in accuracy against cost."""

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
"""Whether the accuracy on a genre depends on the model; see `dependence`."""

_LEVEL = 0.05


def dependence(sides: Sequence[Side]) -> pd.DataFrame:
    """How much the accuracy on each genre depends on the model, the most dependent first.

    After Hong, section 4.4, who sorts genres by eye into "strong correlation between accuracy and
    the model used" and weak. Here it is measured on the clips that all share: `effect` is the share
    of the variation within clips that is explained by the model (partial eta squared, 0 to 1),
    which is Cochran's Q over its greatest value (Serlin, Carr & Marascuilo 1982, A measure of
    association for selected nonparametric procedures); `p` is the p-value of Q (Cochran 1950, The
    comparison of percentages in matched samples), `p_holm` is adjusted for all genres. `dependence`
    is `STRONG` where that is below 5 %, else `WEAK`: few clips show little. A system counts by the
    mean over its runs, so p is about these runs, including the chance of their seeds.

    Columns: `genre, n_clips, lowest, highest, worst, best, spread, effect, p, p_holm, dependence`;
    `lowest, highest` are recalls, `worst, best` the titles of their runs, `spread` is their
    difference. Empty where no clip is shared.
    """
    columns = ["genre", "n_clips", "lowest", "highest", "worst", "best", "spread", "effect", "p",
               "p_holm", "dependence"]  # fmt: skip
    shared = frozenset.intersection(*(side.clips for side in sides))
    if not shared:
        return pd.DataFrame(columns=columns)
    clips = pd.Index(sorted(shared))
    genre_of = sides[0].genres(clips)
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
    """(share of the variation within clips that is explained by the model, p of Cochran's Q).

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
    """Confusion matrix a minus b, in shares of the labelled genre or in clips.

    Args:
        a: Labelled × predicted counts.
        b: The same of another run; a column that only one has counts as 0 in the other.
        recall: Whether to subtract shares of each row, nan where a genre has no clips.

    Raises:
        GenrecoreError: The matrices have different genres.
    """
    if list(a.index) != list(b.index):
        raise GenrecoreError(
            "These runs have different genres, so their confusions cannot be subtracted."
        )
    columns = [*a.columns, *(name for name in b.columns if name not in a.columns)]
    matrices = [matrix.reindex(columns=columns, fill_value=0) for matrix in (a, b)]
    if recall:
        matrices = [
            matrix.div(matrix.sum(axis=1).replace(0, np.nan), axis=0) for matrix in matrices
        ]
    return matrices[0] - matrices[1]


def settings(configs: Mapping[str, RunConfig]) -> pd.DataFrame:
    """The settings in which configurations differ, as text: one row a setting, one column a
    configuration after the column `setting`; empty where a configuration lacks the setting.

    Args:
        configs: Configurations by their titles.
    """
    flat = {name: configuration.flat(config) for name, config in configs.items()}
    keys = list(dict.fromkeys(key for values in flat.values() for key in values))
    rows = []
    for key in keys:
        values = [_as_text(own[key]) if key in own else "" for own in flat.values()]
        if len(set(values)) > 1:
            rows.append({"setting": key} | dict(zip(flat, values, strict=True)))
    return pd.DataFrame(rows, columns=["setting", *flat])


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def pareto(accuracy: Sequence[float], cost: Sequence[float]) -> np.ndarray:
    """Which systems are on the Pareto front, (n,) bool: no other is at least as accurate at no
    higher cost, and better in one of the two. Systems without a cost (nan) are not on it."""
    gain, price = np.asarray(accuracy, dtype=float), np.asarray(cost, dtype=float)
    front = np.isfinite(gain) & np.isfinite(price)
    for k in np.flatnonzero(front):
        as_good = (gain >= gain[k]) & (price <= price[k])
        front[k] = not (as_good & ((gain > gain[k]) | (price < price[k]))).any()
    return front
