"""The corpus: every clip of a dataset decoded once, in one flat memory-mapped int16 array.

Keyed by the content of the files, the sample rate and the length taken from each clip. Built by
threads (the decoder releases the interpreter's lock), appended in clip order, so that memory does
not grow with the number of clips and an interrupted build goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genrecore.audio import decode as audio
from genrecore.data.parallel import in_order
from genrecore.errors import AudioError, DamagedAudioError, GenrecoreError
from genrecore.store.files import (
    cache_dir,
    changed,
    digest,
    is_regular_file,
    parsed_json,
    read_bytes,
    read_json,
    write_json,
    write_text,
)
from genrecore.store.locks import make_once
from genrecore.store.progress import Phase, Report, silent

_FORMAT = 2  # raised when what is stored changes
_TO_ACCEPT = "The setting audio.accept_damaged (--accept-damaged) uses what can be decoded of it."
FULL_SCALE = 32768.0
"""Samples of the corpus are int16: full scale is 1."""

_BLOCK = 2**16  # samples at a time, for which memory is used again and again


def quantise(wave: np.ndarray) -> np.ndarray:
    """A wave in [-1, 1] as int16; the corpus and everything that must agree with it use this."""
    samples = np.empty(wave.shape, np.int16)
    for at in range(0, len(wave), _BLOCK):
        scaled = np.rint(wave[at : at + _BLOCK] * FULL_SCALE)
        samples[at : at + _BLOCK] = np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1)
    return samples


def dequantise(samples: np.ndarray) -> np.ndarray:
    """int16 samples as a float32 wave in [-1, 1)."""
    return samples.astype(np.float32) / np.float32(FULL_SCALE)


@dataclass(frozen=True)
class Corpus:
    """A built corpus.

    Attributes:
        folder: Its folder in the cache.
        key: A digest of its content.
        sample_rate_hz: Rate of the samples; 0 for what is no audio.
        index: One row a clip: `clip_id, start, n_samples`; in samples for audio, otherwise in
            images, rows of the table, vectors or steps.
        skipped: Clips that cannot be used: `clip_id, reason`.
        medium: `audio`, `image`, `table`, `vector` or `sequence`.
        shape: Of one image (channels, height, width), one row (descriptors,), or one vector or
            step (numbers,).
        warnings: What is said of clips that are used, as that only a part of them could be
            decoded: `clip_id, reason`.
    """

    folder: Path
    key: str
    sample_rate_hz: int
    index: pd.DataFrame
    skipped: list[dict[str, str]]
    medium: str = "audio"
    shape: tuple[int, ...] = ()
    warnings: tuple[dict[str, str], ...] = ()

    @cached_property
    def samples(self) -> np.ndarray:
        """All clips one after another, int16, memory-mapped."""
        if not len(self.index):
            return np.zeros(0, np.int16)
        return np.memmap(self.folder / "samples.i16", dtype=np.int16, mode="c")

    @cached_property
    def values(self) -> np.ndarray:
        """All images (clips, 3, height, width) uint8; or rows (rows, descriptors), vectors (clips,
        numbers) or steps (steps, numbers), float32."""
        kind = np.uint8 if self.medium == "image" else np.float32
        n = int(self.index["n_samples"].sum())
        return np.memmap(self.folder / "values", dtype=kind, mode="c", shape=(n, *self.shape))

    @property
    def clip_shape(self) -> tuple[int, ...]:
        """The shape that front ends are built for, as the function `clip_shape` says."""
        return clip_shape(self.medium, self.index["n_samples"], self.shape)

    def wave(self, clip_id: str) -> np.ndarray:
        """One clip, float32 in [-1, 1)."""
        row = self.index.loc[self.index["clip_id"] == clip_id]
        if row.empty:
            raise GenrecoreError(f"The corpus holds no clip {clip_id!r}.")
        start, n = int(row["start"].iloc[0]), int(row["n_samples"].iloc[0])
        return dequantise(np.asarray(self.samples[start : start + n]))


def clip_shape(medium: str, counts: pd.Series, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that front ends are built for: of a sequence with as many steps as half of the
    clips have at least."""
    if medium != "sequence" or counts.empty:
        return shape
    return int(np.ceil(counts.median())), *shape


def build(
    clips: pd.DataFrame,
    sample_rate_hz: int,
    clip_s: float,
    report: Report = silent,
    accept_damaged: bool = False,
) -> Corpus:
    """The corpus of these clips, from the cache or built now.

    Files that cannot be used are left out and named with their reason in `skipped`.

    Args:
        clips: A clip table.
        sample_rate_hz: Rate to which every clip is resampled.
        clip_s: Seconds taken from the middle of each clip.
        report: Called as `report(phase, done, total)`.
        accept_damaged: Of truncated and damaged files, take what can be decoded.
    """
    contents = content_digests(clips, report)
    folder = _folder(clips, contents, sample_rate_hz, clip_s, accept_damaged)

    def make(partial: Path) -> None:
        _build_into(partial, clips, sample_rate_hz, clip_s, accept_damaged, report)

    return _whole(folder, make, lambda: _read(folder, sample_rate_hz), report, resume=True)


def _whole(
    folder: Path,
    make: Callable[[Path], None],
    read: Callable[[], Corpus | None],
    report: Report,
    resume: bool = False,
) -> Corpus:
    """A corpus from the cache, made where it is missing and made anew where it is damaged."""
    corpus = None
    if folder.is_dir():
        corpus = read()
        if corpus is None:
            shutil.rmtree(folder, ignore_errors=True)
    if corpus is None:
        make_once(folder, make, report, resume)
        corpus = read()
    if corpus is None:
        raise GenrecoreError(f"The cache folder {folder} is damaged and cannot be made anew.")
    return corpus


def kept(
    clips: pd.DataFrame, sample_rate_hz: int, clip_s: float, accept_damaged: bool = False
) -> Corpus | None:
    """The corpus of these clips, as `build` gives it, if it was built before and no file has
    changed since; no file is read."""
    contents = known_digests(clips)
    if contents is None:
        return None
    folder = _folder(clips, contents, sample_rate_hz, clip_s, accept_damaged)
    return _read(folder, sample_rate_hz) if folder.is_dir() else None


def kept_at() -> tuple[int, ...]:
    """When a corpus was last built, and file contents were last remembered: it changes whenever
    `kept` may."""
    times = []
    for path in (cache_dir() / "corpora", digests_file()):
        try:
            times.append(path.stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return tuple(times)


def _folder(
    clips: pd.DataFrame,
    contents: list[str],
    sample_rate_hz: int,
    clip_s: float,
    accept_damaged: bool,
) -> Path:
    pairs = list(zip(clips["clip_id"], contents, strict=True))
    more = ["accept_damaged"] if accept_damaged else []
    return cache_dir() / "corpora" / digest([_FORMAT, sample_rate_hz, clip_s, pairs, *more])


def _read(folder: Path, sample_rate_hz: int) -> Corpus | None:
    """The corpus in a folder; None where it is damaged."""
    lines = _index_lines(folder)
    if lines is None or changed(folder / "samples.i16")[1] != _n_bytes(lines):
        return None
    usable = [line for line in lines if "n_samples" in line]
    index = index_table(
        [line["clip_id"] for line in usable], [line["n_samples"] for line in usable]
    )
    skipped = [line for line in lines if "reason" in line]
    warnings = tuple(
        {"clip_id": line["clip_id"], "reason": str(line["warning"])}
        for line in usable
        if line.get("warning")
    )
    return Corpus(folder, folder.name, sample_rate_hz, index, skipped, warnings=warnings)


def cached_values(
    identity: Any, medium: str, fill: Callable[[Path], dict[str, Any]], report: Report
) -> Corpus:
    """A corpus that is no audio, from the cache or made now.

    Args:
        identity: What decides its content, as JSON.
        medium: As in `Corpus`.
        fill: Writes the file `values` into a folder; returns `clip_ids, counts, shape, skipped`.
        report: Called as `report(phase, done, total)`.
    """
    key = digest(identity)

    def make(partial: Path) -> None:
        write_json(partial / "about.json", fill(partial))

    folder = cache_dir() / "corpora" / key

    def read() -> Corpus | None:
        about = read_json(folder / "about.json")
        try:
            index = index_table(about["clip_ids"], about["counts"])
            shape = tuple(map(int, about["shape"]))
            corpus = Corpus(folder, key, 0, index, list(about["skipped"]), medium, shape)
            if len(index) and not is_regular_file(str(folder / "values")):
                return None
            _ = corpus.values if len(index) else None
        except (KeyError, TypeError, ValueError, OSError):
            return None
        return corpus

    return _whole(folder, make, read, report)


def index_table(clip_ids: list[str], counts: list[int]) -> pd.DataFrame:
    """The index of clips that lie one after another: `clip_id, start, n_samples`."""
    n_samples = np.array(counts, dtype=np.int64)
    starts = np.cumsum(n_samples) - n_samples
    return pd.DataFrame({"clip_id": clip_ids, "start": starts, "n_samples": n_samples})


def _index_lines(folder: Path) -> list[dict[str, Any]] | None:
    """The clips that are decoded; None where the index is damaged."""
    try:
        *lines, _ = read_bytes(folder / "index.jsonl", 2**30).split(b"\n")
        read = [parsed_json(line) for line in lines]
        for line in read:
            n = line.get("n_samples", 0)
            if not isinstance(line["clip_id"], str) or not isinstance(n, int) or n < 0:
                return None
    except FileNotFoundError:
        return []
    except (GenrecoreError, ValueError, KeyError, AttributeError):
        return None
    return read


def _n_bytes(lines: list[dict[str, Any]]) -> int:
    return 2 * sum(line.get("n_samples", 0) for line in lines)


def _build_into(
    folder: Path,
    clips: pd.DataFrame,
    sample_rate_hz: int,
    clip_s: float,
    accept_damaged: bool,
    report: Report,
) -> None:
    finished = _index_lines(folder) or []
    if changed(folder / "samples.i16")[1] < _n_bytes(finished):  # damaged
        finished = []
    write_text(folder / "index.jsonl", "".join(json.dumps(line) + "\n" for line in finished))
    (folder / "samples.i16").touch()
    os.truncate(folder / "samples.i16", _n_bytes(finished))
    rest = clips.iloc[len(finished) :]

    def decode(path: str) -> tuple[np.ndarray, str] | str:
        try:
            decoded = audio.decode(
                path, sample_rate_hz, middle_s=clip_s, accept_damaged=accept_damaged
            )
        except DamagedAudioError as error:
            return f"{error} {_TO_ACCEPT}"
        except AudioError as error:
            return str(error)
        return quantise(decoded.wave), decoded.warning

    with (
        open(folder / "samples.i16", "ab") as samples,
        open(folder / "index.jsonl", "a", encoding="utf-8") as index,
    ):
        decoded = in_order(
            decode, rest["path"].tolist(), report, Phase.DECODING, n_before=len(finished)
        )
        for clip_id, result in zip(rest["clip_id"], decoded, strict=True):
            if isinstance(result, str):
                line: dict[str, Any] = {"clip_id": clip_id, "reason": result}
            else:
                wave, warning = result
                samples.write(wave.data)
                samples.flush()  # before its line: a line promises that its samples are there
                line = {"clip_id": clip_id, "n_samples": len(wave)}
                line |= {"warning": warning} if warning else {}
            index.write(json.dumps(line) + "\n")
            index.flush()


def content_digests(clips: pd.DataFrame, report: Report) -> list[str]:
    """Each file's content digest; remembered by path, size and time of change."""
    stamps, memo = _stamps(clips), _memo()

    def digest_of(stamp: str) -> str:
        try:
            return audio.digest(stamp.rsplit("|", 2)[0])
        except OSError:
            return "unreadable"

    missing = sorted({stamp for stamp in stamps if stamp and stamp not in memo})
    if missing:
        digests = in_order(digest_of, missing, report, Phase.READING_FILES)
        memo.update(zip(missing, digests, strict=True))
        digests_file().parent.mkdir(parents=True, exist_ok=True)
        write_text(digests_file(), json.dumps(memo))
    return _named(stamps, memo)


def known_digests(clips: pd.DataFrame) -> list[str] | None:
    """What `content_digests` gives where it was asked before and no file has changed since; no file
    is read."""
    stamps, memo = _stamps(clips), _memo()
    if not all(not stamp or stamp in memo for stamp in stamps):
        return None
    return _named(stamps, memo)


def _memo() -> dict[str, str]:
    return {key: item for key, item in read_json(digests_file()).items() if isinstance(item, str)}


def digests_file() -> Path:
    """Where content digests are remembered."""
    return cache_dir() / "digests.json"


def _stamps(clips: pd.DataFrame) -> list[str]:
    """Path, size and time of change of each clip's file; empty where there is none."""
    stamps = []
    for path in clips["path"]:
        try:
            stat = os.stat(path)
            stamps.append(f"{path}|{stat.st_size}|{stat.st_mtime_ns}")
        except OSError:
            stamps.append("")
    return stamps


def _named(stamps: list[str], memo: Mapping[str, str]) -> list[str]:
    return [memo[stamp] if stamp else "missing" for stamp in stamps]
