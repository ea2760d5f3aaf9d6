"""Embeddings of any recordings by a pretrained encoder or by a run, before or without training.

Each file is decoded and embedded once: the cache keeps, for every layer, one file of records, a
digest of a recording's content and its vector. So a folder that has grown costs what is new, what
was moved costs nothing, and an interrupted work goes on where it was. An encoder gives its first
layer, for searches, and its widest, for probes, in one pass; and what training has computed of
whole clips is taken from the cache of features.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from genrecore.audio import decode
from genrecore.config.run import Part, RunConfig, with_values
from genrecore.data import corpus
from genrecore.data.corpus import dequantise, quantise
from genrecore.data.parallel import in_order
from genrecore.errors import AudioError, GenrecoreError
from genrecore.evaluation.embeddings import Embedding
from genrecore.features import FEATURES
from genrecore.features import cache as feature_cache
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
        layers: The names of its vectors with their weights, as JSON, and the numbers of each. The
            first is the embedding; the others come from the same pass, and are kept as well.
        sample_rate_hz: Of the waves that it takes.
        clip_s: Seconds that are taken from the middle of a recording.
        hear: Makes all vectors, one after another (numbers,) float32, of a wave (n_samples,) in
            [-1, 1], in any thread.
        from_features: Finds, of a clip table, the embeddings that training has left in the cache of
            features, by `clip_id`.
    """

    title: str
    layers: Mapping[tuple[Any, ...], int]
    sample_rate_hz: int
    clip_s: float
    hear: Callable[[np.ndarray], np.ndarray]
    from_features: Callable[[pd.DataFrame], Mapping[str, np.ndarray]] = lambda clips: {}

    def embed(self, wave: np.ndarray) -> np.ndarray:
        """The embedding of a wave (n_samples,), as `hear` makes it."""
        return self.hear(wave)[: next(iter(self.layers.values()))]

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


def by_encoder(name: str = "musicnn", widest: bool = False) -> Embedder:
    """An encoder as an embedder: the mean of the embeddings of its patches, as the feature
    `encoder` makes it of whole clips. Its weights are read when the first wave comes.

    Args:
        name: Of the encoder.
        widest: Whether the layer with the most numbers is taken, instead of the first.

    Raises:
        UsageError: There is no such encoder, or its weights are not here.
    """
    card = check_present(name)
    layers = tuple(dict.fromkeys((card.first_layer, card.widest_layer)))[:: -1 if widest else 1]
    rate = card.sample_rate_hz

    def part_and_feature(layer: str) -> tuple[Part, Any]:
        values = {"encoder": name, "layer": layer, "sha256": card.sha256}
        choice = FEATURES.choose("encoder", values)
        options = choice.options.model_dump(mode="json", exclude_defaults=True)
        feature = choice.thing(choice.options, rate, round(CLIP_S * rate))
        return Part(name="encoder", options=options), feature

    _, feature = part_and_feature("+".join(layers))
    alone = part_and_feature("" if layers[0] == card.first_layer else layers[0])

    @torch.inference_mode()
    def hear(wave: np.ndarray) -> np.ndarray:
        wave = dequantise(quantise(wave))  # as a corpus holds it
        padded = np.pad(wave, (0, max(0, card.patch_samples - len(wave))))
        vector: np.ndarray = feature(torch.from_numpy(padded)[None, None])[0].numpy()
        return vector

    keys = {(card.name, card.sha256, layer, CLIP_S): card.layers[layer] for layer in layers}
    return Embedder(card.title, keys, rate, CLIP_S, hear, partial(_from_features, *alone))


def _from_features(part: Part, feature: Any, clips: pd.DataFrame) -> dict[str, np.ndarray]:
    """What a feature makes of whole clips, from the caches of training; empty where it is not."""
    rate = feature.sample_rate_hz
    whole = corpus.kept(clips, rate, CLIP_S)
    values = {"audio.sample_rate_hz": rate, "audio.clip_s": CLIP_S, "segments.segment_s": CLIP_S}
    config = with_values(RunConfig(feature=part), values)
    features = whole and feature_cache.kept(whole, config, feature)
    if not features:
        return {}
    return dict(zip(features.segments["clip_id"], features.rows.numpy(), strict=True))


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
    keys = {(run.run_id, decode.digest(run.weights)): n_numbers}
    return Embedder(run.title, keys, audio.sample_rate_hz, audio.clip_s, embed)


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
    content_of = dict(zip(clips["clip_id"], clips["path"].map(contents), strict=True))
    missing = set(contents.values()) - _stored(embedder)[0].contents.keys()
    if missing:
        rows = {content_of[name]: row for name, row in embedder.from_features(clips).items()}
        _stored(embedder)[0].append({key: rows[key] for key in missing & rows.keys()})
    known = np.isfinite(_stored(embedder)[0].rows(contents.values())).all(axis=1)
    paths = [path for path, is_known in zip(contents, known, strict=True) if not is_known]
    work, n_before = partial(_vector_or_reason, embedder), len(contents) - len(paths)
    reasons, waiting = dict[str, str](), dict[str, np.ndarray]()
    hardware.keep_memory()
    try:
        results = in_order(work, paths, report, Phase.EMBEDDING, n_before)
        for path, result in zip(paths, results, strict=True):
            if isinstance(result, str):
                reasons[path] = result
                result = np.full(sum(embedder.layers.values()), np.nan, np.float32)
            waiting[contents[path]] = result
            if len(waiting) == _AT_ONCE:
                _append(embedder, waiting)
                waiting = {}
    finally:
        _append(embedder, waiting)
    named = zip(clips["clip_id"], clips["path"], strict=True)
    skipped = [
        {"clip_id": str(clip_id), "reason": reasons[path]}
        for clip_id, path in named
        if path in reasons
    ]
    embedding = _usable(clips, _stored(embedder)[0].rows(clips["path"].map(contents)))
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
    stored = _stored(embedder)[0]
    if not set(contents) <= stored.contents.keys():
        return None
    return _usable(clips, stored.rows(contents))


def kept_in(embedder: Embedder) -> list[Path]:
    """The files that `kept` reads."""
    return [corpus.digests_file(), _stored(embedder)[0].path]


def _usable(clips: pd.DataFrame, values: np.ndarray) -> Embedding:
    finite = np.isfinite(values).all(axis=1)
    return Embedding(clips[finite].reset_index(drop=True), values[finite])


def _vector_or_reason(embedder: Embedder, path: str) -> np.ndarray | str:
    """Of a file its vector or why it has none, on one core."""
    name = os.path.basename(path)
    try:
        with fault_of(name), hardware.torch_threads(1, later=torch.get_num_threads()):
            vector = embedder.hear(embedder.wave(Path(path), name))
            if not np.isfinite(vector).all():
                raise AudioError(f"The embedding of {name} is not a number in places.")
            return vector
    except GenrecoreError as error:
        return str(error)


def _stored(embedder: Embedder) -> list[_Stored]:
    """What the cache holds of each of its layers; the embedding is the first."""
    ends = np.cumsum(list(embedder.layers.values())).tolist()
    columns = map(slice, [0, *ends], ends)
    return [
        _Stored(embedder.title, key, part)
        for key, part in zip(embedder.layers, columns, strict=True)
    ]


def _append(embedder: Embedder, vectors: Mapping[str, np.ndarray]) -> None:
    for stored in _stored(embedder):
        stored.append(vectors)


class _Stored:
    """The vectors of a layer that the cache holds. A content that cannot be used has NaN."""

    def __init__(self, title: str, key: tuple[Any, ...], columns: slice) -> None:
        self._title, self._columns = title, columns
        self._n_numbers = columns.stop - columns.start
        self._kind = np.dtype([("content", "S32"), ("vector", "<f4", (self._n_numbers,))])
        self.path = cache_dir() / "embeddings" / digest([_FORMAT, *key]) / "vectors"

    @cached_property
    def _records(self) -> np.ndarray:
        try:
            content = read_bytes(self.path, _MOST_BYTES, "cache")
        except FileNotFoundError:
            content = b""
        whole = len(content) // self._kind.itemsize * self._kind.itemsize
        return np.frombuffer(content[:whole], self._kind)

    @cached_property
    def contents(self) -> dict[str, int]:
        """The row of each content; of several, the last counts."""
        names = self._records["content"].astype("U32").tolist()
        return {name: k for k, name in enumerate(names)}

    def rows(self, contents: Iterable[str]) -> np.ndarray:
        """(contents, n_numbers) float32; NaN where there is none."""
        positions = np.array([self.contents.get(content, -1) for content in contents], np.int64)
        values = np.full((len(positions), self._n_numbers), np.nan, np.float32)
        values[positions >= 0] = self._records["vector"][positions[positions >= 0]]
        return values

    def append(self, vectors: Mapping[str, np.ndarray]) -> None:
        """Adds the layer's part of vectors, as `Embedder.hear` makes them, by their contents to the
        file; half a record of a process that died goes."""
        if not vectors:
            return
        records = np.zeros(len(vectors), self._kind)
        records["content"] = list(vectors)
        records["vector"] = np.stack(list(vectors.values()))[:, self._columns]
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder.with_name(f"{folder.name}.lock"), _PATIENCE_S) as acquired:
            if not acquired:
                raise GenrecoreError(f"Another process has locked {folder}; try again.")
            size = changed(self.path)[1]
            if not size:
                write_title(folder, f"{self._title}: embeddings of recordings")
            with open(self.path, "ab") as stream:
                stream.truncate(size // self._kind.itemsize * self._kind.itemsize)
                stream.write(records.tobytes())
