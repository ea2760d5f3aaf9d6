"""An uploaded clip: player, verdict, waveform and spectrogram. Importing this imports torch."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import streamlit as st

from genrecore import inference, plots
from genrecore.errors import GenrecoreError
from genrecore.inference import LoadedRun, Verdict
from genrecore.plots.chart import percent
from genrecore.runs import Run
from genrecore.ui.frame import chart, in_percent, pair, plain, share_column


@dataclass(frozen=True)
class Heard:
    """An uploaded file and what came of it: a verdict, or the sentence that says why not."""

    name: str
    verdict: Verdict | None
    problem: str


def listen(run: Run, files: list[Any]) -> list[Heard]:
    """The verdict of the run on each uploaded file; one bad file leaves the others alone."""
    heard = []
    for file in files:
        data = file.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        try:
            verdict = _verdict(str(run.folder), _changed(run), digest, file.name, data)
            heard.append(Heard(file.name, verdict, ""))
        except GenrecoreError as error:
            heard.append(Heard(file.name, None, str(error)))
    return heard


def _changed(run: Run) -> int:
    return run.weights.stat().st_mtime_ns


@st.cache_resource(max_entries=2, show_spinner="Loading the network …")
def _loaded(folder: str, changed: int) -> LoadedRun:
    return inference.load(Run(Path(folder)))


@st.cache_data(max_entries=32, show_spinner="Listening …")
def _verdict(folder: str, changed: int, digest: str, name: str, _data: bytes) -> Verdict:
    return _loaded(folder, changed).classify(_data, name=name)


@st.cache_data(max_entries=16, show_spinner=False)
def _wav(digest: str, _wave: np.ndarray, sample_rate_hz: int) -> bytes:
    # Decoded sound, not the uploaded file: browsers play neither .au nor .aiff, and what is heard
    # should be what was judged.
    stream = io.BytesIO()
    soundfile.write(stream, _wave, sample_rate_hz, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def show_all(heard: list[Heard]) -> None:
    """Problems as sentences, several clips as a table, and one clip in full."""
    for one in heard:
        if one.problem:
            st.error(plain(one.problem), icon=":material/error:")
    good = [one for one in heard if one.verdict]
    if not good:
        return
    picked = 0
    if len(good) > 1:
        summary(good)
        picked = st.selectbox(
            "Show", range(len(good)), format_func=lambda place: good[place].name, key="clip"
        )
    if verdict := good[picked].verdict:
        st.markdown(f":gray[{plain(verdict.name)}]")
        show(verdict, "clip")


def summary(heard: list[Heard]) -> None:
    """A table of all clips with their verdicts."""
    rows = [
        {
            "Clip": one.name,
            "Genre": one.verdict.genre,
            "Probability": float(one.verdict.proba.max()),
            "Length": f"{one.verdict.duration_s:.1f} s",
        }
        for one in heard
        if one.verdict
    ]
    st.dataframe(
        in_percent(pd.DataFrame(rows), ["Probability"]),
        hide_index=True,
        column_config={"Probability": share_column()},
    )


def show(verdict: Verdict, key: str) -> None:
    """The verdict in a sentence, the player, and the four pictures of a clip."""
    order = np.argsort(-verdict.proba)
    first, second = order[0], order[1]
    st.markdown(
        f"### {plain(verdict.genres[first])} "
        f":gray[with {percent(verdict.proba[first])}, then "
        f"{plain(verdict.genres[second])} with {percent(verdict.proba[second])}]"
    )
    digest = hashlib.sha256(verdict.wave.tobytes()).hexdigest()
    st.audio(_wav(digest, verdict.wave, verdict.sample_rate_hz), format="audio/wav")
    st.caption(_what_was_judged(verdict))
    left, right = pair("verdict", left=2, right=3)
    with left:
        chart(plots.verdict(verdict.genres, verdict.proba.tolist()), f"{key}_verdict")
    with right:
        # Times count from the start of what the player plays.
        segments = verdict.segments.assign(
            start_s=verdict.segments["start_s"] - verdict.start_s,
            end_s=verdict.segments["end_s"] - verdict.start_s,
        )
        chart(plots.verdict_over_time(segments), f"{key}_over_time")
    chart(plots.waveform(verdict.wave, verdict.sample_rate_hz), f"{key}_wave")
    chart(
        plots.mel_spectrogram(*_picture(digest, verdict.wave, verdict.sample_rate_hz)), f"{key}_mel"
    )


@st.cache_data(max_entries=8, show_spinner=False)
def _picture(
    digest: str, _wave: np.ndarray, sample_rate_hz: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return inference.mel_picture(_wave, sample_rate_hz)


def _what_was_judged(verdict: Verdict) -> str:
    judged_s = len(verdict.wave) / verdict.sample_rate_hz
    whole = judged_s >= verdict.duration_s - 0.1
    part = (
        f"All {verdict.duration_s:.1f} s were judged"
        if whole
        else f"Seconds {verdict.start_s:.1f} to {verdict.start_s + judged_s:.1f} of "
        f"{verdict.duration_s:.1f} were judged, and this is what plays"
    )
    return f"{part}, in {len(verdict.segments)} segments; it took {verdict.seconds:.2f} s."
