"""What a study's TOML holds, read and checked.

A study is its `settings` (each with the mark where it comes from), its `rows` (systems that it
trained), `choices` among rows, and what it prints: `tables` line by line and `sentences`, word by
word. What only a figure shows stands in no table: its entry under `figures` says so.
"""

from __future__ import annotations

import importlib.resources
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from genrecore.config.registry import explain
from genrecore.data.datasets import DATASETS
from genrecore.errors import GenrecoreError, UsageError
from genrecore.experiments.papers.printed import MEASURES, Printed

STUDIES = ("hong", "belton", "qin", "liu", "benito")
PROTOCOLS = {"published": "as published", "honest": "honest"}
Protocol = Literal["published", "honest"]


class _Read(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Marked(_Read):
    """Where something comes from: exactly one of the three.

    Attributes:
        stated: The section that states it.
        cited: The cited source that it is from.
        ours: Why it is our choice, after the word because.
        words: Literally in the section that states it.
    """

    stated: str = ""
    cited: str = ""
    ours: str = ""
    words: str = ""

    @model_validator(mode="after")
    def _one_mark(self) -> Marked:
        if sum(map(bool, (self.stated, self.cited, self.ours))) != 1:
            raise ValueError("say exactly one of stated, cited and ours")
        if bool(self.stated) != bool(self.words):
            raise ValueError("what is stated needs its words, and nothing else has any")
        return self

    @property
    def mark(self) -> str:
        """The mark in words."""
        if self.stated:
            return f"stated in section {self.stated}"
        if self.cited:
            return f"from the cited source {self.cited}"
        return f"our choice because {self.ours}"


class Setting(Marked):
    """A part of the recipe.

    Attributes:
        what: Its name for people.
        value: What the study has, or what is chosen, for people.
        values: The same as dotted fields of a configuration; empty where nothing is to be set.
        groups: Those whose rows it holds for; all where empty.
        protocol: The only protocol that it holds for; both where empty.
    """

    what: str
    value: str
    values: Mapping[str, Any] = Field(default_factory=dict)
    groups: tuple[str, ...] = ()
    protocol: Literal["", "published", "honest"] = ""


class Group(_Read):
    """Rows that share an input.

    Attributes:
        title: For people.
        preset: The input, a name in `features.PRESETS`.
        shape: What the network sees, as the study prints it; empty where it does not.
    """

    title: str
    preset: str
    shape: tuple[Any, ...] = ()


class Row(Marked):
    """One system that the study trained.

    Attributes:
        name: Within the study.
        title: For people.
        group: The group whose input and settings it has.
        values: Dotted fields of its own.
    """

    name: str
    title: str
    group: str
    values: Mapping[str, Any] = Field(default_factory=dict)


class Choice(Marked):
    """The best of several rows, as the study chose it.

    Attributes:
        name: Within the study.
        title: For people.
        among: Rows.
        by: The clips by which the study chose: `test` or `valid`; the honest protocol always takes
            the validation clips.
    """

    name: str
    title: str
    among: tuple[str, ...]
    by: Literal["test", "valid"]


class Place(_Read):
    """Words and the section in which they stand."""

    section: str
    words: str


class Line(_Read):
    """A line of a table, literally, its cells divided by tabs.

    Attributes:
        words: The line.
        systems: The row or choice of each measured column, or one for all of them; empty where a
            number is of no system.
        missing: Columns whose number is no result (`0.00` for not reported), from 0.
        remark: What is to be said of it.
    """

    words: str
    systems: tuple[str, ...] | str = ""
    missing: tuple[int, ...] = ()
    remark: str = ""


class Table(_Read):
    """A table as it is printed.

    Attributes:
        place: `Table 1`, or a figure that shows a table.
        section: Where it stands.
        caption: Literally, the caption or a part of it.
        columns: Names of the columns.
        measures: A key of `MEASURES` for each column, empty for one that names the line.
        remark: What is to be said of it.
    """

    place: str
    section: str
    caption: str
    columns: tuple[str, ...]
    measures: tuple[str, ...]
    lines: tuple[Line, ...]
    remark: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Table:
        if len(self.measures) != len(self.columns):
            raise ValueError(f"{self.place}: as many measures as columns are needed")
        unknown = [one for one in self.measures if one not in MEASURES]
        if unknown:
            raise ValueError(f"{self.place}: there is no measure {unknown[0]!r}")
        for line in self.lines:
            if len(line.words.split("\t")) != len(self.columns):
                raise ValueError(f"{self.place}: {line.words!r} has not {len(self.columns)} cells")
            n = sum(map(bool, self.measures))
            if not isinstance(line.systems, str) and len(line.systems) != n:
                raise ValueError(f"{self.place}: {line.words!r} needs {n} systems or one")
        return self


class Sentence(_Read):
    """A number printed in a sentence.

    Attributes:
        section: Where it stands.
        words: The part of the sentence, literally.
        printed: The number, literally, a part of the words.
        measure: A key of `MEASURES`; empty where it is of no measure that a run has.
        system: The row or choice that it is of; empty where it is of none.
        genre: Of a recall.
        remark: What is to be said of it.
    """

    section: str
    words: str
    printed: str
    measure: str = ""
    system: str = ""
    genre: str = ""
    remark: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Sentence:
        if self.printed not in self.words:
            raise ValueError(f"{self.printed!r} does not stand in {self.words!r}")
        if self.measure not in MEASURES:
            raise ValueError(f"there is no measure {self.measure!r}")
        return self


class Figure(_Read):
    """A figure, redrawn from our runs where it can be.

    Attributes:
        place: `Figure 5`.
        section: Where it stands.
        caption: Literally.
        draws: What is drawn of our runs: curves, bars of genres, bars of systems, and so on; empty
            where nothing is.
        systems: Rows and choices that it shows.
        measure: Of curves: `loss` or `accuracy`.
        split: Of curves: `train`, `valid` or both.
        said: What sentences say of it.
        not_printed: What it shows that the text does not print; never reconstructed.
    """

    place: str
    section: str
    caption: str
    draws: Literal[
        "", "curves", "genres", "systems", "balance", "sound", "augmentations", "layers", "settings"
    ] = ""
    systems: tuple[str, ...] = ()
    measure: Literal["loss", "accuracy", "both"] = "accuracy"
    split: Literal["train", "valid", "both"] = "both"
    said: tuple[Place, ...] = ()
    not_printed: str = ""


class Remark(_Read):
    """A fact about the study, with the places in its text that show it.

    Attributes:
        text: In a sentence.
        section: Where to look.
        places: Literal evidence; empty where the fact is that something is said nowhere.
    """

    text: str
    section: str
    places: tuple[Place, ...] = ()


class Measured(_Read):
    """On how many clips the study measured.

    Attributes:
        n_clips: The number.
        how: Where it comes from, in words.
    """

    n_clips: int
    how: str


def _registered(dataset: str) -> str:
    return DATASETS[dataset].name


class Study(_Read):
    """A study as a recipe; see the module.

    Attributes:
        name: As commands take it.
        authors: In short.
        citation: In full.
        text: The file of its text.
        dataset: That it is on.
        clips_a_genre: Of that dataset.
        question: What it asks, in a sentence.
        summary: What it did and found, in sentences.
        hardware: On what it trained; empty where it does not say.
        redrawn: Whether its split, as published, is drawn anew with every seed: where it says
            neither which clips nor which seed.
        measured: On how many clips, by measure.
    """

    name: str
    authors: str
    citation: str
    text: str
    dataset: Annotated[str, AfterValidator(_registered)]
    clips_a_genre: int
    question: str
    summary: tuple[str, ...]
    hardware: str
    redrawn: bool
    measured: Mapping[str, Measured]
    groups: Mapping[str, Group]
    settings: tuple[Setting, ...]
    rows: tuple[Row, ...]
    choices: tuple[Choice, ...] = ()
    tables: tuple[Table, ...]
    sentences: tuple[Sentence, ...]
    figures: tuple[Figure, ...] = ()
    disagreements: tuple[Remark, ...] = ()
    critique: tuple[Remark, ...]

    @model_validator(mode="after")
    def _names_exist(self) -> Study:
        rows = [row.name for row in self.rows]
        names = [*rows, *(choice.name for choice in self.choices)]
        if len(set(names)) < len(names):
            raise ValueError("a row or choice is there twice")
        wanted = [name for choice in self.choices for name in choice.among if name not in rows]
        wanted += [row.group for row in self.rows if row.group not in self.groups]
        wanted += [one for s in self.settings for one in s.groups if one not in self.groups]
        wanted += [n.system for n in self.printed if n.system and n.system not in names]
        wanted += [one for f in self.figures for one in f.systems if one not in names]
        if wanted:
            raise ValueError(f"there is no row, choice or group {wanted[0]!r}")
        return self

    def row(self, name: str) -> Row:
        """The row of this name.

        Raises:
            UsageError: There is none.
        """
        for row in self.rows:
            if row.name == name:
                return row
        listed = ", ".join(row.name for row in self.rows)
        raise UsageError(f"There is no row {name!r} in {self.name}; there are: {listed}.")

    def title_of(self, name: str) -> str:
        """The title of a row or choice."""
        return self.systems[name]

    @property
    def systems(self) -> dict[str, str]:
        """The titles of its rows and choices by name, in their order."""
        rows = {one.name: one.title for one in self.rows}
        return rows | {one.name: one.title for one in self.choices}

    def rows_of(self, name: str) -> tuple[str, ...]:
        """The rows that a row or choice needs.

        Raises:
            UsageError: There is none of that name.
        """
        choice = next((one for one in self.choices if one.name == name), None)
        return choice.among if choice else (self.row(name).name,)

    def settings_of(self, group: str, protocol: str) -> list[Setting]:
        """The settings of a group's rows under a protocol, in their order."""
        return [
            one
            for one in self.settings
            if (not one.groups or group in one.groups) and one.protocol in ("", protocol)
        ]

    @property
    def printed(self) -> list[Printed]:
        """Every number of its tables and sentences that measures something."""
        found = []
        for table in self.tables:
            measured = [k for k, one in enumerate(table.measures) if one]
            for line in table.lines:
                cells = line.words.split("\t")
                for place, k in enumerate(measured):
                    systems = line.systems
                    system = systems if isinstance(systems, str) else systems[place]
                    missing = k in line.missing or not cells[k].strip()
                    found.append(
                        Printed(
                            section=table.section,
                            place=table.place,
                            words=line.words,
                            printed=cells[k],
                            measure=table.measures[k],
                            system=system,
                            missing=missing,
                        )
                    )
        found += [
            Printed(
                section=one.section,
                place=f"section {one.section}",
                words=one.words,
                printed=one.printed,
                measure=one.measure,
                system=one.system,
                genre=one.genre,
            )
            for one in self.sentences
        ]
        return found


@lru_cache
def study(name: str) -> Study:
    """The study of this name.

    Raises:
        UsageError: There is none.
        GenrecoreError: Its file does not say what it must.
    """
    if name not in STUDIES:
        raise UsageError(f"There is no study {name!r}; there are: {', '.join(STUDIES)}.")
    place = importlib.resources.files("genrecore.experiments.papers") / f"{name}.toml"
    try:
        return Study.model_validate(tomllib.loads(place.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise GenrecoreError(f"In papers/{name}.toml: {explain(error, Study)}") from None


def studies() -> list[Study]:
    """All studies, in the order in which they are named."""
    return [study(name) for name in STUDIES]
