"""How long a model takes for one clip on this machine, measured and kept."""

from __future__ import annotations

import dataclasses
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.evaluation import costs
from genrecore.models import MODELS
from genrecore.store.files import cache_dir, digest, read_json, write_json
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.run import Run
from genrecore.training import card as cards
from genrecore.training import hardware
from genrecore.training.classifier import Classifier
from genrecore.training.hardware import Hardware
from genrecore.training.model_inputs import CLIP_S, Input
from genrecore.training.parts import ResolvedConfig

BUDGET_S = 2.0
"""Slow models are measured fewer times."""

MOST_RUNS = 25
_BATCH = 64  # segments at a time, as when a trained run classifies


@dataclass(frozen=True)
class Latency:
    """Time from one clip to its logits.

    Attributes:
        median_ms: Of the runs after the first.
        low_ms: The fastest.
        high_ms: The slowest.
        n_runs: How many.
        of: What was put in, in words.
        device: On what, for people.
        precision: In which arithmetic.
        machine: The computer's name.
        at: When, in seconds since the epoch.
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
            span = f"{in_ms(self.low_ms)} to {in_ms(self.high_ms)}"
            how = f"the median of {self.n_runs} runs from {span}"
        return (
            f"{in_ms(self.median_ms)} from {self.of} to its prediction, {how}; on {self.machine} "
            f"({self.device}) in {self.precision}."
            + (" The runs differ much: other work kept it busy." if self.is_unsteady else "")
        )

    @property
    def is_unsteady(self) -> bool:
        """Whether something else got in the way."""
        return self.high_ms > 2.0 * self.low_ms


def measure(name: str, config: RunConfig | None = None, report: Report = silent) -> Latency:
    """Builds a model with random weights, and measures how long feature and network take for one
    clip of `CLIP_S` seconds; the result is kept for `newest`.

    The arithmetic is float32, as when a trained run classifies. One run warms up; then as many are
    measured as fit into `BUDGET_S`, one at least and `MOST_RUNS` at most.

    Args:
        name: In `MODELS`.
        config: Names the input, as for `cards.card`.
        report: Told of the runs.

    Raises:
        UsageError: There is no such model, it cannot take that input, or it is a classical one.
    """
    if MODELS[name].facts.classical:
        raise UsageError(
            f"How long the model {name} takes depends on what it has learned from, so it is not "
            "measured before it is trained."
        )
    card = cards.card(name, config)
    chosen = hardware.choose(card.config.device, "float32")
    report(Phase.BUILDING_MODEL, 0, MOST_RUNS)
    made, batches = _ready(card.config, card.input, chosen)
    took_ms: list[float] = []
    with torch.inference_mode():
        _once(made, batches, chosen)
        until = time.perf_counter() + BUDGET_S
        while not took_ms or (len(took_ms) < MOST_RUNS and time.perf_counter() < until):
            report(Phase.MEASURING_TIME, len(took_ms), MOST_RUNS)
            began = time.perf_counter()
            _once(made, batches, chosen)
            took_ms.append(1000.0 * (time.perf_counter() - began))
    found = Latency(
        median_ms=statistics.median(took_ms),
        low_ms=min(took_ms),
        high_ms=max(took_ms),
        n_runs=len(took_ms),
        of=_what(card.config, card.input),
        device=chosen.name,
        precision=chosen.precision,
        machine=platform.node() or "this machine",
        at=time.time(),
    )
    _keep(card, found)
    return found


def newest(name: str, config: RunConfig | None = None) -> Latency | None:
    """What was last measured on this machine for this model and input, whoever asked for it.

    Raises:
        UsageError: As `cards.card`.
    """
    stored = read_json(_place(cards.card(name, config)))
    try:
        return Latency(**stored)
    except TypeError:  # nothing yet, or of another version
        return None


def _ready(config: RunConfig, given: Input, chosen: Hardware) -> tuple[Classifier, list[Tensor]]:
    """The classifier and one clip's segments, on the device."""
    resolved = ResolvedConfig(config)
    genres = [str(k) for k in range(given.n_genres)]
    made = Classifier(resolved, genres, resolved.typical_shape, pretrained=False).eval()
    draw = torch.Generator().manual_seed(0)
    if resolved.medium == "wave":
        segmenter = resolved.segmenter
        n_clip = round(min(CLIP_S, config.audio.clip_s) * config.audio.sample_rate_hz)
        clip = 0.1 * torch.randn(max(segmenter.n_samples, n_clip), generator=draw)
        clips = torch.cat(list(segmenter.batches(clip, _BATCH)))
    elif resolved.medium == "image":
        clips = torch.randint(0, 256, (1, *made.given_shape), generator=draw, dtype=torch.uint8)
    else:
        n_rows = int(getattr(made.feature, "n_rows", 1))
        clips = torch.randn(1, n_rows, *made.given_shape, generator=draw)
    placed = cast("Classifier", chosen.prepare(made))
    return placed, [part.to(chosen.device) for part in clips.split(_BATCH)]


def _once(made: Classifier, batches: list[Tensor], chosen: Hardware) -> None:
    for batch in batches:
        made(batch)
    chosen.synchronize()


def _what(config: RunConfig, given: Input) -> str:
    medium = ResolvedConfig(config).medium
    if medium == "wave":
        n = given.n_segments
        seconds = f"{min(CLIP_S, config.audio.clip_s):.4g} s of sound"
        return f"{seconds} in {n} segments" if n > 1 else seconds
    return "a picture of the dataset" if medium == "image" else "a clip's rows of the table"


def measure_run(run: Run, report: Report = silent) -> dict[str, Any]:
    """Counts the multiply–adds of a run's model on its input and measures its latency on this
    machine; keeps both as `cost.json` in the run's folder and returns them. Where a model cannot
    be measured, `why` says so.

    Raises:
        GenrecoreError: The folder cannot be written.
    """
    measured: dict[str, Any] = {}
    try:
        card = cards.card(run.config.model.name, run.config)
        measured["n_multiply_adds"] = card.n_multiply_adds_clip
        if card.classical:
            measured["why"] = "a classical model has no multiply–adds that could be counted"
        else:
            measured["latency"] = dataclasses.asdict(
                measure(run.config.model.name, run.config, report)
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


def in_ms(milliseconds: float) -> str:
    """`3.2 ms`, `189 ms`, `1.0 s`."""
    if milliseconds >= 9_995:
        return f"{milliseconds / 1000:.0f} s"
    if milliseconds >= 999.5:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.{0 if milliseconds >= 9.95 else 1}f} ms"


def _keep(card: cards.Card, found: Latency) -> None:
    place = _place(card)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_json(place, dataclasses.asdict(found))


def _place(card: cards.Card) -> Path:
    """Named by what decides the time: model, input, number of genres and machine."""
    config = card.config
    what: list[Any] = [
        config.model.model_dump(),
        config.feature.model_dump(),
        config.standardise.model_dump(),
        [config.audio.sample_rate_hz, config.audio.clip_s],
        [config.segments.segment_s, config.segments.overlap],
        [ResolvedConfig(config).medium, card.input.n_genres, config.device],
        [platform.node(), torch.__version__],
    ]
    return cache_dir() / "answers" / f"latency-{card.name}-{digest(what)}.json"
