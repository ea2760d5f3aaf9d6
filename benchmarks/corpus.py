"""Clips per second of the corpus build, against bare decoding and resampling on all cores.

Writes stereo MP3 clips of 30 s at 44.1 kHz (or takes a folder of audio), then lets both take turns
on them: the build as a run does it, and threads that do nothing but decode, mix down and resample.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import soxr

from genrecore.data import clips, corpus

RATE = 22_050


def main() -> None:
    """Prints both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="audio of your own instead of made MP3")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="genrecore-benchmark-"))
    os.environ["GENRECORE_CACHE"] = str(work / "cache")
    try:
        if arguments.folder:
            paths = sorted(p for p in arguments.folder.rglob("*") if p.suffix in (".wav", ".mp3"))
            paths = paths[: arguments.clips]
        else:
            paths = write_clips(work, arguments.clips)
        measure(paths, work, arguments.rounds)
    finally:
        shutil.rmtree(work)


def write_clips(work: Path, n: int) -> list[Path]:
    """Stereo noise with a moving tone as MP3: nothing a codec can skip."""
    generator = np.random.default_rng(0)
    time_s = np.arange(30 * 44_100) / 44_100
    paths = []
    for i in range(n):
        tone = np.sin(2 * np.pi * (200 + 5 * i) * time_s * (1 + 0.01 * time_s))
        noise = 0.1 * generator.standard_normal((len(time_s), 2))
        paths.append(work / f"clip{i:04d}.mp3")
        soundfile.write(paths[-1], 0.3 * tone[:, None] + noise, 44_100)
    return paths


def measure(paths: list[Path], work: Path, rounds: int) -> None:
    """Takes turns and prints medians."""
    table = clips.clip_table({"clip_id": p.stem, "path": str(p), "genre": "x"} for p in paths)
    n_threads = len(os.sched_getaffinity(0))

    def bare_clip(path: str) -> int:
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = wave.mean(axis=1)
        return len(soxr.resample(mono, rate, RATE, quality="HQ") if rate != RATE else mono)

    def bare() -> float:
        began = time.perf_counter()
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(bare_clip, table["path"]))
        return len(paths) / (time.perf_counter() - began)

    def build() -> float:
        shutil.rmtree(work / "cache", ignore_errors=True)
        began = time.perf_counter()
        built = corpus.build(table, RATE, 30.0)
        seconds = time.perf_counter() - began
        assert len(built.index) == len(paths), built.skipped[:1]
        return len(paths) / seconds

    rates: dict[str, list[float]] = {"bare": [], "build": []}
    for round_ in range(rounds + 1):
        for name, turn in (("bare", bare), ("build", build)):
            rate = turn()
            if round_:  # the first is a warm-up
                rates[name].append(rate)
    ratios = [a / b for a, b in zip(rates["build"], rates["bare"], strict=True)]
    print(f"{len(paths)} clips, {n_threads} threads")
    for name, values in rates.items():
        print(f"{name:6s} {statistics.median(values):8.1f} clips/s")
    print(f"build / bare {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
