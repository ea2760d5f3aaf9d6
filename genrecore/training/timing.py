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
from genrecore.training import hardware, step_times
from genrecore.training import optimisation as recipe
from genrecore.training.classifier import Classifier, Features
from genrecore.training.model_inputs import n_genres
from genrecore.training.parts import ResolvedConfig
from genrecore.training.step_times import StepTimes

BUDGET_S = 1.5
"""For each of the three things measured; the first time of each is a warm-up and not counted."""

_MOST = 8
_FEW = 16  # segments whose feature is computed, and that a network predicts, at once
_SAMPLES_AT_ONCE = 2**23


def measure(config: RunConfig, report: Report = silent) -> StepTimes:
    """Times feature, training step and prediction of a resolved configuration on random numbers,
    on the device that a run would use; keeps the result for `step_times.read`.

    Raises:
        UsageError: The model is fitted at one go: its time depends on what it learns from.
        GenrecoreError: Memory does not hold a batch.
    """
    resolved = ResolvedConfig(config)
    if resolved.model.facts.classical:
        raise UsageError(
            f"How long the model {config.model.name} takes depends on what it learns from, so it "
            "is not measured before it is trained."
        )
    chosen = hardware.choose(config.device, config.training.precision)
    genres = [str(k) for k in range(n_genres(config))]
    made = Classifier(resolved, genres, resolved.typical_shape, pretrained=False)
    chosen.prepare(made)
    draw = torch.Generator().manual_seed(0)
    phase = Phase.MEASURING_TIME.on(config.model.name)
    try:
        report(phase, 0, 3)
        few = _given(made, _FEW, draw).to(chosen.device)
        with torch.no_grad():
            feature_s = _median_s(lambda: made.feature(few), chosen) / len(few)
            features = made.feature(few)
            report(phase, 1, 3)
            made.eval()
            predict_s = _median_s(lambda: _predict(made, features, chosen), chosen) / len(few)
        report(phase, 2, 3)
        size = config.training.batch_size
        step = _step(made, config, _repeated(features, size), draw, chosen)
        train_s = _median_s(step, chosen) / size
    except (RuntimeError, MemoryError) as error:
        raise GenrecoreError(
            f"The model {config.model.name} cannot be measured: {describe(error)}"
        ) from None
    changes_waves = bool(Chain(resolved.augment, "wave", config.audio.sample_rate_hz))
    random = config.segments.excerpts == "random"
    found = StepTimes(
        train_s=train_s,
        predict_s=predict_s,
        feature_s=feature_s,
        start_s=_start_s(),
        n_copies=1 + _n_variants(resolved),
        cached=resolved.feature.facts.cached and not (changes_waves or random),
    )
    step_times.write(config, found)
    return found


@lru_cache(maxsize=1)
def _start_s() -> float:
    """How long a process like a run's takes until it can begin."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import genrecore.training.lifecycle"], check=False)
    return time.perf_counter() - began


def _given(made: Classifier, n: int, draw: torch.Generator) -> Tensor:
    """What the front end takes, of random numbers, (n, …)."""
    if made.resolved.medium == "wave":
        n_samples = made.resolved.segmenter.n_samples
        n = max(1, min(n, _SAMPLES_AT_ONCE // n_samples))
        return 0.1 * torch.randn(n, 1, n_samples, generator=draw)
    if made.resolved.medium == "image":
        return torch.randint(0, 256, (n, *made.given_shape), generator=draw, dtype=torch.uint8)
    n_rows = int(getattr(made.feature, "n_rows", 1))
    return torch.randn(n, n_rows, *made.given_shape, generator=draw)


def _repeated(features: Features, size: int) -> Features:
    """A batch of this size of the few that were computed."""
    if isinstance(features, tuple):
        return tuple(_one_repeated(part, size) for part in features)
    return _one_repeated(features, size)


def _one_repeated(part: Tensor, size: int) -> Tensor:
    return part[torch.arange(size, device=part.device) % len(part)]


def _predict(made: Classifier, features: Features, chosen: hardware.Hardware) -> None:
    with chosen.autocast():
        made.logits(features)


def _step(
    made: Classifier,
    config: RunConfig,
    features: Features,
    draw: torch.Generator,
    chosen: hardware.Hardware,
) -> Callable[[], object]:
    """A whole training step as the trainer takes it, on images changed as the run changes them."""
    made.train()
    n = len(made.genres)
    size = config.training.batch_size
    optimiser = recipe.optimiser(config.training, made.parameters())
    loss = recipe.Loss(config.training, torch.ones(n))
    targets = torch.eye(n)[torch.arange(size) % n].to(chosen.device)
    on_images = Chain(made.resolved.augment, "image", config.audio.sample_rate_hz)

    def step() -> None:
        given = features
        if on_images and isinstance(given, Tensor):
            given = on_images(given, draw)
        with torch.no_grad():
            standardised = made.standardised(given)
        with chosen.autocast():
            pairs = made.heads(standardised)
        total = sum((weight * loss(logits, targets) for weight, logits in pairs), torch.zeros(()))
        torch.as_tensor(total).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def _median_s(once: Callable[[], object], chosen: hardware.Hardware) -> float:
    """Seconds of one call; the first one warms up unless it alone takes all the time."""
    began = time.perf_counter()
    once()
    chosen.synchronize()
    first_s = time.perf_counter() - began
    took: list[float] = []
    until = time.perf_counter() + BUDGET_S - first_s
    while len(took) < _MOST and time.perf_counter() < until:
        began = time.perf_counter()
        once()
        chosen.synchronize()
        took.append(time.perf_counter() - began)
    return statistics.median(took) if took else first_s


def _n_variants(resolved: ResolvedConfig) -> int:
    """Changed copies that are made of each training segment."""
    rate = resolved.config.audio.sample_rate_hz
    copies = [one for one in resolved.augment if one.facts.on == "variants"]
    return sum(len(one.thing(one.options, rate).labels) for one in copies)
