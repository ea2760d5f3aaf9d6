"""Embeddings of any recordings by a pretrained encoder or by a run, before or without training.

Each file is decoded and embedded once: the cache keeps, for every embedder, one file of records, a
digest of a recording's content and its vector. So a folder that has grown costs what is new, what
was moved costs nothing, and an interrupted work goes on where it was.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from genrecore.audio import decode
from genrecore.data import corpus
from genrecore.data.corpus import dequantise, quantise
from genrecore.data.parallel import in_order
from genrecore.errors import AudioError, GenrecoreError
from genrecore.evaluation.embeddings import Embedding
from genrecore.features import FEATURES
from genrecore.inference.loaded import LoadedRun
from genrecore.inference.sources import File, fault_of
from genrecore.models.encoders.files import check_present
from genrecore.store.cache import write_title
from genrecore.store.files import cache_dir, changed, digest, read_bytes
from genrecore.store.locks import held
from genrecore.store.progress import Phase, Report, silent
from genrecore.training import hardware

CLIP_S = 30.0
"""Seconds that an encoder hears of a recording, from its middle: as long as a clip of a dataset."""

_FORMAT = 1
_AT_ONCE = 32  # vectors between two writes
_MOST_BYTES = 2**34
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Embedder:
    """What makes vectors of recordings.

    Attributes:
        title: For people.
        key: Names it and its weights, as JSON.
        sample_rate_hz: Of the waves that it takes.
        clip_s: Seconds that are taken from the middle of a recording.
        n_numbers: Of a vector.
        embed: Makes a vector (n_numbers,) float32 of a wave (n_samples,) in [-1, 1], in any thread.
    """

    title: str
    key: tuple[Any, ...]
    sample_rate_hz: int
    clip_s: float
    n_numbers: int
    embed: Callable[[np.ndarray], np.ndarray]

    def wave(self, file: File, name: str | None = None) -> np.ndarray:
        """What it hears of a recording, as `middle_wave`."""
        return middle_wave(file, self.sample_rate_hz, self.clip_s, name)


def middle_wave(
    file: File, sample_rate_hz: int, clip_s: float, name: str | None = None
) -> np.ndarray:
    """The middle of a recording, (n_samples,) float32 in [-1, 1]; of a damaged file, of what can be
    decoded.

    Raises:
        AudioError: The file cannot be used.
    """
    decoded = decode.decode(file, sample_rate_hz, name=name, middle_s=clip_s, accept_damaged=True)
    return decoded.wave


def by_encoder(name: str = "musicnn", layer: str = "") -> Embedder:
    """An encoder as an embedder: the mean of the embeddings of its patches, as the feature
    `encoder` makes it of whole clips. Its weights are read when the first wave comes.

    Args:
        name: Of the encoder.
        layer: Whose values; by default the first that its card names.

    Raises:
        UsageError: There is no such encoder, or its weights are not here.
    """
    card = check_present(name)
    choice = FEATURES.choose("encoder", {"encoder": name, "layer": layer, "sha256": card.sha256})
    rate = card.sample_rate_hz
    feature = choice.thing(choice.options, rate, round(CLIP_S * rate))

    @torch.inference_mode()
    def embed(wave: np.ndarray) -> np.ndarray:
        wave = dequantise(quantise(wave))  # as a corpus holds it
        padded = np.pad(wave, (0, max(0, card.patch_samples - len(wave))))
        vector: np.ndarray = feature(torch.from_numpy(padded)[None, None])[0].numpy()
        return vector

    key = (card.name, card.sha256, feature.layer, CLIP_S)
    return Embedder(card.title, key, rate, CLIP_S, feature.output_shape[0], embed)


def by_run(loaded: LoadedRun) -> Embedder:
    """A run as an embedder: what stands before its last layer, as of its own clips.

    Raises:
        GenrecoreError: It was not trained on audio.
    """
    run, audio = loaded.run, loaded.config.audio
    if loaded.medium != "wave":
        raise GenrecoreError(
            f"The run {run.run_id} was not trained on audio, so it has no embedding of a recording."
        )
    lock = threading.Lock()

    def embed(wave: np.ndarray) -> np.ndarray:
        with lock:  # its hooks would see what other threads do in the same network
            return loaded.embed(wave)

    n_numbers = len(embed(np.zeros(audio.sample_rate_hz, np.float32)))
    key = (run.run_id, decode.digest(run.weights))
    return Embedder(run.title, key, audio.sample_rate_hz, audio.clip_s, n_numbers, embed)


def embed_clips(
    clips: pd.DataFrame, embedder: Embedder, report: Report = silent
) -> tuple[Embedding, list[dict[str, str]]]:
    """The vectors of all clips that can be used, and `clip_id, reason` of the others.

    Args:
        clips: A clip table of audio; its columns come back with the vectors.
        embedder: Makes the vectors of those whose content has none in the cache.
        report: Called with the number of clips that have one; after `Stopped` these stay.

    Raises:
        GenrecoreError: The clips are no audio, or none can be used.
    """
    if others := set(clips["medium"]) - {"audio"}:
        raise GenrecoreError(
            f"An embedding takes sound, but these clips are of the medium {min(others)}; choose "
            "the form audio of the dataset, or another one."
        )
    contents = dict(zip(clips["path"], corpus.content_digests(clips, report), strict=True))
    stored = _Stored(embedder)
    known = np.isfinite(stored.rows(contents.values())).all(axis=1)
    paths = [path for path, is_known in zip(contents, known, strict=True) if not is_known]
    work, n_before = partial(_vector_or_reason, embedder), len(contents) - len(paths)
    reasons, waiting = dict[str, str](), dict[str, np.ndarray]()
    hardware.keep_memory()
    try:
        results = in_order(work, paths, report, Phase.EMBEDDING, n_before)
        for path, result in zip(paths, results, strict=True):
            if isinstance(result, str):
                reasons[path] = result
                result = np.full(embedder.n_numbers, np.nan, np.float32)
            waiting[contents[path]] = result
            if len(waiting) == _AT_ONCE:
                stored.append(waiting)
                waiting = {}
    finally:
        stored.append(waiting)
    named = zip(clips["clip_id"], clips["path"], strict=True)
    skipped = [
        {"clip_id": str(clip_id), "reason": reasons[path]}
        for clip_id, path in named
        if path in reasons
    ]
    embedding = _usable(clips, _Stored(embedder).rows(clips["path"].map(contents)))
    if not len(embedding.clips):
        raise GenrecoreError(
            f"None of these clips can be used; the first is {skipped[0]['clip_id']}: "
            f"{skipped[0]['reason']}"
        )
    return embedding, skipped


def kept(clips: pd.DataFrame, embedder: Embedder) -> Embedding | None:
    """What `embed_clips` gives, if all of it was computed before and no file has changed since; no
    sound is read."""
    contents = corpus.known_digests(clips)
    if contents is None:
        return None
    stored = _Stored(embedder)
    if not set(contents) <= stored.contents.keys():
        return None
    return _usable(clips, stored.rows(contents))


def kept_in(embedder: Embedder) -> list[Path]:
    """The files that `kept` reads."""
    return [corpus.digests_file(), _Stored.file(embedder)]


def _usable(clips: pd.DataFrame, values: np.ndarray) -> Embedding:
    finite = np.isfinite(values).all(axis=1)
    return Embedding(clips[finite].reset_index(drop=True), values[finite])


def _vector_or_reason(embedder: Embedder, path: str) -> np.ndarray | str:
    """Of a file its vector or why it has none, on one core."""
    name = os.path.basename(path)
    try:
        with fault_of(name), hardware.torch_threads(1, later=torch.get_num_threads()):
            vector = embedder.embed(embedder.wave(Path(path), name))
            if not np.isfinite(vector).all():
                raise AudioError(f"The embedding of {name} is not a number in places.")
            return vector
    except GenrecoreError as error:
        return str(error)


class _Stored:
    """The vectors of an embedder that the cache holds. A content that cannot be used has NaN."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder, self._path = embedder, self.file(embedder)
        self._kind = np.dtype([("content", "S32"), ("vector", "<f4", (embedder.n_numbers,))])
        try:
            content = read_bytes(self._path, _MOST_BYTES, "cache")
        except FileNotFoundError:
            content = b""
        whole = len(content) // self._kind.itemsize * self._kind.itemsize
        self._records = np.frombuffer(content[:whole], self._kind)
        names = self._records["content"].astype("U32").tolist()
        self.contents = {name: k for k, name in enumerate(names)}  # of several, the last counts

    @staticmethod
    def file(embedder: Embedder) -> Path:
        """Where they lie."""
        return cache_dir() / "embeddings" / digest([_FORMAT, *embedder.key]) / "vectors"

    def rows(self, contents: Iterable[str]) -> np.ndarray:
        """(contents, n_numbers) float32; NaN where there is none."""
        positions = np.array([self.contents.get(content, -1) for content in contents], np.int64)
        values = np.full((len(positions), self._embedder.n_numbers), np.nan, np.float32)
        values[positions >= 0] = self._records["vector"][positions[positions >= 0]]
        return values

    def append(self, vectors: Mapping[str, np.ndarray]) -> None:
        """Adds vectors by their contents to the file; half a record of a process that died goes."""
        if not vectors:
            return
        records = np.zeros(len(vectors), self._kind)
        records["content"], records["vector"] = list(vectors), np.stack(list(vectors.values()))
        folder = self._path.parent
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder.with_name(f"{folder.name}.lock"), _PATIENCE_S) as acquired:
            if not acquired:
                raise GenrecoreError(f"Another process has locked {folder}; try again.")
            size = changed(self._path)[1]
            if not size:
                write_title(folder, f"{self._embedder.title}: embeddings of recordings")
            with open(self._path, "ab") as stream:
                stream.truncate(size // self._kind.itemsize * self._kind.itemsize)
                stream.write(records.tobytes())
