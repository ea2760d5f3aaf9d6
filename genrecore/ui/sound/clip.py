"""The clip of the page Sound: chosen or uploaded, cut to an excerpt, heard, with its beats.

Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st
from pydantic.fields import FieldInfo

from genrecore.audio import decode as audio
from genrecore.config.run import Audio
from genrecore.data.datasets import DATASETS
from genrecore.errors import AudioError, describe
from genrecore.jobs.actions import start_task
from genrecore.reporting import plots
from genrecore.ui.datasets import readers as reading
from genrecore.ui.datasets.choice import Chosen, address, prepare_words
from genrecore.ui.datasets.form import choose_dataset
from genrecore.ui.datasets.listening import show
from genrecore.ui.datasets.readers import Dataset
from genrecore.ui.datasets.sources import how_to_get
from genrecore.ui.datasets.tasks import is_working, latest, watch
from genrecore.ui.parts import fields
from genrecore.ui.parts.choices import choose, choose_one, chosen, hold
from genrecore.ui.parts.frame import chart, empty, pair, plain, sentences, upload_types

MOST_S = 31.0
"""The longest excerpt: longer ones only make pictures that nobody can read."""

_DEFAULT_S = 10.0
_LEAST_S = 0.1
_MOST_LISTED = 400
_ALL = "all genres"
_FROM = {"dataset": "A dataset", "upload": "A file of yours"}


@dataclass(frozen=True)
class Excerpt:
    """A piece of a clip as the network's feature gets it.

    Attributes:
        key: Names file, place and rate.
        name: Of the clip.
        genre: Its label; empty for an upload.
        wave: (n_samples,) float32 in [-1, 1].
        wav: The same as a file, for players.
        sample_rate_hz: Of the wave.
        start_s: Where in the clip it begins.
    """

    key: str
    name: str
    genre: str
    wave: np.ndarray
    wav: bytes
    sample_rate_hz: int
    start_s: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.wave) / self.sample_rate_hz


@dataclass(frozen=True)
class Picked:
    """What was chosen: an excerpt of a recording, or a picture or row that a dataset ships.

    Attributes:
        medium: `wave`, `image` or `table`, as features take it.
        excerpt: Where the medium is `wave`.
        picture: (height, width, 3) uint8 where it is `image`.
        data: The dataset, where the clip is of one.
        query: The choices in the address with which other pages open on the dataset.
    """

    medium: str
    excerpt: Excerpt | None = None
    picture: np.ndarray | None = None
    data: Dataset | None = None
    query: Mapping[str, str] | None = None


@dataclass(frozen=True)
class File:
    """A recording: a path, or the bytes of an upload; `key` names either."""

    key: str
    name: str
    genre: str
    content: str | bytes

    @property
    def stamp(self) -> str:
        """When it was changed.

        Raises:
            AudioError: It is not there any more.
        """
        if isinstance(self.content, bytes):
            return ""
        try:
            return str(os.stat(self.content).st_mtime_ns)
        except OSError as error:
            raise AudioError(f"{self.name}: {describe(error)}") from None

    @property
    def limits(self) -> dict[str, float | None]:
        """Of the decoder: a dataset's clips are of any length."""
        return {"least_s": 0.0, "most_s": None} if isinstance(self.content, str) else {}


def sample_rate_hz() -> int:
    """The rate of the URL."""
    info = Audio.model_fields["sample_rate_hz"]
    said = chosen("audio.sample_rate_hz")
    return int(said) if said in ("16000", "44100") else int(info.get_default())


def choose_clip() -> Picked | None:
    """The clip of the URL or an upload, with its player; None where the page says what to do."""
    left, right = pair("clip", left=2, right=3)
    with left:
        where = choose_one("Clip from", list(_FROM), "from", words=_FROM.__getitem__, radio=True)
        dataset = None if where == "upload" else choose_dataset()
        file = _uploaded() if dataset is None else None
    row: pd.Series | None = None
    data, query = None, None
    if dataset is not None:
        query = address(dataset)
        with right:
            data = opened(dataset)
        with left:
            row = None if data is None else choose_row(data)
    with right:
        if dataset is None and file is None:
            empty(
                "No file has been chosen yet.",
                "Upload a piece of music: it is decoded here and goes nowhere else. Or take a clip "
                "of a dataset.",
            )
        with sentences():
            if row is not None and row["medium"] != "audio":
                return _ready_made(data, row, query)
            if row is not None:
                file = file_of(row)
            if file is not None:
                return Picked("wave", _excerpt(file), data=data, query=query)
    return None


def _uploaded() -> File | None:
    upload = st.file_uploader("File", type=upload_types(audio.FORMATS), key="sound_file")
    if upload is None:
        return None
    content = upload.getvalue()
    return File(hashlib.sha256(content).hexdigest(), upload.name, "", content)


def file_of(clip: pd.Series) -> File:
    """The recording of a row of a clip table."""
    return File(str(clip["path"]), str(clip["clip_id"]), str(clip["genre"]), str(clip["path"]))


def opened(picked: Chosen) -> Dataset | None:
    """The dataset's clips; or None, and what to do to have them."""
    if DATASETS[picked.name].facts.needs_folder and not picked.options.get("folder"):
        how_to_get(picked)
        return None
    if not reading.is_made(picked):
        words = prepare_words(picked)
        if not is_working(latest(words)):
            empty(
                "The demo music has not been made yet.",
                "It is composed once, in about a minute, in a process of its own, and then lies in "
                "the cache folder.",
            )
            if st.button(
                "Make the demo music", type="primary", icon=":material/play_arrow:", key="make"
            ):
                with sentences():
                    start_task(words, f"Preparing {picked.name}")
                    st.rerun()
        watch(words)
        return None
    with sentences():
        if DATASETS[picked.name].facts.needs_folder:
            reading.check_folder(picked)
        return reading.read(picked)
    return None


def choose_row(data: Dataset) -> pd.Series | None:
    """The row of the clip that the URL names, or the first."""
    genres = sorted(data.clips["genre"].unique())
    left, right = st.columns(2, gap="medium")
    with left:
        genre = choose_one("Genre", [_ALL, *genres], "genre")
    rows = data.clips if genre == _ALL else data.clips[data.clips["genre"] == genre]
    with right:
        if len(rows) > _MOST_LISTED:
            part = st.text_input("Find", key="find", placeholder="Part of a clip's name").strip()
            rows = rows[rows["clip_id"].str.contains(part, case=False, regex=False)]
            wanted = rows[rows["clip_id"] == chosen("clip")]
            rows = pd.concat([wanted, rows.head(_MOST_LISTED)]).drop_duplicates("clip_id")
        if rows.empty:
            st.caption("No clip's name has this in it.")
            return None
        clip_id = choose_one("Clip", rows["clip_id"].to_list(), "clip")
    return rows[rows["clip_id"] == clip_id].iloc[0]


def _ready_made(data: Dataset | None, clip: pd.Series, query: Mapping[str, str] | None) -> Picked:
    """A clip of a dataset that ships pictures or tables."""
    if data is not None:
        show(data, str(clip["clip_id"]), "ready_made")
    if clip["medium"] != "image":
        return Picked("table", data=data, query=query)
    return Picked("image", None, reading.picture(str(clip["path"])), data, query)


def _excerpt(file: File) -> Excerpt:
    """Player and sliders of a recording, and what they cut out of it."""
    total_s = _duration_s(f"{file.key}|{file.stamp}", file)
    length_s, start_s = _asked(total_s)
    last_s = math.floor(10 * (total_s - length_s) + 1e-6) / 10
    place = st.empty()  # the player stands above what it depends on
    columns = iter(st.columns(3 if last_s > 0 else 2, gap="medium"))
    if last_s > 0:
        with next(columns):
            start_s = _slider("Start (s)", "start", 0.0, last_s, min(start_s, last_s), None)
    with next(columns):
        length_s = _slider(
            "Length (s)", "length", _LEAST_S, min(MOST_S, total_s), length_s, _DEFAULT_S
        )
    with next(columns):
        info = Audio.model_fields["sample_rate_hz"]
        rate = int(fields.field("audio.sample_rate_hz", info, info.get_default()))
    found = cut(file, start_s, length_s, rate)
    with place.container(gap="small"):
        genre = f" :gray[{plain(found.genre)}]" if found.genre else ""
        st.markdown(f"**{plain(found.name)}**{genre}")
        st.audio(found.wav, format="audio/wav")
    _wave_and_beats(found)
    return found


def excerpt_like(file: File, other: Excerpt) -> Excerpt:
    """The beginning of another recording, as long as an excerpt (filled up with zeros)."""
    found = cut(file, 0.0, other.seconds, other.sample_rate_hz)
    wave = np.zeros_like(other.wave)
    n = min(len(wave), len(found.wave))
    wave[:n] = found.wave[:n]
    wav = audio.to_wav_bytes(wave, other.sample_rate_hz)
    key = f"{found.key}|{len(wave)}"
    return Excerpt(key, found.name, found.genre, wave, wav, other.sample_rate_hz, 0.0)


def cut(file: File, start_s: float, length_s: float, rate: int) -> Excerpt:
    """An excerpt of a recording.

    Raises:
        AudioError: It cannot be used, and why.
    """
    key = f"{file.key}|{file.stamp}"
    wave, wav = _decoded(key, start_s, length_s, rate, file)
    key = f"{key}|{start_s:.2f}|{length_s:.2f}|{rate}"
    return Excerpt(key, file.name, file.genre, wave, wav, rate, start_s)


@st.cache_resource(max_entries=16, show_spinner="Decoding …")
def _decoded(
    key: str, start_s: float, length_s: float, rate: int, _file: File
) -> tuple[np.ndarray, bytes]:
    whole = start_s == 0.0 and length_s >= _duration_s(key, _file)
    place = "" if whole else f", seconds {start_s:.1f} to {start_s + length_s:.1f},"
    found = audio.decode(
        _file.content,
        rate,
        name=f"{_file.name}{place}",
        start_s=start_s,
        middle_s=length_s,
        **_file.limits,  # type: ignore[arg-type]
    )
    return found.wave, audio.to_wav_bytes(found.wave, rate)


@st.cache_data(max_entries=64, show_spinner=False)
def _duration_s(key: str, _file: File) -> float:
    """As the header says it, rounded down to tenths."""
    found = audio.inspect(_file.content, _file.name)
    return max(2 * _LEAST_S, math.floor(10 * found.duration_s + 1e-6) / 10)


def _asked(total_s: float) -> tuple[float, float]:
    """Length and start that the URL asks for, as far as the clip allows; by default 10 s of the
    middle."""
    length_s = min(_number("length", _DEFAULT_S), total_s, MOST_S)
    length_s = max(length_s, _LEAST_S)
    middle_s = math.floor(5 * (total_s - length_s)) / 10
    return length_s, max(0.0, _number("start", middle_s))


def _number(name: str, default: float) -> float:
    try:
        value = float(chosen(name))
    except ValueError:
        return default
    return value if math.isfinite(value) else default


def _slider(
    label: str, name: str, low: float, high: float, wanted: float, default: float | None
) -> float:
    """A slider in tenths of a second, bound to the URL."""
    key = f"slider_{name}"
    wanted = round(min(max(wanted, low), high), 1)
    hold(key, wanted)

    def write() -> None:
        value = st.session_state[key]
        choose(name, "" if value == default else f"{value:g}")

    return float(st.slider(label, low, high, step=0.1, format="%.1f", key=key, on_change=write))


def _wave_and_beats(excerpt: Excerpt) -> None:
    """The waveform, with its beats where they are asked for."""
    info = FieldInfo(
        annotation=bool,
        title="Mark the beats",
        description="Where librosa hears the beat. Its first call compiles, for up to a minute.",
    )
    wanted = fields.field("beats", info, False)
    times_s: list[float] = []
    if wanted:
        with (
            sentences(),
            st.spinner("Looking for the beat. The first time librosa compiles, up to a minute …"),
        ):
            bpm, times_s = _beats(excerpt.key, excerpt.wave, excerpt.sample_rate_hz)
            st.caption(_tempo_in_words(bpm, times_s))
    chart(plots.waveform(excerpt.wave, excerpt.sample_rate_hz, times_s), "waveform")


def _tempo_in_words(bpm: float, times_s: list[float]) -> str:
    if not times_s:
        return "No beat was found in this excerpt."
    return (
        f"{bpm:.0f} beats a minute, {len(times_s)} of them in this excerpt. It is a guess: half or "
        "twice the tempo that people tap is its usual mistake."
    )


@st.cache_data(max_entries=32, show_spinner=False)
def _beats(key: str, _wave: np.ndarray, rate: int) -> tuple[float, list[float]]:
    from genrecore.audio.descriptors import beat_times  # imports torch

    bpm, times_s = beat_times(_wave, rate)
    return bpm, times_s.tolist()
