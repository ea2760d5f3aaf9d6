"""A timeline that follows a player: predictions over time, to click and to steer by keys."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from genrecore.reporting.plots import genre_colours

_HERE = Path(__file__).parent
_LEAST_NAMED = 0.12  # of the clip's length that a genre must lead to have its name written there


@dataclass(frozen=True)
class Lane:
    """One run's prediction over time.

    Attributes:
        title: Of the run; shown where there are several lanes.
        segments: `start_s, end_s` (in the player's time) and `p_<genre>…`, a row a segment.
    """

    title: str
    segments: pd.DataFrame


def timeline(player: str, lanes: Sequence[Lane], duration_s: float, key: str) -> None:
    """Stacked areas of the genres' probabilities under a player, with a cursor that moves along.

    A click seeks; on the keyboard arrows move by a second, Page Up and Down by ten, space plays.

    Args:
        player: Key of the container that holds the `st.audio`.
        lanes: One a run.
        duration_s: Of what the player plays.
        key: Names it on the page.
    """
    data = {
        "player": player,
        "duration_s": round(duration_s, 3),
        "lanes": [_as_data(lane, duration_s) for lane in lanes],
    }
    _component()(data=data, key=key)


@functools.cache
def _component() -> Any:
    return st.components.v2.component(
        "genrecore_timeline",
        html=(
            '<div class="whole"><div class="slider" role="slider" tabindex="0"'
            ' aria-label="Position in the clip"><div class="lanes"></div><div class="cursor"></div>'
            '</div><p class="said" aria-hidden="true"></p><div class="legend"></div></div>'
        ),
        css=(_HERE / "player.css").read_text(encoding="utf-8"),
        js=(_HERE / "player.js").read_text(encoding="utf-8"),
    )


def _as_data(lane: Lane, duration_s: float) -> dict[str, Any]:
    columns = [str(name) for name in lane.segments.columns if str(name).startswith("p_")]
    genres = [name.removeprefix("p_") for name in columns]
    colours = genre_colours(genres)
    proba = lane.segments[columns].to_numpy(dtype=float)
    starts = lane.segments["start_s"].to_numpy(dtype=float)
    end = min(float(lane.segments["end_s"].max()), duration_s)
    return {
        "title": lane.title,
        "genres": genres,
        "colours": [colours[genre] for genre in genres],
        "starts": starts.round(3).tolist(),
        "end": round(end, 3),
        "proba": proba.round(4).tolist(),
        "names": _names(genres, proba, [*starts.tolist(), end], duration_s),
    }


def _names(
    genres: list[str], proba: Any, edges_s: list[float], duration_s: float
) -> list[dict[str, Any]]:
    """Where a genre's name is written: in the middle of the longest stretch that it leads."""
    leads = proba.argmax(axis=1)
    longest: dict[int, tuple[float, float, int]] = {}
    first = 0
    for n in range(1, len(leads) + 1):
        if n == len(leads) or leads[n] != leads[first]:
            length = edges_s[n] - edges_s[first]
            if length > longest.get(int(leads[first]), (0.0, 0.0, 0))[0]:
                middle = (edges_s[n] + edges_s[first]) / 2
                longest[int(leads[first])] = (length, middle, (first + n - 1) // 2)
            first = n
    return [
        {
            "genre": genres[k],
            "at_s": round(middle, 3),
            "height": round(float(proba[n, :k].sum() + proba[n, k] / 2), 3),
        }
        for k, (length, middle, n) in sorted(longest.items())
        if length >= _LEAST_NAMED * duration_s
    ]
