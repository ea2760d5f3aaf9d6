"""Opening a dataset on a page: what is missing, and the buttons that remember and prepare it."""

from __future__ import annotations

import streamlit as st

from genrecore import words
from genrecore.data.datasets import DATASETS, check_folder
from genrecore.data.datasets.remembered import remember, remembered_options
from genrecore.errors import GenrecoreError
from genrecore.jobs.access import working
from genrecore.store.run import store_dir
from genrecore.store.settings import keep_dataset
from genrecore.ui.datasets import readers
from genrecore.ui.datasets.choice import DatasetChoice, address, prepare_words
from genrecore.ui.datasets.readers import Dataset
from genrecore.ui.datasets.sources import download, how_to_get
from genrecore.ui.parts.frame import Step, command, empty, next_steps, plain, sentences, work_button
from genrecore.ui.parts.tasks import is_working, task_button, watch


def open_dataset(dataset: DatasetChoice) -> Dataset | None:
    """The dataset, or None where the page has said what is missing and how to get it."""
    needs_folder = bool(DATASETS[dataset.name].facts.needs_folder)
    if needs_folder and not dataset.options.get("folder"):
        how_to_get(dataset.name)
        return None
    if not readers.is_made(dataset):
        prepare(dataset)
        if not is_working(prepare_words(dataset.part)):
            empty(
                "This dataset has not been made yet.",
                "Press Prepare: a process of its own makes it once, in about a minute, and puts it "
                "into the cache folder.",
            )
        return None
    try:
        check_folder(dataset.name, dataset.options)
        return readers.read_dataset(dataset)
    except GenrecoreError as error:
        st.error(plain(error), icon=":material/error:")
        download(dataset.name, dataset.options)
        return None


def offer_to_remember(dataset: DatasetChoice, data: Dataset) -> None:
    """What the loader found in the dataset's folder, and the offer to remember that folder."""
    if not DATASETS[dataset.name].facts.needs_folder:
        return
    n_clips, n_genres = len(data.clips), data.clips["genre"].nunique()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(
            f":material/check_circle: {words.plural(n_clips, 'clip')} of "
            f"{words.plural(n_genres, 'genre')} were found.",
            width="content",
        )
        if remembered_options().get(dataset.name, {}) == dict(dataset.options):
            st.caption("This folder is remembered.", width="content")
        elif work_button(
            "Remember this folder",
            icon=":material/bookmark_add:",
            key="remember",
            help="Train and the commands then know where the dataset lies.",
        ):
            with sentences():
                with working("remember a folder"):
                    remember(dataset.name, dataset.options)
                    keep_dataset(store_dir(), dataset.part)
                st.rerun()


def prepare(dataset: DatasetChoice) -> None:
    """The button that decodes the dataset, the result of the last time, and the command."""
    arguments = prepare_words(dataset.part)
    last = None if is_working(arguments) else readers.preparation(dataset)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        task_button(
            "Prepare again" if last else "Prepare",
            arguments,
            f"Preparing {dataset.name}",
            "prepare",
            ":material/download:",
            "secondary" if readers.is_made(dataset) else "primary",
            help="Decodes every clip once, so that training starts at once. It goes on when you "
            "close this page. A run also prepares its dataset by itself.",
        )
    if last:
        n_clips = words.plural(last.n_clips, "usable clip")
        st.caption(f"Prepared on {words.moment(last.at)}: {n_clips}.")
        query = address(dataset)
        next_steps(
            [
                Step("datasets", "Audit it", ":material/fact_check:", {**query, "view": "audit"}),
                Step("train", "Train on it", ":material/model_training:", query),
            ]
        )
    watch(arguments)
    with st.expander("As a command", icon=":material/terminal:"):
        command(["genrecore", *(word for word in arguments if word != "--json")])
