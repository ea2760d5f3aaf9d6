"""How long models take on this machine, measured with random weights on random numbers: the latency
of one clip, and the time of a training step."""

from __future__ import annotations

import dataclasses
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genrecore.augment import Chain
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.evaluation import costs
from genrecore.models import MODELS
from genrecore.store.files import cache_dir, digest, read_json, write_json
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.run import Run
from genrecore.training import step_times
from genrecore.training.card import Card, model_card
from genrecore.training.classifier import Classifier, Features, each
from genrecore.training.hardware import Hardware, choose
from genrecore.training.model_inputs import CLIP_S, n_genres
from genrecore.training.optimisation import Loss, optimiser
from genrecore.training.parts import ResolvedConfig
from genrecore.training.sources import changes_waves, copies_of
from genrecore.training.step_times import StepTimes
from genrecore.words import milliseconds

LATENCY_BUDGET_S = 2.0
"""Within this time a clip is classified again and again: slow models are measured fewer times."""

MOST_RUNS = 25
_BATCH = 64  # segments at a time, as when a trained run classifies

STEP_BUDGET_S = 1.5
"""For feature, training step and prediction each; the first call of each warms up."""

_MOST_CALLS = 8
_N_INPUTS = 16  # segments whose feature is computed, and that a network predicts, at once
_SAMPLES_AT_ONCE = 2**23


@dataclass(frozen=True)
class Latency:
    """Time from one clip to its logits.

    Attributes:
        median_ms: Of the runs after the first, which warms up.
        of: The input, in words.
        at: When it was measured, in seconds since the epoch.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    n_runs: int
    of: str
    device: str
    precision: str
    machine: str
    at: float

    @property
    def sentence(self) -> str:
        """All of it but when, for people."""
        if self.n_runs == 1:
            how = "one run"
        else:
            span = f"{milliseconds(self.low_ms)} to {milliseconds(self.high_ms)}"
            how = f"the median of {self.n_runs} runs from {span}"
        return (
            f"{milliseconds(self.median_ms)} from {self.of} to its prediction, {how}; on "
            f"{self.machine} ({self.device}) in {self.precision}."
            + (" The runs differ much: other work kept it busy." if self.is_unsteady else "")
        )

    @property
    def is_unsteady(self) -> bool:
        """Whether something else got in the way."""
        return self.high_ms > 2.0 * self.low_ms


def measure_latency(name: str, config: RunConfig | None = None, report: Report = silent) -> Latency:
    """Measures how long feature and network take for one clip of `CLIP_S` seconds; the result is
    kept for `newest_latency`.

    The arithmetic is float32, as when a trained run classifies.

    Args:
        name: In `MODELS`.
        config: Names the input, as for `model_card`.
        report: Told of the runs.

    Raises:
        UsageError: There is no such model, it cannot take that input, or it is a classical one.
    """
    _refuse_classical(name)
    card = model_card(name, config)
    hardware = choose(card.config.device, "float32")
    report(Phase.BUILDING_MODEL, 0, MOST_RUNS)
    classifier = _random_classifier(card.config, hardware).eval()
    generator = torch.Generator().manual_seed(0)
    segments = _random_inputs(classifier, card.input.n_segments, generator)
    batches = segments.to(hardware.device).split(_BATCH)

    def classify() -> None:
        for batch in batches:
            classifier(batch)
        hardware.synchronize()

    took_ms: list[float] = []
    with torch.inference_mode():
        classify()
        until = time.perf_counter() + LATENCY_BUDGET_S
        while not took_ms or (len(took_ms) < MOST_RUNS and time.perf_counter() < until):
            report(Phase.MEASURING_TIME, len(took_ms), MOST_RUNS)
            began = time.perf_counter()
            classify()
            took_ms.append(1000.0 * (time.perf_counter() - began))
    latency = Latency(
        median_ms=statistics.median(took_ms),
        low_ms=min(took_ms),
        high_ms=max(took_ms),
        n_runs=len(took_ms),
        of=_clip_in_words(card),
        device=hardware.name,
        precision=hardware.precision,
        machine=platform.node() or "this machine",
        at=time.time(),
    )
    path = _latency_path(card)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, dataclasses.asdict(latency))
    return latency


def newest_latency(name: str, config: RunConfig | None = None) -> Latency | None:
    """What was last measured on this machine for this model and input.

    Raises:
        UsageError: As `model_card`.
    """
    try:
        return Latency(**read_json(_latency_path(model_card(name, config))))
    except TypeError:  # nothing yet, or of another version
        return None


def measure_cost(run: Run, report: Report = silent) -> dict[str, Any]:
    """Counts the multiply–adds of a run's model on its input and measures its latency on this
    machine; keeps both as `cost.json` in the run's folder and returns them. Where a model cannot
    be measured, `why` says so.

    Raises:
        GenrecoreError: The folder cannot be written.
    """
    measured: dict[str, Any] = {}
    try:
        card = model_card(run.config.model.name, run.config)
        measured["n_multiply_adds"] = card.n_multiply_adds_clip
        if card.classical:
            measured["why"] = "a classical model has no multiply–adds that could be counted"
        else:
            measured["latency"] = dataclasses.asdict(
                measure_latency(run.config.model.name, run.config, report)
            )
    except GenrecoreError as error:
        measured["why"] = str(error)
    try:
        write_json(run.folder / costs.FILE, measured)
    except OSError as error:
        raise GenrecoreError(
            f"The cost of the run {run.run_id} cannot be kept: {describe(error)}"
        ) from None
    return measured


def _clip_in_words(card: Card) -> str:
    config = card.config
    medium = ResolvedConfig(config).medium
    if medium == "wave":
        n = card.input.n_segments
        seconds = f"{min(CLIP_S, config.audio.clip_s):.4g} s of sound"
        return f"{seconds} in {n} segments" if n > 1 else seconds
    return {
        "image": "an image of the dataset",
        "table": "a clip's rows of the table",
        "vector": "a vector of the dataset",
        "sequence": "a segment of a sequence of the dataset",
    }[medium]


def _latency_path(card: Card) -> Path:
    """Named by what decides the time: model, input, number of genres and machine."""
    config = card.config
    decides: list[Any] = [
        config.model.model_dump(),
        config.feature.model_dump(),
        config.standardise.model_dump(),
        [config.audio.sample_rate_hz, config.audio.clip_s],
        [config.segments.segment_s, config.segments.overlap],
        [ResolvedConfig(config).medium, card.input.n_genres, config.device],
        [platform.node(), torch.__version__],
    ]
    return cache_dir() / "answers" / f"latency-{card.name}-{digest(decides)}.json"


def measure_steps(config: RunConfig, report: Report = silent) -> StepTimes:
    """Times feature, training step and prediction of a resolved configuration on random numbers,
    on the device that a run would use; keeps the result for `step_times.read`.

    Raises:
        UsageError: The model is a classical one: its time depends on what it learns from.
        GenrecoreError: Memory does not hold a batch.
    """
    _refuse_classical(config.model.name)
    resolved = ResolvedConfig(config)
    hardware = choose(config.device, config.training.precision)
    classifier = _random_classifier(config, hardware)
    generator = torch.Generator().manual_seed(0)
    phase = Phase.MEASURING_TIME.on(config.model.name)
    try:
        report(phase, 0, 3)
        n = _N_INPUTS
        if resolved.medium == "wave":
            n = max(1, min(n, _SAMPLES_AT_ONCE // resolved.segmenter.n_samples))
        inputs = _random_inputs(classifier, n, generator).to(hardware.device)
        with torch.no_grad():
            feature_s = _median_s(lambda: classifier.feature(inputs), hardware) / len(inputs)
            features = classifier.feature(inputs)
            report(phase, 1, 3)
            classifier.eval()
            with hardware.autocast():
                predict_s = _median_s(lambda: classifier.logits(features), hardware) / len(inputs)
        report(phase, 2, 3)
        step = _training_step(classifier, features, generator, hardware)
        train_s = _median_s(step, hardware) / config.training.batch_size
    except (RuntimeError, MemoryError) as error:
        raise GenrecoreError(
            f"The model {config.model.name} cannot be measured: {describe(error)}"
        ) from None
    times = StepTimes(
        train_s=train_s,
        predict_s=predict_s,
        feature_s=feature_s,
        start_s=_start_s(),
        n_copies=1 + len(copies_of(resolved)),
        cached=resolved.feature.facts.cached and not changes_waves(resolved),
    )
    step_times.write(config, times)
    return times


@lru_cache(maxsize=1)
def _start_s() -> float:
    """How long a process like a run's takes until it can begin."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import genrecore.training.lifecycle"], check=False)
    return time.perf_counter() - began


def _refuse_classical(name: str) -> None:
    if MODELS[name].facts.classical:
        raise UsageError(
            f"How long the model {name} takes depends on what it learns from, so it is not "
            "measured before it is trained."
        )


def _random_classifier(config: RunConfig, hardware: Hardware) -> Classifier:
    """The classifier of a configuration on the device, with random weights."""
    resolved = ResolvedConfig(config)
    genres = [str(k) for k in range(n_genres(config))]
    classifier = Classifier(resolved, genres, resolved.typical_shape, pretrained=False)
    hardware.prepare(classifier)
    return classifier


def _random_inputs(classifier: Classifier, n: int, generator: torch.Generator) -> Tensor:
    """What the front end takes, (n, …), of random numbers."""
    shape, resolved = classifier.given_shape, classifier.resolved
    if resolved.medium == "wave":
        return 0.1 * torch.randn(n, 1, resolved.segmenter.n_samples, generator=generator)
    if resolved.medium == "image":
        return torch.randint(0, 256, (n, *shape), generator=generator, dtype=torch.uint8)
    n_rows = int(getattr(classifier.feature, "n_rows", 1))
    return torch.randn(n, n_rows, shape[-1], generator=generator)


def _training_step(
    classifier: Classifier, features: Features, generator: torch.Generator, hardware: Hardware
) -> Callable[[], object]:
    """A whole training step as the trainer takes it, on images augmented as the run does it."""
    classifier.train()
    config, n = classifier.config, len(classifier.genres)
    rows = torch.arange(config.training.batch_size)
    # A batch is made of the few examples that were computed, over and over.
    features = each(lambda tensor: tensor[rows.to(tensor.device) % len(tensor)], features)
    targets = torch.eye(n)[rows % n].to(hardware.device)
    updates = optimiser(config.training, classifier.parameters())
    loss = Loss(config.training, torch.ones(n))
    on_images = Chain(classifier.resolved.augment, "image", config.audio.sample_rate_hz)

    def step() -> None:
        augmented = features
        if on_images and isinstance(augmented, Tensor):
            augmented = on_images(augmented, generator)
        with torch.no_grad():
            standardised = classifier.standardised(augmented)
        with hardware.autocast():
            heads = classifier.heads(standardised)
        losses = [weight * loss(logits, targets) for weight, logits in heads]
        torch.stack(losses).sum().backward()
        updates.step()
        updates.zero_grad(set_to_none=True)

    return step


def _median_s(call: Callable[[], object], hardware: Hardware) -> float:
    """Seconds of one call; the first one warms up unless it alone takes all the time."""
    began = time.perf_counter()
    call()
    hardware.synchronize()
    first_s = time.perf_counter() - began
    took: list[float] = []
    until = time.perf_counter() + STEP_BUDGET_S - first_s
    while len(took) < _MOST_CALLS and time.perf_counter() < until:
        began = time.perf_counter()
        call()
        hardware.synchronize()
        took.append(time.perf_counter() - began)
    return statistics.median(took) if took else first_s
