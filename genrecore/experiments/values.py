"""What a person types into the fields of a plan or a search: lists of values, and ranges."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genrecore.config.dotted import shown
from genrecore.config.run import RunConfig, with_values
from genrecore.data import splits
from genrecore.errors import UsageError
from genrecore.words import thousands

MOST_VALUES = 2000
_PARTS = ("dataset", "split", "feature", "standardise", "model")


@dataclass(frozen=True)
class Range:
    """Every number from `low` to `high`, both included.

    Attributes:
        low: The smallest.
        high: The largest.
        log: Whether every factor of ten gets as many trials.
        whole: Whether only whole numbers count.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def text(self) -> str:
        """The range as it is typed."""
        return f"{self.low:g}..{self.high:g}{':log' if self.log else ''}"

    @property
    def ends(self) -> list[float | int]:
        """Its smallest and its largest value."""
        return [int(end) if self.whole else end for end in (self.low, self.high)]

    @property
    def middle(self) -> float | int:
        """The value in its middle, between factors where it is logarithmic."""
        value = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return round(value) if self.whole else value


Ranges = Mapping[str, Range | Sequence[Any]]
"""By dotted field a range, or a list of values to choose from."""


def read_values(text: str, kind: Any = None) -> list[Any]:
    """The values that a text lists, each once.

    Commas stand between values, or `|` where values hold commas themselves; `0..4` is every whole
    number from 0 to 4; a JSON list is taken as it is.

    Args:
        text: As typed.
        kind: The field's type, where it is known: free text is not cut at commas.

    Raises:
        UsageError: There is no value in it, or a range that is none.
    """
    text = text.strip()
    if text.startswith("["):
        try:
            values = list(json.loads(text))
        except ValueError:
            raise UsageError(f"{text} is not a list in JSON, e.g. [1, 2].") from None
    elif "|" in text:
        values = [_read(item, kind) for item in text.split("|") if item.strip()]
    elif kind is str:
        values = [text]
    elif ".." in text and "," not in text:
        values = _whole_numbers(text)
    else:
        values = [_read(item, kind) for item in text.split(",") if item.strip()]
    if not values:
        raise UsageError("There is no value; list some with commas between.")
    return list({json.dumps(value): value for value in values}.values())


def _whole_numbers(text: str) -> list[int]:
    low, _, high = text.partition("..")
    if not (low.strip().isdecimal() and high.strip().isdecimal() and int(low) <= int(high)):
        raise UsageError(
            f"{text} is not a range of whole numbers, e.g. 0..4; only a search takes ranges of "
            "other numbers."
        )
    if int(high) - int(low) >= MOST_VALUES:
        raise UsageError(f"{text} has more than {thousands(MOST_VALUES)} values; take fewer.")
    return list(range(int(low), int(high) + 1))


def _read(text: str, kind: Any) -> Any:
    text = text.strip()
    if kind is str:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_range(text: str, kind: Any = None) -> Range | list[Any]:
    """A range of numbers (`1e-5..1e-2:log`, `2..6`), or a list as `read_values` reads it.

    Args:
        text: As typed.
        kind: The field's type; whole numbers are searched only where it holds whole numbers.

    Raises:
        UsageError: What is wrong with it.
    """
    text = text.strip()
    if ".." not in text or text[:1] in "[|" or kind is str:
        return read_values(text, kind)
    span, _, scale = text.partition(":")
    low_text, _, high_text = span.partition("..")
    try:
        low, high = float(low_text), float(high_text)
    except ValueError:
        low = high = math.nan
    if not low < high or not math.isfinite(low + high) or scale.strip() not in ("", "log"):
        raise UsageError(
            f"{text} is not a range; a range is low..high with numbers, the lower one first, e.g. "
            "2..6, or 1e-5..1e-2:log for one in factors."
        )
    if scale and low <= 0:
        raise UsageError(f"{text} begins at {low:g}; a logarithmic range begins above 0.")
    whole = kind is int or (kind is None and low_text.strip().isdecimal() and low.is_integer())
    if whole and not (low.is_integer() and high.is_integer()):
        raise UsageError(f"{text} has fractions, but the field takes whole numbers.")
    return Range(low, high, bool(scale), whole)


def read_lists(base: RunConfig, texts: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of every field that was typed, by dotted field; `fold` may be `all`.

    Raises:
        UsageError: As `read_values`, with the field's name.
    """
    values: dict[str, list[Any]] = {}
    for dotted, text in texts.items():
        if not isinstance(text, str):
            values[dotted] = [text]
        elif dotted == "fold" and text.strip() == "all":
            values[dotted] = _all_folds(base, texts)
        else:
            try:
                values[dotted] = read_values(text, kind_of(dotted, base, _models(texts)))
            except UsageError as error:
                raise UsageError(f"{dotted}: {error}") from None
    return values


def _all_folds(base: RunConfig, texts: Mapping[str, Any]) -> list[int]:
    changes = {key: text for key, text in texts.items() if key.partition(".")[0] == "split"}
    split = with_values(base, changes).split
    return list(range(splits.n_folds(split.name, split.options)))


def read_ranges(
    base: RunConfig, texts: Mapping[str, Any]
) -> tuple[RunConfig, dict[str, Range | list[Any]]]:
    """Base and ranges of what was typed: one value goes into the base, others are searched.

    Raises:
        UsageError: As `read_range`, with the field's name.
    """
    single: dict[str, Any] = {}
    ranges: dict[str, Range | list[Any]] = {}
    for dotted, text in texts.items():
        try:
            kind = kind_of(dotted, base, _models(texts))
            value = read_range(text, kind) if isinstance(text, str) else [text]
        except UsageError as error:
            raise UsageError(f"{dotted}: {error}") from None
        if isinstance(value, list) and len(value) == 1:
            single[dotted] = value[0]
        else:
            ranges[dotted] = value
    return applied(base, single), ranges


def _models(texts: Mapping[str, Any]) -> list[str]:
    return [name.strip() for name in str(texts.get("model", "")).split(",") if name.strip()]


def typed_list(values: Sequence[Any]) -> str:
    """Values as `read_values` reads them."""
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    if any("," in text or "|" in text for text in texts):
        return json.dumps(list(values))
    return ",".join(texts)


def typed_range(values: Range | Sequence[Any]) -> str:
    """A range or a list as `read_range` reads it."""
    return values.text if isinstance(values, Range) else ", ".join(map(shown, values))


def applied(base: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """The base with dotted fields replaced.

    Text stays text where an option takes text, also where it looks like a number (one hidden
    layer of 32).

    Raises:
        UsageError: There is no such field, or the value is out of range.
    """
    models = [str(changes["model"])] if "model" in changes else []
    values = {
        dotted: json.dumps(value)
        if isinstance(value, str) and _is_free_text_option(dotted, base, models)
        else value
        for dotted, value in changes.items()
    }
    return with_values(base, values)


def _is_free_text_option(dotted: str, base: RunConfig, models: Iterable[str]) -> bool:
    part, dot, _ = dotted.partition(".")
    return bool(dot) and part in _PARTS and kind_of(dotted, base, models) is str


def kind_of(dotted: str, base: RunConfig, models: Iterable[str] = ()) -> Any:
    """The type of a dotted field: int, float, bool, str for free text, None where it is not known.

    Args:
        dotted: The field.
        base: The configuration whose parts' options are looked at.
        models: Further models whose options count.
    """
    first, _, rest = dotted.partition(".")
    if first == "augment":
        return str if not rest else None
    if first in _PARTS:
        if rest in ("", "name"):
            return None
        return _option_kind(first, rest.removeprefix("options."), base, models)
    field: Any = RunConfig.model_fields.get(first)
    kind = getattr(field, "annotation", None)
    if rest:
        kind = getattr(getattr(kind, "model_fields", {}).get(rest), "annotation", None)
    return kind if kind in (int, float, str, bool) else None


def _option_kind(part: str, option: str, base: RunConfig, models: Iterable[str]) -> Any:
    from genrecore.training.parts import REGISTRIES

    names = [getattr(base, part).name, *(models if part == "model" else ())]
    for name in names:
        if name in REGISTRIES[part]:
            field = REGISTRIES[part][name].options.model_fields.get(option)
            if field is not None and field.annotation in (int, float, str, bool):
                return field.annotation
    return None
