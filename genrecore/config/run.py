"""A run's configuration: one pydantic model for form, flags and JSON.

A default is never changed and a registered name never reused: a configuration's signature is a hash
of what differs from the defaults, and old runs must keep theirs.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from genrecore.config.registry import Choice, Facts, Registry, explain
from genrecore.config.training import Group, Training, zero_means
from genrecore.errors import UsageError

LEAST_S = 0.25
"""The shortest segment, in seconds."""

_LARGEST_FILE = 2**22  # bytes of a configuration; they have a few thousand


class Part(Group):
    """A registered thing by name, with its options."""

    name: str = Field(title="Name", min_length=1)
    options: dict[str, Any] = Field(default_factory=dict, title="Options")

    def choose_from(self, registry: Registry[Facts]) -> Choice[Facts]:
        """The registered thing with its options parsed, as `Registry.choose` does."""
        return registry.choose(self.name, self.options)


class Audio(Group):
    """How audio files are decoded."""

    sample_rate_hz: Literal[16_000, 22_050, 44_100] = Field(
        22_050, title="Sample rate (Hz)", description="Every clip is resampled to this rate."
    )
    clip_s: float = Field(
        30.0,
        title="Length of each clip (s)",
        description="The middle of longer clips is taken; shorter clips stay as long as they are.",
        ge=1.0,
        le=1200.0,
    )
    accept_damaged: bool = Field(
        False,
        title="Train on damaged files",
        description="Of truncated and damaged files, uses what can be decoded and names them; "
        "otherwise they are left out.",
    )


class Segments(Group):
    """How clips are cut into segments, the network's inputs."""

    segment_s: float = Field(
        3.0,
        title="Segment length (s)",
        description="Length of one input of the network.",
        ge=0.0,
        le=120.0,
        json_schema_extra=zero_means("the whole clip"),
    )
    overlap: float = Field(
        0.0, title="Overlap of segments", description="Share of their length.", ge=0.0, le=0.9
    )
    excerpts: Literal["all", "random"] = Field(
        "all",
        title="Training segments",
        description="All segments of a clip in every epoch, or one excerpt of each clip from a "
        "random position, a new one every epoch.",
    )
    pooling: Literal["probabilities", "logits", "majority"] = Field(
        "probabilities",
        title="Pooling of segments",
        description="A clip's prediction from its segments: their probabilities summed, their "
        "logits averaged, or one vote each.",
    )

    @field_validator("segment_s")
    @classmethod
    def _check_length(cls, value: float) -> float:
        if 0 < value < LEAST_S:
            raise ValueError(f"a segment lasts at least {LEAST_S:g} s; 0 is the whole clip")
        return value


class Genres(Group):
    """Which of the dataset's genres are classified."""

    leave_out: str = Field(
        "",
        title="Genres left out",
        description="Names, divided by commas; their clips are not used.",
        max_length=2_000,
    )
    merge: str = Field(
        "",
        title="Genres merged",
        description="New name = genres, divided by commas; semicolons divide several merges: "
        "Vocal = Pop, Folk; Beats = Hip-Hop, Electronic.",
        max_length=2_000,
    )


class RunConfig(Group):
    """Everything that decides a run's result."""

    dataset: Part = Field(Part(name="demo"), title="Dataset")
    split: Part = Field(
        Part(name="by_artist"),
        title="Split",
        description="Which clips are for training, validation and test.",
    )
    genres: Genres = Field(Genres(), title="Genres")
    rehearsal: int = Field(
        0,
        title="Rehearsal: clips a genre",
        description="Uses only this many clips of each genre, to try a recipe quickly; such a run "
        "is marked as a rehearsal everywhere.",
        ge=0,
        le=100_000,
        json_schema_extra=zero_means("all clips"),
    )
    clips_per_genre: int = Field(
        0,
        title="Training clips a genre",
        description="Learns from this many training clips of each genre, drawn by the seed from "
        "as many artists as possible; of one seed, more clips hold the fewer. All validation and "
        "test clips stay.",
        ge=0,
        le=100_000,
        json_schema_extra=zero_means("all"),
    )
    audio: Audio = Field(Audio(), title="Audio")
    segments: Segments = Field(Segments(), title="Segments")
    feature: Part = Field(Part(name="log_mel"), title="Feature")
    standardise: Part = Field(Part(name="z_score"), title="Standardisation")
    standardise_on: Literal["train", "all"] = Field(
        "train",
        title="Standardise by the statistics of",
        description="The training clips, or all clips as in some studies: then training knows "
        "something of the test clips, which needs allowed leaks and marks the run.",
    )
    augment: tuple[Part, ...] = Field(
        (),
        title="Augmentation",
        description="Random changes of training data, in this order; names, divided by commas.",
    )
    model: Part = Field(Part(name="cnn"), title="Model")
    training: Training = Field(Training(), title="Training")
    allow_leaks: bool = Field(
        False,
        title="Train although the split leaks",
        description="Artists or copies on both sides of a split make accuracies too high, so "
        "such a split is refused; if you allow it, the run is marked everywhere.",
    )
    fold: int = Field(
        0,
        title="Fold, counted from 0",
        description="Fold k tests on part k and validates on part k + 1.",
        ge=0,
        le=99,
    )
    split_seed: int = Field(0, title="Split seed", description="Of random splits.", ge=0, le=2**31)
    seed: int = Field(
        0,
        title="Seed",
        description="Initial weights, the order of examples, and the draw of training clips where "
        "not all are learned from.",
        ge=0,
        le=2**31,
    )
    processes: int = Field(
        1,
        title="Processes",
        description="Divides every batch among this many processes, one per GPU; not part of a "
        "run's identity.",
        ge=1,
        le=64,
    )
    device: str = Field(
        "auto",
        title="Device",
        description="auto, cpu, cuda, cuda:N or mps; not part of a run's identity.",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
    )


PARTS = tuple(name for name, info in RunConfig.model_fields.items() if info.annotation is Part)
"""The fields that hold one part; `augment` holds several."""

_WHERE = frozenset({"device", "processes"})
# Runs that differ only in these are of one system.
NOT_SYSTEM = _WHERE | {"seed", "split_seed", "fold"}


def read_config(data: Any, source: str = "the configuration") -> RunConfig:
    """A configuration from parsed JSON.

    Raises:
        UsageError: An unknown field or a value out of range, and what was expected.
    """
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"In {source}: {explain(error, RunConfig)}") from None


def read_config_file(path: str | Path) -> RunConfig:
    """A configuration from a JSON file.

    Raises:
        UsageError: The file is missing or is not the JSON of a configuration.
    """
    path = Path(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe must not keep us waiting
        with open(descriptor, encoding="utf-8") as stream:
            facts = os.fstat(descriptor)
            # Files of the kernel claim to be empty, and reading them may never end.
            if not stat.S_ISREG(facts.st_mode) or not 0 < facts.st_size <= _LARGEST_FILE:
                raise UsageError(f"{path} is no file of 1 to {_LARGEST_FILE} bytes.")
            data = json.loads(stream.read())
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from None
    except RecursionError:
        raise UsageError(f"{path} is not a configuration: it is nested too deep.") from None
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}.") from None
    return read_config(data, str(path))


def with_values(config: RunConfig, values: dict[str, Any]) -> RunConfig:
    """The configuration with dotted fields replaced: `{"training.lr": 1e-4, "feature.n_mels": 64}`.

    A dotted name below a part is an option, except `name`; another name drops the part's options.
    Text is read as JSON if it is (numbers, true, null), except for fields that hold text: a genre
    may be called 1980, and quotes around a name belong to it. `augment` takes names, divided by
    commas, and `augment.noise.p` is an option of one of them.

    Raises:
        UsageError: There is no such field, or the value is out of range.
    """
    data = config.model_dump()
    for dotted, text in sorted(values.items(), key=lambda item: item[0].count(".")):
        first, _, rest = dotted.partition(".")
        if first not in data:
            raise UsageError(
                f"There is no field {first!r} in a configuration; there are: {', '.join(data)}."
            )
        value = json_or_text(text) if isinstance(text, str) else text
        if first == "augment":
            data[first] = _with_augmentation(data[first], rest, value)
        elif first in PARTS:
            if rest in ("", "name"):
                if str(value) != data[first]["name"]:
                    data[first] = {"name": str(value), "options": {}}
            else:
                data[first]["options"][rest.removeprefix("options.")] = value
        elif rest:
            group = data[first]
            if not isinstance(group, dict) or rest not in group:
                fields = ", ".join(group) if isinstance(group, dict) else "none"
                raise UsageError(
                    f"There is no field {dotted!r}; below {first} there are: {fields}."
                )
            kind = getattr(config, first).__class__.model_fields[rest].annotation
            group[rest] = text if kind is str else value
        else:
            data[first] = value
    return read_config(data, "the given values")


def _with_augmentation(parts: Any, rest: str, value: Any) -> Any:
    """The augmentations of these names, or with one option of one of them replaced."""
    if not rest:
        if not isinstance(value, str):
            return value
        options = {part["name"]: part["options"] for part in parts}
        names = [name.strip() for name in value.split(",") if name.strip()]
        return [{"name": name, "options": options.get(name, {})} for name in names]
    name, _, option = rest.partition(".")
    for part in parts:
        if part["name"] == name and option:
            part["options"][option.removeprefix("options.")] = value
            return parts
    listed = ", ".join(part["name"] for part in parts) or "none"
    raise UsageError(
        f"augment.{rest} sets an option of an augmentation that is not chosen; chosen: {listed}. "
        "Name it in augment first."
    )


def json_or_text(text: str) -> Any:
    """The value of text that is JSON (a number, true, null, …), else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def flat(config: RunConfig) -> dict[str, Any]:
    """All values by dotted field, in the order of the fields."""
    return flat_values(config.model_dump())


def differences(config: RunConfig, base: RunConfig | None = None) -> dict[str, Any]:
    """The dotted fields that differ from `base`, by default from the defaults, and their values."""
    values, base_values = flat(config), flat(base or RunConfig())
    keys = sorted(values.keys() | base_values.keys())
    return {key: values.get(key) for key in keys if values.get(key) != base_values.get(key)}


def signature(config: RunConfig) -> str:
    """Ten hex digits, equal for configurations that train the same, on whatever device."""
    return _hash({k: v for k, v in differences(config).items() if k not in _WHERE})


def system_signature(config: RunConfig) -> str:
    """Ten hex digits, equal for configurations of one system: without seeds, fold and device."""
    return _hash({k: v for k, v in differences(config).items() if k not in NOT_SYSTEM})


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def flat_values(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested groups by dotted name; empty groups are left out."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            flat |= flat_values(item, f"{prefix}{key}.")
        elif item != {}:
            flat[prefix + key] = item
    return flat
