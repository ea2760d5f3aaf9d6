"""Dotted settings (`training.lr`, `model.width`): their values, and names and values for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from genrecore.config.run import PARTS, Part, RunConfig
from genrecore.errors import UsageError


def value_of(config: RunConfig, dotted: str) -> Any:
    """The value of a dotted field; None for an option of a part that has its default."""
    first, _, rest = dotted.partition(".")
    value: Any = getattr(config, first)
    if first == "augment":
        name, _, option = rest.partition(".")
        if not name:
            return ",".join(part.name for part in value)
        chosen = next((part for part in value if part.name == name), None)
        return chosen.options.get(option.removeprefix("options.")) if chosen else None
    if isinstance(value, Part):
        if rest in ("", "name"):
            return value.name
        return value.options.get(rest.removeprefix("options."))
    return getattr(value, rest) if rest else value


def is_field(dotted: str) -> bool:
    """Whether configurations have such a field; any option of a part counts."""
    first, _, rest = dotted.partition(".")
    if first == "augment" or first in PARTS:
        return True
    field = RunConfig.model_fields.get(first)
    inside = getattr(getattr(field, "annotation", None), "model_fields", {})
    return field is not None and (rest in inside if rest else True)


def name_of(dotted: str) -> str:
    """The name of a dotted field for people: `training.lr` is `learning rate`."""
    first, _, rest = dotted.partition(".")
    field = _field(dotted)
    if rest and field is None:
        return f"{first} {rest.removeprefix('options.').replace('_', ' ')}"
    return str(field.title or dotted).lower() if field else dotted


def _field(dotted: str) -> FieldInfo | None:
    """What is said of a dotted field; None of an option of a part."""
    first, _, rest = dotted.partition(".")
    field = RunConfig.model_fields.get(first)
    if not rest:
        return field
    inside = getattr(getattr(field, "annotation", None), "model_fields", {})
    return None if first in PARTS else inside.get(rest)


def zero_of(dotted: str) -> str:
    """The word that stands for 0 in a dotted field, such as `all`; empty where there is no word, or
    several."""
    field = _field(dotted)
    extra = field.json_schema_extra if field else None
    zero = str(extra.get("zero", "")) if isinstance(extra, dict) else ""
    return "" if " " in zero else zero


def text_of(value: Any, dotted: str = "") -> str:
    """A value as people write it: 0.001, true, cnn; with its field, a word where 0 has one."""
    if value == 0 and value is not False and (zero := zero_of(dotted)):
        return zero
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def in_words(changes: Mapping[str, Any]) -> str:
    """Changed settings as text: `model cnn, learning rate 0.001`; `the base` for no change.
    Folds are counted from 1."""
    settings = [
        f"fold {value + 1}"
        if dotted == "fold" and isinstance(value, int)
        else f"{name_of(dotted)} {text_of(value, dotted)}"
        for dotted, value in changes.items()
    ]
    return ", ".join(settings) or "the base"


def read_assignments(items: list[str] | None, example: str) -> dict[str, str]:
    """The values of several `--set name=value`, by name.

    Raises:
        UsageError: One has no equals sign; the message shows `example`.
    """
    values: dict[str, str] = {}
    for item in items or []:
        name, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"--set takes name=value, e.g. {example}; found {item!r}.")
        values[name] = value
    return values
