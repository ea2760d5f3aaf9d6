"""The page Classify: what runs say of clips, with player and timeline. Importing this loads torch.

Networks stay in memory between visitors, verdicts of the last clips too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from genrecore.audio import decode as audio
from genrecore.errors import GenrecoreError
from genrecore.inference import ensemble as panel
from genrecore.inference import loaded as inference
from genrecore.inference.ensemble import Answer, Panel
from genrecore.inference.loaded import Verdict
from genrecore.reporting import plots
from genrecore.reporting.plots.chart import percent
from genrecore.reporting.plots.panels import panel_verdict
from genrecore.store.run import Run
from genrecore.ui.classify import doubts as classify_doubt
from genrecore.ui.classify import trust as classify_trust
from genrecore.ui.classify import why as classify_why
from genrecore.ui.classify.inputs import Given
from genrecore.ui.parts.choices import choose, choose_one, chosen, hold
from genrecore.ui.parts.frame import chart, in_percent, pair, plain, section, share_column
from genrecore.ui.parts.timeline import Lane, timeline

MOST_S = 300.0
"""The longest part that is judged at once, here: a player gets all of it."""

_VIEWS = {
    "why": "Why",
    "like": "Sounds like",
    "trust": "How far to trust it",
    "sound": "The sound itself",
}


@dataclass(frozen=True)
class Opened:
    """Runs in memory.

    Attributes:
        panel: The runs.
        key: Names them and their weights.
        titles: Of the runs.
    """

    panel: Panel
    key: tuple[tuple[str, int], ...]
    titles: tuple[str, ...]

    def in_titles(self, words: str) -> str:
        """The words with titles in place of the runs' ids."""
        for one, title in zip(self.panel.loaded, self.titles, strict=True):
            words = words.replace(one.run.run_id, title)
        return words


def opened(runs: Sequence[Run]) -> Opened:
    """The runs in memory, loaded where they are not.

    Raises:
        GenrecoreError: One is gone, cannot be read, or cannot be asked beside the others.
    """
    key = tuple((str(run.folder), _changed(run)) for run in runs)
    return Opened(_panel(key), key, tuple(run.title for run in runs))


def _changed(run: Run) -> int:
    try:
        return run.weights.stat().st_mtime_ns
    except OSError:
        raise GenrecoreError(
            f"The run {run.run_id} was deleted meanwhile; pick another one."
        ) from None


@st.cache_resource(max_entries=4, show_spinner="Loading the networks …")
def _panel(key: tuple[tuple[str, int], ...]) -> Panel:
    return panel.load([Run(Path(folder)) for folder, _ in key])


def view(of: Opened, runs: Sequence[Run], given: Sequence[Given]) -> None:
    """All clips as a table where there are several, and one of them in full."""
    picked: Given | None = given[0]
    if len(given) > 1:
        picked = _choose(of, runs, given)
    if picked is None:
        return
    pictures = of.panel.loaded[0].medium == "image"
    start_s, length_s = (None, None) if pictures else _excerpt(of, picked)
    answer = _answer(of.key, picked.key, picked.name, start_s, length_s, picked)
    _in_full(of, runs, picked, answer)


def _choose(of: Opened, runs: Sequence[Run], given: Sequence[Given]) -> Given | None:
    """The table of several clips, and the one that is picked; None where none can be used."""
    judged = _answers(of, runs, given)
    problems = [one.answer.problem for one in judged if one.answer.problem]
    for problem in problems[:3]:
        st.error(plain(problem), icon=":material/error:")
    if len(problems) > 3:
        with st.expander(f"{len(problems) - 3} more files cannot be used"):
            for problem in problems[3:]:
                st.markdown(plain(problem))
    good = {
        one.key: one for one, found in zip(given, judged, strict=True) if not found.answer.problem
    }
    if not good:
        return None
    if len(good) == 1:
        return next(iter(good.values()))
    _summary([one for one in judged if not one.answer.problem])
    words = {key: one.name for key, one in good.items()}
    return good[choose_one("Show", list(good), "clip", words=words.__getitem__)]


def _answers(of: Opened, runs: Sequence[Run], given: Sequence[Given]) -> list[_Judged]:
    """What the runs say of every clip, without their sound; computed once, with progress."""
    kept = _kept_answers(of.key, classify_doubt.kept(runs))
    waiting = [one for one in given if one.key not in kept]
    if waiting:
        bar = st.progress(0.0, f"Classifying {len(waiting)} clips …")
        found = of.panel.classify_many([one.path for one in waiting], [one.name for one in waiting])
        for n_done, (one, answer) in enumerate(zip(waiting, found, strict=True), start=1):
            doubts = classify_doubt.kinds(of.key, runs, of.panel.loaded, answer)
            kept[one.key] = _Judged(_without_sound(answer), ", ".join(doubts))
            bar.progress(n_done / len(waiting), f"{n_done} of {len(waiting)} clips classified")
        bar.empty()
    return [
        replace(kept[one.key], answer=replace(kept[one.key].answer, name=one.name)) for one in given
    ]


@dataclass(frozen=True)
class _Judged:
    """An answer without its sound, and what there is to doubt of it, in a word each."""

    answer: Answer
    doubts: str


@st.cache_resource(max_entries=4, show_spinner=False)
def _kept_answers(
    key: tuple[tuple[str, int], ...], known: tuple[tuple[int, int], ...]
) -> dict[str, _Judged]:
    return {}


def _without_sound(answer: Answer) -> Answer:
    """A thousand clips in memory would be gigabytes of sound."""
    silent = [replace(one, wave=one.wave[:0], picture=None) for one in answer.verdicts]
    return replace(answer, verdicts=tuple(silent))


def _summary(judged: Sequence[_Judged]) -> None:
    rows = []
    for one in judged:
        answer, first = one.answer, one.answer.verdicts[0]
        proba = first.proba if answer.average is None else answer.average
        genre = first.genres[int(proba.argmax())]
        row: dict[str, Any] = {"Clip": answer.name, "Genre": genre}
        row["Probability"] = float(proba.max())
        if len(answer.verdicts) > 1:
            n_agreeing = sum(verdict.genre == genre for verdict in answer.verdicts)
            row["Runs that say so"] = f"{n_agreeing} of {len(answer.verdicts)}"
        row["Doubts"] = one.doubts or None
        if first.duration_s:
            row["Length"] = f"{first.duration_s:.1f} s"
        rows.append(row)
    table = pd.DataFrame(rows)
    if table["Doubts"].isna().all():
        table = table.drop(columns="Doubts")
    st.dataframe(
        in_percent(table, ["Probability"]),
        hide_index=True,
        height=min(38 + 35 * len(rows), 330),
        placeholder="none",
        column_config={"Probability": share_column()},
    )


@st.cache_resource(max_entries=24, show_spinner="Listening …")
def _answer(
    key: tuple[tuple[str, int], ...],
    clip: str,
    name: str,
    start_s: float | None,
    length_s: float | None,
    _given: Given,
) -> Answer:
    return _panel(key).classify(_given.path, name, start_s, length_s)


def _excerpt(of: Opened, picked: Given) -> tuple[float | None, float | None]:
    """(start, length) in s of the part that is judged; (None, None) for each run's own middle."""
    total_s = _duration_s(picked.key, picked)
    own_s = max(one.config.audio.clip_s for one in of.panel.loaded)
    if total_s <= own_s + 1.0:
        return None, None
    section(
        "Which part",
        f"The clip lasts {_clock(total_s)}; the middle {own_s:.0f} s are judged unless you choose.",
    )
    middle_s = (total_s - own_s) / 2
    last_s = math.floor(total_s)
    begin_s = min(_number("start", middle_s), last_s - 1.0)
    end_s = min(begin_s + _number("length", own_s), total_s, begin_s + MOST_S)
    hold("slider_part", (round(begin_s, 1), round(min(end_s, last_s), 1)))

    def write() -> None:
        low, high = st.session_state["slider_part"]
        high = max(min(high, low + MOST_S), low + 1.0)
        choose("start", f"{low:g}")
        choose("length", f"{high - low:g}")

    st.slider(
        "Part of the clip (s)",
        0.0,
        float(last_s),
        step=0.5,
        format="%.1f",
        key="slider_part",
        on_change=write,
        help=f"At most {MOST_S / 60:.0f} minutes are judged at once.",
    )
    if not chosen("start"):
        return None, None
    return begin_s, end_s - begin_s


@st.cache_data(max_entries=64, show_spinner=False)
def _duration_s(key: str, _given: Given) -> float:
    """As the header says it; 0 where it cannot be read, which classifying then says in words."""
    try:
        return audio.inspect(_given.path, _given.name).duration_s
    except GenrecoreError:
        return 0.0


def _number(name: str, default: float) -> float:
    try:
        value = float(chosen(name))
    except ValueError:
        return default
    return value if math.isfinite(value) and value >= 0 else default


def _in_full(of: Opened, runs: Sequence[Run], picked: Given, answer: Answer) -> None:
    """Doubts, the verdict in words, player and timeline, the bars, and what explains it."""
    verdicts = answer.verdicts
    longest = max(verdicts, key=lambda one: len(one.wave))
    label = f" · labelled {plain(picked.genre)}" if picked.genre else ""
    st.markdown(f":gray[{plain(answer.name)}{label}]")
    doubts = st.container(gap="small")  # they stand first and take longest
    _headline(of, answer)
    if longest.picture is not None:
        st.image(longest.picture.transpose(1, 2, 0))
    else:
        _play(of, verdicts, longest)
        st.caption(_what_was_judged(longest))
    _bars(of, answer)
    with doubts:
        caution = of.in_titles(of.panel.caution)
        classify_doubt.warnings(of.key, runs, of.panel.loaded, answer, picked.key, caution)
    views = dict(_VIEWS)
    if longest.picture is not None:
        views = {"trust": _VIEWS["trust"]}
    name = choose_one("Show", list(views), "view", words=views.__getitem__, radio=True,
                      hide_label=True)  # fmt: skip
    if name == "why":
        classify_why.why(of.key, runs, of.panel.loaded, verdicts, picked.key)
    elif name == "like":
        classify_doubt.sounds_like(of.key, runs, of.panel.loaded, verdicts, picked.key)
    elif name == "trust":
        classify_trust.reliability(runs, of.panel.loaded, verdicts)
    else:
        _sound(longest, picked.key)


def _headline(of: Opened, answer: Answer) -> None:
    verdicts = answer.verdicts
    if len(verdicts) == 1:
        st.markdown(_in_words(verdicts[0].genres, verdicts[0].proba))
        return
    words = of.in_titles(answer.agreement)
    if answer.average is not None:
        st.markdown(_in_words(verdicts[0].genres, answer.average, " on average"))
        st.markdown(plain(words))
    else:
        st.markdown(f"### {plain(words)}")
        st.caption(plain(of.panel.note))


def _in_words(genres: Sequence[str], proba: np.ndarray, how: str = "") -> str:
    first, second = np.argsort(-proba)[:2]
    return (
        f"### {plain(genres[first])} :gray[with {percent(proba[first])}{how}, then "
        f"{plain(genres[second])} with {percent(proba[second])}]"
    )


def _play(of: Opened, verdicts: Sequence[Verdict], longest: Verdict) -> None:
    with st.container(key="player_verdict"):
        st.audio(audio.to_wav_bytes(longest.wave, longest.sample_rate_hz), format="audio/wav")
    lanes = []
    for verdict, title in zip(verdicts, of.titles, strict=True):
        # Times count from the start of what the player plays.
        moved = verdict.segments.assign(
            start_s=verdict.segments["start_s"] - longest.start_s,
            end_s=verdict.segments["end_s"] - longest.start_s,
        )
        lanes.append(Lane(title, moved))
    duration_s = len(longest.wave) / longest.sample_rate_hz
    timeline("player_verdict", lanes, duration_s, "timeline")
    with st.popover("Numbers", type="tertiary", icon=":material/table:", key="timeline_numbers"):
        st.caption("What each run says of each segment, before calibration.")
        for lane in lanes:
            if len(lanes) > 1:
                st.markdown(f"**{plain(lane.title)}**")
            table = plots.verdict_over_time(lane.segments).table
            shares = [str(name) for name in table if name not in ("From (s)", "To (s)")]
            st.dataframe(
                in_percent(table, shares),
                hide_index=True,
                column_config={name: share_column() for name in shares},
            )


def _bars(of: Opened, answer: Answer) -> None:
    verdicts = answer.verdicts
    if len(verdicts) == 1:
        chart(plots.verdict(verdicts[0].genres, verdicts[0].proba.tolist()), "verdict")
    elif answer.average is not None:
        proba = np.stack([one.proba for one in verdicts])
        drawn = panel_verdict(verdicts[0].genres, of.titles, proba, answer.average)
        chart(drawn, "panel")
    else:
        places = [column for k in range(0, len(verdicts), 2) for column in pair(f"verdicts_{k}")]
        for k, (verdict, title) in enumerate(zip(verdicts, of.titles, strict=True)):
            with places[k]:
                st.markdown(f"**{plain(title)}**")
                chart(plots.verdict(verdict.genres, verdict.proba.tolist()), f"verdict_{k}")


def _what_was_judged(verdict: Verdict) -> str:
    judged_s = len(verdict.wave) / verdict.sample_rate_hz
    n = len(verdict.segments)
    part = (
        f"All {verdict.duration_s:.1f} s were judged"
        if judged_s >= verdict.duration_s - 0.1
        else f"Seconds {verdict.start_s:.1f} to {verdict.start_s + judged_s:.1f} of "
        f"{verdict.duration_s:.1f} were judged, and this is what plays"
    )
    return (
        f"{part}, in {n} segment{'s' if n != 1 else ''}; it took {verdict.seconds:.2f} s. The "
        "timeline shows what the network makes of each segment, before calibration; click to go "
        "there."
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d} min"


def _sound(verdict: Verdict, key: str) -> None:
    chart(plots.waveform(verdict.wave, verdict.sample_rate_hz), "clip_wave")
    chart(plots.mel_spectrogram(*_picture(key, verdict.start_s, verdict)), "clip_mel")


@st.cache_data(max_entries=8, show_spinner=False)
def _picture(
    key: str, start_s: float, _verdict: Verdict
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return inference.mel_picture(_verdict.wave, _verdict.sample_rate_hz)
