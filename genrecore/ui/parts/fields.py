"""Fields of configurations and of options as widgets that live in the URL. Imports no torch.

A field is named in the address as on the command line (`training.epochs`, `demo.n_clips`), on every
page, so that a link carries what was chosen from one page to another.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import streamlit as st
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from genrecore.config.registry import Registry
from genrecore.ui.parts.choices import choose, chosen, hold

T = TypeVar("T")
# Attributes of the limits that pydantic keeps. An open one (gt, lt) counts as closed here; the
# configuration's own check says so in a sentence.
_LOW, _HIGH = ("ge", "gt"), ("le", "lt")


def readable(value: Any) -> str:
    """A choice as a person reads it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}".replace(",", " ")
    return str(value).replace("_", " ")


def options(
    registry: Registry[Any],
    name: str,
    given: Mapping[str, Any],
    only: Collection[str] | None = None,
    leave_out: Collection[str] = (),
) -> dict[str, Any]:
    """A field for each option of a registered thing, two beside one another, and their values.

    Args:
        registry: Of datasets, of splits, of models, …
        name: The registered name.
        given: Values that count before the defaults.
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
        default = given.get(key, None if info.is_required() else info.get_default())
        values[key] = field(f"{name}.{key}", info, default)
    return values


def said(registry: Registry[Any], name: str) -> dict[str, Any]:
    """The options of a registered thing as the URL says them, without drawing a field."""
    infos = registry[name].options.model_fields
    return {
        key: _of_url(f"{name}.{key}", info, None if info.is_required() else info.get_default())
        for key, info in infos.items()
    }


def grid(items: Mapping[str, T]) -> Iterator[tuple[str, T]]:
    """Yields each item inside its place of a two-column grid; a single one takes the whole row."""
    listed = list(items.items())
    for first in range(0, len(listed), 2):
        row = listed[first : first + 2]
        columns = st.columns(2 if len(listed) > 1 else 1, gap="medium")
        for column, item in zip(columns, row, strict=False):
            with column:
                yield item


def field(name: str, info: FieldInfo, default: Any, words: Callable[[Any], str] = readable) -> Any:
    """The widget that suits a field's type, bound to the URL, and its value.

    Args:
        name: In the URL.
        info: Title, help, type and range.
        default: Counts where the URL says nothing, or something that does not fit.
        words: How the choices of a select box read.
    """
    wanted = _of_url(name, info, default)
    key = f"field_{name}"
    kind = _without_none(info.annotation)
    as_text = get_origin(kind) is not Literal and (
        kind not in (bool, int, float) or (kind is not bool and default is None)
    )
    shown = ("" if wanted is None else str(wanted)) if as_text else wanted
    hold(key, shown)

    def write() -> None:
        value = st.session_state.get(key)
        choose(name, "" if value is None or value == default else str(value))

    label = info.title or name.rpartition(".")[2].replace("_", " ").capitalize()
    common: dict[str, Any] = {"key": key, "on_change": write, "help": info.description}
    if as_text:
        text = st.text_input(label, **common).strip()
        return text or (None if default is None and kind is not str else "")
    if get_origin(kind) is Literal:
        value = st.selectbox(label, list(get_args(kind)), format_func=words, **common)
    elif kind is bool:
        value = st.toggle(label, **common)
    else:
        value = st.number_input(
            label,
            min_value=_limit(info, _LOW, kind),
            max_value=_limit(info, _HIGH, kind),
            step=1 if kind is int else _step(float(default)),
            format="%d" if kind is int else "%g",
            **common,
        )
    return wanted if value is None else value


def _of_url(name: str, info: FieldInfo, default: Any) -> Any:
    text = chosen(name)
    kind = _without_none(info.annotation)
    if not text or kind is str:
        return text or default
    try:
        if get_origin(kind) is Literal:
            return next(one for one in get_args(kind) if str(one) == text)
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        value = adapter.validate_python(json.loads(text.lower()) if kind is bool else text)
    except (ValidationError, ValueError, StopIteration):
        return default
    low, high = _limit(info, _LOW, kind), _limit(info, _HIGH, kind)
    inside = (low is None or value >= low) and (high is None or value <= high)
    return value if inside else default


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        rest = [part for part in get_args(kind) if part is not type(None)]
        return rest[0] if len(rest) == 1 else str
    return kind


def _limit(info: FieldInfo, names: tuple[str, ...], kind: Any) -> Any:
    found = [getattr(limit, one) for limit in info.metadata for one in names if hasattr(limit, one)]
    return kind(found[0]) if found else None


def _step(value: float) -> float:
    """A tenth to all of the value, and less than it, so that one step down does not end at 0."""
    return float(10.0 ** (math.ceil(math.log10(abs(value))) - 1)) if value else 0.1
