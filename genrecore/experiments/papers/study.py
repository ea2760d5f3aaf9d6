"""Studies as recipes: what the TOML files beside this one hold, read and checked.

A study has `settings` (each with a mark that says where it comes from), `rows` (systems that it
trained), `choices` among rows, `sweeps` (tables that vary a setting), and what it prints: `tables`
line by line and `sentences` word by word. Numbers that only a figure shows are in neither; the
figure's entry under `figures` says so.
"""

from __future__ import annotations

import importlib.resources
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from genrecore.config.registry import explain
from genrecore.data.datasets import DATASETS
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError, UsageError
from genrecore.experiments.papers.printed import MEASURES, Printed

PROTOCOLS = {"published": "as published", "honest": "honest"}
_FOLDER = importlib.resources.files("genrecore.experiments.papers")


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Marked(_Record):
    """Something with a mark that says where it comes from: exactly one of the first five.

    Attributes:
        stated: The section that states it.
        cited: The source that the study cites for it.
        figure: The figure that prints it, where the text does not.
        code: What the code that the study links to does, as a sentence that begins with it.
        ours: Why we chose it, after the word because.
        words: The quotation from the section that states it.
    """

    stated: str = ""
    cited: str = ""
    figure: str = ""
    code: str = ""
    ours: str = ""
    words: str = ""

    @model_validator(mode="after")
    def _check_mark(self) -> Marked:
        if sum(map(bool, (self.stated, self.cited, self.figure, self.code, self.ours))) != 1:
            raise ValueError("give exactly one of stated, cited, figure, code and ours")
        if bool(self.stated) != bool(self.words):
            raise ValueError("what is stated needs its words, and nothing else has any")
        return self

    @property
    def mark(self) -> str:
        """The mark for people."""
        if self.stated:
            return f"stated in section {self.stated}"
        if self.cited:
            return f"from the cited source {self.cited}"
        if self.figure:
            return f"printed in {self.figure}"
        if self.code:
            return f"from the linked code: {self.code}"
        return f"our choice because {self.ours}"


class Setting(Marked):
    """A setting of the recipe: `what` is its name and `value` its value, for people.

    Attributes:
        values: The same as dotted fields of a configuration.
        fields: Further dotted fields, set by presets or defaults, whose values the mark is of.
        groups: The groups of rows that it holds for; all where empty.
        protocol: The only protocol that it holds for; both where empty.
    """

    what: str
    value: str
    values: Mapping[str, Any] = Field(default_factory=dict)
    fields: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    protocol: Literal["", "published", "honest"] = ""


class RowGroup(_Record):
    """Rows that share an input: a preset of features, and its shape where the study prints one."""

    title: str
    preset: str
    shape: tuple[Any, ...] = ()


class StudyRow(Marked):
    """One system that the study trained; `values` are dotted fields of its own."""

    name: str
    title: str
    group: str
    values: Mapping[str, Any] = Field(default_factory=dict)


class RowChoice(Marked):
    """The best of several rows, as the study chose it.

    `by` are the clips by which the study chose; the honest protocol always takes those of
    validation.
    """

    name: str
    title: str
    among: tuple[str, ...]
    by: Literal["test", "valid"]


class Sweep(_Record):
    """A table of the study that varies settings, for `genrecore sweep --table`: some of its rows,
    as published.

    Attributes:
        name: Unique among all studies.
        source: The table's number in the study.
        rows: Its rows, all of one group; several lists where the table is not a full product of its
            values, each of which is one.
        published: What the study prints in it, in a sentence.
        notes: What the study leaves open and what we chose, in sentences.
    """

    name: str
    title: str
    source: str
    rows: tuple[tuple[str, ...], ...]
    published: str
    notes: tuple[str, ...]


class Quotation(_Record):
    """Words of the study and their section."""

    section: str
    words: str


class Line(_Record):
    """A line of a table, literally, its cells divided by tabs.

    Attributes:
        systems: The row or choice of each measured column, or one for all of them; empty where a
            number belongs to no system.
        missing: Columns, from 0, whose number is no result (`0.00` for not reported).
    """

    words: str
    systems: tuple[str, ...] | str = ""
    missing: tuple[int, ...] = ()
    remark: str = ""


class PrintedTable(_Record):
    """A table, or a figure that shows a table.

    `measures` holds a key of `MEASURES` for each column, empty for a column that names the line.
    """

    place: str
    section: str
    caption: str
    columns: tuple[str, ...]
    measures: tuple[str, ...]
    lines: tuple[Line, ...]
    remark: str = ""

    @model_validator(mode="after")
    def _check_columns(self) -> PrintedTable:
        if len(self.measures) != len(self.columns):
            raise ValueError(f"{self.place}: as many measures as columns are needed")
        unknown = [measure for measure in self.measures if measure not in MEASURES]
        if unknown:
            raise ValueError(f"{self.place}: there is no measure {unknown[0]!r}")
        n = sum(map(bool, self.measures))
        for line in self.lines:
            if len(line.words.split("\t")) != len(self.columns):
                raise ValueError(f"{self.place}: {line.words!r} has not {len(self.columns)} cells")
            if not isinstance(line.systems, str) and len(line.systems) != n:
                raise ValueError(f"{self.place}: {line.words!r} needs {n} systems or one")
        return self

    @property
    def numbers(self) -> list[Printed]:
        """The numbers in its measured columns."""
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
    """A number in a sentence: `printed` is a part of `words`, both literal.

    `measure` and `system` are empty where the number is of no measure or system that a run has;
    `genre` is that of a recall; `epochs` and `bound` are as in `Printed`.
    """

    section: str
    words: str
    printed: str
    measure: str = ""
    system: str = ""
    genre: str = ""
    epochs: tuple[int, int] | None = None
    bound: Literal["", "over", "under"] = ""
    remark: str = ""

    @model_validator(mode="after")
    def _check_number(self) -> Sentence:
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
        draws: What is drawn, of our runs, the music or the network; empty where nothing is.
        genre: Of the clip whose sound is drawn, in small letters and digits alone.
        systems: Rows and choices that it shows.
        measure: Of curves; so is `split`.
        said: What the text says about it.
        not_printed: What it shows that the text does not print; never reconstructed.
    """

    place: str
    section: str
    caption: str
    draws: Literal[
        "", "curves", "steps", "genres", "systems", "balance", "sound", "augmentations", "layers",
        "rates",
    ] = ""  # fmt: skip
    genre: str = "blues"
    systems: tuple[str, ...] = ()
    measure: Literal["loss", "accuracy", "both"] = "accuracy"
    split: Literal["train", "valid", "both"] = "both"
    said: tuple[Quotation, ...] = ()
    not_printed: str = ""


class Remark(_Record):
    """A fact about the study, and quotations that show it; none where the study is silent."""

    text: str
    section: str
    places: tuple[Quotation, ...] = ()


class Measured(_Record):
    """On how many clips the study measured, and how we know."""

    n_clips: int
    how: str


def _registered(dataset: str) -> str:
    return DATASETS[dataset].name


class Study(_Record):
    """A study as a recipe; see the module.

    Attributes:
        name: As commands take it.
        authors: In short; `citation` names the study in full.
        text: The file of its text.
        clips_a_genre: Of its dataset.
        hardware: On what it trained; empty where it does not say.
        redrawn: Whether every seed draws its published split anew, because the study names neither
            the clips nor a seed.
        measured: On how many clips it measured, by measure.
        cards: The row of each of its models that the model's card shows.
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
    cards: tuple[str, ...]
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
    def _check_names(self) -> Study:
        rows = {row.name for row in self.rows}
        if len(self.systems) < len(self.rows) + len(self.choices):
            raise ValueError("a row or choice is there twice")
        unknown = {row.group for row in self.rows}
        unknown |= {group for setting in self.settings for group in setting.groups}
        unknown -= self.groups.keys()
        named = {name for choice in self.choices for name in choice.among}
        named |= {name for sweep in self.sweeps for names in sweep.rows for name in names}
        unknown |= (named | set(self.cards)) - rows
        systems = {number.system for number in self.numbers if number.system}
        systems |= {name for figure in self.figures for name in figure.systems}
        unknown |= systems - self.systems.keys()
        if unknown:
            raise ValueError(f"there is no row, choice or group {min(unknown)!r}")
        return self

    @model_validator(mode="after")
    def _check_sweeps(self) -> Study:
        for sweep in self.sweeps:
            rows = [[self.row(name) for name in names] for names in sweep.rows]
            if len({row.group for part in rows for row in part}) != 1:
                raise ValueError(f"{sweep.name}: its rows are of several groups")
            for part, grid in zip(rows, self.grids(sweep), strict=True):
                if any(row.values.keys() != grid.keys() for row in part) or len(part) != prod(
                    len(values) for values in grid.values()
                ):
                    raise ValueError(f"{sweep.name}: {part[0].name}, … are not a full product")
        return self

    def grids(self, sweep: Sweep) -> list[dict[str, list[Any]]]:
        """What varies in a table, values by dotted field; several where it is no full product."""
        grids = []
        for names in sweep.rows:
            grid: dict[str, list[Any]] = {}
            for name in names:
                for dotted, value in self.row(name).values.items():
                    if value not in grid.setdefault(dotted, []):
                        grid[dotted].append(value)
            grids.append(grid)
        return grids

    def row(self, name: str) -> StudyRow:
        """The row of this name.

        Raises:
            UsageError: There is none.
        """
        rows = {row.name: row for row in self.rows}
        if name not in rows:
            raise UsageError(
                f"There is no row {name!r} in {self.name}; there are: {', '.join(rows)}."
            )
        return rows[name]

    @property
    def systems(self) -> dict[str, str]:
        """The titles of its rows and choices by name, in their order."""
        rows = {row.name: row.title for row in self.rows}
        return rows | {choice.name: choice.title for choice in self.choices}

    def title_of(self, system: str) -> str:
        """The title of a row or choice."""
        return self.systems[system]

    def choice(self, name: str) -> RowChoice | None:
        """The choice of this name; None for a row."""
        return next((choice for choice in self.choices if choice.name == name), None)

    def rows_of(self, system: str) -> tuple[str, ...]:
        """The rows that a row or choice needs.

        Raises:
            UsageError: There is none of that name.
        """
        choice = self.choice(system)
        return choice.among if choice else (self.row(system).name,)

    def settings_of(self, group: str, protocol: str) -> list[Setting]:
        """The settings of a group's rows under a protocol, in their order."""
        return [
            setting
            for setting in self.settings
            if (not setting.groups or group in setting.groups)
            and setting.protocol in ("", protocol)
        ]

    def same_split(self, group: str) -> bool:
        """Whether a group's rows have a split of the same kind under both protocols: the one that
        the dataset was published with, or the same with the same options."""
        splits = [
            {
                key: value
                for setting in self.settings_of(group, protocol)
                for key, value in setting.values.items()
                if key.partition(".")[0] == "split"
            }
            for protocol in PROTOCOLS
        ]
        official = [SPLITS[str(split["split"])].facts.published_with for split in splits]
        return splits[0] == splits[1] or all(official)

    @property
    def numbers(self) -> list[Printed]:
        """Every number of its tables and sentences that measures something."""
        in_tables = [number for table in self.tables for number in table.numbers]
        return in_tables + [sentence.number for sentence in self.sentences]


def study_names() -> list[str]:
    """The names of all studies."""
    files = (path.name for path in _FOLDER.iterdir())
    return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))


@lru_cache
def study(name: str) -> Study:
    """The study of this name.

    Raises:
        UsageError: There is none.
        GenrecoreError: Its file is not a valid study.
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
