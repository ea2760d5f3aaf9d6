"""What stands in the fields of a plan: values as they are typed, read, and said for people.

Importing this imports no torch; asking for the type of a model's option does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig
from genrecore.data import splits
from genrecore.errors import UsageError

MOST_VALUES = 2000
_PARTS = ("dataset.", "split.", "feature.", "standardise.", "model.")


def read_values(text: str, kind: Any = None) -> list[Any]:
    """The values that a text lists: commas between; `|` where values hold commas themselves; `0..4`
    is every whole number from 0 to 4; or a JSON list.

    Args:
        text: As typed.
        kind: The field's type, where it is known: free text is not cut at commas.

    Raises:
        UsageError: There is no value in it, or a range that is none.
    """
    text = text.strip()
    if text.startswith("["):
        try:
            listed = list(json.loads(text))
        except ValueError:
            raise UsageError(f"{text} is not a list in JSON, e.g. [1, 2].") from None
    elif "|" in text:
        listed = [_read(part, kind) for part in text.split("|") if part.strip()]
    elif kind is str:
        listed = [text]
    elif ".." in text and "," not in text:
        low, _, high = text.partition("..")
        if not (low.strip().isdecimal() and high.strip().isdecimal() and int(low) <= int(high)):
            raise UsageError(
                f"{text} is no range of whole numbers, e.g. 0..4; ranges of other numbers are for "
                "a search."
            )
        if int(high) - int(low) >= MOST_VALUES:
            raise UsageError(f"{text} has more than {MOST_VALUES:,} values; take fewer.")
        listed = list(range(int(low), int(high) + 1))
    else:
        listed = [_read(part, kind) for part in text.split(",") if part.strip()]
    if not listed:
        raise UsageError("There is no value given; list some with commas between.")
    unique = {json.dumps(value): value for value in listed}
    return list(unique.values())


def _read(text: str, kind: Any) -> Any:
    text = text.strip()
    if kind is str:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_all(base: RunConfig, texts: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of every field that was typed, by dotted field; `fold` may be `all`.

    Raises:
        UsageError: As `read_values`.
    """
    models = [one.strip() for one in str(texts.get("model", "")).split(",") if one.strip()]
    found: dict[str, list[Any]] = {}
    for dotted, text in texts.items():
        if not isinstance(text, str):
            found[dotted] = [text]
        elif dotted == "fold" and text.strip() == "all":
            found[dotted] = _all_folds(base, texts)
        else:
            try:
                found[dotted] = read_values(text, kind_of(dotted, base, models))
            except UsageError as error:
                raise UsageError(f"{dotted}: {error}") from None
    return found


def _all_folds(base: RunConfig, texts: Mapping[str, Any]) -> list[int]:
    given = {key: text for key, text in texts.items() if key.partition(".")[0] == "split"}
    split = configuration.with_values(base, given).split
    return list(range(splits.n_folds(split.name, split.options)))


def applied(base: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """The base with dotted fields replaced; text stays text where an option takes text, also where
    it looks like a number (one hidden layer of 32).

    Raises:
        UsageError: There is no such field, or the value is out of range.
    """
    models = [str(changes["model"])] if "model" in changes else []
    given = {
        key: json.dumps(value)
        if isinstance(value, str) and key.startswith(_PARTS) and kind_of(key, base, models) is str
        else value
        for key, value in changes.items()
    }
    return configuration.with_values(base, given)


def kind_of(dotted: str, base: RunConfig, models: Iterable[str] = ()) -> Any:
    """The type of a dotted field: int, float, str for free text, or None where nobody knows.

    Imports torch where the field is a part's option.

    Args:
        dotted: The field.
        base: Says which parts are chosen.
        models: Those that a plan varies.
    """
    first, _, rest = dotted.partition(".")
    if first == "augment":
        return str if not rest else None
    if first in ("dataset", "split", "feature", "standardise", "model"):
        if rest in ("", "name"):
            return None
        return _option_kind(first, rest.removeprefix("options."), base, models)
    value: Any = RunConfig.model_fields.get(first)
    kind = getattr(value, "annotation", None)
    inside = getattr(kind, "model_fields", {})
    if rest:
        kind = getattr(inside.get(rest), "annotation", None)
    return kind if kind in (int, float, str, bool) else None


def _option_kind(part: str, option: str, base: RunConfig, models: Iterable[str]) -> Any:
    from genrecore.data.datasets import DATASETS
    from genrecore.data.splits import SPLITS
    from genrecore.features import FEATURES, STANDARDISERS
    from genrecore.models import MODELS

    registries: dict[str, Any] = {
        "dataset": DATASETS,
        "split": SPLITS,
        "feature": FEATURES,
        "standardise": STANDARDISERS,
        "model": MODELS,
    }
    names = [getattr(base, part).name, *(models if part == "model" else ())]
    for name in names:
        if name in registries[part]:
            info = registries[part][name].options.model_fields.get(option)
            if info is not None and info.annotation in (int, float, str, bool):
                return info.annotation
    return None


def value_of(config: RunConfig, dotted: str) -> Any:
    """What a configuration has in a dotted field; None for an option left at its default."""
    value: Any = config
    for place, part in enumerate(dotted.split(".")):
        if isinstance(value, configuration.Part):
            return value.name if part == "name" else value.options.get(part)
        if isinstance(value, tuple):  # augmentations, by name
            rest = dotted.split(".")[place:]
            found = next((one for one in value if one.name == rest[0]), None)
            return found.options.get(rest[-1]) if found else None
        value = getattr(value, part)
    if isinstance(value, configuration.Part):
        return value.name
    if isinstance(value, tuple):
        return ",".join(one.name for one in value)
    return value


def in_words(changes: Mapping[str, Any]) -> str:
    """`model cnn, learning rate 0.001`, for people; `the base` where nothing varies."""
    said = [f"{name_of(key)} {shown(value)}" for key, value in changes.items()]
    return ", ".join(said) or "the base"


def name_of(dotted: str) -> str:
    """A dotted field in words: `training.lr` is the learning rate."""
    first, _, rest = dotted.partition(".")
    field: Any = RunConfig.model_fields.get(first)
    inside = getattr(getattr(field, "annotation", None), "model_fields", {})
    if rest and rest in inside and first not in ("dataset", "split", "feature", "model"):
        field = inside[rest]
    elif rest:
        return f"{first} {rest.removeprefix('options.').replace('_', ' ')}"
    return str(field.title or dotted).lower() if field else dotted


def shown(value: Any) -> str:
    """A value as a person writes it."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)
