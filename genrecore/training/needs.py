"""What a resolved configuration needs of its data, found by the sizes of the clips alone.

What options ask for is said where they are defined (`Options.shortage`); the network is built on
the shape that the dataset really has. Imports torch.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pandas as pd

from genrecore.config.demand import TrainingSet
from genrecore.config.run import LEAST_S, RunConfig, with_values
from genrecore.data.sizes import Sizes
from genrecore.errors import GenrecoreError, UsageError
from genrecore.features.cache import segment_counts
from genrecore.training.hardware import choose
from genrecore.training.memory_need import PERHAPS, SURE, MemoryNeed, memory_need, memory_there
from genrecore.training.parts import ResolvedConfig
from genrecore.training.resolve import check_network
from genrecore.training.sources import copies_of, draws_excerpts
from genrecore.words import size

_ANY: Any = {
    **dict.fromkeys(("seed", "split_seed", "fold", "split", "allow_leaks"), True),
    "training": {"batch_size", "lr", "epochs"},
}
"""Fields that do not change what an example needs."""


@dataclass(frozen=True)
class Unmet:
    """A need that the data do not meet.

    Attributes:
        sentence: What is needed and what there is.
        changes: Dotted values with which it is met, perhaps; may be empty.
        sentence_of_changes: What they change, for people.
        genres: Without these it is met; may be empty.
        trains: Whether a model can be trained all the same, to little use.
    """

    sentence: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    sentence_of_changes: str = ""
    genres: tuple[str, ...] = ()
    trains: bool = False


def unmet(
    resolved: ResolvedConfig, sizes: Sizes, parts: pd.Series, n_train: Mapping[str, int]
) -> list[Unmet]:
    """The needs that are not met, those without which nothing can be trained first.

    Args:
        resolved: The configuration.
        sizes: Of its clips.
        parts: `train`, `valid`, `test` or missing, by clip_id.
        n_train: Training clips of each genre.
    """
    if sizes.shape:
        try:
            check_network(resolved, sizes.shape)
        except GenrecoreError as error:
            return [_too_small(resolved, sizes, str(error))]
    there = TrainingSet(n_training_rows(resolved, sizes, parts), n_train)
    needs = [*_shortages(resolved, there), *_without_effect(resolved, sizes, parts)]
    needs += _memory(resolved, sizes, parts, len(n_train))
    return sorted(needs, key=lambda need: need.trains)


def n_training_rows(resolved: ResolvedConfig, sizes: Sizes, parts: pd.Series) -> int:
    """How many training segments there are, with their fixed copies; where a recording's length is
    not known, as many as there can be."""
    if draws_excerpts(resolved):
        n = int(sizes.counts.index.isin(_clips_of(parts, "train")).sum())
    else:
        n = _n_segments(resolved, sizes, parts, "train")
    return n * (1 + len(copies_of(resolved)))


def _n_segments(resolved: ResolvedConfig, sizes: Sizes, parts: pd.Series, part: str) -> int:
    counts = sizes.counts[sizes.counts.index.isin(_clips_of(parts, part))].to_numpy()
    front_end = resolved.front_end(sizes.shape)
    return int(segment_counts(sizes.medium, counts, resolved.config, front_end).sum())


def _clips_of(parts: pd.Series, part: str) -> pd.Index:
    return parts.index[parts.eq(part).fillna(False)]


def _shortages(resolved: ResolvedConfig, there: TrainingSet) -> Iterator[Unmet]:
    """What the options of the parts ask for and do not get."""
    for part in ("model", "feature", "standardise"):
        choice = getattr(resolved, part)
        shortage = choice.options.shortage(there)
        if shortage:
            values, fields = shortage.changes, type(choice.options).model_fields
            sentence = "; ".join(f"{fields[name].title}: {value}" for name, value in values.items())
            changes = {f"{part}.{name}": value for name, value in values.items()}
            changes = {part: choice.name, **changes} if changes else {}
            yield Unmet(
                shortage.sentence, changes, f"{sentence}.", shortage.genres, shortage.trains
            )


def _without_effect(resolved: ResolvedConfig, sizes: Sizes, parts: pd.Series) -> Iterator[Unmet]:
    """Settings that do nothing with these data."""
    config = resolved.config
    if config.training.patience and not parts.eq("valid").fillna(False).any():
        yield Unmet(
            "Early stopping needs validation clips, and this split has none: all epochs are "
            "trained.",
            {"training.patience": 0},
            "Train all epochs.",
            trains=True,
        )
    rate, longest = config.audio.sample_rate_hz, int(sizes.counts.max())
    if sizes.medium == "audio" and sizes.known and longest < resolved.segmenter.n_samples:
        segment_s = config.segments.segment_s or config.audio.clip_s
        shorter_s = math.floor(100 * longest / rate) / 100
        yield Unmet(
            f"All clips are shorter than a segment of {segment_s:g} s, the longest lasts "
            f"{longest / rate:.3g} s: the rest of every segment is silence.",
            {"segments.segment_s": shorter_s} if shorter_s >= LEAST_S else {},
            f"Segments of {shorter_s:g} s.",
            trains=True,
        )


def _too_small(resolved: ResolvedConfig, sizes: Sizes, problem: str) -> Unmet:
    """A network that cannot take what the dataset gives; pictures may be resized."""
    usual = resolved.feature.facts.typical_shape
    if sizes.medium != "image" or "image_size" not in type(resolved.dataset.options).model_fields:
        return Unmet(problem)
    pixels = f"{usual[1]}x{usual[2]}"
    changes = {"dataset": resolved.dataset.name, "dataset.image_size": pixels}
    return Unmet(problem, changes, f"Resize the pictures to {pixels}.")


def _memory(
    resolved: ResolvedConfig, sizes: Sizes, parts: pd.Series, n_genres: int
) -> Iterator[Unmet]:
    """Whether the memory may not hold a run, with a smaller batch or a shorter segment that would
    fit. What other programs use now they may have freed when the run begins, so that only what
    there is in all refuses a run."""
    config, n_rows = resolved.config, n_training_rows(resolved, sizes, parts)
    try:
        device = choose(config.device).device
    except UsageError:  # the run is for another machine
        return
    n = 1 if device.startswith("cuda") else config.processes
    batch_size = math.ceil(min(config.training.batch_size, n_rows) / n)
    free, total = (there / n for there in memory_there(device))

    def need_of(changed: RunConfig) -> MemoryNeed:
        return estimated(ResolvedConfig(changed), sizes, parts, n_genres)

    try:
        need = need_of(config)
    except (RuntimeError, NotImplementedError):  # an operation that torch knows no shapes of
        return
    n_bytes = need.of_batch(batch_size)
    refused = SURE * n_bytes > total
    if not refused and PERHAPS * n_bytes <= free:
        return
    where = "the GPU" if device.startswith("cuda") else "this machine"
    fits = 0.8 * total if refused else free / PERHAPS
    smaller = min(n * need.largest_batch(fits), config.training.batch_size // 2)
    changes: dict[str, Any] = {}
    if smaller:
        changes = {"training.batch_size": smaller}
    elif resolved.medium == "wave":
        segment_s = config.segments.segment_s or config.audio.clip_s
        with contextlib.suppress(GenrecoreError):  # too short for the network
            while not changes and (segment_s := round(segment_s / 2, 2)) >= LEAST_S:
                shorter = with_values(config, {"segments.segment_s": segment_s})
                if need_of(shorter).of_batch(batch_size) <= fits:
                    changes = {"segments.segment_s": segment_s}
    yield Unmet(
        f"{'Memory does not hold this run' if refused else 'Memory may not hold this run'}: it "
        f"needs about {size(n * n_bytes)}, and {where} has {size(n * total)}, of which "
        f"{size(n * free)} are free now.",
        changes,
        f"A batch size of {smaller}." if smaller else "Shorter segments.",
        trains=not refused,
    )


def estimated(
    resolved: ResolvedConfig, sizes: Sizes, parts: pd.Series, n_genres: int
) -> MemoryNeed:
    """What a process of a run needs of the memory of its device; arguments as of `unmet`."""
    n_tested = max(_n_segments(resolved, sizes, parts, part) for part in ("valid", "test"))
    text = resolved.config.model_dump_json(exclude=_ANY)
    return _need(text, sizes.shape, n_training_rows(resolved, sizes, parts), n_tested, n_genres)


@lru_cache(maxsize=256)
def _need(
    config: str, shape: tuple[int, ...], n_rows: int, n_tested: int, n_genres: int
) -> MemoryNeed:
    resolved = ResolvedConfig(RunConfig.model_validate_json(config))
    return memory_need(resolved, shape, n_rows, n_tested, n_genres)
