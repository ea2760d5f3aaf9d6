"""The predictions of runs on the page Classify: table of clips, player, timeline, bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.audio import decode
from genrecore.errors import GenrecoreError
from genrecore.inference.doubts import HELD_OUT, TITLES
from genrecore.inference.ensemble import Ensemble, EnsemblePrediction
from genrecore.inference.loaded import Prediction
from genrecore.reporting import plots
from genrecore.reporting.columns import Column
from genrecore.ui.classify import doubts
from genrecore.ui.classify.inputs import InputClip
from genrecore.ui.classify.predictions import (
    ClassifiedClip,
    OpenedRuns,
    SilentResult,
    Song,
    classify,
    classify_all,
    outline,
    song,
)
from genrecore.ui.classify.whole import show_whole
from genrecore.ui.classify.why import highlighted, show_why
from genrecore.ui.datasets.listening import draw_mel, pick
from genrecore.ui.parts.cache import cached_by_files, no_files
from genrecore.ui.parts.choices import choose, choose_one, chosen, set_widget
from genrecore.ui.parts.frame import chart, in_pairs, plain, section, sentences
from genrecore.ui.parts.player import Lane, Strip, player

_MOST_S = 300.0  # the longest part that is classified at once: a player gets all of it
_LEAST_S = 1.0


def show_clips(
    opened: OpenedRuns, clips: Sequence[InputClip], precision: float | None = None
) -> None:
    """All clips as a table where there are several, and one of them in full."""
    wanting = _wanting(opened, precision)
    clip = clips[0] if len(clips) == 1 else _choose_clip(opened, clips, wanting)
    if clip is None:
        return
    is_wave = opened.ensemble.loaded[0].medium == "wave"
    start_s, length_s = _choose_part(opened, clip) if is_wave else (None, None)
    classified = classify(opened, clip, start_s, length_s)
    _show(replace(classified, result=wanting.judged(classified.result)))


def _wanting(opened: OpenedRuns, precision: float | None) -> Ensemble:
    """The runs, as right as somebody wants them to be, and what that promises."""
    with sentences():
        wanting = opened.ensemble.wanting(precision)
        for promise in wanting.promises:
            st.caption(plain(opened.in_titles(promise)))
        return wanting
    return opened.ensemble


def _choose_clip(
    opened: OpenedRuns, clips: Sequence[InputClip], wanting: Ensemble
) -> InputClip | None:
    """The table of several clips, and the picked one; None where none can be used."""
    results = classify_all(opened, clips)
    problems = [result.problem for result, _ in results if result.problem]
    for problem in problems[:3]:
        st.error(plain(problem), icon=":material/error:")
    if len(problems) > 3:
        with st.expander(f"{len(problems) - 3} more files cannot be used"):
            for problem in problems[3:]:
                st.markdown(plain(problem))
    pairs = zip(clips, results, strict=True)
    good = {clip.key: clip for clip, (result, _) in pairs if not result.problem}
    if len(good) < 2:
        return next(iter(good.values()), None)
    section("Clips", "Pick one to hear it and to see what its prediction rests on.")
    return good[_pick(good, [silent for silent in results if not silent[0].problem], wanting)]


def _pick(
    clips: Mapping[str, InputClip], results: Sequence[SilentResult], wanting: Ensemble
) -> str:
    """The key of the clip that is picked in the table of predictions."""
    rows = []
    for key, (result, kinds) in zip(clips, results, strict=True):
        first, n_runs = result.predictions[0], len(result.predictions)
        proba = first.proba if result.average is None else result.average
        genre = first.genres[int(proba.argmax())]
        row: dict[str, Any] = {"clip_id": key, "Clip": result.name, "Genre": genre}
        row["Probability"] = float(proba.max())
        if wanting.precision:
            row["Answer"] = wanting.judged(result).answer or words.NOT_SURE
        if n_runs > 1:
            n_agreeing = sum(prediction.genre == genre for prediction in result.predictions)
            row["Runs that agree"] = f"{n_agreeing} of {n_runs}"
        row["Doubts"] = ", ".join(TITLES[kind] for kind in kinds if kind != HELD_OUT) or None
        if first.duration_s:
            row["Length"] = words.seconds(first.duration_s)
        if any(each.warning for each, _ in results):
            row["Damage"] = result.warning or None
        rows.append(row)
    table = pd.DataFrame(rows)
    columns = [name for name in table.columns if name != "clip_id"]
    return pick(table, "classified", columns, {"Probability": Column("Probability", "share")})


def _choose_part(opened: OpenedRuns, clip: InputClip) -> tuple[float | None, float | None]:
    """(start, length) in s of the part to classify; (None, None) for each run's own middle."""
    total_s, own_s = _duration_s(clip), _own_s(opened)
    if total_s <= own_s + _LEAST_S:
        return None, None
    section(
        "Which part",
        f"The clip lasts {words.clock(total_s)} min; the runs classify its middle "
        f"{words.seconds(own_s)} unless you choose another part, here or on the strip above the "
        "waveform.",
    )
    last_s = math.floor(total_s)
    begin_s = min(_number("start", (total_s - own_s) / 2), last_s - _LEAST_S)
    end_s = min(begin_s + _number("length", own_s), total_s, begin_s + _MOST_S)
    set_widget("slider_part", (round(begin_s, 1), round(min(end_s, last_s), 1)))
    st.slider(
        "Part of the clip (s)",
        0.0,
        float(last_s),
        step=0.5,
        format="%.1f",
        key="slider_part",
        on_change=lambda: _write_part(*st.session_state["slider_part"]),
        help=f"At most {_MOST_S / 60:.0f} minutes at once.",
    )
    return (begin_s, end_s - begin_s) if chosen("start") else (None, None)


def _own_s(opened: OpenedRuns) -> float:
    """The longest part that a run takes by itself."""
    return max(loaded.config.audio.clip_s for loaded in opened.ensemble.loaded)


def _write_part(low_s: float, high_s: float) -> None:
    """Puts a part into the address: seconds with one decimal, not too long and not too short."""
    length_s = max(min(high_s - low_s, _MOST_S), _LEAST_S)
    choose("start", f"{round(low_s, 1):g}")
    choose("length", f"{round(length_s, 1):g}")


@cached_by_files(no_files)
def _duration_s(clip: InputClip) -> float:
    """By the file's header; 0 where it cannot be read, which classifying then explains."""
    try:
        return decode.inspect(clip.path, clip.name).duration_s
    except GenrecoreError:
        return 0.0


def _number(name: str, default: float) -> float:
    try:
        value = float(chosen(name))
    except ValueError:
        return default
    return value if math.isfinite(value) and value >= 0 else default


def _show(classified: ClassifiedClip) -> None:
    """Doubts, the prediction in a sentence, player and timeline, bars, and an explanation."""
    clip, longest = classified.clip, classified.longest
    label = f" · labelled {plain(clip.genre)}" if clip.genre else ""
    st.markdown(f":gray[{plain(clip.name)}{label}]")
    if classified.result.warning:
        st.warning(plain(classified.result.warning), icon=":material/warning:")
    doubts_above = st.container(gap="small")  # they stand first and take longest
    _headline(classified)
    if longest.image is not None:
        st.image(longest.image.transpose(1, 2, 0))
    elif longest.medium == "wave":
        _play(classified)
    _bars(classified)
    with doubts_above:
        doubts.show_doubts(classified)
    views = {
        "why": "Why",
        "like": "Sounds like",
        "trust": "How far to trust it",
        "sound": "The sound itself",
    }
    if longest.duration_s > len(longest.wave) / longest.sample_rate_hz + _LEAST_S:
        views["whole"] = "The whole recording"
    if longest.medium != "wave":
        views = {"trust": views["trust"]}
    name = choose_one("Show", views, "view", radio=True, hide_label=True)
    if name == "why":
        show_why(classified)
    elif name == "like":
        doubts.show_similar_clips(classified)
    elif name == "trust":
        doubts.show_reliability(classified)
    elif name == "whole":
        show_whole(classified, _write_part)
    else:
        draw_mel(song(classified).sound, "clip_mel")


def _headline(classified: ClassifiedClip) -> None:
    result, opened = classified.result, classified.opened
    first = result.predictions[0]
    if len(result.predictions) == 1:
        st.markdown(_two_first(first.genres, first.proba, result))
        return
    agreement = plain(opened.in_titles(result.agreement))
    if result.average is not None:
        st.markdown(_two_first(first.genres, result.average, result, " on average"))
        st.markdown(agreement)
    else:
        st.markdown(f"## {agreement}")
        st.caption(plain(opened.ensemble.note))


def _two_first(
    genres: Sequence[str], proba: np.ndarray, result: EnsemblePrediction, how: str = ""
) -> str:
    first, second = np.argsort(-proba)[:2]
    likeliest = f"with {words.percent(proba[first])}{how}"
    then = f"{plain(genres[second])} with {words.percent(proba[second])}]"
    if result.answer is None:
        return f"## Not sure :gray[– {plain(genres[first])} {likeliest}, {then}"
    return f"## {plain(genres[first])} :gray[{likeliest}, then {then}"


def _play(classified: ClassifiedClip) -> None:
    longest, whole = classified.longest, song(classified)
    runs = classified.opened.runs
    lanes = [Lane(run.title, table) for run, table in zip(runs, whole.segments, strict=True)]
    part = (longest.start_s, longest.start_s + len(longest.wave) / longest.sample_rate_hz)
    is_part = part[1] - part[0] < whole.sound.seconds
    strip, total_s = None, longest.duration_s
    if total_s > _own_s(classified.opened) + _LEAST_S:
        ends = outline(classified.clip)
        strip = None if ends is None else Strip(ends, total_s, part, _MOST_S, _write_part)
    player(
        whole.sound,
        "prediction",
        lanes=lanes,
        marks=highlighted(classified),
        part=part if is_part else None,
        strip=strip,
        above_chart=chosen("view") == "sound",
    )
    st.caption(plain(_what_was_classified(longest, whole, is_part)))


def _bars(classified: ClassifiedClip) -> None:
    titles = [run.title for run in classified.opened.runs]
    predictions, average = classified.result.predictions, classified.result.average
    if average is not None:
        proba = np.stack([prediction.proba for prediction in predictions])
        genres = predictions[0].genres
        chart(plots.probabilities_side_by_side(genres, titles, proba, average), "panel")
        return
    several = len(predictions) > 1
    for k, prediction in in_pairs(list(enumerate(predictions)), "predictions"):
        if several:
            st.markdown(f"**{plain(titles[k])}**")
        bars = plots.probabilities(prediction.genres, prediction.proba.tolist())
        chart(bars, f"prediction_{k}" if several else "prediction")


def _what_was_classified(prediction: Prediction, whole: Song, is_part: bool) -> str:
    length_s = len(prediction.wave) / prediction.sample_rate_hz
    if length_s >= prediction.duration_s - 0.1:
        part = f"All {words.decimals(prediction.duration_s)} s were classified"
    else:
        edges_s = (prediction.start_s, prediction.start_s + length_s, prediction.duration_s)
        start, end, total = map(words.decimals, edges_s)
        where = " (between the two lines)" if is_part else ", and this is what plays"
        part = f"Seconds {start} to {end} of {total} were classified{where}"
    segments, took_s = words.plural(len(prediction.segments), "segment"), prediction.seconds
    text = f"{part}, in {segments}; it took {words.decimals(took_s, 2)} s. "
    if whole.result is not None:
        first = whole.result.predictions[0]
        proba = first.proba if whole.result.average is None else whole.result.average
        best = int(proba.argmax())
        text += f"The whole would be {first.genres[best]} with {words.percent(proba[best])}. "
    return (
        text + "The timeline shows the probabilities for each segment, as its network gives them."
    )
