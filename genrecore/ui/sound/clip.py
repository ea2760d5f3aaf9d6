"""The clip of the page Sound: its choice or upload, the excerpt, player and beats."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from pydantic.fields import FieldInfo

from genrecore import words
from genrecore.audio import decode
from genrecore.audio.descriptors import beat_times
from genrecore.config.registry import Registry
from genrecore.config.run import Audio
from genrecore.ui.datasets.choice import address, choose_dataset
from genrecore.ui.datasets.listening import (
    AudioSource,
    choose_row,
    cut,
    duration_s,
    read_image,
    show,
    source_of,
)
from genrecore.ui.datasets.opening import open_dataset
from genrecore.ui.parts import fields
from genrecore.ui.parts.cache import cached_by_files, no_files
from genrecore.ui.parts.choices import choose_number, choose_one, chosen
from genrecore.ui.parts.frame import empty, link_to, pair, plain, sentences, upload_types
from genrecore.ui.parts.player import SoundExcerpt, player

MOST_S = 31.0
"""The longest excerpt: nobody can read the image of a longer one."""

_DEFAULT_S = 10.0
_LEAST_S = 0.1
_SOURCES = {"dataset": "A dataset", "upload": "A file of yours"}


@dataclass(frozen=True)
class ClipChoice:
    """An excerpt of a recording, or an image or table row that a dataset ships.

    Attributes:
        medium: As features take it, a key of `MEDIA`.
        image: (height, width, 3) uint8.
        clips: The dataset's clip table, where the clip belongs to one.
        query: The choices in the URL with which other pages open on the dataset.
    """

    medium: str
    excerpt: SoundExcerpt | None = None
    image: np.ndarray | None = None
    clips: pd.DataFrame | None = None
    query: Mapping[str, str] | None = None

    def link_to_train(
        self, label: str, part: str, registry: Registry[Any], name: str, values: Mapping[str, Any]
    ) -> None:
        """A link to Train on the clip's dataset with this feature or augmentation."""
        if self.query is None:
            return
        query = {**self.query, part: name}
        query |= fields.query(name, fields.changed(registry, name, values))
        if rate := chosen("audio.sample_rate_hz"):
            query["audio.sample_rate_hz"] = rate
        link_to("train", label, ":material/model_training:", query)


def choose_clip() -> ClipChoice | None:
    """The clip of the URL or an upload, with its player; None where there is none yet."""
    left, right = pair("clip", left=2, right=3)
    with left:
        source = choose_one("Clip from", _SOURCES, "from", radio=True)
        if source == "upload":
            upload = st.file_uploader("File", type=upload_types(decode.FORMATS), key="sound_file")
    if source == "upload":
        with right, sentences():
            if upload is not None:
                content = upload.getvalue()
                digest = hashlib.sha256(content).hexdigest()
                audio_source = AudioSource(f"{digest}|{upload.name}", upload.name, "", content)
                return ClipChoice("wave", _choose_excerpt(audio_source))
            empty(
                "No file has been chosen yet.",
                "Upload a piece of music; it stays on the machine of this dashboard. Or take a "
                "clip of a dataset.",
            )
        return None
    with left:
        dataset = choose_dataset()
    with right:
        data = open_dataset(dataset)
    if data is None:
        return None
    with left:
        row = choose_row(data.clips)
    if row is None:
        return None
    query = address(dataset)
    with right, sentences():
        if row["medium"] == "audio":
            excerpt = _choose_excerpt(source_of(row))
            return ClipChoice("wave", excerpt, clips=data.clips, query=query)
        show(data.clips, str(row["clip_id"]), "ready_made")
        image = read_image(str(row["path"])) if row["medium"] == "image" else None
        return ClipChoice(str(row["medium"]), None, image, data.clips, query)
    return None


def _choose_excerpt(source: AudioSource) -> SoundExcerpt:
    """Player and sliders of a recording, and the excerpt that they cut out."""
    total_s = max(2 * _LEAST_S, _tenths(duration_s(source)))
    longest_s = min(MOST_S, total_s)
    slot = st.empty()  # the player stands above the sliders on which it depends
    left, middle, right = st.columns(3, gap="medium")
    with left:
        default_s = min(_DEFAULT_S, longest_s)
        length_s = choose_number(
            "Length (s)", "length", _LEAST_S, longest_s, 0.1, default_s, format="%.1f"
        )
    start_s, last_s = 0.0, _tenths(total_s - length_s)
    if last_s > 0:
        middle_s = math.floor(5 * (total_s - length_s)) / 10
        with right:
            start_s = choose_number("Start (s)", "start", 0.0, last_s, 0.1, middle_s, format="%.1f")
    with middle:
        info = Audio.model_fields["sample_rate_hz"]
        rate = int(fields.field("audio.sample_rate_hz", info, info.get_default()))
    excerpt = cut(source, start_s, length_s, rate)
    beats_s = _choose_beats(excerpt)
    with slot.container(gap="small"):
        genre = f" :gray[{plain(excerpt.genre)}]" if excerpt.genre else ""
        st.markdown(f"**{plain(excerpt.name)}**{genre}")
        player(excerpt, "clip", beats_s=[excerpt.start_s + at_s for at_s in beats_s])
    return excerpt


def _tenths(seconds: float) -> float:
    """Rounded down to tenths, as the sliders step."""
    return math.floor(10 * seconds + 1e-6) / 10


def _choose_beats(excerpt: SoundExcerpt) -> list[float]:
    """The times of the excerpt's beats (s) where they are to be marked."""
    info = FieldInfo(
        annotation=bool,
        title="Mark the beats",
        description="The beats that librosa finds. Its first call compiles, for up to a minute.",
    )
    times_s: list[float] = []
    if fields.field("beats", info, False):
        with (
            sentences(),
            st.spinner("Searching for the beat. The first time takes up to a minute …"),
        ):
            bpm, times_s = _beats(excerpt)
            st.caption(
                f"{words.decimals(bpm, 0)} beats a minute, {len(times_s)} of them in this excerpt. "
                "This is an estimate; it is often half or twice the tempo that people tap."
                if times_s
                else "No beat was found in this excerpt."
            )
    return times_s


@cached_by_files(no_files)
def _beats(excerpt: SoundExcerpt) -> tuple[float, list[float]]:
    bpm, times_s = beat_times(excerpt.wave, excerpt.sample_rate_hz)
    return bpm, times_s.tolist()
