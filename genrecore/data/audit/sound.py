"""What is measured in the audio of every clip: level, clipping, noise, digest and fingerprint.

Everything comes from the corpus, so it is what a model would hear. It is measured once per corpus
and kept in the cache folder in blocks, so that an interrupted audit goes on where it stopped.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genrecore.audio import fingerprint
from genrecore.audio.content import NEARLY_SILENT_DB, noise_share
from genrecore.data.audit.copies import digest
from genrecore.data.audit.findings import Finding
from genrecore.data.corpus import Corpus, dequantise
from genrecore.data.parallel import in_order
from genrecore.store.files import cache_dir, read_json, write_bytes, write_json
from genrecore.store.progress import Phase, Report, silent
from genrecore.words import decimals, percent

CLIPPED = 0.001
"""Share of a clip's samples at full scale, in runs of three and more, from which on it is called
clipped. Such runs are flat tops: a loud but intact wave touches full scale with one or two samples
at a time. 100 clips of GTZAN: at most 0.0008; made 6 dB louder and cut off, 0.005 (the median)."""

NOISE = 0.2
"""Share of a clip that is constant noise from which on the audit reports it."""

_FULL_SCALE = 32_600  # of 32 768: resampling leaves small ripples on flat tops
_VERSION = f"1.{fingerprint.VERSION}"
_N_BLOCK = 128  # clips measured between two writes
_COLUMNS = ("rms_db", "clipped", "noise", "digest")


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
    clip_ids = corpus.index["clip_id"].tolist()
    if not clip_ids:
        return Measures(pd.DataFrame(columns=["clip_id", *_COLUMNS]), {})
    _folder(corpus.key).mkdir(parents=True, exist_ok=True)
    blocks = []
    for first in range(0, len(clip_ids), _N_BLOCK):
        block = _read(corpus.key, first)
        if block is None:
            block = _measure_block(corpus, first, report)
            content = io.BytesIO()
            np.savez(content, allow_pickle=False, **block)
            write_bytes(_block_path(corpus.key, first), content.getbuffer())
        blocks.append(block)
    report(Phase.MEASURING_CLIPS, len(clip_ids), len(clip_ids))
    if not _clip_ids_path(corpus.key).exists():
        write_json(_clip_ids_path(corpus.key), {"clip_ids": clip_ids})
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in _COLUMNS}
    return Measures(pd.DataFrame({"clip_id": clip_ids} | columns), _fingerprints(clip_ids, blocks))


def kept_fingerprints(corpus_key: str) -> dict[str, np.ndarray] | None:
    """The fingerprints by clip_id that `measure` took of a corpus, without the corpus itself; None
    where they were cleared away or not all taken."""
    clip_ids = read_json(_clip_ids_path(corpus_key)).get("clip_ids")
    if not isinstance(clip_ids, list):
        return None
    blocks = []
    for first in range(0, len(clip_ids), _N_BLOCK):
        block = _read(corpus_key, first)
        if block is None:
            return None
        blocks.append(block)
    return _fingerprints(clip_ids, blocks)


def kept_at(corpus_key: str) -> int:
    """When the last fingerprint of a corpus was kept, in ns since 1970; 0 where none is."""
    try:
        return _clip_ids_path(corpus_key).stat().st_mtime_ns
    except OSError:
        return 0


def _folder(corpus_key: str) -> Path:
    return cache_dir() / "fingerprints" / corpus_key


def _block_path(corpus_key: str, first: int) -> Path:
    return _folder(corpus_key) / f"{_VERSION}-{first:07d}.npz"


def _clip_ids_path(corpus_key: str) -> Path:
    """The file of the clips' names in the order of the blocks, written when all blocks are."""
    return kept_file(corpus_key, "clips")


def kept_file(corpus_key: str, content: str) -> Path:
    """A file beside the measures of a corpus, of this version."""
    return _folder(corpus_key) / f"{_VERSION}-{content}.json"


def _read(corpus_key: str, first: int) -> dict[str, np.ndarray] | None:
    try:
        with np.load(_block_path(corpus_key, first), allow_pickle=False) as stored:
            return {name: stored[name] for name in (*_COLUMNS, "prints", "n_frames")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # absent or damaged
        return None


def _fingerprints(
    clip_ids: list[str], blocks: list[dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    prints = [
        print_
        for block in blocks
        for print_ in np.split(block["prints"], np.cumsum(block["n_frames"])[:-1])
    ]
    return dict(zip(clip_ids, prints, strict=True))


def findings(measures: Measures) -> list[Finding]:
    """Nearly silent, clipped and noisy clips."""
    rows: list[Finding] = []
    for clip_id, rms_db, clipped, noise, _ in measures.table.itertuples(index=False, name=None):
        if rms_db < NEARLY_SILENT_DB:
            sentence = f"{clip_id} is nearly silent: its mean level is {decimals(rms_db, 0)} dBFS."
            rows.append(Finding("near_silent", "warning", sentence, clip_id, value=rms_db))
        if clipped >= CLIPPED:
            severity = "warning" if clipped >= 10 * CLIPPED else "note"
            sentence = (
                f"{clip_id} is clipped: {percent(clipped)} of its samples stand at full scale, "
                "three and more in a row."
            )
            rows.append(Finding("clipped", severity, sentence, clip_id, value=clipped))
        if noise >= NOISE:
            sentence = f"{clip_id} is constant noise for {percent(noise)} of its length."
            rows.append(Finding("constant_noise", "warning", sentence, clip_id, value=noise))
    return rows


def _measure_block(corpus: Corpus, first: int, report: Report) -> dict[str, np.ndarray]:
    rows = corpus.index.iloc[first : first + _N_BLOCK]

    def measured(span: tuple[int, int]) -> dict[str, Any]:
        start, n_samples = span
        return _measure_clip(
            np.asarray(corpus.samples[start : start + n_samples]), corpus.sample_rate_hz
        )

    spans = list(zip(rows["start"].tolist(), rows["n_samples"].tolist(), strict=True))
    n_total = len(corpus.index)
    clips = list(in_order(measured, spans, report, Phase.MEASURING_CLIPS, first, n_total))
    block = {name: np.array([clip[name] for clip in clips]) for name in _COLUMNS}
    prints = [clip["print"] for clip in clips]
    block["n_frames"] = np.array([len(print_) for print_ in prints], dtype=np.int64)
    block["prints"] = np.concatenate(prints)
    return block


def _measure_clip(samples: np.ndarray, sample_rate_hz: int) -> dict[str, Any]:
    wave = dequantise(samples)
    power = float(np.mean(np.square(wave), dtype=np.float64))
    return {
        "rms_db": 10 * np.log10(max(power, 1e-12)),
        "clipped": _clipped_share(samples),
        "noise": noise_share(wave, sample_rate_hz),
        "digest": digest(samples),
        "print": fingerprint.fingerprint(wave, sample_rate_hz),
    }


def _clipped_share(samples: np.ndarray) -> float:
    """Share of the samples (n,) int16 that stand at full scale in runs of three and more."""
    n_clipped = 0
    for full in (samples >= _FULL_SCALE, samples <= -_FULL_SCALE):
        if not full.any():
            continue
        middle = np.zeros(len(full) + 2, bool)
        middle[2:-2] = full[:-2] & full[1:-1] & full[2:]
        n_clipped += int(np.count_nonzero(middle[:-2] | middle[1:-1] | middle[2:]))
    return n_clipped / max(1, len(samples))
