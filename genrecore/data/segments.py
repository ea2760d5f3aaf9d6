"""Cutting recordings into the segments that a network sees, for training and for serving alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genrecore.config.run import RunConfig
from genrecore.data.corpus import FULL_SCALE, Corpus
from genrecore.errors import GenrecoreError

if TYPE_CHECKING:  # torch takes seconds to import, and counting segments needs none of it
    from torch import Tensor


@dataclass(frozen=True)
class Segmenter:
    """Cuts recordings into segments of one length.

    Attributes:
        n_samples: Length of a segment.
        overlap: Of neighbouring segments, as a share of their length.
    """

    n_samples: int
    overlap: float = 0.0

    @classmethod
    def from_config(cls, config: RunConfig) -> Segmenter:
        """The segmenter of a configuration; a segment of 0 s is the whole clip."""
        segment_s = config.segments.segment_s or config.audio.clip_s
        return cls(round(segment_s * config.audio.sample_rate_hz), config.segments.overlap)

    def starts(self, n_recording: int) -> np.ndarray:
        """The starts of a recording's segments, in samples, int64.

        As many as fit to the nearest half step; the last one is moved back so that it ends with the
        recording. A recording shorter than a segment has one (filled up with zeros when it is cut).
        """
        n = int(self.counts(np.array([n_recording]))[0])
        spare = max(0, n_recording - self.n_samples)
        return np.minimum(np.arange(n, dtype=np.int64) * self.step, spare)

    def counts(self, n_recordings: np.ndarray) -> np.ndarray:
        """How many segments recordings of these lengths have, int64."""
        spare = np.maximum(0, n_recordings - self.n_samples)
        return 1 + (spare / self.step + 0.5).astype(np.int64)

    @property
    def step(self) -> int:
        """Samples from the start of a segment to that of the next."""
        return max(1, round(self.n_samples * (1.0 - self.overlap)))

    def table(self, corpus: Corpus) -> pd.DataFrame:
        """One row a segment: `clip_id, start` (in the flat array), `n_samples` there, `start_s`."""
        if corpus.index.empty:
            raise GenrecoreError("The corpus is empty: none of its clips could be read.")
        lengths = corpus.index["n_samples"].to_numpy()
        offsets = [self.starts(n_samples) for n_samples in lengths]
        counts = [len(starts) for starts in offsets]
        flat = np.concatenate(offsets)
        return pd.DataFrame(
            {
                "clip_id": np.repeat(corpus.index["clip_id"].to_numpy(), counts),
                "start": np.repeat(corpus.index["start"].to_numpy(), counts) + flat,
                "n_samples": np.minimum(self.n_samples, np.repeat(lengths, counts) - flat),
                "start_s": flat / (corpus.sample_rate_hz or 1),  # steps have no length in seconds
            }
        )

    def cut(self, samples: Tensor, starts: Tensor, lengths: Tensor) -> Tensor:
        """Waves (segments, 1, n_samples) in [-1, 1], zeros after a recording's end.

        Args:
            samples: Recordings one after another, int16 or float32.
            starts: Where each segment starts.
            lengths: How many samples its recording has from there on, at most `n_samples`.
        """
        import torch

        scale = FULL_SCALE if samples.dtype == torch.int16 else 1.0
        if samples.device.type == "cpu":  # an index of every sample would be eight times the wave
            waves = torch.empty(len(starts), self.n_samples)
            ends = starts + lengths.clamp(max=self.n_samples)
            for wave, start, end in zip(waves, starts.tolist(), ends.tolist(), strict=True):
                torch.div(samples[start:end], scale, out=wave[: end - start])
                wave[end - start :] = 0.0
            return waves[:, None]
        offsets = torch.arange(self.n_samples, device=samples.device)
        index = (starts[:, None] + offsets).clamp_(max=len(samples) - 1)
        waves = samples[index].float().div_(scale)
        if bool((lengths < self.n_samples).any()):
            waves.masked_fill_(offsets >= lengths[:, None], 0.0)
        return waves[:, None]

    def batches(self, recording: Tensor, size: int) -> Iterator[Tensor]:
        """All segments of one recording (int16 or float32) as waves, at most `size` at a time."""
        import torch

        starts = torch.from_numpy(self.starts(len(recording)))
        lengths = (len(recording) - starts).clamp(max=self.n_samples)
        for some, n in zip(starts.split(size), lengths.split(size), strict=True):
            yield self.cut(recording, some, n)
