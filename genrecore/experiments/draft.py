"""Drafts of plans: every combination of values as a configuration, and those that do not fit.

Importing this imports no torch; `draft` does.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genrecore.config import run as configuration
from genrecore.config.command import settings_words
from genrecore.config.run import Part, RunConfig
from genrecore.errors import UsageError
from genrecore.experiments.values import applied, in_words, kind_of, name_of, read_all, value_of

MOST_RUNS = 2000
Grid = Mapping[str, Sequence[Any]]
"""Values by dotted field; each combination is a run."""

# What repeats a system varies slowest, so that every system has one result before any has two.
REPEATS = ("split_seed", "fold", "seed")


@dataclass(frozen=True)
class Draft:
    """What a plan will be; nothing is written yet.

    Attributes:
        base: What all its runs start from.
        grids: What varies; one, or several for tables that are no full product.
        changes: What each run changes in the base.
        configs: The runs, resolved, no two alike.
        left_out: A sentence for each combination that cannot be trained, or that is there twice.
    """

    base: RunConfig
    grids: Sequence[Grid]
    changes: Sequence[Mapping[str, Any]]
    configs: Sequence[RunConfig]
    left_out: Sequence[str]


def draft(base: RunConfig, grids: Sequence[Grid]) -> Draft:
    """Every combination, resolved; those that cannot be trained are left out and named.

    Imports torch.

    Raises:
        UsageError: There are no values or too many combinations, or none of them can be trained.
    """
    from genrecore.training.resolve import resolve

    n = sum(math.prod(len(values) for values in grid.values()) for grid in grids)
    if n > MOST_RUNS:
        raise UsageError(
            f"The plan has {n:,} combinations, and {MOST_RUNS:,} are the most; take fewer values, "
            "or let a search try some of them."
        )
    if n == 0:
        raise UsageError("A setting that varies needs at least one value.")
    changes: list[dict[str, Any]] = []
    configs: list[RunConfig] = []
    refused: dict[str, list[dict[str, Any]]] = {}
    seen: set[str] = set()
    resolved: dict[str, RunConfig | str] = {}
    for change in itertools.chain.from_iterable(map(_combinations, grids)):
        try:
            made = applied(base, change)
        except UsageError as error:
            refused.setdefault(str(error), []).append(change)
            continue
        # The seed decides nothing that could be refused.
        key = configuration.signature(made.model_copy(update={"seed": 0}))
        if key not in resolved:
            try:
                resolved[key] = resolve(made).config
            except UsageError as error:
                resolved[key] = str(error)
        config = resolved[key]
        if isinstance(config, str):
            refused.setdefault(config, []).append(change)
            continue
        config = config.model_copy(update={"seed": made.seed})
        signature = configuration.signature(config)
        if signature in seen:
            refused.setdefault("It is the same as another run of the plan.", []).append(change)
            continue
        seen.add(signature)
        changes.append(change)
        configs.append(config)
    left_out = [_alike(found, reason) for reason, found in refused.items()]
    if not configs:
        raise UsageError(f"None of the {n} combinations can be trained. {left_out[0]}")
    return Draft(tidy(base), list(grids), changes, configs, left_out)


def tidy(base: RunConfig) -> RunConfig:
    """The base without what it says though it is so by default; imports torch."""
    from genrecore.training.resolve import resolve

    try:
        resolved = resolve(base).config
    except UsageError:  # not every base is a run: its model may fit only what varies
        return base
    return resolved.model_copy(update={"segments": base.segments})


def _alike(refused: Sequence[Mapping[str, Any]], reason: str) -> str:
    """One sentence for combinations that are refused for the same reason: what they share."""
    first, n = refused[0], len(refused)
    shared = {key: v for key, v in first.items() if all(one.get(key) == v for one in refused)}
    return f"{in_words(shared)}{f' ({n} combinations)' if n > 1 else ''}: {reason}"


def spread(
    base: RunConfig, grids: Sequence[Grid], texts: Mapping[str, Any]
) -> tuple[RunConfig, list[Grid]]:
    """Base and grids with what was typed: one value goes into the base, several vary; values of a
    field that a grid varies take the place of the grid's.

    Raises:
        UsageError: What cannot be read, in one sentence.
    """
    typed = read_all(base, texts)
    single = {key: values[0] for key, values in typed.items() if len(values) == 1}
    several = {key: values for key, values in typed.items() if len(values) > 1}
    spread_out: list[Grid] = []
    for grid in grids:
        kept = {key: typed.get(key, values) for key, values in grid.items()}
        spread_out.append({**{key: v for key, v in several.items() if key not in kept}, **kept})
    return applied(base, single), spread_out


def command_of(base: RunConfig, varied: Mapping[str, str], more: Sequence[str] = ()) -> list[str]:
    """The command that makes a plan or a search.

    Args:
        base: What all its runs start from.
        varied: Values by dotted field, as they are typed.
        more: Further words.
    """
    plain = RunConfig()
    own = {key: value_of(plain, key) for key in varied if "." not in key or _is_field(key)}
    base = configuration.with_values(base, {k: v for k, v in own.items() if v is not None})
    for key in varied.keys() - own.keys():  # an option: it is said where it varies
        part = getattr(base, key.partition(".")[0])
        if isinstance(part, Part):
            options = {k: v for k, v in part.options.items() if k != key.partition(".")[2]}
            changed = part.model_copy(update={"options": options})
            base = base.model_copy(update={key.partition(".")[0]: changed})
    words = settings_words(base)
    for dotted, text in varied.items():
        if dotted in own and kind_of(dotted, base) is not bool:
            words += [f"--{dotted.rpartition('.')[2].replace('_', '-')}", text]
        else:
            words += ["--set", f"{dotted}={text}"]
    return ["genrecore", "sweep", *words, *more]


def _is_field(dotted: str) -> bool:
    """Whether it is a field of a configuration's group, not an option of a part."""
    group = getattr(RunConfig(), dotted.partition(".")[0])
    return hasattr(group, dotted.partition(".")[2]) and not isinstance(group, Part)


def typed(values: Sequence[Any]) -> str:
    """Values as `plan_values.read_values` reads them."""
    texts = [one if isinstance(one, str) else json.dumps(one) for one in values]
    if any("," in text or "|" in text for text in texts):
        return json.dumps(list(values))
    return ",".join(texts)


def _combinations(grid: Grid) -> Iterator[dict[str, Any]]:
    keys = [key for key in REPEATS if key in grid] + [key for key in grid if key not in REPEATS]
    for values in itertools.product(*(grid[key] for key in keys)):
        yield dict(zip(keys, values, strict=True))


def title_of(made: Draft) -> str:
    """A plan in short: what varies how often, and on which data."""
    counts = {
        key: len({json.dumps(change.get(key)) for change in made.changes})
        for key in dict.fromkeys(key for change in made.changes for key in change)
    }
    said = [f"{n} × {name_of(key)}" for key, n in counts.items() if n > 1]
    if counts.get("model", 1) == 1:
        said.insert(0, made.configs[0].model.name)
    return " · ".join([", ".join(said), made.base.dataset.name])
