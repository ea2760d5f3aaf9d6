"""The player of every page: waveform, position and keys; predictions over time; two sounds equally
loud, to switch between."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from streamlit import runtime

from genrecore import words
from genrecore.audio import decode
from genrecore.audio.levels import envelope, loudness_lufs
from genrecore.reporting.columns import Column
from genrecore.reporting.plots import genre_colours, probabilities_over_time
from genrecore.reporting.plots.chart import BESIDE_TIME
from genrecore.ui.parts.cache import cached_by_files, no_files
from genrecore.ui.parts.frame import plain
from genrecore.ui.parts.tables import show_table

_HERE = Path(__file__).parent
_COLUMNS = 500  # of the waveform: about as many as a screen shows
_LEAST_NAMED = 0.12  # of the length that a genre must lead to have its name written there
_LEAST_GAIN_DB = 0.05
_LEAST_REACH = 0.1  # of full scale: what is quieter than that looks quiet


@dataclass(frozen=True)
class SoundExcerpt:
    """A part of a recording.

    Attributes:
        name: Of the recording; `genre` is empty for an upload.
        wave: (n_samples,) float32, 1 being full scale.
        start_s: Where in the recording it begins.
        total_s: How long the whole recording is.
        key: Names the wave; made from it.
    """

    name: str
    genre: str
    wave: np.ndarray
    sample_rate_hz: int
    start_s: float = 0.0
    total_s: float = 0.0
    key: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.wave.tobytes()).hexdigest()
        object.__setattr__(self, "key", f"{digest}|{self.sample_rate_hz}")

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.wave) / self.sample_rate_hz

    def with_wave(self, wave: np.ndarray) -> SoundExcerpt:
        """The same with a changed wave."""
        return replace(self, wave=wave)


@dataclass(frozen=True)
class Lane:
    """One run's prediction over time.

    Attributes:
        title: Of the run; shown where there are several lanes.
        segments: `start_s, end_s` in the recording and `p_<genre>…`, a row a segment.
    """

    title: str
    segments: pd.DataFrame


@dataclass(frozen=True)
class Marks:
    """Stretches of a recording that stand out: each is (start_s, end_s, strength in 0 … 1)."""

    title: str
    stretches: Sequence[tuple[float, float, float]]


@dataclass(frozen=True)
class Strip:
    """The whole recording, on which a person chooses a part of it.

    Attributes:
        outline: The lowest and the highest sample of each of n equal stretches, (n, 2).
        total_s: How long the recording is.
        part: (start_s, end_s) of the part that is chosen.
        most_s: The longest part that can be chosen.
        choose: Gets start and end, in s, of another part, before the page is drawn anew.
    """

    outline: np.ndarray
    total_s: float
    part: tuple[float, float]
    most_s: float
    choose: Callable[[float, float], None]


@dataclass(frozen=True)
class _Media:
    """A sound as the browser gets it: a file at full scale, and its outline in hundredths."""

    wav: bytes
    outline: list[int]
    peak: float


def player(
    sounds: SoundExcerpt | Mapping[str, SoundExcerpt],
    key: str,
    *,
    lanes: Sequence[Lane] = (),
    marks: Marks | None = None,
    part: tuple[float, float] | None = None,
    strip: Strip | None = None,
    beats_s: Sequence[float] = (),
    above_chart: bool = False,
    now: bool = False,
) -> None:
    """Plays a sound, or several by their titles, equally loud and with a switch between them.

    The sound itself goes to the browser when somebody presses play. Of several, each is drawn as
    loud as it is heard; versions of one excerpt share one position.

    Args:
        sounds: What plays; what is louder than full scale becomes quieter instead of being cut.
        key: Names the player on the page.
        lanes: Predictions over time, one a run, drawn below the waveform.
        marks: Stretches that are marked on the waveform.
        part: (start_s, end_s) of the stretch that matters; playing begins there.
        strip: The whole recording above the sound, where a part of it can be chosen.
        beats_s: Times of beats in the recording.
        above_chart: Whether a chart over time stands below: both then have the same edges.
        now: Whether it begins to play by itself.
    """
    versions = {sounds.name: sounds} if isinstance(sounds, SoundExcerpt) else dict(sounds)
    several = list(versions.values())
    media = [_media(sound) for sound in several]
    gains_db = _gains_db(several, media)
    loudest = max(1.0, *(each.peak for each in media))
    end_s = several[0].start_s + several[0].seconds
    stretches = np.round(marks.stretches, 3).tolist() if marks else []
    data = {
        "name": several[0].name,
        "sounds": [
            {
                "title": title,
                "url": _address(sound, each.wav, f"player.{key}.{n}"),
                "outline": each.outline,
                "start_s": round(sound.start_s, 3),
                "duration_s": round(sound.seconds, 3),
                "total_s": round(max(sound.total_s, sound.start_s + sound.seconds), 3),
                "volume": round(each.peak / loudest, 5),
                "matched": round(each.peak * 10 ** (gain_db / 20), 5),
            }
            for n, ((title, sound), each, gain_db) in enumerate(
                zip(versions.items(), media, gains_db, strict=True)
            )
        ],
        "aligned": len({(sound.name, sound.start_s) for sound in several}) == 1,
        "is_matched": any(abs(gain_db) >= _LEAST_GAIN_DB for gain_db in gains_db),
        "matched": _in_words(dict(zip(versions, gains_db, strict=True))),
        "least_reach": _LEAST_REACH,
        "lanes": [_as_data(lane, end_s, several[0].seconds) for lane in lanes],
        "marks": {"title": marks.title, "stretches": stretches} if marks else None,
        "part": part and [round(part[0], 3), round(part[1], 3)],
        "strip": strip
        and {
            "outline": _in_hundredths(strip.outline / (np.abs(strip.outline).max() or 1.0)),
            "total_s": round(strip.total_s, 3),
            "part": [round(strip.part[0], 3), round(strip.part[1], 3)],
            "most_s": strip.most_s,
        },
        "beats": [round(float(at_s), 3) for at_s in beats_s],
        "insets": BESIDE_TIME if above_chart else (0, 0),
        "now": now,
    }
    choosing: dict[str, Any] = {}
    if strip is not None:
        choose = strip.choose
        choosing["on_part_change"] = lambda: choose(*st.session_state[f"player_{key}"]["part"])
    _component()(data=data, key=f"player_{key}", **choosing)
    if lanes:
        _numbers(lanes, f"player_{key}_numbers")


def _numbers(lanes: Sequence[Lane], key: str) -> None:
    with st.popover("Numbers", type="tertiary", icon=":material/table:", key=key):
        st.caption("The probabilities for each segment, as the network gives them.")
        for lane in lanes:
            if len(lanes) > 1:
                st.markdown(f"**{plain(lane.title)}**")
            table = probabilities_over_time(lane.segments).table
            genres = [str(name) for name in table if name not in ("From (s)", "To (s)")]
            show_table(table, special={name: Column(name, "share") for name in genres})


@functools.cache
def _component() -> Any:
    return st.components.v2.component(
        "genrecore_player",
        html=(_HERE / "player.html").read_text(encoding="utf-8"),
        css=(_HERE / "player.css").read_text(encoding="utf-8"),
        js=(_HERE / "player.js").read_text(encoding="utf-8"),
    )


@cached_by_files(no_files, max_entries=40, shared=True)
def _media(sound: SoundExcerpt) -> _Media:
    peak = float(np.abs(sound.wave).max(initial=0.0))
    wave = sound.wave / (peak or 1.0)
    low, high, _ = envelope(wave, _COLUMNS)
    outline = _in_hundredths(np.stack([low, high], axis=1))
    return _Media(decode.to_wav_bytes(wave, sound.sample_rate_hz), outline, peak)


def _in_hundredths(outline: np.ndarray) -> list[int]:
    return [int(value) for value in np.round(100 * outline).ravel()]


@cached_by_files(no_files)
def _loudness_lufs(sound: SoundExcerpt) -> float:
    return loudness_lufs(sound.wave, sound.sample_rate_hz)


def _address(sound: SoundExcerpt, wav: bytes, place: str) -> str:
    """Where the browser finds the file, for as long as the page shows it: as `st.audio` does."""
    # The name counts: of a large file Streamlit looks at three places, which equal ones may share.
    name = f"{sound.key.partition('|')[0]}.wav"
    base = str(st.get_option("server.baseUrlPath")).strip("/")
    path = runtime.get_instance().media_file_mgr.add(wav, "audio/wav", place, name)
    return f"/{base}{path}" if base else path


def _gains_db(sounds: Sequence[SoundExcerpt], media: Sequence[_Media]) -> list[float]:
    """By how much each sound is changed so that all are equally loud.

    All get the loudness of the loudest, or the greatest at which none passes full scale.
    """
    levels = [_loudness_lufs(sound) if len(sounds) > 1 else -math.inf for sound in sounds]
    audible = [(x, each.peak) for x, each in zip(levels, media, strict=True) if math.isfinite(x)]
    if len(audible) < 2:
        return [0.0] * len(sounds)
    at_full_scale = [level - 20 * math.log10(peak) for level, peak in audible]
    target = min(*at_full_scale, max(level for level, _ in audible))
    return [target - level if math.isfinite(level) else 0.0 for level in levels]


def _in_words(gains_db: Mapping[str, float]) -> str:
    parts = []
    for title, gain_db in gains_db.items():
        change = f"{words.decimals(abs(gain_db))} dB {'louder' if gain_db > 0 else 'quieter'}"
        parts.append(f"{title} {change if abs(gain_db) >= _LEAST_GAIN_DB else 'as it is'}")
    return f"Equally loud: {', '.join(parts)}." if len(parts) > 1 else ""


def _as_data(lane: Lane, end_s: float, length_s: float) -> dict[str, Any]:
    columns = [str(name) for name in lane.segments.columns if str(name).startswith("p_")]
    genres = [name.removeprefix("p_") for name in columns]
    colours = genre_colours(genres)
    proba = lane.segments[columns].to_numpy(dtype=float)
    starts = lane.segments["start_s"].to_numpy(dtype=float)
    end = min(float(lane.segments["end_s"].max()), end_s)
    return {
        "title": lane.title,
        "genres": genres,
        "colours": [colours[genre] for genre in genres],
        "starts": starts.round(3).tolist(),
        "end": round(end, 3),
        "proba": proba.round(4).tolist(),
        "names": _names(genres, proba, [*starts.tolist(), end], length_s),
    }


def _names(
    genres: list[str], proba: Any, edges_s: list[float], length_s: float
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
        if length >= _LEAST_NAMED * length_s
    ]
