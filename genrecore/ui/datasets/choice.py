"""What is chosen on the page Datasets, as configuration, as commands and as an address."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genrecore.config.command import dataset_words, set_words
from genrecore.config.run import Genres, Part, RunConfig


@dataclass(frozen=True)
class Chosen:
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
    """A split scheme with its options that differ from the defaults, and the genres it deals."""

    name: str
    options: Mapping[str, Any]
    seed: int = 0
    fold: int = 0
    genres: Genres = field(default_factory=Genres)

    @property
    def key(self) -> str:
        """Text that names this choice."""
        what = [self.name, dict(self.options), self.seed, self.fold, self.genres.model_dump()]
        return json.dumps(what, sort_keys=True)

    @property
    def words(self) -> list[str]:
        """As words of a command."""
        said = ["--split", self.name]
        if self.fold:
            said += ["--fold", str(self.fold)]
        if self.seed:
            said += ["--split-seed", str(self.seed)]
        for key, value in self.options.items():
            said += set_words(f"split.{key}", value)
        for key, value in self.changed_genres.items():
            said += set_words(f"genres.{key}", value)
        return said

    @property
    def changed_genres(self) -> dict[str, str]:
        """`leave_out` and `merge` where they say something."""
        return self.genres.model_dump(exclude_defaults=True)


def config_of(chosen: Chosen, split: SplitChoice | None = None) -> RunConfig:
    """The configuration of a run on this choice, everything else as by default."""
    config = RunConfig(dataset=chosen.part)
    if split is None:
        return config
    part = Part(name=split.name, options=dict(split.options))
    return config.model_copy(
        update={
            "split": part,
            "fold": split.fold,
            "split_seed": split.seed,
            "genres": split.genres,
        }
    )


def prepare_words(chosen: Chosen) -> list[str]:
    """The command after `genrecore` that decodes this dataset."""
    return ["datasets", "prepare", chosen.name, *dataset_words(chosen.part), "--json"]


def audit_words(chosen: Chosen, split: SplitChoice | None) -> list[str]:
    """The command after `genrecore` that audits this dataset, and its split where one is given."""
    words = ["datasets", "audit", chosen.name, *dataset_words(chosen.part)]
    return [*words, *(split.words if split else []), "--json"]


def address(chosen: Chosen, split: SplitChoice | None = None) -> dict[str, str]:
    """The choices in the address with which the page Train opens on them."""
    said = {"dataset": chosen.name}
    said |= {f"{chosen.name}.{key}": str(value) for key, value in chosen.options.items()}
    if split is not None:
        said["split"] = split.name
        said |= {f"{split.name}.{key}": str(value) for key, value in split.options.items()}
        said |= {"fold": str(split.fold)} if split.fold else {}
        said |= {"split_seed": str(split.seed)} if split.seed else {}
        said |= {f"genres.{key}": value for key, value in split.changed_genres.items()}
    return said
