"""What to try after a run has failed: settings that may help, chosen by why it ended.

Each piece of advice is a sentence and the settings it changes, so that a page or a script can queue
the changed run (`actions.clone(run, advice.changes)`). The reason is read as text: most failures
are errors of libraries, and runs of earlier versions hold nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from signal import SIGKILL
from typing import Any

from genrecore.config.run import RunConfig, system_signature, with_values
from genrecore.errors import GenrecoreError, UsageError
from genrecore.jobs.alerts import NOT_A_NUMBER
from genrecore.store.run import Run


@dataclass(frozen=True)
class Advice:
    """One thing to try.

    Attributes:
        sentence: What to try, for people.
        changes: Values by dotted field, as `with_values` takes them; empty where something outside
            the configuration has to change.
    """

    sentence: str
    changes: Mapping[str, Any] = field(default_factory=dict)


def advice(run: Run) -> list[Advice]:
    """What may help a failed or lost run, the likeliest first; empty for other runs, and where
    nothing is known to help.

    Nothing is advised that would be refused, or that failed before in a run from which this one
    was made.
    """
    try:
        config, state = run.config, run.state
    except GenrecoreError:
        return []
    if state == "lost":
        # Linux kills a process that takes too much memory. Only networks have batches to shrink,
        # and only their status has n_parameters.
        killed = run.ended.get("signal") == SIGKILL
        options = _less_memory(run, config, "") if killed and "n_parameters" in run.status else []
    elif state == "failed":
        options = _after_failure(run, config)
    else:
        return []
    failed = {system_signature(ancestor.config) for ancestor in _failed_ancestors(run)}
    return [option for option in options if not option.changes or _may_work(option, config, failed)]


def fails_again(run: Run) -> str:
    """Why a failed run would end in the same way if it went on, in a sentence: its configuration
    and its data decide that. Empty where it may end otherwise, and for runs that did not fail."""
    from genrecore.training.check import check

    try:
        if run.state != "failed":
            return ""
        result = check(run.config)
    except GenrecoreError as error:
        return str(error)
    if result.problem:
        return result.problem
    copies_known = result.split is not None and result.split.copies_known
    if re.search(_LEAK, run.reason) and copies_known:  # the data are others now
        return ""
    return run.reason if re.search(_DECIDED, run.reason) else ""


def _after_failure(run: Run, config: RunConfig) -> list[Advice]:
    from genrecore.training.check import check

    result = check(config)
    if result.problem:
        return [Advice(remedy.sentence, remedy.changes) for remedy in result.remedies]
    for pattern, rule in _RULES.items():
        if re.search(pattern, run.reason):
            return rule(run, config, run.reason) if callable(rule) else [rule]
    return []


def _may_work(option: Advice, config: RunConfig, failed: Collection[str]) -> bool:
    """Whether advice can be taken: it is not refused, and not known to fail."""
    from genrecore.training.check import check
    from genrecore.training.resolve import resolve

    try:
        changed = resolve(with_values(config, dict(option.changes))).config
    except GenrecoreError:
        return False
    return system_signature(changed) not in failed and not check(changed).problem


def _failed_ancestors(run: Run) -> Iterator[Run]:
    """The runs in a row from which this one was made, as far as they failed or were lost."""
    seen = {run.run_id}
    while True:
        run = Run(run.folder.parent / str(run.origin.get("parent", "")))
        if run.run_id in seen or not (run.folder / "config.json").is_file():
            return
        seen.add(run.run_id)
        try:
            if run.state in ("failed", "lost") and run.config:
                yield run
        except GenrecoreError:  # written by another version
            return


def _less_memory(run: Run, config: RunConfig, reason: str) -> list[Advice]:
    size, options = config.training.batch_size, []
    named = re.search(r"take a batch size of (\d+)", reason)
    smaller = int(named[1]) if named else size // 2
    if 1 <= smaller < size:
        why = "which fits" if named else "which needs about half the memory"
        sentence = f"A smaller batch: {smaller} instead of {size}, {why}."
        options.append(Advice(sentence, {"training.batch_size": smaller}))
    if _precision(run, config) == "float32" and run.environment.get("device") != "mps":
        sentence = "bfloat16 instead of float32: activations take half the memory."
        options.append(Advice(sentence, {"training.precision": "bfloat16"}))
    return options


def _smaller_input(run: Run, config: RunConfig, reason: str) -> list[Advice]:
    length_s = config.segments.segment_s or config.audio.clip_s
    shorter_s = round(length_s / 2, 2)
    if shorter_s < 0.25:
        return []
    sentence = f"Shorter segments: {shorter_s:g} s instead of {length_s:g} s."
    return [Advice(sentence, {"segments.segment_s": shorter_s})]


def _steadier(run: Run, config: RunConfig, reason: str) -> list[Advice]:
    rate, lower = config.training.lr, float(f"{config.training.lr / 10:.3g}")
    changes = {"training.lr": lower}
    if config.training.lr_low > lower:
        changes["training.lr_low"] = lower
    options = [Advice(f"A lower learning rate: {lower:g} instead of {rate:g}.", changes)]
    if not config.training.clip_norm:
        sentence = "Gradient clipping to a norm of 1."
        options.append(Advice(sentence, {"training.clip_norm": 1.0}))
    precision = _precision(run, config)
    if precision != "float32":
        sentence = f"float32 instead of {precision}: slower, but more precise."
        options.append(Advice(sentence, {"training.precision": "float32"}))
    return options


def _without_those_genres(run: Run, config: RunConfig, reason: str) -> list[Advice]:
    from genrecore.data import genres

    missing = reason.rpartition(" clips of ")[2].removesuffix(".")
    try:
        names = genres.parse_leave_out(missing)
    except UsageError:  # a run of an earlier version, which put no quotes around odd names
        names = missing.split(", ")
    left_out = genres.also_left_out(config.genres.leave_out, names)
    return [
        Advice(
            f"Leave out the genres with too few clips: {missing}.", {"genres.leave_out": left_out}
        ),
        Advice("Another random split.", {"split_seed": config.split_seed + 1}),
    ]


def _no_leak(run: Run, config: RunConfig, reason: str) -> list[Advice]:
    """Where the check does not see what leaks: identical images or rows, or clips that changed."""
    from genrecore.training.check import check

    best = check(config).best_split
    allowed = Advice(
        "Train although the split leaks; the run is marked wherever it appears.",
        {"allow_leaks": True},
    )
    if best is None or best.part == config.split:
        return [allowed]
    return [Advice(best.sentence, best.changes), allowed]


def _precision(run: Run, config: RunConfig) -> str:
    return str(run.environment.get("precision") or config.training.precision)


_LEAK = "or allow leaks|allow leaks, and"
_DECIDED = (
    f"{NOT_A_NUMBER}|{_LEAK}|neighbours are asked for|not have a deterministic implementation"
)
"""Reasons that follow from a configuration and its data alone, and that no check sees before."""

_RULES: dict[str, Advice | Callable[[Run, RunConfig, str], list[Advice]]] = {
    r"not hold even a small batch": _smaller_input,
    r"not hold a batch|MemoryError|[Oo]ut of memory|OutOfMemory|not enough memory"
    r"|[Cc]annot allocate memory|can't allocate memory|could not create a memory": _less_memory,
    NOT_A_NUMBER: _steadier,
    r"leaves no \w+ clips of .+\.$": _without_those_genres,
    _LEAK: _no_leak,
    r"There is no device": Advice("Any available device.", {"device": "auto"}),
    r"does not have a deterministic implementation": Advice(
        "Allow algorithms whose last bits may differ from run to run.",
        {"training.deterministic": False},
    ),
    r"torch\._dynamo|torch\._inductor|Inductor|C\+\+ compiler": Advice(
        "Do not compile the network.", {"training.compile": False}
    ),
    r"clips of .+ can be used": Advice(
        "Look at the page Datasets: it lists every clip that cannot be used, with the reason."
    ),
    r"disk is full|disk quota": Advice(
        "Free some disk space; 'genrecore cache clear' removes what can be computed again."
    ),
}
"""The first pattern that matches the reason of a failed run decides."""
