"""What a run learns from and is tested on: segments with their genres, in training augmented."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from genrecore.augment import Chain
from genrecore.data.corpus import Corpus
from genrecore.features import cache as feature_cache
from genrecore.store.progress import Report, silent
from genrecore.training.classifier import Classifier, Features, each, tensors_of
from genrecore.training.hardware import Hardware
from genrecore.training.parts import ResolvedConfig
from genrecore.training.sources import copies_of, draws_excerpts, sources


class Examples:
    """Segments of a corpus with their genres; `features` as they are, `training` as augmented.

    Attributes:
        segments: The segment table with each clip's `genre` and `split`.
        labels: Index of each segment's genre, on the device; -1 where it has none.
        most: How many segments may be asked for at once.
        changes: Whether training needs random numbers for its examples.
        n_numbers: Numbers of the features of one example.
    """

    def __init__(
        self,
        corpus: Corpus,
        resolved: ResolvedConfig,
        feature: nn.Module,
        clips: pd.DataFrame,
        genres: list[str],
        hardware: Hardware,
        report: Report = silent,
    ) -> None:
        """Computes the features or takes them from the cache.

        Args:
            corpus: Of the clips.
            resolved: The run's configuration.
            feature: Its front end, on the device.
            clips: A clip table with its split.
            genres: Sorted names.
            hardware: Where the work is done.
            report: Called as `report(phase, done, total)`.
        """
        self._config, self._hardware = resolved.config, hardware
        table = feature_cache.segments_of(corpus, resolved.config, feature)
        self.segments = table.merge(
            clips[["clip_id", "genre", "split"]], on="clip_id", how="left", validate="many_to_one"
        )
        order = {genre: index for index, genre in enumerate(genres)}
        labels = torch.tensor([order.get(genre, -1) for genre in self.segments["genre"]])
        self.labels = labels.to(hardware.device)
        self._targets = torch.eye(len(genres), device=hardware.device)
        self._unchanged, self._drawn = sources(
            corpus, resolved, feature, self.segments, hardware.device, report
        )
        self.most = self._unchanged.most
        self._n_copies = len(copies_of(resolved))
        on_waves, self._on_images, self._on_batches = (
            Chain(resolved.augment, on, corpus.sample_rate_hz) for on in ("wave", "image", "batch")
        )
        self._excerpts = draws_excerpts(resolved)
        self.changes = self._excerpts or any((on_waves, self._on_images, self._on_batches))
        shape = tuple(feature.output_shape)  # type: ignore[arg-type]
        shapes = shape if isinstance(shape[0], tuple) else (shape,)
        self.n_numbers = sum(math.prod(part) for part in shapes)

    def in_split(self, split: str) -> Tensor:
        """Indices of a split's segments, in clip-table order."""
        inside = self.segments["split"].eq(split).fillna(False)  # some clips take no part
        return torch.from_numpy(np.flatnonzero(inside.to_numpy(dtype=bool)))

    def standardised_on(self) -> Tensor:
        """Indices of the segments to whose features the standardisation is fitted."""
        if self._config.standardise_on == "all":
            return torch.arange(len(self.segments))
        return self.in_split("train")

    def trained_on(self) -> Tensor:
        """Indices for `training`: every training segment and its copies, or one a clip where
        excerpts are drawn."""
        index = self.in_split("train")
        if self._excerpts:
            first = ~self.segments["clip_id"].duplicated().to_numpy()
            index = index[torch.from_numpy(first)[index]]
        n = len(self.segments)
        return torch.cat([index + k * n for k in range(1 + self._n_copies)])

    def features(self, index: Tensor) -> Features:
        """Features of segments as they are, on the device; at most `most` at a time."""
        return each(self._lay_out, self._unchanged.features(index))

    def training(self, index: Tensor, generator: torch.Generator) -> tuple[Features, Tensor]:
        """Features and soft targets (batch, genres) of training examples, changed as the run's
        augmentations say with numbers from `generator`."""
        features, targets = self._drawn.features(index, generator), self.targets(index)
        if self._on_images:
            *others, image = tensors_of(features)
            image = self._on_images(image, generator)
            features = (*others, image) if others else image
        if self._on_batches:
            features, targets = self._on_batches.mixed(features, targets, generator)
        return features, targets

    @torch.no_grad()
    def batch(
        self, index: Tensor, generator: torch.Generator, classifier: Classifier
    ) -> tuple[Features, Tensor]:
        """What `training` gives, as the classifier's network takes it: standardised, and laid out
        after that, since what comes before the network is faster channel by channel."""
        if not self.changes:
            features = self._drawn.standardised(index, classifier.standardisers, self._lay_out)
            return features, self.targets(index)
        features, targets = self.training(index, generator)
        return each(self._lay_out, classifier.standardised(features)), targets

    def targets(self, index: Tensor) -> Tensor:
        """Soft targets (batch, genres) on the device."""
        return self._targets[self.labels[(index % len(self.segments)).to(self.labels.device)]]

    def _lay_out(self, tensor: Tensor) -> Tensor:
        if self._hardware.channels_last and tensor.ndim == 4:
            return tensor.to(memory_format=torch.channels_last)
        return tensor
