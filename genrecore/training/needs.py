"""What a resolved configuration needs of its data, found by the sizes of the clips alone.

What options ask for is said where they are defined (`Options.shortage`); the network is built on
the shape that the dataset really has. Imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from genrecore.config.demand import TrainingSet
from genrecore.config.run import LEAST_S
from genrecore.data.sizes import Sizes
from genrecore.errors import GenrecoreError
from genrecore.features.cache import segment_counts
from genrecore.training.parts import ResolvedConfig
from genrecore.training.resolve import check_network
from genrecore.training.sources import copies_of, draws_excerpts


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
    return sorted(needs, key=lambda need: need.trains)


def n_training_rows(resolved: ResolvedConfig, sizes: Sizes, parts: pd.Series) -> int:
    """How many training segments there are, with their fixed copies; where a recording's length is
    not known, as many as there can be."""
    trained = parts.index[parts.eq("train").fillna(False)]
    counts = sizes.counts[sizes.counts.index.isin(trained)].to_numpy()
    n = len(counts)
    if not draws_excerpts(resolved):
        n = int(n_segments(resolved, sizes, counts).sum())
    return n * (1 + len(copies_of(resolved)))


def n_segments(resolved: ResolvedConfig, sizes: Sizes, counts: np.ndarray) -> np.ndarray:
    """Segments of clips of these lengths."""
    front_end = resolved.front_end(sizes.shape)
    return segment_counts(sizes.medium, counts, resolved.config, front_end)


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
    size = f"{usual[1]}x{usual[2]}"
    changes = {"dataset": resolved.dataset.name, "dataset.image_size": size}
    return Unmet(problem, changes, f"Resize the pictures to {size}.")
