"""What the page Datasets shows: facts, splits, and what the cache folder holds."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.config.command import dataset_words
from genrecore.data import genres
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError
from genrecore.jobs.access import working
from genrecore.reporting.columns import Column
from genrecore.reporting.plots import datasets as plots
from genrecore.store import cache
from genrecore.store.cache import CacheEntry
from genrecore.store.files import cache_dir
from genrecore.ui.datasets import audit, labels, listening, readers
from genrecore.ui.datasets.choice import DatasetChoice, address, choose_split
from genrecore.ui.datasets.readers import Dataset
from genrecore.ui.parts.choices import choose_one, chosen
from genrecore.ui.parts.fitting import fill_in
from genrecore.ui.parts.frame import (
    chart,
    command,
    empty,
    link_to,
    pair,
    plain,
    section,
    sentences,
    separation_box,
    tiles,
    work_button,
)
from genrecore.ui.parts.tables import show_table

_VIEWS = {"clips": "Clips", "split": "Split", "audit": "Audit", "listen": "Listen"}
_WITHOUT_LENGTHS = {
    "audio": "The dataset does not say how long its clips are; the audit names those that are much "
    "shorter than the others.",
    "image": "Images have no length.",
    "table": "Tables of descriptors do not say how long the clips were.",
    "vector": "Arrays do not say how long the clips were.",
    "sequence": "Arrays do not say how many steps a second has.",
}


def choose_view() -> str:
    """The part of the page that is shown; only that one is computed."""
    return choose_one("Show", _VIEWS, "view", radio=True)


def view(name: str, dataset: DatasetChoice, data: Dataset) -> None:
    """One part of the page."""
    with sentences():
        if name == "split":
            _split(dataset, data)
        elif name == "audit":
            audit.show_audit(dataset, data)
            labels.show_labels(dataset, data)
        elif name == "listen":
            listening.browse(data)
        else:
            _clips(data)


def facts(dataset: DatasetChoice, data: Dataset) -> None:
    """Clips, genres, artists, minutes, and the clips left out, with the reasons."""
    clips = data.clips
    last = readers.preparation(dataset)
    skipped = last.skipped if last else ()
    left_out = {item["clip_id"]: item["reason"] for item in [*data.left_out, *skipped]}
    n_unknown = int(clips["artist"].isna().sum())
    artists = words.thousands(clips["artist"].nunique()) if n_unknown < len(clips) else words.DASH
    minutes = clips["duration_s"].sum() / 60
    if last:
        who = "The dataset's loader and the last preparation left these out."
    else:
        who = "The dataset's loader left these out; preparing also finds files that do not decode."
    minutes_text = words.decimals(minutes) if minutes else words.DASH
    n_left_out = words.thousands(len(left_out)) if left_out or last else words.DASH
    tiles(
        [
            ("Clips", words.thousands(len(clips)), "", ""),
            ("Genres", words.thousands(clips["genre"].nunique()), "", ""),
            ("Artists", artists, "", f"{words.plural(n_unknown, 'clip')} without a known artist."),
            ("Minutes", minutes_text, "", "Of the files whose lengths are known."),
            ("Left out", n_left_out, "", who),
        ],
        "dataset",
    )
    for note in data.notes:
        st.caption(plain(note))
    _look_alikes(dataset, data)
    if left_out:
        title = f"Why {words.plural(len(left_out), 'clip')} left out"
        with st.expander(title, icon=":material/playlist_remove:"):
            rows = pd.DataFrame({"Clip": list(left_out), "Reason": list(left_out.values())})
            special = {"Reason": Column("Reason", width="large")}
            show_table(rows, special=special, from_catalogue=False)


def _look_alikes(dataset: DatasetChoice, data: Dataset) -> None:
    """Genres that look alike, and a button that fills in their merge, for the split and Train."""
    merge = chosen("genres.merge")
    try:
        clips, _ = genres.apply(data.clips, chosen("genres.leave_out"), merge)
        counts = genres.counted(clips)
        groups = genres.look_alikes(counts)
        text = genres.merge_of(groups, merge) if groups else ""
    except GenrecoreError:  # the field of the split says what is wrong
        return
    for group in groups:
        st.warning(plain(genres.look_alike_sentence(group, counts)), icon=":material/warning:")
    if groups:
        st.button(
            "Merge them",
            key="merge_look_alikes",
            icon=":material/merge:",
            on_click=fill_in,
            args=({"genres.merge": text, "view": "split"},),
            help="For the split, the audit and Train; the files stay as they are.",
        )
        flags = [*dataset_words(dataset.part), "--merge", text]
        command(["genrecore", "datasets", "prepare", dataset.name, *flags])


def _clips(data: Dataset) -> None:
    clips = data.clips
    has_artists = bool(clips["artist"].notna().any())
    has_lengths = bool(clips["duration_s"].notna().any())
    options = ["genre", "artist"] if has_artists else ["genre"]
    by = choose_one("By", {name: name.capitalize() for name in options}, "by", radio=True)
    left, right = pair("clips")
    with left:
        draw = plots.clips_per_artist if by == "artist" else plots.clips_per_genre
        chart(draw(clips), f"clips_per_{by}")
    with right:
        if has_lengths:
            chart(plots.minutes(clips, by), f"minutes_by_{by}")
        else:
            empty("The length of the music is not known.", _WITHOUT_LENGTHS[data.medium])
    if by == "artist":
        return
    left, right = pair("clips_more")
    with left:
        if has_artists:
            chart(plots.artists_per_genre(clips), "artists_per_genre")
        else:
            empty(
                "No artist is known.",
                "Without artists nobody can tell whether one stands on both sides of a split; a "
                "list of files (CSV) with a column artist says so.",
            )
    with right:
        shortest, longest = clips["duration_s"].min(), clips["duration_s"].max()
        if longest - shortest > 0.05:
            chart(plots.durations(clips), "durations")
        elif has_lengths:
            empty(f"All clips last {words.decimals(longest)} s.", "So there is nothing to draw.")


def _split(dataset: DatasetChoice, data: Dataset) -> None:
    section("Split", "Which clips train the model, choose its epoch, and test it.")
    left, right = pair("split", left=2, right=3)
    with left:
        split = choose_split(dataset)
    with right:
        last = readers.preparation(dataset)
        unreadable = sorted(item["clip_id"] for item in last.skipped) if last else []
        preview = readers.split_preview(data, split, tuple(unreadable))
        st.markdown(plain(preview.description))
        if preview.leaks.separation:
            separation_box(preview.leaks.separation)
        st.caption("The audit searches for copies.")
        for note in preview.notes:
            st.caption(plain(note))
        query = address(dataset, split)
        link_to("train", "Train on this split", ":material/model_training:", query)
    chart(plots.parts_of_split(preview.counts, SPLITS[split.name].title), "parts_of_split")
    if preview.lengths["duration_s"].notna().any():
        chart(plots.minutes(preview.lengths, "split"), "minutes_by_part")


def storage() -> None:
    """A folded list of what the cache folder holds, with a button that clears one kind of it."""
    entries = _cached()
    total = words.size(sum(entry.n_bytes for entry in entries)) if entries else "nothing yet"
    with st.expander(f"Kept on the disk: {total}", icon=":material/database:"):
        st.caption(
            f"In {plain(cache_dir())}. What you clear is made again when it is needed, but "
            "for uploads, audits and encoders."
        )
        if not entries:
            return
        by_kind = pd.DataFrame([vars(entry) for entry in entries]).groupby("kind", sort=False)
        sizes = {str(kind): words.size(n) for kind, n in by_kind["n_bytes"].sum().items()}
        st.dataframe(
            {
                "What": [cache.KINDS[kind] for kind in sizes],
                "Size": list(sizes.values()),
                "Entries": by_kind.size().to_list(),
            },
            hide_index=True,
        )
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            kind = st.selectbox(
                "What to clear",
                list(sizes),
                format_func=lambda name: f"{cache.KINDS[name]} ({sizes[name]})",
                key="clear_kind",
            )
            if work_button("Clear", icon=":material/delete_sweep:", key="clear_cache"):
                with sentences(), st.spinner("Clearing …"):
                    with working("clear the cache"):
                        freed = words.size(cache.clear(kind))
                    _cached.clear()
                    st.toast(f"Freed {freed}.", icon=":material/check_circle:")
                    st.rerun()
        command(f"genrecore cache clear {kind}")


@st.cache_data(ttl=10, show_spinner=False)
def _cached() -> list[CacheEntry]:
    return cache.entries()
