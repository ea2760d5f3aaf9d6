"""Fields of configurations and of options as widgets that live in the URL.

A field is named in the address as on the command line (`training.epochs`, `demo.n_clips`), on every
page, so that a link carries what was chosen from one page to another.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import streamlit as st
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from genrecore.config.registry import Registry
from genrecore.evaluation import metrics
from genrecore.ui.parts.choices import bound, chosen
from genrecore.words import thousands

T = TypeVar("T")
# Attributes of the limits that pydantic keeps. An open one (gt, lt) counts as closed here; the
# configuration's own check says so in a sentence.
_LOW, _HIGH = ("ge", "gt"), ("le", "lt")


def _readable(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return thousands(value)
    return str(value).replace("_", " ")


def options(
    registry: Registry[Any],
    name: str,
    stored: Mapping[str, Any],
    only: Collection[str] | None = None,
    leave_out: Collection[str] = (),
) -> dict[str, Any]:
    """A field for each option of a registered thing, two beside one another, and their values.

    Args:
        registry: Of datasets, of splits, of models, …
        name: The registered name.
        stored: Values that count before the defaults.
        only: These options alone; by default all.
        leave_out: Options that have no field here.
    """
    infos = {
        key: info
        for key, info in registry[name].options.model_fields.items()
        if (only is None or key in only) and key not in leave_out
    }
    values = {}
    for key, info in grid(infos):
        default = stored.get(key, None if info.is_required() else info.get_default())
        values[key] = field(f"{name}.{key}", info, default)
    return values


def changed(registry: Registry[Any], name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that differ from the defaults."""
    infos = registry[name].options.model_fields
    return {key: value for key, value in values.items() if value != infos[key].get_default()}


def query(name: str, values: Mapping[str, Any]) -> dict[str, str]:
    """The options of a registered thing as choices in the URL."""
    return {f"{name}.{key}": str(value) for key, value in values.items()}


def chosen_options(registry: Registry[Any], name: str) -> dict[str, Any]:
    """The options of a registered thing as the URL says them, without drawing a field."""
    values = {}
    for key, info in registry[name].options.model_fields.items():
        values[key] = None if info.is_required() else info.get_default()
        text = chosen(f"{name}.{key}")
        if text:
            with suppress(ValueError):
                values[key] = _parse(text, info)
    return values


def grid(items: Mapping[str, T]) -> Iterator[tuple[str, T]]:
    """Yields each item inside its cell of two columns; a single one takes the whole row."""
    listed = list(items.items())
    for first in range(0, len(listed), 2):
        row = listed[first : first + 2]
        columns = st.columns(2 if len(listed) > 1 else 1, gap="medium")
        for column, item in zip(columns, row, strict=False):
            with column:
                yield item


def field(name: str, info: FieldInfo, default: Any) -> Any:
    """The widget that suits a field's type, bound to the URL, and its value.

    Args:
        name: In the URL.
        info: Title, help, type and range.
        default: Counts where the URL says nothing, or something that does not fit.
    """
    kind = _kind(info)
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    zero = str(extra.get("zero", ""))
    label = info.title or name.rpartition(".")[2].replace("_", " ").capitalize()
    common: dict[str, Any] = {"name": name, "key": f"field_{name}", "help": info.description}
    if zero:
        common["help"] = f"{(info.description or '').rstrip('.')}. Empty: {zero}."
    if extra.get("registry") == "encoder":
        names = [*_encoders(), default, chosen(name)]  # one that is missing is refused by the form
        offered = [name for name in dict.fromkeys(names) if name]
        return bound(st.selectbox, label, offered, default=default, parse=str, **common)
    is_choice = get_origin(kind) is Literal
    if not is_choice and (kind not in (bool, int, float) or (kind is not bool and default is None)):
        text = bound(
            st.text_input,
            label,
            default="" if default is None else str(default),
            parse=lambda text: str(_parse(text, info)),
            **common,
        ).strip()
        return text or (None if default is None and kind is not str else "")
    common |= {"default": default, "parse": lambda text: _parse(text, info)}
    if is_choice:
        return bound(st.selectbox, label, list(get_args(kind)), format_func=_readable, **common)
    if kind is bool:
        return bound(st.toggle, label, **common)
    if zero:
        common |= {"empty": kind(0), "value": None, "placeholder": zero}
    return bound(
        st.number_input,
        label,
        min_value=_limit(info, _LOW, kind),
        max_value=_limit(info, _HIGH, kind),
        step=1 if kind is int else _step(float(default)),
        format="%d" if kind is int else "%g",
        **common,
    )


def _encoders() -> list[str]:
    """The names of the encoders that are here, and of those that can be fetched."""
    from genrecore.models.encoders import PUBLISHED  # imports torch
    from genrecore.models.encoders.files import installed

    return sorted({*PUBLISHED, *installed()})


def _parse(text: str, info: FieldInfo) -> Any:
    """The value that a text stands for.

    Raises:
        ValueError: It does not suit the field.
    """
    kind = _kind(info)
    if kind is str:
        return text
    if get_origin(kind) is Literal:
        values = {str(value): value for value in get_args(kind)}
        if text not in values:
            raise ValueError(text)
        return values[text]
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    # pydantic's errors are ValueErrors
    value = adapter.validate_python(json.loads(text.lower()) if kind is bool else text)
    low, high = _limit(info, _LOW, kind), _limit(info, _HIGH, kind)
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(text)
    return value


def _kind(info: FieldInfo) -> Any:
    """The type that decides which widget a field gets: without None, choices as a Literal."""
    kind: Any = info.annotation
    if metrics.choices(info):
        return Literal[metrics.choices(info)]
    if get_origin(kind) in (Union, types.UnionType):
        rest = [part for part in get_args(kind) if part is not type(None)]
        return rest[0] if len(rest) == 1 else str
    return kind


def _limit(info: FieldInfo, names: tuple[str, ...], kind: Any) -> Any:
    limits = [
        getattr(item, name) for item in info.metadata for name in names if hasattr(item, name)
    ]
    return kind(limits[0]) if limits else None


def _step(value: float) -> float:
    """A tenth to all of the value, and less than it, so that one step down does not end at 0."""
    return float(10.0 ** (math.ceil(math.log10(abs(value))) - 1)) if value else 0.1
