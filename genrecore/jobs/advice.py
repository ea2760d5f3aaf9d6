"""What to try after a run has failed: settings that may help, drawn from why it ended.

Every piece of advice is a sentence and the settings it would change, so that a page or a script
can queue the changed run (`jobs.clone(run, advice.changes)`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError
from genrecore.store.files import read_json
from genrecore.store.processes import ENDED
from genrecore.store.run import Run

_KILLED = 9


@dataclass(frozen=True)
class Advice:
    """One thing to try.

    Attributes:
        words: A sentence for a person.
        changes: Dotted settings and their values, as `config.with_values` takes them; empty where
            something outside the configuration has to change.
    """

    words: str
    changes: Mapping[str, Any] = field(default_factory=dict)


def advice(run: Run) -> list[Advice]:
    """What may help a run that failed or was lost, the likeliest first; empty for any other run
    and where nothing sensible is known."""
    try:
        config, state = run.config, run.state
    except GenrecoreError:
        return []
    if state == "lost":
        return _killed(run, config)
    if state != "failed":
        return []
    reason = run.reason
    for suits, give in _RULES:
        if re.search(suits, reason):
            return give(run, config, reason)
    return []


def _killed(run: Run, config: RunConfig) -> list[Advice]:
    """SIGKILL without a word is what Linux does to a process that takes too much memory."""
    signal = read_json(run.folder / ENDED).get("signal")
    classical = re.search("fitted (in one call|at one go)", run.log())  # as earlier versions wrote
    if signal != _KILLED or classical:
        return []
    return _less_memory(run, config, "")


def _less_memory(run: Run, config: RunConfig, reason: str) -> list[Advice]:
    size = config.training.batch_size
    named = re.search(r"take a batch size of (\d+)", reason)
    smaller = int(named[1]) if named else size // 2
    found = []
    if 1 <= smaller < size:
        why = "which fits" if named else "which needs about half the memory"
        found.append(
            Advice(
                f"A smaller batch: {smaller} instead of {size}, {why}.",
                {"training.batch_size": smaller},
            )
        )
    if _precision(run, config) == "float32" and str(run.environment.get("device", "")) != "mps":
        found.append(
            Advice(
                "bfloat16 in place of float32: what the network computes takes half the room.",
                {"training.precision": "bfloat16"},
            )
        )
    return found


def _smaller_input(run: Run, config: RunConfig, reason: str) -> list[Advice]:
    length_s = config.segments.segment_s or config.audio.clip_s
    shorter_s = round(length_s / 2, 2)
    if shorter_s < 0.25:
        return []
    return [
        Advice(
            f"Shorter segments: {shorter_s:g} s instead of {length_s:g} s.",
            {"segments.segment_s": shorter_s},
        )
    ]


def _steadier(run: Run, config: RunConfig, reason: str) -> list[Advice]:
    recipe = config.training
    lower = float(f"{recipe.lr / 10:.3g}")
    changes = {"training.lr": lower}
    if recipe.lr_low > lower:
        changes["training.lr_low"] = lower
    found = [Advice(f"A lower learning rate: {lower:g} instead of {recipe.lr:g}.", changes)]
    if not recipe.clip_norm:
        found.append(
            Advice(
                "Gradient clipping: no step longer than a norm of 1.", {"training.clip_norm": 1.0}
            )
        )
    precision = _precision(run, config)
    if precision != "float32":
        found.append(
            Advice(
                f"float32 in place of {precision}: slower, and without its rounding.",
                {"training.precision": "float32"},
            )
        )
    return found


def _without_those_genres(run: Run, config: RunConfig, reason: str) -> list[Advice]:
    named = re.search(r"leaves no \w+ clips of (.+)\.$", reason)
    missing = named[1] if named else ""
    before = config.genres.leave_out
    return [
        Advice(
            f"Leave out the genres with too few clips: {missing}.",
            {"genres.leave_out": f"{before}, {missing}" if before else missing},
        ),
        Advice("Another draw of the split.", {"split_seed": config.split_seed + 1}),
    ]


def _apart(run: Run, config: RunConfig, reason: str) -> list[Advice]:
    allowed = Advice(
        "Train although the split leaks; the run is marked wherever it appears.",
        {"allow_leaks": True},
    )
    if config.split.name == "by_artist":
        return [allowed]
    apart = Advice(
        "Split by artist: nobody is trained on and tested on.", {"split": "by_artist", "fold": 0}
    )
    return [apart, allowed]


def _fewer_neighbours(run: Run, config: RunConfig, reason: str) -> list[Advice]:
    named = re.search(r"there are (\d+) training segments", reason)
    n = int(named[1]) if named else 1
    return [Advice(f"Ask for {n} neighbours, as many as there are.", {"model.n_neighbors": n})]


def _only(words: str, **changes: Any) -> Callable[[Run, RunConfig, str], list[Advice]]:
    dotted = {name.replace("__", "."): value for name, value in changes.items()}

    def give(run: Run, config: RunConfig, reason: str) -> list[Advice]:
        return [Advice(words, dotted)]

    return give


def _precision(run: Run, config: RunConfig) -> str:
    """What it ran in, or was to run in."""
    return str(run.environment.get("precision") or config.training.precision)


_RULES: list[tuple[str, Callable[[Run, RunConfig, str], list[Advice]]]] = [
    (r"not hold even a small batch", _smaller_input),
    (
        r"not hold a batch|MemoryError|[Oo]ut of memory|OutOfMemory|not enough memory"
        r"|[Cc]annot allocate memory|can't allocate memory|could not create a memory",
        _less_memory,
    ),
    (r"became -?(nan|inf)", _steadier),
    (r"leaves no \w+ clips of .+\.$", _without_those_genres),
    (r"or allow leaks", _apart),
    (r"neighbours are asked for", _fewer_neighbours),
    (r"There is no device", _only("Any device that is there.", device="auto")),
    (
        r"does not have a deterministic implementation",
        _only(
            "Allow algorithms whose last bits may differ from run to run.",
            training__deterministic=False,
        ),
    ),
    (
        r"torch\._dynamo|torch\._inductor|Inductor|C\+\+ compiler",
        _only("Do not compile the network.", training__compile=False),
    ),
    (
        r"clips of .+ can be used",
        _only("Look at the dataset under Datasets: it lists every clip with what is wrong."),
    ),
    (
        r"disk is full|disk quota",
        _only("Make room first; 'genrecore cache clear' removes what can be made anew."),
    ),
]
