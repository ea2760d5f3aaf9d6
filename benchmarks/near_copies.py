"""Seconds of the near-copy search over 10 000 clips of 30 s, once their fingerprints exist.

The fingerprints are made up: smoothed noise gives them the statistics of real ones (a bit resembles
its neighbours in time and pitch, a tenth of the clips are loops). Every fiftieth clip is a planted
copy, shifted and with a tenth of its bits turned, as mp3 at 32 kbit/s turns them. Also measures how
long making a fingerprint takes.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import scipy.ndimage

from genrecore.audio.fingerprint import HOP_S, fingerprint
from genrecore.data.audit.near_copies import near_copies

RATE_HZ = 22_050
EVERY = 50
"""One of so many clips is a copy of the one before."""


def main() -> None:
    """Prints seconds, and how many planted pairs were found and how many others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--clip-s", type=float, default=30.0)
    arguments = parser.parse_args()

    generator = np.random.default_rng(7)
    wave = generator.standard_normal(round(arguments.clip_s * RATE_HZ)).astype(np.float32) / 10
    began = time.perf_counter()
    for _ in range(10):
        fingerprint(wave, RATE_HZ)
    print(f"one fingerprint of {arguments.clip_s:g} s: {(time.perf_counter() - began) / 10:.3f} s")

    prints, planted = made_up(arguments.clips, round(arguments.clip_s / HOP_S), generator)
    n_bytes = sum(print_.nbytes for print_ in prints.values())
    began = time.perf_counter()
    copies = near_copies(prints)
    seconds = time.perf_counter() - began
    pairs = set(zip(copies["clip_a"], copies["clip_b"], strict=True))
    print(
        f"{len(prints)} clips, {n_bytes / 1e6:.0f} MB, {len(os.sched_getaffinity(0))} cores: "
        f"{seconds:.1f} s; {len(pairs & planted)} of {len(planted)} planted pairs found, "
        f"{len(pairs - planted)} others"
    )


def made_up(
    n_clips: int, n_frames: int, generator: np.random.Generator
) -> tuple[dict[str, np.ndarray], set[tuple[str, str]]]:
    """Fingerprints by name, and the planted pairs."""
    prints: dict[str, np.ndarray] = {}
    planted = set()
    for number in range(n_clips):
        name = f"clip{number:06d}"
        if number % EVERY == EVERY - 1:
            original = f"clip{number - 1:06d}"
            planted.add((original, name))
            prints[name] = turned(np.roll(prints[original], 173), generator)
            continue
        length = n_frames if number % 10 else 172  # a loop of 2 s
        field = generator.standard_normal((length, 32), dtype=np.float32)
        field = scipy.ndimage.gaussian_filter(field, (5.0, 0.7), mode="wrap")
        bits = np.packbits(field > 0, axis=1, bitorder="little").view("<u4")[:, 0]
        prints[name] = np.resize(bits, n_frames).astype(np.uint32)
    return prints, planted


def turned(print_: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The fingerprint with one bit of ten turned over."""
    bits = generator.random((len(print_), 32), dtype=np.float32) < 0.1
    return print_ ^ np.packbits(bits, axis=1, bitorder="little").view("<u4")[:, 0]


if __name__ == "__main__":
    main()
