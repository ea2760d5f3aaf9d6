"""What is advised after a failure: it follows from the reason and can be queued as it stands."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import trained

from genrecore.config.run import RunConfig, with_values
from genrecore.jobs.advice import advice
from genrecore.store.files import write_json
from genrecore.store.processes import ENDED
from genrecore.store.run import Run, create_held_run, create_run
from genrecore.store.status import Status
from genrecore.training import memory
from genrecore.training.hardware import Hardware

Tiny = Callable[..., RunConfig]
CPU = Hardware("cpu", "bfloat16", True, "", "a processor", 1)


def ended(config: RunConfig, store: Path, reason: str, precision: str = "bfloat16") -> Run:
    """A run that failed for this reason, in this precision."""
    run = create_run(config, store)
    Status(run.folder).move("failed", reason, finished_at=time.time(), n_parameters=99)
    write_json(run.folder / "environment.json", {"precision": precision})
    return Run(run.folder)


def test_a_batch_too_large_is_replaced_by_the_size_that_the_reason_names(
    tiny: Tiny, store: Path
) -> None:
    reason = str(memory.too_large(96, 24, CPU))
    first = advice(ended(tiny(training__batch_size=96), store, reason))[0]
    assert first.changes == {"training.batch_size": 24}
    assert "24 instead of 96" in first.sentence


@pytest.mark.parametrize(
    "reason",
    [
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: [enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory",
        "MemoryError: Unable to allocate 3.1 GiB",
    ],
)
def test_without_a_named_size_the_batch_is_halved(reason: str, tiny: Tiny, store: Path) -> None:
    suggestions = advice(ended(tiny(training__batch_size=17), store, reason))
    assert [dict(suggestion.changes) for suggestion in suggestions] == [{"training.batch_size": 8}]


def test_in_float32_the_other_precision_is_offered_as_well(tiny: Tiny, store: Path) -> None:
    suggestions = advice(ended(tiny(), store, "MemoryError", precision="float32"))
    assert {"training.precision": "bfloat16"} in [
        dict(suggestion.changes) for suggestion in suggestions
    ]


def test_a_batch_of_one_is_not_halved(tiny: Tiny, store: Path) -> None:
    run = ended(tiny(training__batch_size=1), store, "MemoryError")
    assert advice(run) == []


def test_where_no_batch_fits_the_segments_get_shorter(tiny: Tiny, store: Path) -> None:
    config = tiny(segments__segment_s=1.5)
    (suggestions,) = advice(ended(config, store, str(memory.too_large(7, 0, CPU))))
    assert suggestions.changes == {"segments.segment_s": 0.75}


def test_a_loss_that_is_no_number_asks_for_rate_clipping_and_float32(
    tiny: Tiny, store: Path
) -> None:
    reason = "The loss became nan in epoch 1, step 3 of 9, so training ended; try a lower …"
    suggestions = advice(ended(tiny(training__lr=0.03), store, reason))
    assert [dict(suggestion.changes) for suggestion in suggestions] == [
        {"training.lr": 0.003},
        {"training.clip_norm": 1.0},
        {"training.precision": "float32"},
    ]
    clipped = tiny(training__clip_norm=0.5)
    suggestions = advice(ended(clipped, store, reason, precision="float32"))
    assert [list(suggestion.changes) for suggestion in suggestions] == [["training.lr"]]


def test_what_the_trainer_really_says_of_a_loss_that_is_no_number_is_understood(
    tiny: Tiny, store: Path
) -> None:
    run = trained(tiny(training__lr=10.0, training__optimiser="sgd", training__epochs=40), store)
    assert run.state == "failed", "this rate was to make the loss overflow"
    assert advice(run)[0].changes == {"training.lr": 1.0}


def test_a_run_killed_by_the_kernel_gets_a_smaller_batch_and_one_lost_otherwise_nothing(
    tiny: Tiny, store: Path
) -> None:
    run = create_run(tiny(training__batch_size=32), store)
    Status(run.folder).move("running", n_parameters=99)
    write_json(run.folder / "environment.json", {"precision": "bfloat16"})
    assert Run(run.folder).state == "lost"
    assert advice(Run(run.folder)) == []
    write_json(run.folder / ENDED, {"signal": 15})
    assert advice(Run(run.folder)) == []
    write_json(run.folder / ENDED, {"signal": 9})
    assert [dict(suggestion.changes) for suggestion in advice(Run(run.folder))] == [
        {"training.batch_size": 16}
    ]


def test_a_refused_split_is_made_by_artist_or_allowed(tiny: Tiny, store: Path) -> None:
    run = trained(tiny(split="stratified"), store)
    assert run.state == "failed"
    assert [dict(suggestion.changes) for suggestion in advice(run)] == [
        {"split": "by_artist", "fold": 0},
        {"allow_leaks": True},
    ]


def test_genres_without_clips_are_left_out_beside_those_already_left_out(
    tiny: Tiny, store: Path
) -> None:
    reason = "The split by_artist leaves no test clips of dub, waltz."
    suggestions = advice(ended(tiny(genres__leave_out="march"), store, reason))
    assert suggestions[0].changes == {"genres.leave_out": "march, dub, waltz"}


@pytest.mark.parametrize("state", ["done", "stopped", "queued"])
def test_a_run_that_did_not_fail_needs_no_advice(state: str, tiny: Tiny, store: Path) -> None:
    run = create_run(tiny(), store)
    Status(run.folder).move(state, "MemoryError")
    assert advice(Run(run.folder)) == []


def test_nothing_is_advised_where_nothing_is_known(tiny: Tiny, store: Path) -> None:
    assert advice(ended(tiny(), store, "KeyError: 'strange'")) == []
    run, lock = create_held_run(tiny(), store)
    os.close(lock)
    Status(run.folder).move("failed", "MemoryError")
    (run.folder / "config.json").write_text("{}x")
    assert advice(Run(run.folder)) == []


@pytest.mark.parametrize(
    "reason",
    [
        "MemoryError",
        "The loss became inf in epoch 2",
        "do not hold even a small batch of this",
        "There is no device 'cuda:3' here; there are: cpu.",
        "RuntimeError: x does not have a deterministic implementation",
        "The split by_artist leaves no train clips of dub.",
    ],
)
def test_every_change_makes_a_configuration_that_differs(
    reason: str, tiny: Tiny, store: Path
) -> None:
    config = tiny(training__deterministic=True, device="cuda:3")
    for suggestion in advice(ended(config, store, reason, precision="float32")):
        changed = with_values(config, dict(suggestion.changes))
        assert changed != config
        assert suggestion.sentence.endswith(".")
