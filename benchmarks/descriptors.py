"""The 57 descriptors of a clip: seconds on one core, against librosa called once per descriptor.

Both take turns on every clip of 30 s at 22 050 Hz, with one thread each: librosa's nine functions
as the published table's author called them, and `genrecore.audio.descriptors`. Clips are GTZAN's
where GENRECORE_TEST_DATA (or ../shared/data) holds some, else demo music; or a folder of your own.
Then the same clips once more on as many threads as there are cores, ours alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy as np
from threadpoolctl import threadpool_limits

from genrecore.audio import decode
from genrecore.audio.descriptor_names import DESCRIPTORS
from genrecore.audio.descriptors import descriptors
from genrecore.data import datasets

RATE_HZ = 22_050
CLIP_S = 30.0


def main() -> None:
    """Prints medians, ranges and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="audio of your own")
    arguments = parser.parse_args()
    paths = find_clips(arguments.folder, arguments.clips)
    waves = [decode.decode(path, RATE_HZ, middle_s=CLIP_S).wave for path in paths]
    with threadpool_limits(1):
        measure(waves, arguments.rounds)
        with_threads(waves, arguments.rounds)


def find_clips(folder: Path | None, n: int) -> list[Path]:
    """So many clips, evenly spread over what there is."""
    data = os.environ.get("GENRECORE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")
    folder = folder or Path(data) / "gtzan" / "genres_original"
    paths = sorted(path for path in folder.rglob("*") if path.suffix in decode.FORMATS)
    where = str(folder)
    if not paths:
        table = datasets.load("demo", {"n_clips": 4, "clip_s": CLIP_S})
        paths, where = [Path(path) for path in table["path"]], "demo music"
    chosen = paths[:: max(1, len(paths) // n)][:n]
    print(f"{len(chosen)} clips of {where}")
    return chosen


def with_librosa(wave: np.ndarray) -> np.ndarray:
    """The 57 descriptors in their order, each by librosa's own function at its defaults."""
    feature = librosa.feature
    series = [
        feature.chroma_stft(y=wave, sr=RATE_HZ),
        feature.rms(y=wave),
        feature.spectral_centroid(y=wave, sr=RATE_HZ),
        feature.spectral_bandwidth(y=wave, sr=RATE_HZ),
        feature.spectral_rolloff(y=wave, sr=RATE_HZ),
        feature.zero_crossing_rate(wave),
        *librosa.effects.hpss(wave),
    ]
    tempo, _ = librosa.beat.beat_track(y=wave, sr=RATE_HZ)
    numbers = [number for values in series for number in (values.mean(), values.var())]
    numbers.append(np.atleast_1d(tempo)[0])
    for values in feature.mfcc(y=wave, sr=RATE_HZ, n_mfcc=20):
        numbers += [values.mean(), values.var()]
    return np.array(numbers, dtype=np.float64)


def measure(waves: list[np.ndarray], rounds: int) -> None:
    """Both on every clip in turn, so that what else the machine does meets both."""
    contestants = {
        "ours": lambda wave: descriptors(wave, RATE_HZ),
        "librosa": with_librosa,
    }
    for name, compute in contestants.items():
        began = time.perf_counter()
        assert compute(waves[0]).shape == (len(DESCRIPTORS),)
        print(f"{name:8s} first call of this process {time.perf_counter() - began:6.2f} s")
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for wave in waves:
            for name, compute in contestants.items():
                began = time.perf_counter()
                compute(wave)
                seconds[name].append(time.perf_counter() - began)
    print(f"one thread, {rounds} rounds, seconds a clip:")
    for name, values in seconds.items():
        print(f"{name:8s} {statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})")
    ratios = [a / b for a, b in zip(seconds["librosa"], seconds["ours"], strict=True)]
    print(
        f"ours is {statistics.median(ratios):.1f} times as fast "
        f"({min(ratios):.1f} to {max(ratios):.1f})"
    )


def with_threads(waves: list[np.ndarray], rounds: int) -> None:
    """Clips per second of ours by one thread and by one a core, in turns."""
    n_cores = len(os.sched_getaffinity(0))
    ratios = []
    for _ in range(rounds):
        rates = []
        for n_threads in (1, n_cores):
            began = time.perf_counter()
            with ThreadPoolExecutor(n_threads) as pool:
                list(pool.map(lambda wave: descriptors(wave, RATE_HZ), waves))
            rates.append(len(waves) / (time.perf_counter() - began))
        ratios.append(rates[1] / rates[0])
    print(
        f"{n_cores} threads are {statistics.median(ratios):.2f} times as fast as one "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
