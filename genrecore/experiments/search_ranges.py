"""What a search may choose from, and how it chooses; read, checked, and said for people.

Importing this imports no torch; `check` and `typical` do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from genrecore.config.run import RunConfig
from genrecore.errors import UsageError
from genrecore.experiments import values as plan_values
from genrecore.experiments.draft import tidy
from genrecore.experiments.plan import Plan

# Scores on other music, or on other clips of it, do not compare; and a lucky seed is no setting.
_NOT_SEARCHED = ("dataset", "genres", "split", "split_seed", "fold", "seed", "device", "processes",
                 "allow_leaks", "rehearsal", "standardise_on")  # fmt: skip
_NOT_SEARCHED_IN = ("training.watch", "training.choose_epoch")
_WITHOUT_VALIDATION = ("ratio_8_2", "qin")


@dataclass(frozen=True)
class Range:
    """Every number between two, both included.

    Attributes:
        low: The smallest.
        high: The largest.
        log: Whether each factor of ten gets as many trials.
        whole: Whether only whole numbers count.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def words(self) -> str:
        """As it is typed."""
        return f"{self.low:g}..{self.high:g}{':log' if self.log else ''}"


Ranges = Mapping[str, Range | Sequence[Any]]
"""By dotted field a range, or a list of which one is taken."""


@dataclass(frozen=True)
class Way:
    """How a search chooses.

    Attributes:
        sampler: `random`, or `tpe` (tree-structured Parzen estimators, Bergstra 2011).
        n_trials: How many runs it tries.
        pruner: `none`, `median` (ended where the score is below the median of earlier trials at
            the same epoch) or `hyperband` (Li 2018).
        seed: Of the sampler.
    """

    sampler: Literal["random", "tpe"] = "tpe"
    n_trials: int = 20
    pruner: Literal["none", "median", "hyperband"] = "none"
    seed: int = 0


def read_range(text: str, kind: Any = None) -> Range | list[Any]:
    """A range (`1e-5..1e-2:log`, `2..6`) or a list of values, as `plan_values.read_values` does.

    Args:
        text: As typed.
        kind: The field's type; whole numbers are searched only where it holds whole numbers.

    Raises:
        UsageError: What is wrong with it.
    """
    given = text.strip()
    if ".." not in given or given[:1] in "[|" or kind is str:
        return plan_values.read_values(given, kind)
    span, _, way = given.partition(":")
    low_text, _, high_text = span.partition("..")
    try:
        low, high = float(low_text), float(high_text)
    except ValueError:
        low = high = math.nan
    if not low < high or not math.isfinite(low + high) or way.strip() not in ("", "log"):
        raise UsageError(
            f"{given} is no range; a range is low..high with numbers, the lower one first, e.g. "
            "2..6, or 1e-5..1e-2:log for one in factors."
        )
    if way and low <= 0:
        raise UsageError(f"{given} begins at {low:g}; a logarithmic range begins above 0.")
    whole = kind is int or (kind is None and low_text.strip().isdecimal() and low.is_integer())
    if whole and not (low.is_integer() and high.is_integer()):
        raise UsageError(f"{given} has fractions, but the field takes whole numbers.")
    return Range(low, high, bool(way), whole)


def read_all(base: RunConfig, texts: Mapping[str, Any]) -> tuple[RunConfig, dict[str, Any]]:
    """Base and ranges of what was typed: one value goes into the base, others are searched.

    Raises:
        UsageError: As `read_range`.
    """
    models = [one.strip() for one in str(texts.get("model", "")).split(",") if one.strip()]
    single: dict[str, Any] = {}
    ranges: dict[str, Any] = {}
    for dotted, text in texts.items():
        try:
            kind = plan_values.kind_of(dotted, base, models)
            given = read_range(text, kind) if isinstance(text, str) else [text]
        except UsageError as error:
            raise UsageError(f"{dotted}: {error}") from None
        if isinstance(given, list) and len(given) == 1:
            single[dotted] = given[0]
        else:
            ranges[dotted] = given
    return plan_values.applied(base, single), ranges


def typical(base: RunConfig, ranges: Ranges) -> RunConfig:
    """A configuration from the middle of the ranges, to judge how long a trial takes."""
    middle: dict[str, Any] = {}
    for dotted, given in ranges.items():
        if isinstance(given, Range):
            low, high = given.low, given.high
            value = math.sqrt(low * high) if given.log else (low + high) / 2
            middle[dotted] = round(value) if given.whole else value
        else:
            middle[dotted] = given[len(given) // 2]
    for dotted in [*middle]:  # an option of a model that is not in the middle
        if dotted.startswith("model.") and _refused(base, middle):
            del middle[dotted]
    return plan_values.applied(base, middle)


def range_words(given: Range | Sequence[Any]) -> str:
    """A range or a list as it is typed."""
    return given.words if isinstance(given, Range) else ", ".join(map(plan_values.shown, given))


def may_vary(dotted: str) -> bool:
    """Whether a search may choose a field: whether scores compare whatever it says."""
    return dotted.partition(".")[0] not in _NOT_SEARCHED and dotted not in _NOT_SEARCHED_IN


def check(base: RunConfig, ranges: Ranges, way: Way) -> RunConfig:
    """The base, with what cannot be searched refused. Imports torch.

    Raises:
        UsageError: In one sentence, what.
    """
    if not ranges:
        raise UsageError("A search needs a setting to vary, e.g. --lr 1e-5..1e-2:log.")
    if way.n_trials < 1:
        raise UsageError(f"A search needs at least one trial; found {way.n_trials}.")
    for dotted in ranges:
        if not may_vary(dotted):
            raise UsageError(
                f"A search does not vary {dotted}: scores would not compare. Give it one value, or "
                "make a plan of every combination."
            )
    if base.split.name in _WITHOUT_VALIDATION:
        raise UsageError(
            f"A search judges by validation clips, and the split {base.split.name} has none; "
            "choose another split."
        )
    ends = {
        dotted: [_number(given, given.low), _number(given, given.high)]
        if isinstance(given, Range)
        else list(given)
        for dotted, given in ranges.items()
    }
    # Each value on its own, since an option may belong to one of several models only.
    for dotted, values in ends.items():
        models = ends.get("model", [base.model.name]) if dotted != "model" else [None]
        for value in values:
            refused = [
                _refused(base, ({"model": model} if model else {}) | {dotted: value})
                for model in models
            ]
            if all(refused):
                raise UsageError(f"{plan_values.in_words({dotted: value})}: {refused[0]}")
    return tidy(base)


def _refused(base: RunConfig, changes: Mapping[str, Any]) -> str:
    """Why these values cannot be trained; empty where they can."""
    from genrecore.training.resolve import resolve

    try:
        resolve(plan_values.applied(base, changes))
    except UsageError as error:
        return str(error)
    return ""


def _number(given: Range, value: float) -> float | int:
    return int(value) if given.whole else value


def ranges_of(plan: Plan) -> dict[str, Range | list[Any]]:
    """What a search's plan says of its ranges."""
    return {
        dotted: Range(**given) if isinstance(given, dict) else list(given)
        for dotted, given in plan.search["ranges"].items()
    }


def way_of(plan: Plan) -> Way:
    """How a search's plan says it chooses."""
    return Way(**{key: value for key, value in plan.search.items() if key != "ranges"})
