"""What the trainer draws from: segments as the network sees them, changed in training.

Features come from the cache where they can; where waves are changed in training, or a feature is
not worth keeping, they are computed from the corpus on the device, a batch at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from genrecore.augment import Chain
from genrecore.config.run import Part, RunConfig
from genrecore.data.corpus import Corpus
from genrecore.data.segments import Segmenter
from genrecore.features import cache as feature_cache
from genrecore.features.cache import Variant
from genrecore.store.progress import Report, silent
from genrecore.training.hardware import Hardware
from genrecore.training.parts import ResolvedConfig

Given = Tensor | tuple[Tensor, ...]
"""Features (batch, …), or a pair of them."""

_MOST = 256
_LARGE = 2**21  # numbers of a batch that no processor's cache holds


class Examples:
    """Segments of a corpus with their genres; `features` as they are, `training` as augmented.

    Attributes:
        segments: The segment table with each clip's `genre` and `split`.
        labels: Place of each segment's genre, on the device; -1 where it has none.
        most: How many segments may be asked for at once.
    """

    def __init__(
        self,
        corpus: Corpus,
        config: RunConfig,
        feature: nn.Module,
        clips: pd.DataFrame,
        genres: list[str],
        hardware: Hardware,
        report: Report = silent,
    ) -> None:
        """Computes the features or takes them from the cache.

        Args:
            corpus: Of the clips.
            config: A resolved configuration.
            feature: Its front end, on the device.
            clips: A clip table with its split.
            genres: Sorted names.
            hardware: Where the work is done.
            report: Called as `report(phase, done, total)`.
        """
        resolved = ResolvedConfig(config)
        self._config, self._feature, self._corpus = config, feature, corpus
        self._device, self._channels_last = hardware.device, hardware.channels_last
        table = feature_cache.segments_of(corpus, config, feature)
        self.segments = table.merge(
            clips[["clip_id", "genre", "split"]], on="clip_id", how="left", validate="many_to_one"
        )
        order = {genre: index for index, genre in enumerate(genres)}
        labels = torch.tensor([order.get(genre, -1) for genre in self.segments["genre"]])
        self.labels = labels.to(hardware.device)
        self._targets = torch.eye(len(genres), device=hardware.device)

        rate = corpus.sample_rate_hz
        self._on_waves, self._on_images, self._on_batches = (
            Chain(resolved.augment, on, rate) for on in ("wave", "image", "batch")
        )
        self._random = config.segments.excerpts == "random" and corpus.medium == "audio"
        self._variants = _variants(resolved)
        cached = resolved.feature.facts.cached
        fresh = bool(self._on_waves) or self._random
        self._rows: list[Tensor] = []
        if cached:
            kept = [None] if fresh else [None, *self._variants]
            found = [feature_cache.compute(corpus, config, feature, report, one) for one in kept]
            self._rows = [self._resident(features.rows) for features in found]
            self._fetch = [features.fetch for features in found]
            self._channels = found[0].channels
        # Of a pair the picture is worth keeping, the wave is read from the corpus.
        half = resolved.feature.facts.cached_half
        self._pair = bool(half) and not fresh and not self._variants
        if self._pair:
            alone = Part(name=half, options=config.feature.options)
            of_half = config.model_copy(update={"feature": alone})
            kept_half = feature_cache.compute(corpus, of_half, getattr(feature, half), report)
            self._rows, self._fetch = [self._resident(kept_half.rows)], [kept_half.fetch]
            self._channels = kept_half.channels
        self._fresh = (fresh or not cached) and not self._pair
        at_once = feature_cache.at_once(corpus, config)
        self.most = _MOST if cached else at_once
        if self._fresh or self._pair:
            self._at_once = at_once
            self._starts = torch.tensor(self.segments["start"].to_numpy())
            self._lengths = torch.tensor(self.segments["n_samples"].to_numpy())
            self._read = feature_cache.reader(corpus, config, feature, hardware.device)
        if self._random:
            spans = corpus.index.set_index("clip_id").loc[self.segments["clip_id"]]
            self._clip_starts = torch.tensor(spans["start"].to_numpy())
            self._clip_lengths = torch.tensor(spans["n_samples"].to_numpy())

    @property
    def change(self) -> bool:
        """Whether training needs random numbers for its examples."""
        chains = (self._on_waves, self._on_images, self._on_batches)
        return self._random or any(chains)

    def of(self, split: str) -> Tensor:
        """Indices of a split's segments, in clip-table order."""
        mine = self.segments["split"].eq(split).fillna(False)  # some clips take no part
        return torch.from_numpy(np.flatnonzero(mine.to_numpy(dtype=bool)))

    def standardised_on(self) -> Tensor:
        """Indices of the segments to whose features the standardisation is fitted."""
        if self._config.standardise_on == "all":
            return torch.arange(len(self.segments))
        return self.of("train")

    def trained_on(self) -> Tensor:
        """Indices for `training`: every training segment and its variants, or one a clip where
        excerpts are drawn."""
        index = self.of("train")
        if self._random:
            first = ~self.segments["clip_id"].duplicated().to_numpy()
            index = index[torch.from_numpy(first)[index]]
        n = len(self.segments)
        return torch.cat([index + k * n for k in range(1 + len(self._variants))])

    def features(self, index: Tensor) -> Given:
        """Features of segments as they are, on the device; at most `most` at a time."""
        made = self._kept(index) if self._rows else self._computed(index, None)
        return self.laid_out(made)

    def training(self, index: Tensor, generator: torch.Generator) -> tuple[Given, Tensor]:
        """Features and soft targets (batch, genres) of training examples, changed as the run's
        augmentations say with numbers from `generator`; `laid_out` is left to the caller, since
        what comes before the network is faster channel by channel."""
        made = self._computed(index, generator) if self._fresh else self._kept(index)
        targets = self.targets(index)
        if self._on_images:
            image = made[-1] if isinstance(made, tuple) else made
            image = self._on_images(image, generator)
            made = (*made[:-1], image) if isinstance(made, tuple) else image
        if self._on_batches:
            made, targets = self._on_batches.mixed(made, targets, generator)
        return made, targets

    def row_by_row(self, index: Tensor) -> bool:
        """Whether `standardised` makes that batch: a large one of rows from the cache that nothing
        changes."""
        if self._device != "cpu" or self._fresh or self.change:
            return False
        batch_numbers = len(index) * self._channels * self._rows[0][0].numel()
        return batch_numbers >= _LARGE and bool((index < len(self.segments)).all())

    @torch.no_grad()
    def standardised(
        self, index: Tensor, standardise: Sequence[nn.Module], dtype: torch.dtype
    ) -> Given:
        """What `training` gives, standardised and laid out.

        Args:
            index: Training segments.
            standardise: What makes of features what the network takes, one module a part.
            dtype: In which what comes from the cache is given; waves are float32.
        """
        # A large batch goes from memory to memory once: one row after the other, each while it
        # lies in the processor's cache.
        self._fetch[0](index)
        rows, shape = self._rows[0], list(self._rows[0].shape[1:])
        if self._channels > 1:
            shape[0] = self._channels
        whole = self._one_laid_out(torch.empty((len(index), *shape), dtype=dtype))
        for k, row in enumerate(index.tolist()):
            whole[k] = standardise[-1](rows[row].expand(shape)[None])[0]
        if not self._pair:
            return whole
        return standardise[0](self._read(self._starts[index], self._lengths[index])), whole

    def targets(self, index: Tensor) -> Tensor:
        """Soft targets (batch, genres) on the device."""
        return self._targets[self.labels[(index % len(self.segments)).to(self._device)]]

    def _resident(self, rows: Tensor) -> Tensor:
        """The rows on the device where they leave half of its memory free."""
        if self._device.startswith("cuda"):
            free, _ = torch.cuda.mem_get_info(self._device)
            if rows.nbytes < free // 2:
                return rows.to(self._device)
        return rows

    def _kept(self, index: Tensor) -> Given:
        rows = self._gathered(index)
        shown = rows.expand(-1, self._channels, -1, -1) if self._channels > 1 else rows
        if not self._pair:
            return shown
        return self._read(self._starts[index], self._lengths[index]).to(self._device), shown

    def _gathered(self, index: Tensor) -> Tensor:
        n = len(self.segments)
        if len(self._rows) == 1 or bool((index < n).all()):
            return self._taken(0, index)
        parts = torch.empty(
            (len(index), *self._rows[0].shape[1:]), device=self._device, dtype=torch.float32
        )
        for k in range(len(self._rows)):
            mine = (index // n == k).nonzero()[:, 0]
            if len(mine):
                parts[mine.to(self._device)] = self._taken(k, index[mine] % n)
        return parts

    def _taken(self, k: int, index: Tensor) -> Tensor:
        rows = self._rows[k]
        if rows.device.type == "cpu":
            self._fetch[k](index)
        return rows[index.to(rows.device)].to(self._device, non_blocking=True)

    @torch.no_grad()
    def _computed(self, index: Tensor, generator: torch.Generator | None) -> Given:
        """Features from the corpus; with a generator as training wants them."""
        n = len(self.segments)
        row, variant = index % n, index // n
        starts, lengths = self._starts[row], self._lengths[row]
        if self._random and generator is not None:
            most = Segmenter.from_config(self._config).n_samples
            lengths = self._clip_lengths[row].clamp(max=most)
            spare = self._clip_lengths[row] - lengths
            drawn = torch.rand(len(row), generator=generator, dtype=torch.float64)
            starts = self._clip_starts[row] + (drawn * (spare + 1)).long()
        given = self._read(starts, lengths).to(self._device)
        if generator is not None:
            for k, one in enumerate(self._variants, start=1):
                mine = (variant == k).nonzero()[:, 0].to(self._device)
                if len(mine):
                    given[mine] = one.apply(given[mine])
            given = self._on_waves(given, generator)
        made = [self._feature(part) for part in given.split(self._at_once)]
        if isinstance(made[0], tuple):
            return tuple(torch.cat(parts) for parts in zip(*made, strict=True))
        return torch.cat(made) if len(made) > 1 else made[0]

    def laid_out(self, made: Given) -> Given:
        """The same features in the memory format that suits the network."""
        if isinstance(made, tuple):
            return tuple(self._one_laid_out(part) for part in made)
        return self._one_laid_out(made)

    def _one_laid_out(self, made: Tensor) -> Tensor:
        if self._channels_last and made.ndim == 4:
            return made.to(memory_format=torch.channels_last)
        return made


def _variants(resolved: ResolvedConfig) -> list[Variant]:
    found: list[Variant] = []
    for part in resolved.augment:
        if part.facts.on == "variants":
            made = part.thing(part.options, resolved.config.audio.sample_rate_hz)
            for k, label in enumerate(made.labels):
                found.append(Variant([part.name, label], partial(made.apply, k=k)))
    return found
