"""Clips to hear and to see: excerpts of recordings, lists to pick from, player and spectrogram."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from genrecore import words
from genrecore.audio import decode
from genrecore.audio.spectra import log_mel_image
from genrecore.data.arrays import read_array
from genrecore.data.datasets.tables import read_table
from genrecore.errors import GenrecoreError, describe
from genrecore.reporting import plots
from genrecore.reporting.columns import Column
from genrecore.store.files import open_named
from genrecore.ui.datasets.readers import Dataset
from genrecore.ui.parts.cache import cached_by_files, no_files
from genrecore.ui.parts.choices import choose, choose_one, chosen
from genrecore.ui.parts.frame import chart, empty, pair, plain, section
from genrecore.ui.parts.player import Lane, SoundExcerpt, player
from genrecore.ui.parts.tables import ANYWHERE_IN_A_ROW, clicked_row, show_table

SAMPLE_RATE_HZ = 22_050
"""Of the players; also what probes on the page Errors change."""
MOST_HEARD_S = 60.0
"""The middle of a longer clip plays: a whole album would be too much for the browser."""
ALL_GENRES = "all genres"

_PAGE_ROWS = 100
_MOST_OPTIONS = 400  # of a select box
_COLUMNS = ("clip_id", "genre", "artist", "album", "duration_s")


@dataclass(frozen=True)
class AudioSource:
    """A path, or the bytes of an upload; `key` names all of it, `genre` is empty for an upload."""

    key: str
    name: str
    genre: str
    content: str | bytes


def source_of(clip: pd.Series) -> AudioSource:
    """The recording of a row of a clip table."""
    path, clip_id, genre = str(clip["path"]), str(clip["clip_id"]), str(clip["genre"])
    return AudioSource(f"{path}|{clip_id}|{genre}", clip_id, genre, path)


def _files(source: AudioSource, *_: object) -> list[Path]:
    return [Path(source.content)] if isinstance(source.content, str) else []


@cached_by_files(_files, spinner="Decoding …", max_entries=40, shared=True)
def cut(
    source: AudioSource, start_s: float | None, length_s: float, sample_rate_hz: int
) -> SoundExcerpt:
    """An excerpt of a recording; without `start_s` its middle.

    Raises:
        AudioError: It cannot be used, and why.
    """
    name = source.name
    if start_s is not None and (start_s > 0.0 or length_s < duration_s(source)):
        name += f", seconds {start_s:.1f} to {start_s + length_s:.1f},"
    # A dataset's clips are of any length; an upload lasts as long as training asks for at least.
    least_s = 0.0 if isinstance(source.content, str) else 1.0
    decoded = decode.decode(
        source.content,
        sample_rate_hz,
        name=name,
        start_s=start_s,
        middle_s=length_s,
        least_s=least_s,
        accept_damaged=True,
    )
    return SoundExcerpt(
        source.name, source.genre, decoded.wave, sample_rate_hz, decoded.start_s, decoded.duration_s
    )


@cached_by_files(_files)
def duration_s(source: AudioSource) -> float:
    """How long a recording is by its header.

    Raises:
        AudioError: It cannot be read.
    """
    return decode.inspect(source.content, source.name).duration_s


def draw_mel(excerpt: SoundExcerpt, key: str) -> None:
    """The mel spectrogram, with the edges of the player above it."""
    span_s = (excerpt.start_s, excerpt.start_s + excerpt.seconds)
    decibels, times_s, centre_hz = _mel_image(excerpt)
    chart(plots.mel_spectrogram(decibels, times_s + excerpt.start_s, centre_hz, span_s), key)


@cached_by_files(no_files, spinner="Computing the spectrogram …", max_entries=24, shared=True)
def _mel_image(excerpt: SoundExcerpt) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return log_mel_image(excerpt.wave, excerpt.sample_rate_hz)


def browse(data: Dataset) -> None:
    """A list of clips, page by page, and the one that is picked."""
    section("Browse", f"Pick a clip to {'hear' if data.medium == 'audio' else 'see'} it.")
    left, right = pair("browse", left=2, right=3)
    with left:
        genres = sorted(data.clips["genre"].unique())
        genre = choose_one("Genre", [ALL_GENRES, *genres], "genre")
    with right:
        text = st.text_input(
            "Find", key="find_clip", placeholder="Part of a clip's name, artist or album"
        ).strip()
    rows = data.clips if genre == ALL_GENRES else data.clips[data.clips["genre"] == genre]
    if text:
        columns = rows[["clip_id", "artist", "album"]].fillna("").astype(str)
        matches = columns.apply(lambda column: column.str.contains(text, case=False, regex=False))
        rows = rows[matches.any(axis=1)]
    if rows.empty:
        empty("No clip matches.", "Clear the field Find or choose another genre.")
        return
    clip_id = pick(rows.reset_index(drop=True), f"{genre}_{text}")
    show(data.clips, clip_id, "browsed", images=True)


def choose_row(clips: pd.DataFrame) -> pd.Series | None:
    """The row of the clip that the URL names, or the first, chosen by genre and name."""
    left, right = st.columns(2, gap="medium")
    with left:
        genre = choose_one("Genre", [ALL_GENRES, *sorted(clips["genre"].unique())], "genre")
    rows = clips if genre == ALL_GENRES else clips[clips["genre"] == genre]
    with right:
        if len(rows) > _MOST_OPTIONS:
            text = st.text_input("Find", key="find", placeholder="Part of a clip's name").strip()
            rows = rows[rows["clip_id"].str.contains(text, case=False, regex=False)]
            named = rows[rows["clip_id"] == chosen("clip")]
            rows = pd.concat([named, rows.head(_MOST_OPTIONS)]).drop_duplicates("clip_id")
        if rows.empty:
            st.caption("No clip has this in its name.")
            return None
        clip_id = choose_one("Clip", rows["clip_id"].to_list(), "clip")
    return rows[rows["clip_id"] == clip_id].iloc[0]


def pick(
    rows: pd.DataFrame,
    list_name: str,
    columns: Sequence[str] = _COLUMNS,
    special: Mapping[str, Column | str] | None = None,
) -> str:
    """The clip picked in the table; only one page of a long list goes to the browser.

    Args:
        rows: One a clip, with `clip_id`; at least one.
        list_name: Another list has another table.
        columns: What is shown, except columns without any value.
        special: As for `show_table`.
    """
    ids = rows["clip_id"].to_list()
    picked = chosen("clip") if chosen("clip") in ids else ids[0]
    n_pages = -(-len(rows) // _PAGE_ROWS)
    page = ids.index(picked) // _PAGE_ROWS
    if n_pages > 1:
        st.caption(f"{words.plural(len(rows), 'clip')}, {_PAGE_ROWS} on a page")
        # The list opens at the picked clip and turns freely until another one is picked.
        key = f"page_{list_name}_{chosen('clip')}"
        page = st.pagination(n_pages, default=page + 1, key=key) - 1
    page_rows = rows.iloc[page * _PAGE_ROWS : (page + 1) * _PAGE_ROWS]
    on_page = page_rows["clip_id"].to_list()
    key = f"clips_{list_name}_{page}_{picked}"

    def write() -> None:
        row = clicked_row(key)
        if row is not None:
            choose("clip", on_page[row])

    selected = [on_page.index(picked)] if picked in on_page else []
    show_table(
        page_rows[[name for name in columns if name in rows and page_rows[name].notna().any()]],
        special=special,
        tallest=320,
        key=key,
        on_select=write,
        selection_mode=ANYWHERE_IN_A_ROW,
        selection_default={"selection": {"rows": selected}},
    )
    return str(picked)


def show(
    clips: pd.DataFrame,
    clip_id: str,
    key: str,
    images: bool = False,
    now: bool = False,
    others: Callable[[SoundExcerpt], Mapping[str, SoundExcerpt]] = lambda excerpt: {},
    lanes: Sequence[Lane] = (),
) -> None:
    """One clip: its labels, a player, and its spectrogram where that is wanted.

    Args:
        clips: A clip table; for a clip that is not in it a sentence says so.
        clip_id: Of the clip.
        key: Names this place on the page.
        images: Whether the spectrogram is drawn.
        now: Whether the clip begins to play by itself.
        others: Gives further sounds, by their titles, to switch to.
        lanes: Predictions over time.
    """
    rows = clips[clips["clip_id"] == clip_id]
    if rows.empty:
        st.markdown(f"**{plain(clip_id)}**")
        st.caption("This clip is not in the table of usable clips, so it cannot be played.")
        return
    clip = rows.iloc[0]
    labels = [clip[name] for name in ("genre", "artist", "album") if pd.notna(clip.get(name))]
    st.markdown(f"**{plain(clip_id)}** :gray[{plain(' · '.join(map(str, labels)))}]")
    if pd.isna(clip.get("path")):
        st.caption("The file of this clip is not known, so it cannot be played.")
        return
    try:
        if clip.get("medium") == "image":
            st.image(read_image(str(clip["path"])))
        elif clip.get("medium") == "table":
            st.dataframe(_descriptors(str(clip["path"]), clip_id), hide_index=True, height=320)
        elif clip.get("medium") in ("vector", "sequence"):
            st.dataframe(_array(str(clip["path"])), hide_index=True, height=320)
        else:
            excerpt = cut(source_of(clip), None, MOST_HEARD_S, SAMPLE_RATE_HZ)
            sounds = {"This clip": excerpt, **others(excerpt)}
            player(sounds, key, lanes=lanes, above_chart=images, now=now)
            if images:
                draw_mel(excerpt, f"{key}_mel")
    except (GenrecoreError, OSError) as error:
        st.warning(plain(describe(error)), icon=":material/music_off:")


def read_image(path: str) -> np.ndarray:
    """An image to look at, (height, width, 3) uint8.

    Raises:
        GenrecoreError: The file is not an image that can be read.
    """
    try:
        with open_named(path) as stream, Image.open(stream) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError):
        raise GenrecoreError(f"{Path(path).name} is not an image that can be read.") from None


def _descriptors(path: str, clip_id: str) -> pd.DataFrame:
    """A clip's rows of a table of descriptors: a row a descriptor, a column a segment."""
    table = _table(Path(path))
    rows = table[table["clip_id"] == clip_id].drop(columns="clip_id").set_index("part").T
    rows.columns = [f"part {part}" for part in rows.columns]
    return rows.rename_axis("Descriptor").reset_index()


def _array(path: str) -> pd.DataFrame:
    """The numbers of an array as the file holds them: at most 1,000 rows and 100 columns."""
    values = read_array(path)
    rows = values[:, None] if values.ndim == 1 else values
    return pd.DataFrame(rows[:1_000, :100]).rename(columns=str)


@cached_by_files(lambda path: [path], max_entries=2, shared=True)
def _table(path: Path) -> pd.DataFrame:
    return read_table(path)
