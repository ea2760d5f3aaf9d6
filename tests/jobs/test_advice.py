"""What is advised after a failure: it follows from the reason and can be queued as it stands."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import trained
from sample_files import silent_wav

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError
from genrecore.jobs import actions
from genrecore.jobs.advice import advice, fails_again
from genrecore.store.files import write_json
from genrecore.store.processes import ENDED
from genrecore.store.run import Run
from genrecore.store.runs import create_held_run, create_run
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
    suggestions = advice(ended(tiny(dataset__n_genres=8, genres__leave_out="march"), store, reason))
    assert suggestions[0].changes == {"genres.leave_out": "dub, march, waltz"}
    reason = 'The split by_artist leaves no test clips of "dub", waltz.'
    suggestions = advice(ended(tiny(dataset__n_genres=8, genres__leave_out="march"), store, reason))
    assert suggestions[0].changes == {"genres.leave_out": "dub, march, waltz"}


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
    config = tiny(dataset__n_genres=8, training__deterministic=True, device="cuda:3")
    for suggestion in advice(ended(config, store, reason, precision="float32")):
        changed = with_values(config, dict(suggestion.changes))
        assert changed != config
        assert suggestion.sentence.endswith(".")


def test_advice_never_names_what_failed_before_in_a_run_it_was_made_from(
    tiny: Tiny, store: Path
) -> None:
    by_artist = ended(tiny(seed=3), store, "The split by_artist leaves no test clips of dub.")
    again = create_run(tiny(split="stratified"), store, origin={"parent": by_artist.run_id})
    Status(again.folder).move("failed", "The split leaks: …, or allow leaks: …")
    assert [dict(option.changes) for option in advice(Run(again.folder))] == [{"allow_leaks": True}]
    halved = ended(tiny(training__batch_size=8), store, "MemoryError")
    whole = create_run(tiny(training__batch_size=16), store, origin={"parent": halved.run_id})
    Status(whole.folder).move("failed", "MemoryError")
    write_json(whole.folder / "environment.json", {"precision": "bfloat16"})
    assert advice(Run(whole.folder)) == []


@pytest.mark.parametrize("split", ["by_artist", "stratified", "fault_filtered"])
def test_what_is_advised_for_the_clips_of_gtzan_can_be_queued(
    split: str, real_data: Path, tiny: Tiny, nobody_starts: Path
) -> None:
    folder = str(real_data / "gtzan")
    config = tiny(dataset="gtzan", dataset__folder=folder, split=split)
    run = ended(config, nobody_starts, "There are too few artists … or allow leaks")
    assert fails_again(run)
    options = advice(run)
    assert options
    for option in options:
        assert actions.clone(run, option.changes).state == "queued"


def test_a_run_with_too_many_neighbours_is_advised_as_many_as_there_are(
    tiny: Tiny, nobody_starts: Path
) -> None:
    config = tiny(model="knn", feature="descriptors", model__k=999)
    run = ended(config, nobody_starts, "999 neighbours are asked for, but there are …")
    assert "999 neighbours" in fails_again(run)
    (option,) = advice(run)
    assert actions.clone(run, option.changes).state == "queued"


@pytest.mark.parametrize(
    ("reason", "again"),
    [
        ("The loss became nan in epoch 1, step 3 of 9, so training ended.", True),
        ("9 neighbours are asked for, but there are 4 training segments.", True),
        ("MemoryError", False),
        ("The disk is full.", False),
        ("KeyError: 'strange'", False),
    ],
)
def test_a_run_is_resumed_only_where_it_may_end_otherwise(
    reason: str, again: bool, tiny: Tiny, nobody_starts: Path
) -> None:
    run = ended(tiny(), nobody_starts, reason)
    assert bool(fails_again(run)) == again
    if again:
        with pytest.raises(GenrecoreError, match="would fail again"):
            actions.resume(run)
    else:
        actions.resume(run)
    assert Run(run.folder).state == ("failed" if again else "queued")


def test_a_run_whose_data_are_missing_is_resumed_once_they_are_back(
    tiny: Tiny, nobody_starts: Path, tmp_path: Path
) -> None:
    music = tmp_path / "music"
    config = tiny(dataset="folder", dataset__folder=str(music), split="ratio_8_1_1")
    run = ended(config, nobody_starts, f"The dataset folder found nothing at {music}.")
    with pytest.raises(GenrecoreError, match="found nothing"):
        actions.resume(run)
    for genre in ("dub", "waltz"):
        for number in range(3):
            silent_wav(music / genre / f"{number}.wav")
    actions.resume(run)
    assert Run(run.folder).state == "queued"


def test_a_run_that_leaks_is_not_resumed(tiny: Tiny, store: Path) -> None:
    run = trained(tiny(split="stratified"), store)
    assert "Choose a split that keeps them apart" in run.reason
    assert "share an artist" in fails_again(run)
