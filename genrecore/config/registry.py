"""A registry: names, the thing behind each, its title, source, options and facts.

Forms, flags, tables, tests and documentation read what there is from here, so a new model or
feature is known everywhere once it is registered where it is defined.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from genrecore.errors import UsageError

Thing = TypeVar("Thing")
Facts = TypeVar("Facts")


class Options(BaseModel):
    """Base of the option classes beside registered things. Unknown fields are refused."""

    # A list of one width is text as much as one of two: `--set model.hidden=32`.
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


@dataclass(frozen=True)
class NoFacts:
    """The facts of a registry whose entries have none."""


@dataclass(frozen=True)
class Entry(Generic[Facts]):
    """One registered thing.

    Attributes:
        name: As configurations name it.
        thing: The class, function or value itself.
        title: For people.
        source: Who published it.
        options: The class that its options are read with.
        facts: What is particular to entries of this registry: a feature's kind, for example.
    """

    name: str
    thing: Any
    title: str
    source: str
    options: type[Options]
    facts: Facts

    def read_options(self, given: Mapping[str, Any], what: str) -> Any:
        """Options filled with their defaults.

        Raises:
            UsageError: An unknown option or a value out of range, with what was expected.
        """
        try:
            return self.options.model_validate(dict(given))
        except ValidationError as error:
            raise UsageError(f"{what} {self.name}: {explain(error, self.options)}") from None


@dataclass(frozen=True)
class Choice(Generic[Facts]):
    """A registered thing and the parsed options with which a configuration uses it."""

    entry: Entry[Facts]
    options: Any

    @property
    def name(self) -> str:
        """As configurations name it."""
        return self.entry.name

    @property
    def thing(self) -> Any:
        """The class or function itself."""
        return self.entry.thing

    @property
    def facts(self) -> Facts:
        """What is particular to it."""
        return self.entry.facts


class Registry(Mapping[str, Entry[Facts]], Generic[Facts]):
    """Registered things of one sort by name; iterating gives the names.

    Args:
        what: The sort: "model", "feature", ….
        facts: The frozen dataclass that every entry's facts are kept in.
    """

    def __init__(self, what: str, facts: type[Facts]) -> None:
        self.what = what
        self._facts = facts
        self._entries: dict[str, Entry[Facts]] = {}

    def register(
        self,
        name: str,
        *,
        title: str,
        source: str = "",
        options: type[Options] = Options,
        **facts: Any,
    ) -> Callable[[Thing], Thing]:
        """Decorator that files the thing under `name`; a name can be taken only once.

        Raises:
            TypeError: A fact that the registry does not know, or one that is missing.
        """
        checked = self._facts(**facts)

        def file(thing: Thing) -> Thing:
            if name in self._entries:
                raise ValueError(f"{self.what} {name!r} is registered twice")
            self._entries[name] = Entry(name, thing, title, source, options, checked)
            return thing

        return file

    @property
    def titles(self) -> dict[str, str]:
        """The title of every entry, by its name."""
        return {name: entry.title for name, entry in self.items()}

    def choose(self, name: str, options: Mapping[str, Any]) -> Choice[Facts]:
        """The thing of that name with its options parsed.

        Raises:
            UsageError: No such name, an unknown option, or a value out of range.
        """
        entry = self[name]
        return Choice(entry, entry.read_options(options, self.what))

    def __getitem__(self, name: str) -> Entry[Facts]:
        if name not in self._entries:
            raise UsageError(
                f"There is no {self.what} called {name!r}; there are: {', '.join(self)}."
            )
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def import_modules(package: str, folder: Iterable[str]) -> None:
    """Imports every module of a package, by name, so that they register what they define.

    Args:
        package: Its dotted name, `__name__`.
        folder: Where its modules lie, `__path__`.
    """
    for module in pkgutil.iter_modules(folder):
        importlib.import_module(f"{package}.{module.name}")


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """A pydantic error as one sentence: field, what was found, what was expected, the choices."""
    problems = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"]) or "the value"
        if item["type"] == "extra_forbidden":
            fields = ", ".join(_fields_at(model, item["loc"][:-1])) or "no fields"
            problems.append(f"there is no field {place!r}; there are: {fields}")
        else:
            message = item["msg"].removeprefix("Value error, ")
            found = item.get("input")
            shown = "" if isinstance(found, (dict, list)) else f" (found {found!r})"
            problems.append(f"{place}: {message[:1].lower()}{message[1:]}{shown}")
    return "; ".join(problems) + "."


def _fields_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    for part in place:
        if not isinstance(part, str) or part not in model.model_fields:
            return []
        inner = model.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
