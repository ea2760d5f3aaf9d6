"""The 57 descriptors of GTZAN's tables: read from a table, or computed from any wave.

The front ends take the shape of one row of a table, or a wave's sample rate and length.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from pydantic import Field
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from genrecore.audio.axes import Axes, Rows
from genrecore.audio.descriptor_names import DESCRIPTORS
from genrecore.audio.descriptors import descriptors
from genrecore.config.registry import Options
from genrecore.data.parallel import n_cores
from genrecore.errors import GenrecoreError
from genrecore.features.registered import FEATURES
from genrecore.words import plural

LEAST_S = 0.1
"""Shorter parts of a wave have too few frames for a spectrum or a rhythm."""

_LABELLED = {
    "chroma": "chroma_stft_mean",
    "centroid": "spectral_centroid_mean",
    "crossings": "zero_crossing_rate_mean",
    "tempo": "tempo",
} | {f"mfcc {k}": f"mfcc{k}_mean" for k in (5, 10, 15, 20)}


class _DescriptorRows(nn.Module):
    """Rows of descriptors, of a table or of equal parts of a wave.

    Waves are computed on the processor, as many at a time as it has cores.
    """

    def __init__(self, n_rows: int, size: tuple[Any, ...]) -> None:
        """
        Args:
            n_rows: Rows of one input.
            size: The shape of one row of a table; or of a wave its sample rate and its length.

        Raises:
            GenrecoreError: Parts of a wave too short.
        """
        super().__init__()
        self.n_rows = n_rows
        self.sample_rate_hz: int = size[0] if len(size) == 2 else 0
        n_samples: int = size[1] if len(size) == 2 else 0
        self.width = len(DESCRIPTORS) if self.sample_rate_hz else size[0][0]
        self.duration_s = n_samples / self.sample_rate_hz if self.sample_rate_hz else None
        if n_samples // n_rows < LEAST_S * self.sample_rate_hz:
            part_s = n_samples / n_rows / self.sample_rate_hz
            raise GenrecoreError(
                f"Descriptors need at least {LEAST_S:g} s of sound, but {plural(n_rows, 'part')} "
                f"of {self.duration_s:g} s last {part_s:.2g} s; take longer segments"
                + (" or fewer steps." if n_rows > 1 else ".")
            )

    def axes(self) -> tuple[Axes, ...]:
        """Descriptors, and the parts of the sound as steps."""
        names: tuple[str, ...] = DESCRIPTORS
        if self.width != len(names):
            names = tuple(f"number {k + 1}" for k in range(self.width))
        ticks = {
            label: float(names.index(name)) for label, name in _LABELLED.items() if name in names
        }
        rows = Rows("Descriptor", names, ticks, "numbers")
        return (Axes("Descriptors", "", rows, "steps", self.duration_s, is_level=False),)

    def rows_of(self, inputs: Tensor) -> Tensor:
        """(batch, rows, descriptors) of rows of a table, or of waves (batch, 1, n_samples)."""
        if not self.sample_rate_hz:
            return inputs.float()
        waves = inputs[:, 0]
        length = waves.shape[1] // self.n_rows
        parts = waves[:, : length * self.n_rows].reshape(len(waves), self.n_rows, length)
        return _descriptors_of_waves(parts, self.sample_rate_hz)


@FEATURES.register(
    "descriptors",
    title="Descriptors (57 numbers)",
    source="the table published with GTZAN's widely used copy (Olteanu 2020); of audio, the same "
    "numbers computed from each segment",
    kind="vector",
    needs=("table", "wave"),
    typical_shape=(57,),
)
class Descriptors(_DescriptorRows):
    """Vectors (batch, descriptors), float32, of rows (batch, 1, descriptors) of a table, or of
    waves (batch, 1, n_samples) by `genrecore.audio.descriptors`, in their published order.

    Raises:
        GenrecoreError: A wave too short.
    """

    def __init__(self, options: Options, *size: int | tuple[int, ...]) -> None:
        super().__init__(1, size)
        self.output_shape = (self.width,)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.rows_of(inputs)[:, 0]


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
class DescriptorSequence(_DescriptorRows):
    """Sequences (batch, steps, descriptors), float32, of a clip's rows (batch, rows, descriptors)
    of a table, or of waves (batch, 1, n_samples) cut into `n_steps` equal parts.

    Raises:
        GenrecoreError: Parts of a wave too short.
    """

    whole_clip = True  # all rows of a clip are one input

    def __init__(self, options: SequenceOptions, *size: int | tuple[int, ...]) -> None:
        super().__init__(options.n_steps, size)
        self.output_shape = (options.n_steps, self.width)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.rows_of(inputs)


def _descriptors_of_waves(waves: Tensor, sample_rate_hz: int) -> Tensor:
    """(batch, parts, 57) on the waves' device, of waves (batch, parts, n_samples)."""
    arrays = np.ascontiguousarray(waves.detach().float().cpu().numpy())

    def compute(parts: np.ndarray) -> np.ndarray:
        return np.stack([descriptors(part, sample_rate_hz) for part in parts])

    # One thread a clip: numpy's matrix products would start threads of their own beside them.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(n_cores()) as pool:
        rows = np.stack(list(pool.map(compute, arrays)))
    return torch.from_numpy(rows.astype(np.float32)).to(waves.device)
