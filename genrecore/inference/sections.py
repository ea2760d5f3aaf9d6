"""Sections of a recording: where its genre changes, from the probabilities of its windows."""

from __future__ import annotations

import numpy as np
import pandas as pd

TYPICAL_S = 120.0
"""How long a section is expected to last: about as long as a piece plays in a mix."""

_LEAST_PROBA = 1e-3  # networks are surer of a single window than they are right


def sections(
    segments: pd.DataFrame, end_s: float | None = None, typical_s: float = TYPICAL_S
) -> pd.DataFrame:
    """The most probable course of genres: `start_s, end_s, genre, proba`, a row a section.

    Viterbi decoding (Viterbi 1967; Rabiner 1989) of a hidden Markov model with one state a genre:
    a window has the probability that the network gives, and from one to the next the genre changes
    with the probability step / `typical_s`, to each other genre alike. So a few odd windows make no
    section. Nothing is learned.

    Args:
        segments: `start_s, end_s, p_<genre>…` of windows in order, at least one; they may overlap.
        end_s: Where the last section ends; by default with the last window.
        typical_s: How long a section is expected to last.

    Returns:
        The sections, which cover all; `proba` is the mean of their windows for their genre.
    """
    names = [str(name) for name in segments.columns if str(name).startswith("p_")]
    proba = segments[names].to_numpy(float)
    starts, ends = (segments[name].to_numpy(float) for name in ("start_s", "end_s"))
    centres = (starts + ends) / 2
    step_s = float(np.median(np.diff(centres))) if len(centres) > 1 else typical_s
    path = _most_probable_path(np.log(np.maximum(proba, _LEAST_PROBA)), step_s / typical_s)
    changes = np.flatnonzero(np.diff(path)) + 1
    first, last = np.r_[0, changes], np.r_[changes, len(path)]
    between = (centres[changes - 1] + centres[changes]) / 2
    edges = np.r_[starts[0], between, ends[-1] if end_s is None else end_s]
    return pd.DataFrame(
        {
            "start_s": edges[:-1],
            "end_s": edges[1:],
            "genre": [names[path[k]].removeprefix("p_") for k in first],
            "proba": [proba[k:end, path[k]].mean() for k, end in zip(first, last, strict=True)],
        }
    )


def _most_probable_path(log_proba: np.ndarray, change: float) -> np.ndarray:
    """The state of each window (windows,), of log-probabilities (windows, states); `change` is the
    probability of another state at each step."""
    n, n_states = log_proba.shape
    change = min(max(change, 1e-6), 0.5)
    stay = np.log1p(-change)
    leave = np.log(change / max(1, n_states - 1))
    best = log_proba[0]
    before = np.zeros((n, n_states), np.int32)
    for k in range(1, n):
        leader = int(best.argmax())
        stays = best + stay >= best[leader] + leave
        before[k] = np.where(stays, np.arange(n_states), leader)
        best = np.maximum(best + stay, best[leader] + leave) + log_proba[k]
    path = np.empty(n, np.int32)
    path[-1] = best.argmax()
    for k in range(n - 1, 0, -1):
        path[k - 1] = before[k, path[k]]
    return path
