"""Lists of values and ranges, as people type them for a plan or a search."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genrecore.config.dotted import text_of, zero_of
from genrecore.config.run import PARTS, RunConfig, json_or_text, with_values
from genrecore.data import splits
from genrecore.errors import UsageError
from genrecore.words import thousands

MOST_VALUES = 2000


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included; only whole ones if `whole`.

    On a logarithmic scale (`log`) every factor of ten gets as many trials.
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
        """The value in its middle, on its own scale."""
        value = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return round(value) if self.whole else value


Ranges = Mapping[str, Range | Sequence[Any]]
"""A range or a list of values to choose from, by dotted field."""


def read_values(text: str, kind: Any = None) -> list[Any]:
    """The values that a text lists, each once.

    Commas divide values, or `|` where values hold commas; `0..4` are the whole numbers from 0 to 4;
    a JSON list is read as JSON. Free text (kind `str`) is not cut at commas.

    Raises:
        UsageError: There is no value in it, or a range that cannot be read.
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
        raise UsageError("There is no value; list some, with commas between.")
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
    return text.strip() if kind is str else json_or_text(text.strip())


def read_range(text: str, kind: Any = None) -> Range | list[Any]:
    """A range of numbers (`1e-5..1e-2:log`, `2..6`), or a list as `read_values` reads it.

    A range has whole numbers if the field takes whole numbers, or if the kind of the field is
    unknown and the range begins with one.

    Raises:
        UsageError: The text cannot be read.
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
            "2..6, or 1e-5..1e-2:log for a logarithmic one."
        )
    if scale and low <= 0:
        raise UsageError(f"{text} begins at {low:g}; a logarithmic range begins above 0.")
    whole = kind is int or (kind is None and low_text.strip().isdecimal() and low.is_integer())
    if whole and not (low.is_integer() and high.is_integer()):
        raise UsageError(f"{text} has fractions, but the field takes whole numbers.")
    return Range(low, high, bool(scale), whole)


def read_lists(base: RunConfig, texts: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The typed values by dotted field; `fold` may be `all`, and 0 the word that stands for it.

    Raises:
        UsageError: As `read_values`, with the field's name.
    """
    return {dotted: _read_field(read_values, base, dotted, texts) for dotted in texts}


def read_ranges(
    base: RunConfig, texts: Mapping[str, Any]
) -> tuple[RunConfig, dict[str, Range | list[Any]]]:
    """Base and ranges from what was typed: a single value goes into the base, others are searched.

    Raises:
        UsageError: As `read_range`, with the field's name.
    """
    ranges = {dotted: _read_field(read_range, base, dotted, texts) for dotted in texts}
    single = {
        dotted: values[0]
        for dotted, values in ranges.items()
        if isinstance(values, list) and len(values) == 1
    }
    several = {dotted: values for dotted, values in ranges.items() if dotted not in single}
    return applied(base, single), several


def _read_field(
    reader: Callable[[str, Any], Any], base: RunConfig, dotted: str, texts: Mapping[str, Any]
) -> Any:
    text = texts[dotted]
    if not isinstance(text, str):
        return [text]
    if dotted == "fold" and text.strip() == "all":
        changes = {key: value for key, value in texts.items() if key.partition(".")[0] == "split"}
        split = with_values(base, changes).split
        return list(range(splits.n_folds(split.choose_from(splits.SPLITS))))
    models = [name.strip() for name in str(texts.get("model", "")).split(",") if name.strip()]
    try:
        values = reader(text, kind_of(dotted, base, models))
    except UsageError as error:
        raise UsageError(f"{dotted}: {error}") from None
    zero = zero_of(dotted)
    if isinstance(values, list) and zero in values:
        values = list(dict.fromkeys(0 if value == zero else value for value in values))
    return values


def typed_list(values: Sequence[Any]) -> str:
    """Values as a text that `read_values` reads."""
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    if any("," in text or "|" in text for text in texts):
        return json.dumps(list(values))
    return ",".join(texts)


def typed_range(values: Range | Sequence[Any]) -> str:
    """A range or a list as a text that `read_range` reads."""
    return values.text if isinstance(values, Range) else ", ".join(map(text_of, values))


def applied(base: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """The base with dotted fields replaced.

    Text stays text where an option takes text, even if it looks like a number (one hidden layer of
    32).

    Raises:
        UsageError: A field does not exist, or a value is out of range.
    """
    models = [str(changes["model"])] if "model" in changes else []
    values = dict(changes)
    for dotted, value in changes.items():
        part, dot, _ = dotted.partition(".")
        if (
            isinstance(value, str)
            and dot
            and part in PARTS
            and kind_of(dotted, base, models) is str
        ):
            values[dotted] = json.dumps(value)
    return with_values(base, values)


def kind_of(dotted: str, base: RunConfig, models: Iterable[str] = ()) -> Any:
    """The type of a dotted field: int, float, bool, str for free text; None if it is unknown.

    Args:
        dotted: The field; it may be an option of one of the base's parts.
        base: The configuration.
        models: Further models whose options count.
    """
    first, _, rest = dotted.partition(".")
    option = rest.removeprefix("options.")
    fields: Any = RunConfig.model_fields
    kinds = [getattr(fields.get(first), "annotation", None)]
    if first == "augment":
        kinds = [None if rest else str]
    elif first in PARTS and option in ("", "name"):
        kinds = []
    elif first in PARTS:
        from genrecore.training.parts import REGISTRIES

        names = [getattr(base, first).name, *(models if first == "model" else ())]
        entries = [REGISTRIES[first][name] for name in names if name in REGISTRIES[first]]
        options = [entry.options.model_fields.get(option) for entry in entries]
        kinds = [field.annotation for field in options if field is not None]
    elif rest:
        fields = getattr(kinds[0], "model_fields", {})
        kinds = [getattr(fields.get(rest), "annotation", None)]
    return next((kind for kind in kinds if kind in (int, float, str, bool)), None)
