"""Options of a dataset or a split as fields that live in the URL. Nothing here imports torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

import streamlit as st
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from genrecore.datasets import DATASETS, known
from genrecore.registry import Registry
from genrecore.splits import SPLITS
from genrecore.ui.choices import choose, choose_one, chosen
from genrecore.ui.dataset_readers import Chosen, Dataset, SplitChoice


def choose_dataset() -> Chosen:
    """The dataset of the URL with its options; what is remembered of it counts as given."""
    name = choose_one(
        "Dataset",
        list(DATASETS),
        "dataset",
        words=lambda one: DATASETS[one].title,
        help="What it is made of is decided by its loader; see the line below.",
    )
    entry = DATASETS[name]
    about = entry.source or entry.title
    st.caption(about[:1].upper() + about[1:])
    remembered = known.known().get(name, {})
    options: dict[str, Any] = {}
    if entry.facts.get("needs_folder"):
        options |= fields(DATASETS, name, remembered, only=("folder",))
    options |= fields(DATASETS, name, remembered, leave_out=("folder",))
    return Chosen(name, options)


def choose_split(data: Dataset) -> SplitChoice:
    """The split scheme of the URL with its options."""
    own = not data.clips["split"].isna().all()
    name = choose_one(
        "Split",
        list(SPLITS),
        "split",
        words=lambda one: SPLITS[one].title,
        default="official" if own else "stratified",
        help="Who is trained on, validated on and tested on.",
    )
    source = SPLITS[name].source
    st.caption(source[:1].upper() + source[1:])
    entry = SPLITS[name]
    options = fields(SPLITS, name, {})
    left, right = st.columns(2, gap="medium")
    fold = seed = 0
    if entry.facts.get("folds"):
        info = entry.options.model_fields["n_folds"]
        n_folds = int(options.get("n_folds", info.get_default()))
        with left:
            field = FieldInfo.from_annotation(Literal[tuple(range(n_folds))])  # type: ignore[arg-type]
            field.title = "Tested fold"
            field.description = "Fold k tests part k and validates on the next one"
            fold = int(_field("fold", field, 0, words=lambda k: f"{k + 1} of {n_folds}"))
    if entry.facts.get("seeded", True):
        with right:
            drawn = FieldInfo(annotation=int, title="Split seed", description="Who lands where")
            seed = int(_field("split_seed", drawn, 0))
    return SplitChoice(name, options, seed, fold)


def fields(
    registry: Registry,
    name: str,
    given: Mapping[str, Any],
    only: tuple[str, ...] = (),
    leave_out: tuple[str, ...] = (),
) -> dict[str, Any]:
    """A field for each option, two beside one another; returns what differs from the defaults.

    Args:
        registry: Of datasets or of splits.
        name: The registered name.
        given: Values that count before the defaults.
        only: These options alone; by default all.
        leave_out: Options that have no field here.
    """
    infos = {
        key: info
        for key, info in registry[name].options.model_fields.items()
        if (not only or key in only) and key not in leave_out
    }
    values: dict[str, Any] = {}
    items = list(infos.items())
    for first in range(0, len(items), 2):
        row = items[first : first + 2]
        for column, (key, info) in zip(st.columns(len(row), gap="medium"), row, strict=True):
            with column:
                value = _field(f"{name}.{key}", info, given.get(key, info.get_default()))
            if value != info.get_default():
                values[key] = value
    return values


def _readable(value: Any) -> str:
    return str(value).replace("_", " ")


def _field(
    name: str, info: FieldInfo, default: Any, words: Callable[[Any], str] = _readable
) -> Any:
    """A widget bound to the URL under this name, and its value; a wrong one is passed over."""
    wanted = _of_url(name, info, default)
    key = f"field_{name}"
    if st.session_state.get(key) != wanted:
        st.session_state[key] = wanted

    def write() -> None:
        value = st.session_state.get(key)
        choose(name, "" if value is None or value == default else str(value))

    label = info.title or name
    common: dict[str, Any] = {"key": key, "on_change": write, "help": info.description}
    kind = info.annotation
    if get_origin(kind) is Literal:
        value = st.selectbox(label, list(get_args(kind)), format_func=words, **common)
    elif kind is bool:
        value = st.toggle(label, **common)
    elif kind in (int, float):
        low, high = _limit(info, ("ge",), kind), _limit(info, ("le",), kind)
        value = st.number_input(
            label,
            min_value=low,
            max_value=high,
            step=kind(1),
            format="%d" if kind is int else "%g",
            **common,
        )
    else:
        value = st.text_input(label, **common).strip()
    return wanted if value is None else value


def _of_url(name: str, info: FieldInfo, default: Any) -> Any:
    text = chosen(name)
    if not text:
        return default
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(info.annotation or str)
        if info.annotation is str:
            return text
        parsed = json.loads(text.lower()) if info.annotation is bool else text
        if get_origin(info.annotation) is Literal:
            return next(one for one in get_args(info.annotation) if str(one) == text)
        value = adapter.validate_python(parsed)
    except (ValidationError, ValueError, StopIteration):
        return default
    kind = type(value)
    low, high = _limit(info, ("ge", "gt"), kind), _limit(info, ("le", "lt"), kind)
    inside = (low is None or value >= low) and (high is None or value <= high)
    return value if inside else default


def _limit(info: FieldInfo, names: tuple[str, ...], kind: Any) -> Any:
    found = [getattr(m, one) for m in info.metadata for one in names if hasattr(m, one)]
    return kind(found[0]) if found else None
