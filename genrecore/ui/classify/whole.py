"""All of a long recording on the page Classify: its timeline, its sections, and its verdict."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.inference.ensemble import EnsemblePrediction
from genrecore.reporting import plots
from genrecore.reporting.columns import Column, csv_text
from genrecore.ui.classify.predictions import ClassifiedClip, OpenedRuns
from genrecore.ui.parts.cache import cached_by_files, no_files
from genrecore.ui.parts.choices import chosen
from genrecore.ui.parts.frame import chart, plain
from genrecore.ui.parts.tables import ANYWHERE_IN_A_ROW, clicked_row, show_table

_AT_ONCE_S = 5.0  # what takes longer is asked for by a button
_MOST_KEPT = 8  # recordings, whose timelines stay in memory
_MOST_DRAWN = 400  # windows: about as many as a screen shows


def show_whole(classified: ClassifiedClip, choose_part: Callable[[float, float], None]) -> None:
    """The timeline of all of a recording and its sections; a drag over the one, or a click on the
    other, plays that place.

    Args:
        classified: The recording, of which a part was classified.
        choose_part: Gets start and end, in s, of the part to play.
    """
    result = _whole(classified)
    if result is None:
        return
    k, run, _, _ = classified.choose_run("whole_run")
    prediction = result.predictions[k]
    first, second = np.argsort(-prediction.proba)[:2]
    name, other = plain(prediction.genres[first]), plain(prediction.genres[second])
    st.markdown(
        f"**All {words.seconds(prediction.duration_s)} of it: {name} with "
        f"{words.percent(prediction.proba[first])}**, then {other} with "
        f"{words.percent(prediction.proba[second])}."
    )
    chart(
        plots.probabilities_over_time(thinned(prediction.segments, _MOST_DRAWN)),
        f"whole_{run.run_id}",
        on_range=choose_part,
    )
    st.caption(
        "Drag over the chart, or click on a section, to hear that place. Sections end where the "
        "genre changes: the most probable course of genres, in which a few odd windows count for "
        "nothing (Viterbi decoding)."
    )
    if prediction.sections is not None:
        _show_sections(prediction.sections, choose_part)
    stem = os.path.splitext(classified.clip.name)[0]
    with st.container(horizontal=True, gap="small"):
        for label, content in (
            ("CSV", lambda: csv_text(prediction.segments).encode()),
            ("JSON", lambda: json.dumps(result.as_dict(), ensure_ascii=False).encode()),
        ):
            st.download_button(
                f"Timeline as {label}", content, f"{stem}-timeline.{label.lower()}",
                key=f"whole_{label}", icon=":material/download:", on_click="ignore",
                type="tertiary",
            )  # fmt: skip


def thinned(segments: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many rows: the means of equally many windows in a row; `start_s` and `end_s` are
    the first and the last of theirs."""
    if len(segments) <= most:
        return segments
    groups = segments.groupby(np.arange(len(segments)) // -(-len(segments) // most))
    edges = groups.agg(start_s=("start_s", "first"), end_s=("end_s", "last"))
    return edges.join(groups[[name for name in segments if str(name).startswith("p_")]].mean())


def _show_sections(sections: pd.DataFrame, choose_part: Callable[[float, float], None]) -> None:
    rows = sections.assign(
        start=sections["start_s"].map(words.clock),
        end=sections["end_s"].map(words.clock),
        length_s=sections["end_s"] - sections["start_s"],
    )
    key = f"sections_{chosen('start')}"

    def play() -> None:
        row = clicked_row(key)
        if row is not None:
            section = sections.iloc[row]
            choose_part(float(section["start_s"]), float(section["end_s"]))

    show_table(
        rows,
        ["start", "end", "length_s", "genre", "proba"],
        {
            "start": "From (min)", "end": "To (min)", "length_s": Column("Length", "seconds"),
            "proba": Column("Mean probability", "share"),
        },
        key=key,
        on_select=play,
        selection_mode=ANYWHERE_IN_A_ROW,
    )  # fmt: skip


def _whole(classified: ClassifiedClip) -> EnsemblePrediction | None:
    """The predictions for all of it, computed once; None where that takes long and nobody asked."""
    kept, key = _kept(classified.opened), classified.clip.key
    if key in kept:
        return kept[key]
    longest = classified.longest
    part_s = len(longest.wave) / longest.sample_rate_hz
    seconds = sum(prediction.seconds for prediction in classified.result.predictions)
    expected_s = seconds * longest.duration_s / part_s
    place = st.empty()
    if expected_s > _AT_ONCE_S and not place.button(
        "Classify all of it",
        type="primary",
        icon=":material/timeline:",
        key="whole",
        help=f"It takes about {words.seconds(expected_s)} or longer.",
    ):
        return None
    bar = place.progress(0.0, "Classifying all of it …")

    def report(phase: str, done: int, total: int) -> None:
        share = min(1.0, done / max(1, total))
        bar.progress(share, f"{words.clock(done)} of {words.clock(total)} min classified")

    clip = classified.clip
    result = classified.opened.ensemble.classify_whole(clip.path, clip.name, report=report)
    place.empty()
    while len(kept) >= _MOST_KEPT:
        kept.pop(next(iter(kept)))
    kept[key] = result
    return result


@cached_by_files(no_files, max_entries=4, shared=True)
def _kept(opened: OpenedRuns) -> dict[str, EnsemblePrediction]:
    return {}
