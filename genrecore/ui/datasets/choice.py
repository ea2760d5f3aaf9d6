"""The dataset and the split chosen on a page: as fields, configuration, command and URL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import streamlit as st
from pydantic.fields import FieldInfo

from genrecore.config.command import dataset_words, set_words
from genrecore.config.registry import Registry
from genrecore.config.run import Audio, Genres, Part, RunConfig
from genrecore.data.datasets import DATASETS
from genrecore.data.datasets.remembered import remembered_options
from genrecore.data.splits import SPLITS
from genrecore.store import settings
from genrecore.store.run import store_dir
from genrecore.training.check import check
from genrecore.ui.datasets.sources import own_music, upload
from genrecore.ui.parts import fields
from genrecore.ui.parts.choices import choose_one, chosen
from genrecore.ui.parts.frame import capital


@dataclass(frozen=True)
class DatasetChoice:
    """A dataset with the options that differ from its defaults."""

    name: str
    options: Mapping[str, Any]

    @property
    def part(self) -> Part:
        """As a configuration holds it."""
        return Part(name=self.name, options=dict(self.options))

    @property
    def key(self) -> str:
        """Text that names this choice."""
        return json.dumps([self.name, dict(self.options)], sort_keys=True)


@dataclass(frozen=True)
class SplitChoice:
    """A split scheme with the options that differ from its defaults, and changes of genres."""

    name: str
    options: Mapping[str, Any]
    seed: int = 0
    fold: int = 0
    genres: Genres = field(default_factory=Genres)

    @property
    def key(self) -> str:
        """Text that names this choice."""
        parts = [self.name, dict(self.options), self.seed, self.fold, self.genres.model_dump()]
        return json.dumps(parts, sort_keys=True)

    @property
    def flags(self) -> list[str]:
        """As flags of a command."""
        flags = ["--split", self.name]
        flags += ["--fold", str(self.fold)] if self.fold else []
        flags += ["--split-seed", str(self.seed)] if self.seed else []
        for key, value in self.options.items():
            flags += set_words(f"split.{key}", value)
        for key, value in self.changed_genres.items():
            flags += set_words(f"genres.{key}", value)
        return flags

    @property
    def changed_genres(self) -> dict[str, str]:
        """`leave_out` and `merge` where they are not empty."""
        return self.genres.model_dump(exclude_defaults=True)


def config_of(dataset: DatasetChoice, split: SplitChoice | None = None) -> RunConfig:
    """The configuration of a run on this choice, everything else as by default."""
    config = RunConfig(dataset=dataset.part)
    if split is None:
        return config
    values = {
        "split": Part(name=split.name, options=dict(split.options)),
        "fold": split.fold,
        "split_seed": split.seed,
        "genres": split.genres,
    }
    return config.model_copy(update=values)


def prepare_words(dataset: Part, audio: Audio | None = None) -> list[str]:
    """The command after `genrecore` that decodes a dataset, with the audio settings of a run."""
    flags = dataset_words(dataset)
    if audio is not None:
        flags += ["--sample-rate-hz", str(audio.sample_rate_hz), "--clip-s", f"{audio.clip_s:g}"]
        flags += ["--accept-damaged"] if audio.accept_damaged else []
    return ["datasets", "prepare", dataset.name, *flags, "--json"]


def audit_words(dataset: DatasetChoice, split: SplitChoice | None) -> list[str]:
    """The command after `genrecore` that audits this dataset, with or without a split."""
    flags = [*dataset_words(dataset.part), *(split.flags if split else []), "--json"]
    return ["datasets", "audit", dataset.name, *flags]


def label_words(dataset: DatasetChoice, encoder: str) -> list[str]:
    """The command after `genrecore` that ranks the labels of this dataset by how doubtful they
    are."""
    flags = [*dataset_words(dataset.part), "--labels", "--encoder", encoder, "--json"]
    return ["datasets", "audit", dataset.name, *flags]


def address(dataset: DatasetChoice, split: SplitChoice | None = None) -> dict[str, str]:
    """The choices in the URL with which Train opens on this dataset and split."""
    query = {"dataset": dataset.name} | fields.query(dataset.name, dataset.options)
    if split is not None:
        query |= {"split": split.name} | fields.query(split.name, split.options)
        query |= {"fold": str(split.fold)} if split.fold else {}
        query |= {"split_seed": str(split.seed)} if split.seed else {}
        query |= fields.query("genres", split.changed_genres)
    return query


def usual_config() -> RunConfig:
    """What a form starts from: the defaults, on the dataset prepared or trained on last.

    Its options count where the URL names no dataset; else only its folder does.
    """
    last = settings.last_dataset(store_dir())
    if last is None or last.name not in DATASETS:
        return RunConfig()
    if chosen("dataset"):
        last = Part(name=last.name, options=_folder(last))
    return RunConfig(dataset=last)


def _folder(dataset: Part) -> dict[str, Any]:
    return {key: value for key, value in dataset.options.items() if key == "folder"}


def choose_dataset() -> DatasetChoice:
    """The dataset of the URL, by default the last one, with its options, by default those
    remembered."""
    usual = usual_config().dataset
    name = choose_one(
        "Dataset",
        DATASETS.titles,
        "dataset",
        default=usual.name,
        help="The line below says what the dataset contains.",
    )
    entry = DATASETS[name]
    if not entry.facts.takes_zip:  # one's own music says nothing about itself
        st.caption(capital(entry.source or entry.title))
    remembered: Mapping[str, Any] = remembered_options().get(name, {})
    if name == usual.name:
        remembered = {**remembered, **usual.options} if chosen("dataset") else usual.options
    options: dict[str, Any] = {}
    if entry.facts.needs_folder:
        options |= _changed(DATASETS, name, remembered, only=("folder",))
    if set(entry.options.model_fields) - {"folder"}:
        with st.expander("Options", icon=":material/tune:"):
            options |= _changed(DATASETS, name, remembered, leave_out=("folder",))
    if entry.facts.takes_zip:
        upload(expanded=not options.get("folder"))
    else:
        own_music()
    return DatasetChoice(name, options)


def choose_split(dataset: DatasetChoice) -> SplitChoice:
    """The split scheme of the URL with its options, by default the best that the clips allow, and
    the genres left out or merged."""
    best = check(config_of(dataset)).best_split
    name = choose_one(
        "Split",
        SPLITS.titles,
        "split",
        default=best.part.name if best else "",
        help="Which clips are used for training, for validation and for the test.",
    )
    entry = SPLITS[name]
    st.caption(capital(entry.source))
    options = _changed(SPLITS, name, best.part.options if best and best.part.name == name else {})
    left, right = st.columns(2, gap="medium")
    fold = seed = 0
    if entry.facts.folds:
        n_folds = int(options.get("n_folds", entry.options.model_fields["n_folds"].get_default()))
        with left:
            info = FieldInfo.from_annotation(Literal[tuple(range(n_folds))])  # type: ignore[arg-type]
            info.title = "Tested fold, counted from 0"
            info.description = "Fold k tests part k and validates on the next one"
            fold = int(fields.field("fold", info, 0))
    if entry.facts.seeded:
        with right:
            info = FieldInfo(
                annotation=int, title="Split seed", description="Another seed, another draw"
            )
            seed = int(fields.field("split_seed", info, 0))
    genres = {
        key: fields.field(f"genres.{key}", info, "")
        for key, info in fields.grid(Genres.model_fields)
    }
    return SplitChoice(name, options, seed, fold, Genres(**genres))


def _changed(
    registry: Registry[Any], name: str, remembered: Mapping[str, Any], **which: Any
) -> dict[str, Any]:
    """A field for each option; returns what differs from the defaults."""
    return fields.changed(registry, name, fields.options(registry, name, remembered, **which))
