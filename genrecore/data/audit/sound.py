"""What is measured in the audio of every clip: level, clipping, noise, digest and fingerprint.

Everything comes from the corpus, so it is what a model would hear. Measured once per corpus and
kept in the cache folder in pieces, so that an interrupted audit goes on where it stopped.
"""

from __future__ import annotations

import io
import itertools
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.fft

from genrecore.audio import fingerprint
from genrecore.data.audit.copies import digest
from genrecore.data.audit.findings import Finding
from genrecore.data.corpus import Corpus
from genrecore.store.files import cache_dir, read_json, write_bytes, write_json
from genrecore.store.progress import Phase, Report, silent

NEAR_SILENT_DB = -55.0
"""Mean level below which a clip is nearly silent; the quietest of 100 clips of GTZAN has -31."""

CLIPPED = 0.001
"""Share of a clip's samples that stand at full scale, three and more in a row, from which on it is
called clipped. Such runs are flat tops: a loud but intact wave touches full scale with one or two
samples at a time. 100 clips of GTZAN: at most 0.0008; made 6 dB louder and cut off, 0.005 (the
median)."""

NOISE = 0.2
"""Share of a clip that is constant noise from which on it is said."""

_FULL_SCALE = 32_600  # of 32 768: resampling leaves small ripples on flat tops
_FORMAT = 1
_VERSION = f"{_FORMAT}.{fingerprint.VERSION}"
_PIECE = 128  # clips measured between two writes
_NOISE_S, _FRAME_S = 2.0, 0.093
# White, pink and brown noise, also from mp3: flatness 0.96 to 0.99, movement 0.9 to 1.0 dB. 1 500
# windows of GTZAN: never both above 0.855 and below 2 dB. Noise 10 dB below music: 0.79, 2.7 dB.
_FLAT, _STEADY_DB = 0.9, 1.5


@dataclass(frozen=True)
class Measures:
    """`table` has one row a clip: `clip_id, rms_db, clipped, noise` (shares), `digest`."""

    table: pd.DataFrame
    fingerprints: dict[str, np.ndarray]


def measure(corpus: Corpus, report: Report = silent) -> Measures:
    """Measures of every clip in the corpus, from the cache or taken now.

    Raises:
        Stopped: A stop was asked for; what was measured is kept.
    """
    folder = _folder(corpus.key)
    folder.mkdir(parents=True, exist_ok=True)
    n_clips = len(corpus.index)
    pieces = []
    for first in range(0, n_clips, _PIECE):
        path = folder / f"{_VERSION}-{first:07d}.npz"
        piece = _read(path)
        if piece is None:
            piece = _measure_piece(corpus, first, report)
            content = io.BytesIO()
            np.savez(content, allow_pickle=False, **piece)
            write_bytes(path, content.getbuffer())
        pieces.append(piece)
    report(Phase.MEASURING_CLIPS, n_clips, n_clips)
    if not pieces:
        return Measures(pd.DataFrame(columns=["clip_id", *_COLUMNS]), {})
    clip_ids = corpus.index["clip_id"].tolist()
    if not _named(corpus.key).exists():
        write_json(_named(corpus.key), {"clip_ids": clip_ids})
    table = pd.DataFrame(
        {name: np.concatenate([piece[name] for piece in pieces]) for name in _COLUMNS}
    )
    table.insert(0, "clip_id", clip_ids)
    return Measures(table, _prints(clip_ids, pieces))


def kept_fingerprints(corpus_key: str) -> dict[str, np.ndarray] | None:
    """The fingerprints by clip_id that `measure` took of a corpus, without the corpus itself; None
    where they were cleared away or not all taken."""
    clip_ids = read_json(_named(corpus_key)).get("clip_ids")
    if not isinstance(clip_ids, list):
        return None
    pieces = []
    for first in range(0, len(clip_ids), _PIECE):
        piece = _read(_folder(corpus_key) / f"{_VERSION}-{first:07d}.npz")
        if piece is None:
            return None
        pieces.append(piece)
    return _prints(clip_ids, pieces)


def kept_at(corpus_key: str) -> int:
    """When the last fingerprint of a corpus was kept, in ns since 1970; 0 where none is."""
    try:
        return _named(corpus_key).stat().st_mtime_ns
    except OSError:
        return 0


def _folder(corpus_key: str) -> Path:
    return cache_dir() / "fingerprints" / corpus_key


def _named(corpus_key: str) -> Path:
    """The file of the clips' names in the order of the pieces, written when all are there."""
    return _folder(corpus_key) / f"{_VERSION}-clips.json"


def _prints(clip_ids: list[str], pieces: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    parts = [
        part
        for piece in pieces
        for part in np.split(piece["prints"], np.cumsum(piece["n_frames"])[:-1])
    ]
    return dict(zip(clip_ids, parts, strict=True))


_COLUMNS = ("rms_db", "clipped", "noise", "digest")


def findings(measures: Measures) -> list[Finding]:
    """Nearly silent, clipped and noisy clips."""
    found: list[Finding] = []
    table = measures.table
    for row in table[table["rms_db"] < NEAR_SILENT_DB].itertuples():
        level = float(row.rms_db)  # type: ignore[arg-type]
        sentence = f"{row.clip_id} is nearly silent: its mean level is {level:.0f} dBFS."
        found.append(("near_silent", "warning", str(row.clip_id), "", level, sentence))
    for row in table[table["clipped"] >= CLIPPED].itertuples():
        share = float(row.clipped)  # type: ignore[arg-type]
        sentence = (
            f"{row.clip_id} is clipped: {100 * share:.1f} % of its samples stand at full scale, "
            "three and more in a row."
        )
        severity = "warning" if share >= 10 * CLIPPED else "note"
        found.append(("clipped", severity, str(row.clip_id), "", share, sentence))
    for row in table[table["noise"] >= NOISE].itertuples():
        share = float(row.noise)  # type: ignore[arg-type]
        sentence = f"{row.clip_id} is constant noise for {100 * share:.0f} % of its length."
        found.append(("constant_noise", "warning", str(row.clip_id), "", share, sentence))
    return found


def _read(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in (*_COLUMNS, "prints", "n_frames")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # absent or damaged
        return None


def _measure_piece(corpus: Corpus, first: int, report: Report) -> dict[str, np.ndarray]:
    rows = corpus.index.iloc[first : first + _PIECE]
    samples, rate = corpus.samples, corpus.sample_rate_hz

    def measured(span: tuple[int, int]) -> dict[str, Any]:
        start, n = span
        return _measure_clip(np.asarray(samples[start : start + n]), rate)

    spans = list(zip(rows["start"].tolist(), rows["n_samples"].tolist(), strict=True))
    results = []
    # Threads: the transforms release the interpreter's lock.
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="measure")
    try:
        for n_done, result in enumerate(pool.map(measured, spans), start=first):
            report(Phase.MEASURING_CLIPS, n_done, len(corpus.index))
            results.append(result)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    piece = {name: np.array([result[name] for result in results]) for name in _COLUMNS}
    prints = [result["print"] for result in results]
    piece["n_frames"] = np.array([len(part) for part in prints], dtype=np.int64)
    piece["prints"] = np.concatenate(prints)
    return piece


def _measure_clip(samples: np.ndarray, sample_rate_hz: int) -> dict[str, Any]:
    wave = samples.astype(np.float32) / np.float32(32_768)
    power = float(np.mean(np.square(wave), dtype=np.float64))
    return {
        "rms_db": 10 * np.log10(max(power, 1e-12)),
        "clipped": _clipped_share(samples),
        "noise": _noise_share(wave, sample_rate_hz),
        "digest": digest(samples),
        "print": fingerprint.fingerprint(wave, sample_rate_hz),
    }


def _clipped_share(samples: np.ndarray) -> float:
    """Share of the samples (n,) int16 that stand at full scale in runs of three and more."""
    share = 0
    for full in (samples >= _FULL_SCALE, samples <= -_FULL_SCALE):
        if not full.any():
            continue
        middle = np.zeros(len(full) + 2, bool)
        middle[2:-2] = full[:-2] & full[1:-1] & full[2:]
        share += int(np.count_nonzero(middle[:-2] | middle[1:-1] | middle[2:]))
    return share / max(1, len(samples))


def _noise_share(wave: np.ndarray, sample_rate_hz: int) -> float:
    """Share of a wave, in windows of 2 s, whose spectrum is that of constant noise.

    In third-octave bands above 500 Hz the mean spectrum is flat (spectral flatness, the geometric
    over the arithmetic mean: near 1 for noise of any colour, far below for tones) and the level
    stands still from frame to frame (for music it moves by several dB).
    """
    n_fft = 2 ** round(np.log2(_FRAME_S * sample_rate_hz))
    n_frames = int(_NOISE_S * sample_rate_hz) // n_fft
    n_windows = len(wave) // (n_frames * n_fft)
    if not n_windows:
        return 0.0
    frames = wave[: n_windows * n_frames * n_fft].reshape(n_windows * n_frames, n_fft)
    spectrum = scipy.fft.rfft(frames * np.hanning(n_fft).astype(np.float32), axis=1)
    power = (spectrum.real**2 + spectrum.imag**2 + 1e-12).reshape(n_windows, n_frames, -1)
    top_hz = min(8_000.0, 0.45 * sample_rate_hz)
    edges_hz = 500.0 * 2.0 ** (np.arange(int(3 * np.log2(top_hz / 500.0)) + 1) / 3)
    edges = np.rint(edges_hz / sample_rate_hz * n_fft).astype(int)
    mean = power.mean(axis=1)
    flat, steady = [], []
    for low, high in itertools.pairwise(edges):
        band = mean[:, low:high]
        flat.append(np.exp(np.log(band).mean(axis=1)) / band.mean(axis=1))
        steady.append((10 * np.log10(power[:, :, low:high].mean(axis=2))).std(axis=1))
    audible = np.sqrt(np.square(frames.reshape(n_windows, -1)).mean(axis=1)) > 1e-3  # −60 dBFS
    is_noise = (np.median(flat, axis=0) > _FLAT) & (np.median(steady, axis=0) < _STEADY_DB)
    return float((is_noise & audible).mean())
