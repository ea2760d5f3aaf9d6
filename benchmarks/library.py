"""A whole library: the rate of `classify --out` against bare decoding and network, and its memory.

Writes stereo MP3 clips of 30 s and a run folder with random weights. The library takes turns with
the bare work: threads that decode and resample, and the network on full batches. Memory is that of
a process that classifies few tiny files, and of one that classifies very many.

    python benchmarks/library.py
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from genrecore.training import hardware

hardware.share_cores()  # as the command does, before torch is imported

# ruff: noqa: E402
import numpy as np
import soundfile
from classifying import bare, write_run
from corpus import write_clips

from genrecore.inference import ensemble as panel
from genrecore.inference import loaded as inference
from genrecore.inference.library import classify_library


def main() -> None:
    """Prints the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tiny", type=int, nargs="*", default=[200, 10_000])
    parser.add_argument("--memory-of", nargs=2, metavar=("RUN", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        memory(*arguments.memory_of)
        return
    work = Path(tempfile.mkdtemp(prefix="genrecore-benchmark-"))
    os.environ["GENRECORE_CACHE"], os.environ["GENRECORE_RUNS"] = str(work / "c"), str(work / "r")
    try:
        if arguments.clips:
            run = write_run(arguments.model, work / "r")
            paths = tagged(write_clips(work, min(arguments.clips, 60)), arguments.clips)
            rates(inference.load(run), paths, work, arguments.rounds)
        small = write_run("cnn", work / "r")
        for n in arguments.tiny:
            folder = tiny_files(work / f"tiny {n}", n)
            command = [sys.executable, __file__, "--memory-of", str(small.folder), str(folder)]
            subprocess.run(command, check=True)
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(work)


def rates(loaded: inference.LoadedRun, paths: list[Path], work: Path, rounds: int) -> None:
    """Files a second, and the ratio to the bare work, by the clock and by processor time."""
    ensemble = panel.Ensemble([loaded])
    ratios: list[list[float]] = []
    for n in range(rounds + 1):
        out = work / f"{n}.jsonl"
        spent = []
        for turn in (
            lambda: bare(loaded, paths),
            lambda out=out: classify_library(ensemble, paths, out),  # type: ignore[misc]
        ):
            began, worked = time.perf_counter(), time.process_time()
            turn()
            spent.append((time.perf_counter() - began, time.process_time() - worked))
        ratios.append([spent[0][k] / spent[1][k] for k in range(2)])
        rate = len(paths) / spent[1][0]
    print(f"library of {len(paths)} clips, {rate:.1f} a second; rate of ours / bare")
    for k, name in enumerate(("the clock", "processor time")):
        values = [ratio[k] for ratio in ratios[1:]]  # the first warms up
        low, high = min(values), max(values)
        print(f"  by {name}: {statistics.median(values):.2f} ({low:.2f} to {high:.2f})")


def tagged(paths: list[Path], n: int) -> list[Path]:
    """As many files, the clips over and over with other tags at their ends: no two are the same,
    and encoding takes longest."""
    more = []
    for k in range(len(paths), n):
        more.append(paths[0].with_name(f"again{k:05d}.mp3"))
        tag = f"TAG{k:030d}".encode().ljust(128, b"\0")
        more[-1].write_bytes(paths[k % len(paths)].read_bytes() + tag)
    return paths + more


def tiny_files(folder: Path, n: int) -> Path:
    """So many wav files of a second, all different, a hundred a folder."""
    generator = np.random.default_rng(7)
    for k in range(n):
        place = folder / f"{k // 100:04d}"
        place.mkdir(parents=True, exist_ok=True)
        wave = generator.integers(-9_000, 9_000, 8_000, dtype=np.int16)
        soundfile.write(place / f"{k:06d} of a library.wav", wave, 8_000)
    return folder


def memory(run: str, folder: str) -> None:
    """The largest memory of this process, before and after it has classified a folder."""

    def peak_mib() -> float:
        # Of this program alone; the largest that getrusage tells is inherited from the parent.
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

    ensemble = panel.load([run])
    first = next(Path(folder).rglob("*.wav"))
    ensemble.classify(first)
    before = peak_mib()
    began = time.perf_counter()
    summary = classify_library(ensemble, [folder], Path(folder).with_suffix(".csv"))
    rate = summary.n_new / (time.perf_counter() - began)
    print(
        f"{summary.n_new} files of 1 s, {rate:.0f} a second: {peak_mib() - before:.1f} MiB beside "
        f"the {before:.0f} MiB of one file"
    )


if __name__ == "__main__":
    main()
