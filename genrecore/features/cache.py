"""Features of every segment, computed once: memory-mapped float32, one row per segment.

Keyed by the corpus, the segments and the feature's parameters. Rows are computed by the very
module that serves predictions, so the cache and the device cannot disagree.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from genrecore.config.run import RunConfig
from genrecore.data.corpus import Corpus
from genrecore.data.parallel import in_order, torch_threads
from genrecore.data.segments import Segmenter
from genrecore.errors import GenrecoreError
from genrecore.features.image import SpectralImage
from genrecore.store.cache import write_title
from genrecore.store.files import cache_dir, digest
from genrecore.store.locks import make_once
from genrecore.store.progress import Phase, Report, silent

_FORMAT = 1
_AFTER = ("channels", "colours")  # options that only say what becomes of a cached row
_BATCH = 64
_SAMPLES_AT_ONCE = 2**22
_LARGE = 2**30  # bytes; a smaller file stays in memory once it was read


@dataclass(frozen=True)
class Features:
    """`rows` (n_segments, *shape) float32 and, in the same order, the segment table.

    Of an image whose channels are copies or colours of one, `rows` keeps that one; `spread` makes
    what the network gets of rows (batch, *shape), with `channels` channels. `fetch(index)` has the
    disk read these rows ahead.
    """

    rows: Tensor
    segments: pd.DataFrame
    fetch: Callable[[Tensor], None] = lambda index: None
    channels: int = 1
    spread: Callable[[Tensor], Tensor] = lambda rows: rows


@dataclass(frozen=True)
class Variant:
    """A changed copy of every segment: `key` names it for the cache, `apply` changes waves
    (batch, 1, samples) to waves of `n_samples`."""

    key: list[Any]
    apply: Callable[[Tensor], Tensor]
    n_samples: int


def compute(
    corpus: Corpus,
    config: RunConfig,
    feature: nn.Module,
    report: Report = silent,
    variant: Variant | None = None,
) -> Features:
    """Features of every segment of a corpus, from the cache or computed now.

    Args:
        corpus: The decoded clips.
        config: A resolved configuration (its segments and feature are used).
        feature: The front end that `config` names, for waves as long as the segments or their
            variant, on the device that shall compute.
        report: Called as `report(phase, done, total)`.
        variant: What is done to the waves before.

    Raises:
        GenrecoreError: A feature that is not a finite number, with the clip's name.
    """
    segments = segments_of(corpus, config, feature)
    size = " × ".join(str(n) for n in _stored_shape(feature))
    copy = f", {variant.key[-1]}" if variant else ""

    def make(partial: Path) -> None:
        _write_rows(partial / "rows.f32", corpus, config, feature, segments, report, variant)
        write_title(partial, f"{config.feature.name} ({size}){copy} of corpus {corpus.key}")

    return _read(
        make_once(_folder(corpus, config, feature, variant), make, report), feature, segments
    )


def kept(corpus: Corpus, config: RunConfig, feature: nn.Module) -> Features | None:
    """What `compute` gives, if it was computed before."""
    folder = _folder(corpus, config, feature, None)
    return _read(folder, feature, segments_of(corpus, config, feature)) if folder.is_dir() else None


def _folder(corpus: Corpus, config: RunConfig, feature: nn.Module, variant: Variant | None) -> Path:
    cut = config.segments
    is_cut = corpus.medium == "audio"
    key = {
        "format": _FORMAT,
        "corpus": corpus.key,
        "segments": [cut.segment_s, cut.overlap] if is_cut else [],
        "feature": config.feature.name,
        "options": {k: v for k, v in config.feature.options.items() if k not in _AFTER},
        "shape": _stored_shape(feature),
        "variant": variant.key if variant else None,
    }
    return cache_dir() / "features" / digest(key)


def _read(folder: Path, feature: nn.Module, segments: pd.DataFrame) -> Features:
    rows, fetch = _map(folder / "rows.f32", (len(segments), *_stored_shape(feature)))
    if isinstance(feature, SpectralImage):
        return Features(rows, segments, fetch, feature.output_shape[0], feature.spread)
    return Features(rows, segments, fetch)


def _stored_shape(feature: nn.Module) -> tuple[int, ...]:
    """The shape of a row in the cache."""
    shape: tuple[int, ...] = tuple(feature.output_shape)  # type: ignore[arg-type]
    return (1, *shape[1:]) if isinstance(feature, SpectralImage) else shape


def segments_of(corpus: Corpus, config: RunConfig, feature: nn.Module) -> pd.DataFrame:
    """The segment table; every image or row of a table is one, or all rows of a clip together;
    sequences are cut by their steps as recordings by their samples."""
    if corpus.medium == "audio":
        return Segmenter.from_config(config).table(corpus)
    if corpus.medium == "sequence":
        return step_segmenter(config, feature).table(corpus)
    index = corpus.index
    if getattr(feature, "whole_clip", False):
        return index.assign(start_s=0.0)
    counts = index["n_samples"].to_numpy()
    part = np.concatenate([np.arange(n) for n in counts]) if len(counts) else counts
    return pd.DataFrame(
        {
            "clip_id": np.repeat(index["clip_id"].to_numpy(), counts),
            "start": np.repeat(index["start"].to_numpy(), counts) + part,
            "n_samples": 1,
            "start_s": part.astype(float),  # the number of the part: a table has no seconds
        }
    )


def segment_counts(
    medium: str, counts: np.ndarray, config: RunConfig, feature: nn.Module
) -> np.ndarray:
    """How many rows of `segments_of` clips have.

    Args:
        medium: Of the corpus.
        counts: Of each clip its samples, rows or steps, int64.
        config: Resolved.
        feature: The front end that it names.
    """
    if medium == "audio":
        return Segmenter.from_config(config).counts(counts)
    if medium == "sequence":
        return step_segmenter(config, feature).counts(counts)
    return np.ones_like(counts) if getattr(feature, "whole_clip", False) else counts


def reader(
    corpus: Corpus, config: RunConfig, feature: nn.Module, device: str = "cpu"
) -> Callable[[Tensor, Tensor], Tensor]:
    """A function (starts, lengths) → what the front end takes, (batch, …).

    Of a corpus that leaves half of an accelerator's memory free, the samples are moved there.
    """
    if corpus.medium == "audio":
        samples = torch.from_numpy(corpus.samples)
        if device.startswith("cuda") and samples.nbytes < torch.cuda.mem_get_info(device)[0] // 2:
            samples = samples.to(device)
        segmenter = Segmenter.from_config(config)
        return lambda starts, lengths: segmenter.cut(
            samples, starts.to(samples.device), lengths.to(samples.device)
        )
    values = torch.from_numpy(corpus.values)
    if corpus.medium == "image":
        return lambda starts, lengths: values[starts]
    return partial(cut_rows, feature, values)


def step_segmenter(config: RunConfig, feature: nn.Module) -> Segmenter:
    """How sequences are cut into segments; samples are steps."""
    return Segmenter(_n_rows(feature), config.segments.overlap)


def cut_rows(feature: nn.Module, values: Tensor, starts: Tensor, lengths: Tensor) -> Tensor:
    """What the front end takes of rows one after another, (batch, rows, numbers). Where a clip has
    fewer rows, `lengths` of them, it repeats its last one."""
    steps = torch.arange(_n_rows(feature), device=values.device)
    return values[starts[:, None] + torch.minimum(steps, lengths[:, None] - 1)]


def _n_rows(feature: nn.Module) -> int:
    return int(getattr(feature, "n_rows", 1))


def _map(path: Path, shape: tuple[int, ...]) -> tuple[Tensor, Callable[[Tensor], None]]:
    with open(path, "rb") as stream:
        # Copy-on-write: torch wants a writable array, the file stays as it is.
        pages = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    rows = torch.from_numpy(np.frombuffer(pages, dtype=np.float32).reshape(shape))
    if len(pages) < _LARGE or not hasattr(mmap, "MADV_RANDOM"):
        return rows, lambda index: None
    # Drawn at random, rows far apart: reading megabytes ahead of each would only waste the disk.
    pages.madvise(mmap.MADV_RANDOM)
    n_bytes = len(pages) // shape[0]

    def fetch(index: Tensor) -> None:
        for row in index.tolist():
            start = row * n_bytes // mmap.PAGESIZE * mmap.PAGESIZE
            pages.madvise(mmap.MADV_WILLNEED, start, (row + 1) * n_bytes - start)

    return rows, fetch


def _write_rows(
    path: Path,
    corpus: Corpus,
    config: RunConfig,
    feature: nn.Module,
    segments: pd.DataFrame,
    report: Report,
    variant: Variant | None,
) -> None:
    """On the CPU each of torch's threads works on batches of its own: they would wait for one
    another after every layer."""
    device = next((tensor.device for tensor in feature.buffers()), torch.device("cpu"))
    starts = torch.tensor(segments["start"].to_numpy())
    lengths = torch.tensor(segments["n_samples"].to_numpy())
    read_batch = reader(corpus, config, feature)
    phase = Phase.FEATURES.on(variant.key[-1]) if variant else Phase.FEATURES
    most, n_torch = at_once(corpus.medium, config), torch.get_num_threads()
    n_threads = min(n_torch, most) if device.type == "cpu" else 1
    size = most // n_threads
    make = feature.values if isinstance(feature, SpectralImage) else feature

    @torch.no_grad()
    def rows_of(first: int) -> np.ndarray:
        batch = slice(first, first + size)
        with torch_threads(n_torch // n_threads, later=n_torch):
            inputs = read_batch(starts[batch], lengths[batch]).to(device)
            rows = make(variant.apply(inputs) if variant else inputs).float()
            _refuse_nan(rows, segments.iloc[batch], config.feature.name)
            values: np.ndarray = rows.contiguous().cpu().numpy()
            return values

    def report_segments(phase: str, n_batches: int, _: int) -> None:
        report(phase, min(n_batches * size, len(segments)), len(segments))

    firsts = range(0, len(segments), size)
    with open(path, "wb") as stream:
        for rows in in_order(rows_of, firsts, report_segments, phase, n_threads=n_threads):
            stream.write(rows.data)
        stream.flush()
        os.fsync(stream.fileno())


def at_once(medium: str, config: RunConfig) -> int:
    """How many segments of a corpus of this medium are computed together: spectra of whole clips
    take much memory."""
    if medium != "audio":
        return _BATCH
    return max(1, min(_BATCH, _SAMPLES_AT_ONCE // Segmenter.from_config(config).n_samples))


def _refuse_nan(rows: Tensor, segments: pd.DataFrame, name: str) -> None:
    finite = rows.isfinite().flatten(1).all(1)
    if not bool(finite.all()):
        row = segments.iloc[int((~finite).nonzero()[0])]
        raise GenrecoreError(
            f"The feature {name} of the clip {row['clip_id']} (from {row['start_s']:g} s on) is "
            "not a number in places; leave that clip out, or change the feature's options."
        )
