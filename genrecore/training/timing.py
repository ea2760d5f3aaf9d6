"""How long a training step takes here, measured on random numbers."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from genrecore.augment import Chain
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.store.progress import Phase, Report, silent
from genrecore.training import step_times
from genrecore.training.classifier import Classifier, Features, each
from genrecore.training.hardware import Hardware, choose
from genrecore.training.model_inputs import n_genres
from genrecore.training.optimisation import Loss, optimiser
from genrecore.training.parts import ResolvedConfig
from genrecore.training.sources import copies_of
from genrecore.training.step_times import StepTimes

BUDGET_S = 1.5
"""For each of the three things measured; the first time of each is a warm-up and not counted."""

_MOST_CALLS = 8
_N_INPUTS = 16  # segments whose feature is computed, and that a network predicts, at once
_SAMPLES_AT_ONCE = 2**23


def measure(config: RunConfig, report: Report = silent) -> StepTimes:
    """Times feature, training step and prediction of a resolved configuration on random numbers,
    on the device that a run would use; keeps the result for `step_times.read`.

    Raises:
        UsageError: The model is a classical one: its time depends on what it learns from.
        GenrecoreError: Memory does not hold a batch.
    """
    resolved = ResolvedConfig(config)
    if resolved.model.facts.classical:
        raise UsageError(
            f"How long the model {config.model.name} takes depends on what it learns from, so it "
            "is not measured before it is trained."
        )
    hardware = choose(config.device, config.training.precision)
    genres = [str(k) for k in range(n_genres(config))]
    classifier = Classifier(resolved, genres, resolved.typical_shape, pretrained=False)
    hardware.prepare(classifier)
    generator = torch.Generator().manual_seed(0)
    phase = Phase.MEASURING_TIME.on(config.model.name)
    try:
        report(phase, 0, 3)
        inputs = _random_inputs(classifier, generator).to(hardware.device)
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
    changes_waves = bool(Chain(resolved.augment, "wave", config.audio.sample_rate_hz))
    random = config.segments.excerpts == "random"
    times = StepTimes(
        train_s=train_s,
        predict_s=predict_s,
        feature_s=feature_s,
        start_s=_start_s(),
        n_copies=1 + len(copies_of(resolved)),
        cached=resolved.feature.facts.cached and not (changes_waves or random),
    )
    step_times.write(config, times)
    return times


@lru_cache(maxsize=1)
def _start_s() -> float:
    """How long a process like a run's takes until it can begin."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import genrecore.training.lifecycle"], check=False)
    return time.perf_counter() - began


def _random_inputs(classifier: Classifier, generator: torch.Generator) -> Tensor:
    """What the front end takes, (n, …), of random numbers."""
    shape, resolved = classifier.given_shape, classifier.resolved
    if resolved.medium == "wave":
        n_samples = resolved.segmenter.n_samples
        n = max(1, min(_N_INPUTS, _SAMPLES_AT_ONCE // n_samples))
        return 0.1 * torch.randn(n, 1, n_samples, generator=generator)
    if resolved.medium == "image":
        return torch.randint(0, 256, (_N_INPUTS, *shape), generator=generator, dtype=torch.uint8)
    n_rows = int(getattr(classifier.feature, "n_rows", 1))
    return torch.randn(_N_INPUTS, n_rows, *shape, generator=generator)


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
        drawn = features
        if on_images and isinstance(drawn, Tensor):
            drawn = on_images(drawn, generator)
        with torch.no_grad():
            standardised = classifier.standardised(drawn)
        with hardware.autocast():
            heads = classifier.heads(standardised)
        losses = [weight * loss(logits, targets) for weight, logits in heads]
        torch.stack(losses).sum().backward()
        updates.step()
        updates.zero_grad(set_to_none=True)

    return step


def _median_s(once: Callable[[], object], hardware: Hardware) -> float:
    """Seconds of one call; the first one warms up unless it alone takes all the time."""
    began = time.perf_counter()
    once()
    hardware.synchronize()
    first_s = time.perf_counter() - began
    took: list[float] = []
    until = time.perf_counter() + BUDGET_S - first_s
    while len(took) < _MOST_CALLS and time.perf_counter() < until:
        began = time.perf_counter()
        once()
        hardware.synchronize()
        took.append(time.perf_counter() - began)
    return statistics.median(took) if took else first_s
