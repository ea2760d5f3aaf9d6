"""A plan before it is written: each combination of values is a run, resolved and checked."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from genrecore.config.command import set_words, settings_words
from genrecore.config.dotted import in_words, name_of, value_of
from genrecore.config.run import Part, RunConfig, signature, with_values
from genrecore.errors import UsageError
from genrecore.experiments.values import applied, kind_of, read_lists
from genrecore.store.run import Run
from genrecore.words import thousands

MOST_RUNS = 2000
Grid = Mapping[str, Sequence[Any]]
"""Values by dotted field; each combination of them is a run."""

REPEATS = ("split_seed", "fold", "seed")
"""Fields that repeat a system; they vary slowest, so every system soon has its first result."""


@dataclass(frozen=True)
class Draft:
    """A plan that is not written yet.

    Attributes:
        base: What all its runs start from.
        grids: What varies; several grids where a table is not a full product.
        changes: What each run changes in the base.
        configs: The runs, resolved, no two alike.
        left_out: Sentences on combinations that cannot be trained or occur twice.
        refused: Sentences on combinations whose runs would fail with these data.
    """

    base: RunConfig
    grids: Sequence[Grid]
    changes: Sequence[Mapping[str, Any]]
    configs: Sequence[RunConfig]
    left_out: Sequence[str]
    refused: Sequence[str] = ()

    @property
    def title(self) -> str:
        """What varies, with the number of values, and the dataset."""
        n_values = {
            dotted: len({json.dumps(change.get(dotted)) for change in self.changes})
            for dotted in dict.fromkeys(key for change in self.changes for key in change)
        }
        varied = [f"{n} × {name_of(dotted)}" for dotted, n in n_values.items() if n > 1]
        if n_values.get("model", 1) == 1:
            varied.insert(0, self.configs[0].model.name)
        return f"{', '.join(varied)} · {self.base.dataset.name}"

    def trainable(self, existing: Sequence[Run | None] = ()) -> Draft:
        """The plan without the runs that would fail; `refused` says why. Runs that exist already
        stay.

        Raises:
            UsageError: All would fail.
        """
        from genrecore.training.check import check, problems_of

        problems = problems_of(self.configs)
        for index, run in enumerate(existing):
            problems[index] = "" if run else problems[index]
        refused: dict[str, list[Mapping[str, Any]]] = {}
        for change, problem in zip(self.changes, problems, strict=True):
            if problem:
                refused.setdefault(problem, []).append(change)
        if len(refused) == 1 and all(problems):
            check(self.configs[0]).refuse()
        left_out = [_refusal(changes, problem) for problem, changes in refused.items()]
        if all(problems):
            raise UsageError(f"None of the {len(problems)} runs can be trained. {left_out[0]}")
        kept = [index for index, problem in enumerate(problems) if not problem]
        return replace(
            self,
            changes=[self.changes[index] for index in kept],
            configs=[self.configs[index] for index in kept],
            refused=left_out,
        )


def draft(base: RunConfig, grids: Sequence[Grid]) -> Draft:
    """Resolves every combination; those that cannot be trained are left out, with the reason.

    `auto` stands for the best split. Imports torch.

    Raises:
        UsageError: No values, too many combinations, or none that can be trained.
    """
    from genrecore.training.check import with_best_split
    from genrecore.training.resolve import resolve

    base = with_best_split(base)
    n = sum(math.prod(len(values) for values in grid.values()) for grid in grids)
    if n > MOST_RUNS:
        raise UsageError(
            f"The plan has {thousands(n)} combinations, and {thousands(MOST_RUNS)} are the most; "
            "take fewer values, or let a search try some of them."
        )
    if n == 0:
        raise UsageError("A setting that varies needs at least one value.")
    by_signature: dict[str, tuple[dict[str, Any], RunConfig]] = {}
    refused: dict[str, list[dict[str, Any]]] = {}
    # With seed 0, since no seed is ever refused.
    outcomes: dict[str, RunConfig | UsageError] = {}
    for change in itertools.chain.from_iterable(map(_combinations, grids)):
        try:
            config = with_best_split(applied(base, change))
        except UsageError as error:
            refused.setdefault(str(error), []).append(change)
            continue
        without_seed = config.model_copy(update={"seed": 0})
        key = signature(without_seed)
        if key not in outcomes:
            try:
                outcomes[key] = resolve(without_seed).config
            except UsageError as error:
                outcomes[key] = error
        outcome = outcomes[key]
        if isinstance(outcome, UsageError):
            refused.setdefault(str(outcome), []).append(change)
            continue
        config = outcome.model_copy(update={"seed": config.seed})
        if signature(config) in by_signature:
            refused.setdefault("It is the same as another run of the plan.", []).append(change)
        else:
            by_signature[signature(config)] = change, config
    left_out = [_refusal(combinations, reason) for reason, combinations in refused.items()]
    if not by_signature:
        raise UsageError(f"None of the {n} combinations can be trained. {left_out[0]}")
    changes, configs = zip(*by_signature.values(), strict=True)
    return Draft(without_defaults(base), list(grids), changes, configs, left_out)


def _combinations(grid: Grid) -> Iterator[dict[str, Any]]:
    keys = [key for key in REPEATS if key in grid] + [key for key in grid if key not in REPEATS]
    for values in itertools.product(*(grid[key] for key in keys)):
        yield dict(zip(keys, values, strict=True))


def _refusal(combinations: Sequence[Mapping[str, Any]], reason: str) -> str:
    """A sentence on combinations refused for the same reason: what they share, and the reason."""
    shared = {
        dotted: value
        for dotted, value in combinations[0].items()
        if all(combination.get(dotted) == value for combination in combinations)
    }
    n = len(combinations)
    return f"{in_words(shared)}{f' ({n} combinations)' if n > 1 else ''}: {reason}"


def without_defaults(base: RunConfig) -> RunConfig:
    """The base without options that have their default values. Imports torch."""
    from genrecore.training.resolve import resolve

    try:
        resolved = resolve(base).config
    except UsageError:  # its model may fit only what varies
        return base
    return resolved.model_copy(update={"segments": base.segments})


def spread(
    base: RunConfig, grids: Sequence[Grid], texts: Mapping[str, Any]
) -> tuple[RunConfig, list[Grid]]:
    """Base and grids with what was typed: a single value goes into the base; several vary, and
    replace the values of a grid.

    Raises:
        UsageError: A text cannot be read.
    """
    typed = read_lists(base, texts)
    single = {key: values[0] for key, values in typed.items() if len(values) == 1}
    several = {key: values for key, values in typed.items() if len(values) > 1}
    changed: list[Grid] = []
    for grid in grids:
        replaced = {key: typed.get(key, values) for key, values in grid.items()}
        changed.append({key: v for key, v in several.items() if key not in replaced} | replaced)
    return applied(base, single), changed


def sweep_command(
    base: RunConfig, varied: Mapping[str, str], more: Sequence[str] = ()
) -> list[str]:
    """The command that makes a plan or a search.

    Args:
        base: What all its runs start from.
        varied: Values by dotted field, as people type them.
        more: Further arguments.
    """
    values: list[str] = []
    defaults = RunConfig()
    for dotted, text in varied.items():
        group, dot, name = dotted.partition(".")
        part = getattr(base, group)
        # A field that varies must not be set in the base as well: options are removed, other fields
        # get their defaults.
        if isinstance(part, Part) and dot:
            options = {key: value for key, value in part.options.items() if key != name}
            base = base.model_copy(update={group: part.model_copy(update={"options": options})})
        elif (default := value_of(defaults, dotted)) is not None:
            base = with_values(base, {dotted: default})
        has_flag = not dot or (hasattr(part, name) and not isinstance(part, Part))
        if has_flag and kind_of(dotted, base) is not bool:
            values += [f"--{(name or group).replace('_', '-')}", text]
        else:
            values += set_words(dotted, text)
    return ["genrecore", "sweep", *settings_words(base), *values, *more]
