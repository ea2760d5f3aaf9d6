"""Where features come from: the cache, or the corpus, from which they are computed in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from genrecore.augment import Chain
from genrecore.data.corpus import Corpus
from genrecore.features import cache as feature_cache
from genrecore.features.cache import Variant
from genrecore.store.progress import Report
from genrecore.training.classifier import Features, tensors_of
from genrecore.training.parts import ResolvedConfig

LayOut = Callable[[Tensor], Tensor]
"""Brings one tensor of features into the memory format that suits the network."""

_MOST_CACHED = 256
_LARGE = 2**21  # numbers of a batch that no processor's cache holds


class Source(ABC):
    """Features of segments by their index. Index k · n + i is copy k of segment i of n, where
    training has changed copies of its segments.

    Attributes:
        most: How many segments `features` takes at once.
    """

    most: int

    @abstractmethod
    def features(self, index: Tensor, generator: torch.Generator | None = None) -> Features:
        """Features on the device; with a generator, changed as training wants them."""

    def standardised(
        self, index: Tensor, standardisers: Sequence[nn.Module], lay_out: LayOut
    ) -> Features:
        """Unchanged features as the network takes them: standardised, then laid out."""
        features = self.features(index)
        pairs = zip(standardisers, tensors_of(features), strict=True)
        laid_out = tuple(lay_out(module(tensor)) for module, tensor in pairs)
        return laid_out if isinstance(features, tuple) else laid_out[0]


class CachedFeatures(Source):
    """Rows of the feature cache, of the segments and of each of their copies."""

    most = _MOST_CACHED

    def __init__(self, copies: Sequence[feature_cache.Features], device: str) -> None:
        self._device, self._channels = device, copies[0].channels
        self._spread = copies[0].spread
        self._rows = [_resident(copy.rows, device) for copy in copies]
        self._fetch = [copy.fetch for copy in copies]
        self._n = len(copies[0].segments)

    def features(self, index: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if len(self._rows) == 1 or bool((index < self._n).all()):
            rows = self._taken(0, index)
        else:
            shape = (len(index), *self._rows[0].shape[1:])
            rows = torch.empty(shape, device=self._device)
            for k in range(len(self._rows)):
                of_copy = (index // self._n == k).nonzero()[:, 0]
                if len(of_copy):
                    rows[of_copy.to(self._device)] = self._taken(k, index[of_copy] % self._n)
        return self._spread(rows)

    @torch.no_grad()
    def standardised(
        self, index: Tensor, standardisers: Sequence[nn.Module], lay_out: LayOut
    ) -> Features:
        """As of any source, but a large batch on the processor is made row by row, each while it
        lies in the processor's cache, so that it goes from memory to memory once: the 27 MB of 50
        images took 15 ms of a step of 125 in passes of their own
        (docs/explanations/performance.md)."""
        numbers = len(index) * self._channels * self._rows[0][0].numel()
        small = self._device != "cpu" or numbers < _LARGE
        if small or not bool((index < self._n).all()):
            return super().standardised(index, standardisers, lay_out)
        self._fetch[0](index)
        rows, shape = self._rows[0], list(self._rows[0].shape[1:])
        if self._channels > 1:
            shape[0] = self._channels
        batch = lay_out(torch.empty((len(index), *shape)))
        for k, row in enumerate(index.tolist()):
            batch[k] = standardisers[0](self._spread(rows[row][None]))[0]
        return batch

    def _taken(self, k: int, index: Tensor) -> Tensor:
        rows = self._rows[k]
        if rows.device.type == "cpu":
            self._fetch[k](index)
        return rows[index.to(rows.device)].to(self._device, non_blocking=True)


class ComputedFeatures(Source):
    """Features computed from the corpus, a batch at a time."""

    def __init__(
        self,
        corpus: Corpus,
        resolved: ResolvedConfig,
        feature: nn.Module,
        segments: pd.DataFrame,
        device: str,
    ) -> None:
        config = resolved.config
        self._feature, self._device = feature, device
        self.most = feature_cache.at_once(corpus.medium, config)
        self.inputs = Inputs(corpus, resolved, feature, segments, device)
        self._changes = Chain(resolved.augment, "wave", corpus.sample_rate_hz)
        self._copies = copies_of(resolved)
        self._front_ends = [front_end_of(copy, resolved, feature, device) for copy in self._copies]

    @torch.no_grad()
    def features(self, index: Tensor, generator: torch.Generator | None = None) -> Features:
        inputs = self.inputs.read(index, generator)
        longer = []  # or shorter
        for k, (copy, front_end) in enumerate(zip(self._copies, self._front_ends, strict=True), 1):
            of_copy = (index // self.inputs.n == k).nonzero()[:, 0].to(self._device)
            if len(of_copy) and front_end is self._feature:
                inputs[of_copy] = copy.apply(inputs[of_copy])
            elif len(of_copy):
                longer.append((of_copy, front_end, copy.apply(inputs[of_copy])))
        features = self._computed(self._feature, inputs, generator)
        for of_copy, front_end, waves in longer:
            features = features.contiguous()  # its channels may share their memory
            features[of_copy] = self._computed(front_end, waves, generator)
        return features

    def _computed(
        self, front_end: nn.Module, inputs: Tensor, generator: torch.Generator | None
    ) -> Any:
        if generator is not None:
            inputs = self._changes(inputs, generator)
        batches = [front_end(batch) for batch in inputs.split(self.most)]
        if isinstance(batches[0], tuple):
            return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
        return torch.cat(batches) if len(batches) > 1 else batches[0]


class CachedPair(Source):
    """A pair whose image comes from the cache; its wave is cut from the corpus, which is as
    quick as to read it from a cache that would be as large."""

    def __init__(self, image: CachedFeatures, inputs: Inputs, most: int) -> None:
        self._image, self._inputs, self.most = image, inputs, most

    def features(self, index: Tensor, generator: torch.Generator | None = None) -> Features:
        return self._inputs.read(index), self._image.features(index)

    @torch.no_grad()
    def standardised(
        self, index: Tensor, standardisers: Sequence[nn.Module], lay_out: LayOut
    ) -> Features:
        image = self._image.standardised(index, standardisers[1:], lay_out)
        return lay_out(standardisers[0](self._inputs.read(index))), *tensors_of(image)


class Inputs:
    """What the front end takes, read from the corpus: segments, or random excerpts."""

    def __init__(
        self,
        corpus: Corpus,
        resolved: ResolvedConfig,
        feature: nn.Module,
        segments: pd.DataFrame,
        device: str,
    ) -> None:
        self.n, self._device = len(segments), device
        self._read = feature_cache.reader(corpus, resolved.config, feature, device)
        self._starts = torch.tensor(segments["start"].to_numpy())
        self._lengths = torch.tensor(segments["n_samples"].to_numpy())
        self._n_samples = resolved.segmenter.n_samples
        self._random = draws_excerpts(resolved)
        if self._random:
            clips = corpus.index.set_index("clip_id").loc[segments["clip_id"]]
            self._clip_starts = torch.tensor(clips["start"].to_numpy())
            self._clip_lengths = torch.tensor(clips["n_samples"].to_numpy())

    def read(self, index: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Segments on the device; with a generator, an excerpt from anywhere in each one's clip
        where the run trains on random excerpts."""
        row = index % self.n
        starts, lengths = self._starts[row], self._lengths[row]
        if self._random and generator is not None:
            lengths = self._clip_lengths[row].clamp(max=self._n_samples)
            spare = self._clip_lengths[row] - lengths
            shares = torch.rand(len(row), generator=generator, dtype=torch.float64)
            starts = self._clip_starts[row] + (shares * (spare + 1)).long()
        return self._read(starts, lengths).to(self._device)


def sources(
    corpus: Corpus,
    resolved: ResolvedConfig,
    feature: nn.Module,
    segments: pd.DataFrame,
    device: str,
    report: Report,
) -> tuple[Source, Source]:
    """The source of features as they are and the one that training draws from, often the same.

    Features come from the cache unless waves are changed in training, or the feature is as large
    as its waves.

    Args:
        corpus: Of the clips.
        resolved: The run's configuration.
        feature: Its front end, on the device.
        segments: The segment table of the corpus.
        device: Where features are needed.
        report: Called as `report(phase, done, total)`.
    """
    config, facts, copies = resolved.config, resolved.feature.facts, copies_of(resolved)
    computes_anew = changes_waves(resolved)
    if facts.cached:
        variants = (None,) if computes_anew else (None, *copies)
        caches = [
            feature_cache.compute(
                corpus, config, front_end_of(copy, resolved, feature, device), report, copy
            )
            for copy in variants
        ]
        cached = CachedFeatures(caches, device)
        if not computes_anew:
            return cached, cached
        return cached, ComputedFeatures(corpus, resolved, feature, segments, device)
    computed = ComputedFeatures(corpus, resolved, feature, segments, device)
    if not facts.cached_half or computes_anew or copies:
        return computed, computed
    half = config.feature.model_copy(update={"name": facts.cached_half})
    alone = config.model_copy(update={"feature": half})
    image = feature_cache.compute(corpus, alone, getattr(feature, half.name), report)
    pair = CachedPair(CachedFeatures([image], device), computed.inputs, computed.most)
    return pair, pair


def draws_excerpts(resolved: ResolvedConfig) -> bool:
    """Whether training takes one random excerpt of each clip instead of all its segments."""
    return resolved.config.segments.excerpts == "random" and resolved.medium == "wave"


def changes_waves(resolved: ResolvedConfig) -> bool:
    """Whether training computes features anew, from excerpts or changed waves."""
    rate = resolved.config.audio.sample_rate_hz
    return draws_excerpts(resolved) or bool(Chain(resolved.augment, "wave", rate))


def copies_of(resolved: ResolvedConfig) -> list[Variant]:
    """The changed copies that join every training segment."""
    rate, n_samples = resolved.config.audio.sample_rate_hz, resolved.segmenter.n_samples
    copies: list[Variant] = []
    for part in resolved.augment:
        if part.facts.on == "variants":
            augmentation = part.thing(part.options, rate)
            copies += [
                Variant(
                    [part.name, label],
                    partial(augmentation.apply, k=k),
                    augmentation.n_samples(n_samples, k),
                )
                for k, label in enumerate(augmentation.labels)
            ]
    return copies


def front_end_of(
    copy: Variant | None, resolved: ResolvedConfig, feature: nn.Module, device: str
) -> nn.Module:
    """The front end of a changed copy: that of its segments, or one for its own length."""
    if copy is None or copy.n_samples == resolved.segmenter.n_samples:
        return feature
    return resolved.front_end(n_samples=copy.n_samples).to(device)


def _resident(rows: Tensor, device: str) -> Tensor:
    """The rows on the device where they leave half of its memory free."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(device)
        if rows.nbytes < free // 2:
            return rows.to(device)
    return rows
