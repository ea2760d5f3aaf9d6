"""What a study's TOML holds, read and checked.

A study has `settings` (each with a mark that says where it comes from), `rows` (systems that it
trained), `choices` among rows, `sweeps` (tables that vary a setting), and what it prints: `tables`
line by line and `sentences`, word by word. What only a figure shows stands in no table: its entry
under `figures` says so. Every `<name>.toml` beside this file is a study.
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

PROTOCOLS = {"published": "as published", "honest": "honest"}
Protocol = Literal["published", "honest"]
_FOLDER = importlib.resources.files("genrecore.experiments.papers")


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Marked(_Record):
    """Something with a mark that says where it comes from: exactly one of the three.

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


class RowGroup(_Record):
    """Rows that share an input.

    Attributes:
        title: For people.
        preset: The input, a name in `features.PRESETS`.
        shape: What the network sees, as the study prints it; empty where it does not.
    """

    title: str
    preset: str
    shape: tuple[Any, ...] = ()


class StudyRow(Marked):
    """One system that the study trained; `values` are the dotted fields of its own."""

    name: str
    title: str
    group: str
    values: Mapping[str, Any] = Field(default_factory=dict)


class RowChoice(Marked):
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


class Sweep(_Record):
    """A table of the study that varies settings, for `genrecore sweep --table`.

    Attributes:
        name: Unique among all studies.
        title: For people.
        source: Where it stands.
        group: Its input and settings are those of this group's rows, as published.
        values: Dotted fields that all its runs share besides.
        grids: What varies, by dotted field; several where the table is not a full product.
        published: What the study prints in it, in a sentence.
        notes: A sentence on each thing that the study leaves open, and on what is chosen here.
    """

    name: str
    title: str
    source: str
    group: str
    values: Mapping[str, Any] = Field(default_factory=dict)
    grids: tuple[Mapping[str, list[Any]], ...]
    published: str
    notes: tuple[str, ...]


class Quotation(_Record):
    """Words and the section in which they stand."""

    section: str
    words: str


class Line(_Record):
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


class PrintedTable(_Record):
    """A table as it is printed.

    Attributes:
        place: `Table 1`, or a figure that shows a table.
        section: Where it stands.
        caption: Literally, the caption or a part of it.
        columns: Names of the columns.
        measures: A key of `MEASURES` for each column, empty for one that names the line.
        lines: From top to bottom.
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
    def _fits(self) -> PrintedTable:
        if len(self.measures) != len(self.columns):
            raise ValueError(f"{self.place}: as many measures as columns are needed")
        unknown = [measure for measure in self.measures if measure not in MEASURES]
        if unknown:
            raise ValueError(f"{self.place}: there is no measure {unknown[0]!r}")
        for line in self.lines:
            if len(line.words.split("\t")) != len(self.columns):
                raise ValueError(f"{self.place}: {line.words!r} has not {len(self.columns)} cells")
            n = sum(map(bool, self.measures))
            if not isinstance(line.systems, str) and len(line.systems) != n:
                raise ValueError(f"{self.place}: {line.words!r} needs {n} systems or one")
        return self

    @property
    def numbers(self) -> list[Printed]:
        """Its measured cells."""
        measured = [column for column, measure in enumerate(self.measures) if measure]
        numbers = []
        for line in self.lines:
            cells, systems = line.words.split("\t"), line.systems
            for index, column in enumerate(measured):
                numbers.append(
                    Printed(
                        section=self.section,
                        place=self.place,
                        words=line.words,
                        printed=cells[column],
                        measure=self.measures[column],
                        system=systems if isinstance(systems, str) else systems[index],
                        missing=column in line.missing or not cells[column].strip(),
                    )
                )
        return numbers


class Sentence(_Record):
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

    @property
    def number(self) -> Printed:
        """The number that it prints."""
        fields = self.model_dump(exclude={"remark"})
        return Printed(place=f"section {self.section}", **fields)


class PrintedFigure(_Record):
    """A figure, redrawn from our runs where it can be.

    Attributes:
        place: `Figure 5`.
        section: Where it stands.
        caption: Literally.
        draws: What is drawn of our runs; empty where nothing is.
        systems: Rows and choices that it shows.
        measure: Of curves.
        split: Of curves.
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
    said: tuple[Quotation, ...] = ()
    not_printed: str = ""


class Remark(_Record):
    """A fact about the study, with the places in its text that show it.

    Attributes:
        text: In a sentence.
        section: Where to look.
        places: Literal evidence; empty where the fact is that something is said nowhere.
    """

    text: str
    section: str
    places: tuple[Quotation, ...] = ()


class Measured(_Record):
    """On how many clips the study measured, and how that is known."""

    n_clips: int
    how: str


def _registered(dataset: str) -> str:
    return DATASETS[dataset].name


class Study(_Record):
    """A study as a recipe; see the module.

    Attributes:
        name: As commands take it.
        authors: In short.
        citation: In full.
        text: The file of its text.
        dataset: A registered name: the data that it is on.
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
    groups: Mapping[str, RowGroup]
    settings: tuple[Setting, ...]
    rows: tuple[StudyRow, ...]
    choices: tuple[RowChoice, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    tables: tuple[PrintedTable, ...]
    sentences: tuple[Sentence, ...]
    figures: tuple[PrintedFigure, ...] = ()
    disagreements: tuple[Remark, ...] = ()
    critique: tuple[Remark, ...]

    @model_validator(mode="after")
    def _names_exist(self) -> Study:
        rows = [row.name for row in self.rows]
        systems = [*rows, *(choice.name for choice in self.choices)]
        if len(set(systems)) < len(systems):
            raise ValueError("a row or choice is there twice")
        named = [row.group for row in self.rows] + [sweep.group for sweep in self.sweeps]
        named += [group for setting in self.settings for group in setting.groups]
        unknown = [group for group in named if group not in self.groups]
        unknown += [name for choice in self.choices for name in choice.among if name not in rows]
        named = [number.system for number in self.numbers if number.system]
        named += [name for figure in self.figures for name in figure.systems]
        unknown += [name for name in named if name not in systems]
        if unknown:
            raise ValueError(f"there is no row, choice or group {unknown[0]!r}")
        return self

    def row(self, name: str) -> StudyRow:
        """The row of this name.

        Raises:
            UsageError: There is none.
        """
        for row in self.rows:
            if row.name == name:
                return row
        listed = ", ".join(row.name for row in self.rows)
        raise UsageError(f"There is no row {name!r} in {self.name}; there are: {listed}.")

    @property
    def systems(self) -> dict[str, str]:
        """The titles of its rows and choices by name, in their order."""
        rows = {row.name: row.title for row in self.rows}
        return rows | {choice.name: choice.title for choice in self.choices}

    def title_of(self, system: str) -> str:
        """The title of a row or choice."""
        return self.systems[system]

    def rows_of(self, system: str) -> tuple[str, ...]:
        """The rows that a row or choice needs.

        Raises:
            UsageError: There is none of that name.
        """
        choice = next((choice for choice in self.choices if choice.name == system), None)
        return choice.among if choice else (self.row(system).name,)

    def settings_of(self, group: str, protocol: str) -> list[Setting]:
        """The settings of a group's rows under a protocol, in their order."""
        return [
            setting
            for setting in self.settings
            if (not setting.groups or group in setting.groups)
            and setting.protocol in ("", protocol)
        ]

    @property
    def numbers(self) -> list[Printed]:
        """Every number of its tables and sentences that measures something."""
        of_tables = [number for table in self.tables for number in table.numbers]
        return of_tables + [sentence.number for sentence in self.sentences]


def study_names() -> list[str]:
    """The names of all studies."""
    files = (path.name for path in _FOLDER.iterdir())
    return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))


@lru_cache
def study(name: str) -> Study:
    """The study of this name.

    Raises:
        UsageError: There is none.
        GenrecoreError: Its file does not say what it must.
    """
    if name not in study_names():
        raise UsageError(f"There is no study {name!r}; there are: {', '.join(study_names())}.")
    text = (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    try:
        return Study.model_validate(tomllib.loads(text))
    except ValidationError as error:
        raise GenrecoreError(f"In papers/{name}.toml: {explain(error, Study)}") from None


def studies() -> list[Study]:
    """All studies, by name."""
    return [study(name) for name in study_names()]
