"""Registries: things by name, each with its title, source, options and facts.

Forms, flags, tables, tests and documentation read them, so a new model or feature needs only to be
registered where it is defined.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from genrecore.config.demand import Shortage, TrainingSet
from genrecore.errors import UsageError
from genrecore.words import uncapitalised

Thing = TypeVar("Thing")
Facts = TypeVar("Facts")


class Options(BaseModel):
    """Base class of the options of registered things. Unknown fields are refused."""

    # Options that list numbers are text, also when there is only one: `--set model.hidden=32`.
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    def shortage(self, there: TrainingSet) -> Shortage | None:
        """What these options ask of the training data and do not get; None where it is enough."""
        return None


@dataclass(frozen=True)
class NoFacts:
    """For registries whose entries state no facts."""


@dataclass(frozen=True)
class Entry(Generic[Facts]):
    """A registered thing: a class, function or value.

    Attributes:
        name: Its name in configurations.
        title: Its name for people.
        source: Who published it.
        facts: Facts that all entries of this registry state, a feature's kind for example.
    """

    name: str
    thing: Any
    title: str
    source: str
    options: type[Options]
    facts: Facts


@dataclass(frozen=True)
class Choice(Generic[Facts]):
    """A registered thing with the options that a configuration gives it."""

    entry: Entry[Facts]
    options: Any

    @property
    def name(self) -> str:
        """Its name in configurations."""
        return self.entry.name

    @property
    def thing(self) -> Any:
        """The class or function itself."""
        return self.entry.thing

    @property
    def facts(self) -> Facts:
        """Its facts: a feature's kind, for example."""
        return self.entry.facts


class Registry(Mapping[str, Entry[Facts]], Generic[Facts]):
    """Registered things of one sort by name.

    Args:
        noun: What they are: "model", "feature", …
        facts: The frozen dataclass of the entries' facts.
    """

    def __init__(self, noun: str, facts: type[Facts]) -> None:
        self.noun = noun
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
        """Decorator that registers a class, function or value under `name`.

        Raises:
            TypeError: A fact is unknown or missing.
            ValueError: The name is taken.
        """
        entry_facts = self._facts(**facts)

        def add(thing: Thing) -> Thing:
            if name in self._entries:
                raise ValueError(f"{self.noun} {name!r} is registered twice")
            self._entries[name] = Entry(name, thing, title, source, options, entry_facts)
            return thing

        return add

    @property
    def titles(self) -> dict[str, str]:
        """The title of every entry, by its name."""
        return {name: entry.title for name, entry in self.items()}

    def choose(self, name: str, options: Mapping[str, Any] = MappingProxyType({})) -> Choice[Facts]:
        """The thing of this name with its options parsed, the only place that parses them.

        Args:
            name: A registered name.
            options: Values of options; those that are absent take their defaults.

        Raises:
            UsageError: No such name, an unknown option, or a value out of range, with what was
                expected.
        """
        entry = self[name]
        try:
            return Choice(entry, entry.options.model_validate(dict(options)))
        except ValidationError as error:
            raise UsageError(f"{self.noun} {name}: {explain(error, entry.options)}") from None

    def __getitem__(self, name: str) -> Entry[Facts]:
        if name not in self._entries:
            raise UsageError(
                f"There is no {self.noun} called {name!r}; there are: {', '.join(self)}."
            )
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def import_modules(package: str, folder: Iterable[str]) -> None:
    """Imports the modules of a package (its `__name__` and `__path__`), which register things."""
    for module in pkgutil.iter_modules(folder):
        importlib.import_module(f"{package}.{module.name}")


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """A pydantic error as one sentence: field, what was found, what was expected, the choices."""
    problems = []
    for item in error.errors():
        field = ".".join(str(part) for part in item["loc"]) or "the value"
        if item["type"] == "extra_forbidden":
            fields = ", ".join(_fields_at(model, item["loc"][:-1])) or "no fields"
            problems.append(f"there is no field {field!r}; there are: {fields}")
        elif item["type"] == "string_unicode":
            problems.append(f"{field}: expected a name in UTF-8 (found {item['input']!r})")
        else:
            message = item["msg"].removeprefix("Value error, ")
            value = item.get("input")
            value_note = "" if isinstance(value, (dict, list)) else f" (found {value!r})"
            problems.append(f"{field}: {uncapitalised(message)}{value_note}")
    return "; ".join(problems) + "."


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        if not isinstance(part, str) or part not in model.model_fields:
            return []
        inner = model.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
