"""What fresh augmentation costs a training step: Belton's five augmentations, and without.

ResNet-18 on 3 × 256 × 1,320 log-mel images of 30 s clips, as in Belton's fourth experiment,
which took 7.4 times as long as the third. Two trainers take turns for a few rounds:

- plain: features from the cache
- augmented: noise, shift, pitch, speed and percussive with p = 0.25 each, drawn anew for every
  example and epoch, features computed from the changed waves

The ratio is of seconds a sample, the median over the rounds.
"""

from __future__ import annotations

import argparse
import statistics

from training import ours

from genrecore.config.run import RunConfig, with_values
from genrecore.data import prepare
from genrecore.training import hardware
from genrecore.training.resolve import resolve

BELTON = ("noise", "shift", "pitch", "speed", "percussive")


def main() -> None:
    """Prints each trainer's rate and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="optimiser steps per turn")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", default="", help="GTZAN; by default 30 s of demo music a clip")
    arguments = parser.parse_args()
    values = {
        "feature.n_fft": 1024,
        "feature.n_mels": 256,
        "feature.frames": 1320,
        "feature.fit": "pad",
        "feature.channels": 3,
        "segments.segment_s": 0,
        "model": "resnet18",
        "training.epochs": 1,
        "training.batch_size": arguments.batch,
        "device": arguments.device,
        "split": "stratified",
        "allow_leaks": True,
    }
    if arguments.folder:
        values |= {"dataset": "gtzan", "dataset.folder": arguments.folder}
    else:
        n_clips = max(10, arguments.steps * arguments.batch // 2)
        values |= {"dataset.n_genres": 4, "dataset.n_clips": n_clips, "dataset.clip_s": 30.0}
    plain = resolve(with_values(RunConfig(), values)).config
    changed = {"augment": ",".join(BELTON)} | {f"augment.{name}.p": 0.25 for name in BELTON}
    augmented = resolve(with_values(plain, changed)).config
    chosen = hardware.choose(plain.device)
    print(f"{chosen.name}, {chosen.n_threads} threads; {chosen.reason}")
    prepared = prepare.with_split(prepare.decode(plain), plain)
    turns = {
        name: ours(config, prepared, chosen)
        for name, config in (("plain", plain), ("augmented", augmented))
    }
    for turn in turns.values():
        turn(arguments.steps)  # warm-up
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(arguments.rounds):
        for name, turn in turns.items():
            rates[name].append(turn(arguments.steps).per_s)
    for name, paces in rates.items():
        print(f"{name:10s} {statistics.median(paces):8.2f} samples/s")
    ratios = [a / b for a, b in zip(rates["plain"], rates["augmented"], strict=True)]
    print(
        f"augmented takes {statistics.median(ratios):.2f} times as long as plain "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
