"""Recipes: optimisers, schedules against torch's own and by hand, the loss, and what ends a run."""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MEASURED, trained
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler

from genrecore.config.run import RunConfig, Training
from genrecore.errors import GenrecoreError, UsageError
from genrecore.store import runs
from genrecore.store.progress import Phase, Stopped
from genrecore.store.run import Run
from genrecore.training import lifecycle, memory
from genrecore.training.classifier import Classifier
from genrecore.training.optimisation import Loss, Schedule, optimiser
from genrecore.training.parts import ResolvedConfig
from genrecore.training.weights import load_classifier

Tiny = Callable[..., RunConfig]
N_UPDATES = 5  # an epoch


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2), requires_grad=False)]


def rates(losses: list[float] | None = None, **values: object) -> list[float]:
    """The learning rate of every update of a run with such a recipe."""
    recipe = Training(**({"epochs": 6} | values))
    moved = optimiser(recipe, parameters())
    schedule = Schedule(recipe, moved, N_UPDATES)
    lr = []
    for epoch in range(recipe.epochs):
        for _ in range(N_UPDATES):
            lr.append(moved.param_groups[0]["lr"])
            moved.step()
            schedule.step()
        schedule.end_epoch(losses[epoch] if losses else 1.0)
    return lr


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop", "adadelta"])
def test_every_optimiser_goes_downhill_and_moves_only_what_is_trained(name: str) -> None:
    moved, still = parameters()
    updates = optimiser(Training(optimiser=name, lr=0.05, weight_decay=1e-4), [moved, still])
    assert type(updates).__module__.startswith("torch.optim")
    before = float((moved.detach() ** 2).sum())
    for _ in range(20):
        updates.zero_grad()
        (moved**2).sum().backward()
        updates.step()
    assert float((moved.detach() ** 2).sum()) < before
    assert torch.equal(still, torch.ones(2))
    assert updates.param_groups[0]["weight_decay"] == 1e-4


def test_momentum_is_handed_to_sgd() -> None:
    updates = optimiser(Training(optimiser="sgd", momentum=0.7), parameters())
    assert updates.param_groups[0]["momentum"] == 0.7


def test_a_constant_rate_stays() -> None:
    assert set(rates(lr=0.3)) == {0.3}


def test_the_triangle_rises_over_its_half_cycle_and_falls_as_long() -> None:
    # By hand: from 0.1 up to 0.5 in 2 epochs of 5 updates, down in 2 more, and up again.
    lr = rates(schedule="cyclic", lr=0.5, lr_low=0.1, cycle_epochs=2)
    rising = [0.1 + 0.4 * k / 10 for k in range(10)]
    falling = [0.5 - 0.4 * k / 10 for k in range(10)]
    np.testing.assert_allclose(lr, rising + falling + rising, rtol=1e-9)


def test_lius_cycle_is_the_one_of_the_paper() -> None:
    lr = rates(schedule="cyclic", lr=0.001, lr_low=0.0005, cycle_epochs=8, epochs=17)
    at = [lr[N_UPDATES * epoch] for epoch in (0, 4, 8, 12, 16)]
    np.testing.assert_allclose(at, [0.0005, 0.00075, 0.001, 0.00075, 0.0005], rtol=1e-9)


def test_a_cosine_comes_after_its_warm_up() -> None:
    lr = rates(schedule="cosine", lr=0.8, lr_low=0.08, warmup_epochs=2)
    np.testing.assert_allclose(lr[:10], [0.8 * (k + 1) / 10 for k in range(10)], rtol=1e-9)
    assert lr[10] == pytest.approx(0.8)
    assert lr[-1] == pytest.approx(0.08)
    # Half a cosine by hand: after a third of the way, a quarter of it is gone.
    third = 10 + round((29 - 10) / 3)
    gone = (1 - math.cos(math.pi * (third - 10) / 19)) / 2
    assert lr[third] == pytest.approx(0.8 - gone * 0.72)


def test_a_cosine_without_warm_up_is_torchs_own() -> None:
    lr = rates(schedule="cosine", lr=0.8, lr_low=0.08, warmup_epochs=0)
    moved = torch.optim.SGD(parameters()[:1], 0.8)
    scheduler = lr_scheduler.CosineAnnealingLR(moved, T_max=6 * N_UPDATES - 1, eta_min=0.08)
    for rate in lr:
        assert rate == pytest.approx(moved.param_groups[0]["lr"])
        moved.step()
        scheduler.step()


def test_one_cycle_is_torchs_own() -> None:
    lr = rates(schedule="one_cycle", lr=0.8)
    moved = torch.optim.SGD(parameters()[:1], 0.8, momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(moved, 0.8, total_steps=6 * N_UPDATES + 1)
    for rate in lr:
        assert rate == pytest.approx(moved.param_groups[0]["lr"])
        moved.step()
        scheduler.step()


def test_a_plateau_longer_than_the_patience_lowers_the_rate() -> None:
    losses = [1.0, 1.1, 1.2, 1.3, 1.4, 1.0]  # the fourth epoch without a lower loss lowers it
    lr = rates(losses, schedule="plateau", lr=0.8, plateau_patience=3, plateau_factor=0.5)
    assert lr[::N_UPDATES] == [0.8] * 5 + [0.4]
    floor = rates(losses, schedule="plateau", lr=0.8, plateau_patience=0, lr_low=0.3)
    assert min(floor) == 0.3


@pytest.mark.parametrize("name", ["one_cycle", "plateau", "cyclic", "cosine"])
def test_a_schedule_goes_on_from_its_state(name: str, tmp_path: Path) -> None:
    recipe = Training(schedule=name, epochs=6, lr=0.8, plateau_patience=1)

    def walk(moved: torch.optim.Optimizer, schedule: Schedule, epochs: range) -> list[float]:
        lr = []
        for _ in epochs:
            for _ in range(N_UPDATES):
                lr.append(moved.param_groups[0]["lr"])
                moved.step()
                schedule.step()
            schedule.end_epoch(1.0)
        return lr

    moved = optimiser(recipe, parameters())
    schedule = Schedule(recipe, moved, N_UPDATES)
    walk(moved, schedule, range(3))
    torch.save({"optimiser": moved.state_dict(), "schedule": schedule.state_dict()}, tmp_path / "s")
    rest = walk(moved, schedule, range(3))
    state = torch.load(tmp_path / "s", weights_only=True)  # as a checkpoint is read
    again = optimiser(recipe, parameters())
    resumed = Schedule(recipe, again, N_UPDATES)
    again.load_state_dict(state["optimiser"])
    resumed.load_state_dict(state["schedule"])
    assert walk(again, resumed, range(3)) == rest


def test_the_loss_is_log_softmax_and_negative_log_likelihood() -> None:
    logits = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    genre = torch.tensor([0, 1, 2, 1, 1, 0, 2])
    targets = torch.eye(3)[genre]
    plain = Loss(Training(), torch.ones(3))(logits, targets)
    torch.testing.assert_close(plain, nn.functional.nll_loss(logits.log_softmax(1), genre))
    smooth = Loss(Training(label_smoothing=0.1), torch.ones(3))(logits, targets)
    by_hand = -((0.9 * targets + 0.1 / 3) * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(smooth, by_hand)


def test_other_losses_are_torchs_own() -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(3))
    targets = torch.eye(7)[[0, 6, 3, 3, 1]]
    p, labels, n = logits.sigmoid(), targets.argmax(1), torch.ones(7)

    def loss(name: str, output: str, values: torch.Tensor) -> torch.Tensor:
        return Loss(Training(loss=name, output=output), n)(values, targets)

    log_p, softmax = functional.logsigmoid(logits), logits.softmax(1)
    same = torch.testing.assert_close
    same(loss("likelihood", "log_sigmoid", log_p), functional.nll_loss(log_p, labels))
    same(loss("likelihood", "softmax", softmax), functional.nll_loss(softmax, labels))
    same(loss("binary", "log_sigmoid", log_p), functional.binary_cross_entropy(p, targets))
    same(loss("binary", "logits", logits), functional.binary_cross_entropy(p, targets))
    same(loss("binary", "softmax", softmax), functional.binary_cross_entropy(softmax, targets))
    same(loss("squares", "log_sigmoid", log_p), functional.mse_loss(log_p, targets))
    sure = torch.zeros(1, 7, requires_grad=True)  # a probability of 1 for every genre
    loss_of_sure = Loss(Training(loss="binary", output="log_sigmoid"), n)(sure, targets[:1])
    loss_of_sure.backward()
    assert loss_of_sure.isfinite()
    assert sure.grad is not None
    assert bool(sure.grad.isfinite().all())


def test_the_likelihood_of_logits_is_refused(tiny: Tiny) -> None:
    with pytest.raises(UsageError, match="logits are none"):
        tiny(training__loss="likelihood")


def test_weighed_genres_count_alike() -> None:
    counts = torch.tensor([10, 30, 60])
    loss = Loss(Training(class_weights=True), counts)
    assert loss.weights is not None
    torch.testing.assert_close(loss.weights * counts, torch.full((3,), 100 / 3))
    assert float((loss.weights * counts).sum() / counts.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("output", ["log_sigmoid", "softmax"])
def test_what_the_loss_sees_is_what_the_run_predicts_with(
    store: Path, tiny: Tiny, output: str
) -> None:
    plain = Classifier(ResolvedConfig(tiny()), ["a", "b", "c"])
    changed = Classifier(ResolvedConfig(tiny(training__output=output)), ["a", "b", "c"])
    changed.load_state_dict(plain.state_dict())
    wave = torch.rand(2, 1, 22_050, generator=torch.Generator().manual_seed(3))
    logits, outputs = plain.eval()(wave), changed.eval()(wave)
    expected = logits.softmax(1) if output == "softmax" else logits.sigmoid().log()
    torch.testing.assert_close(outputs, expected)
    run = trained(tiny(training__output=output), store)
    assert run.state == "done"
    assert run.history["train_loss"].is_monotonic_decreasing


def test_accumulated_batches_make_the_step_of_the_large_one(store: Path, tiny: Tiny) -> None:
    same = {"model__batch_norm": False, "model__dropout": 0.0}
    large = trained(tiny(training__batch_size=18, **same), store)
    small = trained(tiny(training__batch_size=6, training__accumulate=3, **same), store)
    columns = [name for name in large.predictions if name.startswith("p_")]
    # The mean of three means is the mean of all; float32 sums in another order, and Adam divides
    # by their size.
    np.testing.assert_allclose(large.predictions[columns], small.predictions[columns], atol=1e-3)


@pytest.mark.parametrize(
    "recipe",
    [
        *(pytest.param(n, marks=pytest.mark.long) for n in ("accumulate", "cosine")),
        "float16",
        "plateau",
    ],
)
def test_a_run_of_any_recipe_goes_on_as_if_it_had_not_stopped(
    store: Path, tiny: Tiny, recipe: str
) -> None:
    values: dict[str, dict[str, object]] = {
        "accumulate": {"training__accumulate": 3, "training__clip_norm": 0.5},
        "cosine": {"training__schedule": "cosine", "training__optimiser": "rmsprop"},
        "float16": {"training__precision": "float16", "training__optimiser": "sgd"},
        "plateau": {"training__schedule": "plateau", "training__plateau_patience": 0},
    }
    config = tiny(training__epochs=3, **values[recipe])
    whole = trained(config, store)
    run, lock = runs.create_held_run(config, store)
    n_calls = 0

    def stop_inside_the_second_epoch(phase: str, done: int, total: int) -> None:
        nonlocal n_calls
        n_calls += 1
        if phase == Phase.TRAINING and done == 10 and n_calls < 10_000:
            n_calls = 10_000
            raise Stopped

    assert lifecycle.execute(run, stop_inside_the_second_epoch) == "stopped"
    assert lifecycle.execute(Run(run.folder)) == "done"
    os.close(lock)
    weights, resumed_weights = (
        load_classifier(r.folder / "last.safetensors").state_dict() for r in (whole, run)
    )
    assert all(torch.equal(weights[name], resumed_weights[name]) for name in weights)
    assert whole.history.drop(columns=MEASURED).equals(
        Run(run.folder).history.drop(columns=MEASURED)
    )


def test_deterministic_algorithms_are_enabled_while_the_run_lasts(store: Path, tiny: Tiny) -> None:
    run, lock = runs.create_held_run(tiny(training__deterministic=True), store)
    settings = set()

    def look(phase: str, done: int, total: int) -> None:
        settings.add(torch.are_deterministic_algorithms_enabled())

    assert lifecycle.execute(run, look) == "done"
    os.close(lock)
    assert settings == {True}
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.slow
def test_the_watched_metric_chooses_the_epoch(store: Path, tiny: Tiny) -> None:
    run = trained(tiny(training__epochs=6, training__watch="loss"), store)
    history = run.history.set_index("epoch")
    assert run.status["best_epoch"] == history["valid_loss"].idxmin()
    assert {"valid_macro_f1", "valid_top_2", "lr", "seconds", "samples_per_s", "memory_mb"} <= set(
        history.columns
    )
    by_f1 = trained(tiny(training__epochs=6, training__watch="macro_f1"), store)
    scores = by_f1.history.set_index("epoch")["valid_macro_f1"]
    assert scores[by_f1.status["best_epoch"]] == scores.max()


def test_an_epoch_is_chosen_only_by_a_metric_made_for_it(tiny: Tiny) -> None:
    with pytest.raises(UsageError, match="found 'top_3'"):
        tiny(training__watch="top_3")


def test_a_loss_that_is_no_number_ends_the_run_with_its_step_and_advice(
    store: Path, tiny: Tiny
) -> None:
    config = tiny(training__optimiser="sgd", training__lr=1e9 / 1e8, training__momentum=0.999,
                  model__batch_norm=False, training__epochs=200)  # fmt: skip
    run = trained(config, store)
    assert run.state == "failed"
    for phrase in ("became", "epoch", "step", "of 8", "lower learning rate", "clip_norm"):
        assert phrase in run.reason
    assert "\n" not in run.reason


def test_a_batch_of_one_is_refused_where_a_batch_is_normalised(tiny: Tiny) -> None:
    small = {"feature__n_mels": 32, "feature__frames": 32, "model": "resnet18"}
    with pytest.raises(UsageError, match="batches of one; take a batch size of 2"):
        tiny(**small, training__batch_size=1)
    assert tiny(**small, training__batch_size=2).training.batch_size == 2


@pytest.mark.slow
def test_a_checkpoint_of_another_run_is_refused(store: Path, tiny: Tiny) -> None:
    def stop_late(phase: str, done: int, total: int) -> None:
        if phase == Phase.TRAINING and done >= 9:
            raise Stopped

    def stopped(config: RunConfig) -> tuple[Run, int]:
        run, lock = runs.create_held_run(config, store)
        assert lifecycle.execute(run, stop_late) == "stopped"
        return run, lock

    run, lock = stopped(tiny())
    for config, message in (
        (tiny(model__width=5), "do not fit the model cnn with these options"),
        (tiny(dataset__n_genres=2), "its genres are"),
        (tiny(model="prcnn"), "its model is"),
    ):
        foreign, foreign_lock = stopped(config)
        os.close(foreign_lock)
        (run.folder / "resume.pt").write_bytes((foreign.folder / "resume.pt").read_bytes())
        assert lifecycle.execute(Run(run.folder)) == "failed"
        reason = Run(run.folder).reason
        assert message in reason
        assert "start a new run" in reason
        assert "\n" not in reason
    os.close(lock)


@pytest.mark.long  # to try, torch loads all of its compiler
def test_without_a_compiler_the_network_trains_as_it_is(
    store: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    run = runs.create_run(tiny(training__compile=True), store)
    result = subprocess.run(
        [sys.executable, "-m", "genrecore", "train", "--run", str(run.folder)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    done = Run(run.folder)
    assert done.state == "done", result.stderr
    (note,) = [note for note in done.status["notes"] if "compiled" in note]
    assert "\n" not in note


@pytest.mark.long
def test_too_little_memory_is_reported_with_a_batch_size_that_fits(store: Path, tiny: Tiny) -> None:
    config = tiny(
        training__batch_size=4096, dataset__n_clips=30, segments__overlap=0.9,
        model__width=100, feature__n_mels=256, feature__n_fft=4096,
    )  # fmt: skip
    run = runs.create_run(config, store)
    limit = 6 * 2**30  # of the address space: torch's libraries alone take about four

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    subprocess.run(
        [sys.executable, "-m", "genrecore", "train", "--run", str(run.folder)],
        capture_output=True, timeout=180, check=False, preexec_fn=limited,
    )  # fmt: skip
    done = Run(run.folder)
    assert done.state == "failed", done.log()
    assert "take a batch size of" in done.reason or "smaller model" in done.reason
    assert "memory" in done.reason


@pytest.mark.slow
def test_the_largest_batch_that_fits_is_found_by_trying() -> None:
    tried = []

    def attempt(size: int) -> None:
        tried.append(size)
        if size > 20:
            torch.empty(2**60, dtype=torch.uint8)

    assert memory.largest_that_fits(attempt, 256, "cpu") == 16
    assert tried == [128, 64, 32, 16]
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert memory.ran_out(caught.value)
    assert not memory.ran_out(GenrecoreError("another thing"))
