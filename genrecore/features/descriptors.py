"""The 57 descriptors of GTZAN's tables: read from a table, or computed from any wave.

The front ends take the shape of one row of a table, or a wave's sample rate and length.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from pydantic import Field
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from genrecore.audio.descriptor_names import DESCRIPTORS
from genrecore.audio.descriptors import descriptors
from genrecore.config.registry import Options
from genrecore.errors import GenrecoreError
from genrecore.features.registered import FEATURES

LEAST_S = 0.1
"""Shorter pieces of a wave hold too few frames to say anything of spectrum or rhythm."""


@FEATURES.register(
    "descriptors",
    title="Descriptors (57 numbers)",
    source="the table published with GTZAN's widely used copy (Olteanu 2020); of audio, the same "
    "numbers computed from each segment",
    kind="vector",
    needs=("table", "wave"),
    typical_shape=(57,),
)
class Descriptors(nn.Module):
    """Vectors (batch, descriptors), float32, of rows (batch, 1, descriptors) of a table, or of
    waves (batch, 1, n_samples) by `genrecore.audio.descriptors`, in their published order.

    Waves are computed on the processor, as many at a time as it has cores.

    Raises:
        GenrecoreError: A wave too short.
    """

    def __init__(self, options: Options, *given: int | tuple[int, ...]) -> None:
        super().__init__()
        self.sample_rate_hz = _rate(given, 1)
        self.output_shape = (len(DESCRIPTORS),) if self.sample_rate_hz else tuple(given[0])  # type: ignore[arg-type]

    def forward(self, given: Tensor) -> Tensor:
        if self.sample_rate_hz:
            return _of_waves(given, self.sample_rate_hz)[:, 0]
        return given[:, 0].float()


class SequenceOptions(Options):
    """How many rows of a clip make its sequence."""

    n_steps: int = Field(
        10,
        title="Steps",
        description="Rows of one clip in order of time; a clip with fewer repeats its last one. Of "
        "audio, so many equal parts of a segment",
        ge=1,
        le=1000,
    )


@FEATURES.register(
    "descriptor_sequence",
    title="Descriptors over time",
    source="Qin, Zhuo & Ren: the rows of features_3_sec.csv as the steps of an LSTM",
    options=SequenceOptions,
    kind="sequence",
    needs=("table", "wave"),
    typical_shape=(57,),
)
class DescriptorSequence(nn.Module):
    """Sequences (batch, steps, descriptors), float32, of a clip's rows (batch, rows, descriptors)
    of a table, or of waves (batch, 1, n_samples) cut into `n_steps` equal parts.

    Raises:
        GenrecoreError: Parts of a wave too short.
    """

    whole_clip = True  # all rows of a clip are one input

    def __init__(self, options: SequenceOptions, *given: int | tuple[int, ...]) -> None:
        super().__init__()
        self.n_rows = options.n_steps
        self.sample_rate_hz = _rate(given, options.n_steps)
        width = (len(DESCRIPTORS),) if self.sample_rate_hz else tuple(given[0])  # type: ignore[arg-type]
        self.output_shape = (options.n_steps, *width)

    def forward(self, given: Tensor) -> Tensor:
        if not self.sample_rate_hz:
            return given.float()
        waves = given[:, 0]
        length = waves.shape[1] // self.n_rows
        parts = waves[:, : length * self.n_rows].reshape(len(waves), self.n_rows, length)
        return _of_waves(parts, self.sample_rate_hz)


def _rate(given: tuple[int | tuple[int, ...], ...], n_parts: int) -> int:
    """The sample rate where waves are given, 0 where rows are; refuses waves too short."""
    if len(given) == 1:
        return 0
    rate, n_samples = given
    assert isinstance(rate, int)
    assert isinstance(n_samples, int)
    if n_samples // n_parts < LEAST_S * rate:
        raise GenrecoreError(
            f"Descriptors need at least {LEAST_S:g} s of sound, but {n_parts} "
            f"part{'s' if n_parts > 1 else ''} of {n_samples / rate:g} s last "
            f"{n_samples / n_parts / rate:.2g} s; take longer segments"
            + (" or fewer steps." if n_parts > 1 else ".")
        )
    return rate


def _of_waves(waves: Tensor, sample_rate_hz: int) -> Tensor:
    """(batch, parts, 57) on the waves' device, of waves (batch, parts, n_samples)."""
    lying = np.ascontiguousarray(waves.detach().float().cpu().numpy())
    n_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

    def of_clip(parts: np.ndarray) -> np.ndarray:
        return np.stack([descriptors(part, sample_rate_hz) for part in parts])

    # One thread a clip: numpy's matrix products would start threads of their own beside them.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
        rows = np.stack(list(pool.map(of_clip, lying)))
    return torch.from_numpy(rows.astype(np.float32)).to(waves.device)
