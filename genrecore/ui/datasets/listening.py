"""Clips of a dataset to hear and to see: browsing, players, waveform, mel spectrogram."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from genrecore.errors import GenrecoreError
from genrecore.reporting import plots
from genrecore.ui.datasets import readers as reading
from genrecore.ui.datasets.readers import Dataset, Sound
from genrecore.ui.parts.choices import choose, choose_one, chosen
from genrecore.ui.parts.frame import chart, empty, pair, plain, section

PAGE_ROWS = 100
_ALL = "all genres"


def browse(data: Dataset) -> None:
    """A list of clips, page by page, and the one that was picked."""
    section("Browse", f"Pick a clip to {'hear' if data.medium == 'audio' else 'see'} it.")
    genres = sorted(data.clips["genre"].unique())
    left, right = pair("browse", left=2, right=3)
    with left:
        genre = choose_one("Genre", [_ALL, *genres], "genre")
    with right:
        words = st.text_input(
            "Find", key="find_clip", placeholder="Part of a clip's name, artist or album"
        ).strip()
    rows = _matching(data.clips, "" if genre == _ALL else genre, words)
    if rows.empty:
        empty("No clip matches.", "Clear the field Find or choose another genre.")
        return
    clip_id = pick(rows, f"{genre}_{words}")
    show(data, clip_id, "browsed", pictures=True)


def _matching(clips: pd.DataFrame, genre: str, words: str) -> pd.DataFrame:
    rows = clips[clips["genre"] == genre] if genre else clips
    if words:
        hit = pd.Series(False, index=rows.index)
        for column in ("clip_id", "artist", "album"):
            found = rows[column].str.contains(words, case=False, regex=False)
            hit |= found.fillna(False).astype(bool)
        rows = rows[hit]
    return rows.reset_index(drop=True)


_COLUMNS: dict[str, Any] = {
    "clip_id": "Clip",
    "genre": "Genre",
    "artist": "Artist",
    "album": "Album",
    "duration_s": st.column_config.NumberColumn("Length", format="%.1f s"),
}


def pick(rows: pd.DataFrame, what: str, columns: Mapping[str, Any] = _COLUMNS) -> str:
    """The clip picked in the table; only one page of a long list goes to the browser.

    Args:
        rows: One a clip, with `clip_id`; at least one.
        what: Names the list: another one has another table.
        columns: What is shown, those without any value left out.
    """
    ids = rows["clip_id"]
    wanted = chosen("clip")
    at = int(ids.eq(wanted).to_numpy().argmax()) if wanted and ids.eq(wanted).any() else 0
    n_pages = -(-len(rows) // PAGE_ROWS)
    page = at // PAGE_ROWS
    if n_pages > 1:
        st.caption(f"{len(rows):,} clips, {PAGE_ROWS} on a page")
        # It starts where the clip is, and turns freely until another one is picked.
        page = st.pagination(n_pages, default=page + 1, key=f"page_{what}_{wanted}") - 1
    shown = rows.iloc[page * PAGE_ROWS : (page + 1) * PAGE_ROWS]
    on_page = shown["clip_id"].to_list()
    picked = ids.iloc[at]
    key = f"clips_{what}_{page}_{picked}"

    def write() -> None:
        selected = st.session_state[key]["selection"]["rows"]
        if selected:
            choose("clip", on_page[selected[0]])

    st.dataframe(
        shown[[name for name in columns if shown[name].notna().any()]],
        key=key,
        hide_index=True,
        height=min(38 + 35 * len(shown), 320),
        on_select=write,
        selection_mode="single-row",
        selection_default={
            "selection": {"rows": [on_page.index(picked)] if picked in on_page else []}
        },
        placeholder="–",
        column_config=dict(columns),
    )
    return str(picked)


def show(data: Dataset, clip_id: str, key: str, pictures: bool = False, play: bool = False) -> None:
    """One clip: what is known of it, a player, and its pictures where they are wanted.

    Args:
        data: The dataset.
        clip_id: Of a clip; one that was left out of the table is said to be so.
        key: Names this place of the page.
        pictures: Whether waveform and spectrogram are drawn.
        play: Whether it begins to play by itself.
    """
    found = data.clips[data.clips["clip_id"] == clip_id]
    if found.empty:
        st.markdown(f"**{plain(clip_id)}**")
        st.caption("This clip is not in the table of usable clips, so it cannot be played.")
        return
    clip = found.iloc[0]
    known = [clip["genre"], *(clip[name] for name in ("artist", "album") if pd.notna(clip[name]))]
    st.markdown(f"**{plain(clip_id)}** :gray[{plain(' · '.join(map(str, known)))}]")
    try:
        if clip["medium"] == "image":
            st.image(reading.picture(str(clip["path"])))
        elif clip["medium"] == "table":
            st.dataframe(
                reading.table_rows(str(clip["path"]), clip_id), hide_index=True, height=320
            )
        else:
            _audio(reading.sound(str(clip["path"])), key, pictures, play)
    except (GenrecoreError, OSError) as error:
        st.warning(plain(error), icon=":material/music_off:")


def _audio(heard: Sound, key: str, pictures: bool, play: bool) -> None:
    st.audio(heard.wav, format="audio/wav", autoplay=play)
    seconds = len(heard.wave) / reading.SAMPLE_RATE_HZ
    if heard.duration_s > seconds + 0.1:
        st.caption(
            f"Seconds {heard.start_s:.0f} to {heard.start_s + seconds:.0f} of "
            f"{heard.duration_s:.0f} play."
        )
    if not pictures:
        return
    chart(plots.waveform(heard.wave, reading.SAMPLE_RATE_HZ), f"{key}_wave")
    with st.spinner("Computing the spectrogram …"):  # the first one waits for torch
        picture = reading.spectrogram(heard)
    chart(plots.mel_spectrogram(*picture), f"{key}_mel")
