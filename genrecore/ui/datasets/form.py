"""Choosing a dataset and a split on the page Datasets. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import streamlit as st
from pydantic.fields import FieldInfo

from genrecore.config.registry import Registry
from genrecore.config.run import Genres
from genrecore.data.datasets import DATASETS, known
from genrecore.data.splits import SPLITS
from genrecore.ui.datasets.choice import Chosen, SplitChoice
from genrecore.ui.datasets.readers import Dataset
from genrecore.ui.datasets.sources import own_music, upload
from genrecore.ui.parts import fields
from genrecore.ui.parts.choices import choose_one


def choose_dataset() -> Chosen:
    """The dataset of the URL with its options; what is remembered of it counts as given."""
    name = choose_one(
        "Dataset",
        list(DATASETS),
        "dataset",
        words=lambda one: DATASETS[one].title,
        help="What it is made of is decided by its loader; see the line below.",
    )
    entry = DATASETS[name]
    if name != "folder":
        about = entry.source or entry.title
        st.caption(about[:1].upper() + about[1:])
    remembered = known.known().get(name, {})
    options: dict[str, Any] = {}
    if entry.facts.needs_folder:
        options |= _changed(DATASETS, name, remembered, only=("folder",))
    if set(entry.options.model_fields) - {"folder"}:
        with st.expander("Options", icon=":material/tune:"):
            options |= _changed(DATASETS, name, remembered, leave_out=("folder",))
    if name == "folder":
        upload(Chosen(name, options))
    else:
        own_music()
    return Chosen(name, options)


def choose_split(data: Dataset) -> SplitChoice:
    """The split scheme of the URL with its options, and the genres that are left out or merged."""
    own = not data.clips["split"].isna().all()
    name = choose_one(
        "Split",
        list(SPLITS),
        "split",
        words=lambda one: SPLITS[one].title,
        default="official" if own else "stratified",
        help="Who is trained on, validated on and tested on.",
    )
    source = SPLITS[name].source
    st.caption(source[:1].upper() + source[1:])
    entry = SPLITS[name]
    options = _changed(SPLITS, name, {})
    left, right = st.columns(2, gap="medium")
    fold = seed = 0
    if entry.facts.folds:
        info = entry.options.model_fields["n_folds"]
        n_folds = int(options.get("n_folds", info.get_default()))
        with left:
            field = FieldInfo.from_annotation(Literal[tuple(range(n_folds))])  # type: ignore[arg-type]
            field.title = "Tested fold"
            field.description = "Fold k tests part k and validates on the next one"
            fold = int(fields.field("fold", field, 0, words=lambda k: f"{k + 1} of {n_folds}"))
    if entry.facts.seeded:
        with right:
            drawn = FieldInfo(annotation=int, title="Split seed", description="Who lands where")
            seed = int(fields.field("split_seed", drawn, 0))
    genres = {
        key: fields.field(f"genres.{key}", info, "")
        for key, info in fields.grid(Genres.model_fields)
    }
    return SplitChoice(name, options, seed, fold, Genres(**genres))


def _changed(
    registry: Registry[Any], name: str, given: Mapping[str, Any], **which: Any
) -> dict[str, Any]:
    """A field for each option; what differs from the defaults."""
    infos = registry[name].options.model_fields
    values = fields.options(registry, name, given, **which)
    return {key: value for key, value in values.items() if value != infos[key].get_default()}
