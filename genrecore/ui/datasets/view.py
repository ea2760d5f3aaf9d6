"""What the page Datasets is made of: choosing and preparing, facts, splits, and the views."""

from __future__ import annotations

import streamlit as st

from genrecore.data.datasets import DATASETS, known
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError
from genrecore.jobs.actions import start_task
from genrecore.reporting.plots import datasets as drawn
from genrecore.ui.datasets import audit as dataset_audit
from genrecore.ui.datasets import listening as dataset_listening
from genrecore.ui.datasets import readers as reading
from genrecore.ui.datasets.choice import Chosen, address, prepare_words
from genrecore.ui.datasets.form import choose_dataset, choose_split
from genrecore.ui.datasets.readers import Dataset
from genrecore.ui.datasets.sources import download, how_to_get
from genrecore.ui.datasets.tasks import is_working, latest, watch
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import chart, command, empty, link_to, pair, plain, section, sentences
from genrecore.ui.parts.readers import when

__all__ = ["VIEWS", "choose_dataset", "choose_view", "facts", "opened", "view"]

VIEWS = {
    "clips": "Clips",
    "split": "Split",
    "audit": "Audit",
    "listen": "Listen",
}


def opened(picked: Chosen) -> Dataset | None:
    """The dataset of this choice, or None where the page has said what is missing."""
    needs = DATASETS[picked.name].facts.needs_folder
    if needs and not picked.options.get("folder"):
        how_to_get(picked)
        return None
    if not reading.is_made(picked):
        _prepare(picked)
        if not is_working(latest(prepare_words(picked))):
            empty(
                "The demo music has not been made yet.",
                "Press Prepare: it is composed and decoded once, in a process of its own, and "
                "then lies in the cache folder.",
            )
        return None
    try:
        if needs:
            reading.check_folder(picked)
        data = reading.read(picked)
    except GenrecoreError as error:
        st.error(plain(error), icon=":material/error:")
        download(picked)
        return None
    _accepted(picked, data, needs)
    _prepare(picked)
    return data


def _accepted(picked: Chosen, data: Dataset, needs: bool) -> None:
    """What the loader found in the folder, and the offer to remember it."""
    if not needs:
        return
    n_genres = data.clips["genre"].nunique()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(
            f":material/check_circle: {len(data.clips):,} clips of {n_genres} genres were found.",
            width="content",
        )
        remembered = known.known().get(picked.name, {})
        if remembered == dict(picked.options):
            st.caption("This folder is remembered.", width="content")
        elif st.button(
            "Remember this folder",
            icon=":material/bookmark_add:",
            key="remember",
            help="Train and the commands then know where the dataset lies.",
        ):
            with sentences():
                known.remember(picked.name, picked.options)
                st.rerun()


def _prepare(picked: Chosen) -> None:
    words = prepare_words(picked)
    working, done = is_working(latest(words)), reading.prepared(picked)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button(
            "Prepare" if done is None else "Prepare again",
            type="secondary" if reading.is_made(picked) else "primary",
            icon=":material/download:",
            key="prepare",
            disabled=working,
            help="Decodes every clip once, so that training starts at once. It goes on when you "
            "close this page. A run prepares its dataset by itself, too.",
        ):
            with sentences():
                start_task(words, f"Preparing {picked.name}")
                st.rerun()
        if done is not None and not working:
            link_to("train", "Train on it", ":material/model_training:", address(picked))
    if done is not None and not working:
        st.caption(f"Prepared on {when(done.at)}: {done.n_clips:,} usable clips.")
    watch(words)
    with st.expander("As a command", icon=":material/terminal:"):
        command(["genrecore", *(word for word in words if word != "--json")])


def choose_view() -> str:
    """Which part of the page is shown; only that one is computed."""
    return choose_one("Show", list(VIEWS), "view", words=VIEWS.__getitem__, radio=True)


def view(name: str, picked: Chosen, data: Dataset) -> None:
    """One part of the page."""
    with sentences():
        if name == "split":
            _split(picked, data)
        elif name == "audit":
            dataset_audit.panel(picked, data)
        elif name == "listen":
            dataset_listening.browse(data)
        else:
            _clips(data)


def facts(picked: Chosen, data: Dataset) -> None:
    """Clips, genres, artists, minutes, and who is left out, with the reasons."""
    clips = data.clips
    done = reading.prepared(picked)
    skipped = done.skipped if done else ()
    left_out = {item["clip_id"]: item["reason"] for item in [*data.left_out, *skipped]}
    numbers = st.container(horizontal=True, gap="small")  # wraps where the page is narrow
    numbers.metric("Clips", f"{len(clips):,}", border=True, width=144)
    numbers.metric("Genres", f"{clips['genre'].nunique():,}", border=True, width=144)
    n_unknown = int(clips["artist"].isna().sum())
    numbers.metric(
        "Artists",
        f"{clips['artist'].nunique():,}" if n_unknown < len(clips) else "–",
        border=True,
        width=144,
        help=f"Known ones; {n_unknown:,} clips have none.",
    )
    minutes = clips["duration_s"].sum() / 60
    numbers.metric(
        "Minutes",
        f"{minutes:,.1f}" if minutes else "–",
        border=True,
        width=144,
        help="Of the files, as far as their lengths are known.",
    )
    numbers.metric(
        "Left out",
        f"{len(left_out):,}" if left_out or done else "–",
        border=True,
        width=144,
        help="By the dataset's loader, and by the last preparation."
        if done
        else "By the dataset's loader; which files cannot be decoded, preparing tells.",
    )
    for note in data.notes:
        st.caption(plain(note))
    if left_out:
        with st.expander(f"Why {len(left_out):,} left out", icon=":material/playlist_remove:"):
            st.dataframe(
                {"Clip": list(left_out), "Reason": list(left_out.values())},
                hide_index=True,
                column_config={"Reason": st.column_config.TextColumn(width="large")},
            )


def _clips(data: Dataset) -> None:
    clips = data.clips
    by_artist = clips["artist"].notna().any()
    options = ["genre", "artist"] if by_artist else ["genre"]
    by = choose_one("By", options, "by", words=str.capitalize, radio=True)
    lengths_known = clips["duration_s"].notna().any()
    left, right = pair("clips")
    with left:
        if by == "artist":
            chart(drawn.clips_per_artist(clips), "clips_per_artist")
        else:
            chart(drawn.clips_per_genre(clips), "clips_per_genre")
    with right:
        if lengths_known:
            chart(drawn.minutes(clips, by), f"minutes_by_{by}")
        else:
            empty("How much music it is cannot be said.", _WITHOUT_LENGTHS[data.medium])
    if by == "artist":
        return
    left, right = pair("clips_more")
    with left:
        if by_artist:
            chart(drawn.artists_per_genre(clips), "artists_per_genre")
        else:
            empty(
                "No artist is known.",
                "Without artists nobody can tell whether one stands on both sides of a split; a "
                "list of files (CSV) with a column artist says so.",
            )
    with right:
        shortest, longest = clips["duration_s"].min(), clips["duration_s"].max()
        if longest - shortest > 0.05:
            chart(drawn.durations(clips), "durations")
        elif lengths_known:
            empty(f"All clips last {longest:.1f} s.", "There is no longer or shorter one.")


_WITHOUT_LENGTHS = {
    "audio": "The dataset does not say how long its clips are; the audit names those that are much "
    "shorter than the others.",
    "image": "Pictures have no length.",
    "table": "Tables of descriptors do not say how long the clips were.",
}


def _split(picked: Chosen, data: Dataset) -> None:
    section("Split", "Who is trained on, who chooses the epoch, and who is tested.")
    left, right = pair("split", left=2, right=3)
    with left:
        split = choose_split(data)
    with right:
        done = reading.prepared(picked)
        unreadable = [item["clip_id"] for item in done.skipped] if done else []
        found = reading.dealt(picked, data, split, unreadable)
        st.markdown(plain(found.says))
        if found.verdict.refused:
            st.error(plain(found.verdict.reason), icon=":material/block:")
        else:
            st.success("No known artist or album crosses.", icon=":material/verified:")
        st.caption("Copies are searched by the audit.")
        for note in found.notes:
            st.caption(plain(note))
        link_to("train", "Train on this split", ":material/model_training:", address(picked, split))
    chart(drawn.parts_of_split(found.counts, SPLITS[split.name].title), "parts_of_split")
    if found.lengths["duration_s"].notna().any():
        chart(drawn.minutes(found.lengths, "split"), "minutes_by_part")
