"""Measured times of training steps, kept in the cache. Reading them needs no torch."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from genrecore.config.run import RunConfig
from genrecore.store.files import cache_dir, digest, read_json, write_json
from genrecore.training import hardware

_COSTLY = {"model", "feature", "standardise", "augment", "audio", "segments", "processes"}


@dataclass(frozen=True)
class StepTimes:
    """What `timing.measure_steps` found on this machine, in seconds a segment.

    Attributes:
        train_s: Of a training step.
        predict_s: Of the network alone, as in validation and test.
        feature_s: Of computing the feature.
        start_s: Of a run's process until it can begin, in all.
        n_copies: Examples made of each training segment, itself counted.
        cached: Whether features are computed once, not in every epoch.
    """

    train_s: float
    predict_s: float
    feature_s: float
    start_s: float
    n_copies: int
    cached: bool


def device_for(config: RunConfig) -> str:
    """The device that a run of this configuration gets on this machine."""
    gpus = hardware.accelerators()
    if config.device == "auto":
        return gpus[0] if gpus else "cpu"
    return "cuda:0" if config.device == "cuda" else config.device


def cost_key(config: RunConfig) -> str:
    """Equal for configurations whose segments take equally long here, batch size left aside."""
    recipe = config.training.model_dump(include={"precision", "compile", "accumulate"})
    decides = config.model_dump(include=_COSTLY) | recipe
    return json.dumps(decides, sort_keys=True) + device_for(config)


def read(config: RunConfig) -> StepTimes | None:
    """What was measured on this machine for runs like this one; None where nothing was."""
    try:
        return StepTimes(**read_json(_path(config)))
    except TypeError:  # nothing yet, or of another version
        return None


def write(config: RunConfig, times: StepTimes) -> None:
    """Keeps what was measured for runs like this one."""
    path = _path(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, dataclasses.asdict(times))


def _path(config: RunConfig) -> Path:
    name = digest([cost_key(config), config.training.batch_size])
    return cache_dir() / "step-times" / f"{name}.json"
