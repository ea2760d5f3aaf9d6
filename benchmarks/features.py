"""Clips per second of log-mel features, against librosa and against the bare FFTs, per core.

Contestants take turns for a few rounds, on one thread, 2048 samples a window, 512 a hop, 128 bands:

- ours: the feature `log_mel` on a batch of clips
- ours, 3 s: the same seconds of sound in segments of 3 s
- librosa: melspectrogram and power_to_db, clip by clip
- bare FFTs: torch.fft.rfft of as many windows, which lie ready in memory
- bare FFTs, in cache: the same in pieces that stay in the processor's cache, the fastest there is

The ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import librosa
import numpy as np
import threadpoolctl
import torch

from genrecore.features import FEATURES

RATE_HZ, N_FFT, HOP = 22_050, 2048, 512
IN_CACHE = 128
"""Windows at a time: 1 MiB in, 1 MiB out."""


def main() -> None:
    """Prints each contestant's rate and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--clip-s", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1, help="of each contestant")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    n_samples = round(arguments.clip_s * RATE_HZ)
    generator = torch.Generator().manual_seed(7)
    clips = 0.1 * torch.randn(arguments.clips, 1, n_samples, generator=generator)
    segments = clips.reshape(arguments.clips * 10, 1, -1)
    frames = torch.randn(arguments.clips * (1 + n_samples // HOP), N_FFT, generator=generator)
    contestants = {
        "ours": log_mel(clips),
        "ours, 3 s": log_mel(segments),
        "librosa": lambda: [by_librosa(clip[0].numpy()) for clip in clips],
        "bare FFTs": lambda: torch.fft.rfft(frames),
        "bare FFTs, in cache": lambda: [torch.fft.rfft(few) for few in frames.split(IN_CACHE)],
    }
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    with threadpoolctl.threadpool_limits(arguments.threads):
        agree(clips[0, 0].numpy(), contestants["ours"]()[0, 0].numpy())
        for work in contestants.values():
            work()  # warm-up
        for _ in range(arguments.rounds):
            for name, work in contestants.items():
                rates[name].append(arguments.clips / seconds(work))
    print(
        f"{arguments.clips} clips of {arguments.clip_s:g} s at {RATE_HZ} Hz, "
        f"{arguments.threads} of {len(os.sched_getaffinity(0))} cores"
    )
    for name, values in rates.items():
        print(f"{name:20s} {statistics.median(values):8.1f} clips/s (best {max(values):.1f})")
    for ours in ("ours", "ours, 3 s"):
        for contestant in ("librosa", "bare FFTs", "bare FFTs, in cache"):
            ratios = [a / b for a, b in zip(rates[ours], rates[contestant], strict=True)]
            print(
                f"{ours:9s} / {contestant:20s} {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


def log_mel(waves: torch.Tensor) -> Callable[[], torch.Tensor]:
    """The feature at its defaults, on all of the waves (batch, 1, n_samples)."""
    entry = FEATURES["log_mel"]
    feature = entry.thing(entry.options(), RATE_HZ, waves.shape[2])
    return torch.no_grad()(lambda: feature(waves))


def by_librosa(wave: np.ndarray) -> np.ndarray:
    """What a first script does."""
    mel = librosa.feature.melspectrogram(y=wave, sr=RATE_HZ, n_fft=N_FFT, hop_length=HOP)
    return librosa.power_to_db(mel)


def agree(wave: np.ndarray, ours: np.ndarray) -> None:
    """Both make the same image, or there is nothing to compare."""
    np.testing.assert_allclose(ours, by_librosa(wave), atol=1e-3)  # dB; float32


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
