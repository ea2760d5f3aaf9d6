"""Whether features are fed as fast from a file that does not fit into memory.

ResNet-18 on 128 × 128 log-mel images, batch 32, as in `training.py`; but the cached features are
a file larger than the memory that this process may use (a cgroup's limit; Linux, as root). The
trainer and the bare step on resident tensors take turns; what was read from the disk meanwhile
shows that the file did not fit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
from collections.abc import Iterator
from pathlib import Path

from training import BATCH, bare, ours

from genrecore.config.run import RunConfig, with_values
from genrecore.data import prepare
from genrecore.features import cache as feature_cache
from genrecore.training import hardware
from genrecore.training.classifier import Classifier
from genrecore.training.parts import ResolvedConfig
from genrecore.training.resolve import resolve

GROUPS = Path("/sys/fs/cgroup/memory")


def main() -> None:
    """Prints both rates, their ratio and how much was read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="optimiser steps per turn")
    parser.add_argument("--clips", type=int, default=60, help="clips of 30 s in each of 4 genres")
    parser.add_argument("--limit-mb", type=int, default=800, help="memory for a step and the file")
    arguments = parser.parse_args()
    values = {
        "dataset.n_genres": 4,
        "dataset.n_clips": arguments.clips,
        "dataset.clip_s": 30.0,
        "segments.overlap": 0.9,
        "feature.frames": 128,
        "model": "resnet18",
        "training.epochs": 1,
        "training.batch_size": BATCH,
    }
    config = resolve(with_values(RunConfig(), values)).config
    chosen = hardware.choose(config.device)
    prepared = prepare.with_split(prepare.decode(config), config)
    feature = Classifier(ResolvedConfig(config), prepared.genres).feature
    n_bytes = feature_cache.compute(prepared.corpus, config, feature).rows.nbytes
    turns = {
        "ours": ours(config, prepared, chosen, everything=True),
        "bare": bare(config, prepared, chosen),
    }
    for turn in turns.values():
        turn(arguments.steps)  # warm-up, and the most memory that is needed
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")  # nothing of the file lies in memory
    print(
        f"Features: {n_bytes / 2**20:.0f} MB; memory for them and for what a step needs: "
        f"{arguments.limit_mb} MB."
    )
    with limited(arguments.limit_mb * 2**20):
        rates: dict[str, list[float]] = {name: [] for name in turns}
        before = read_bytes()
        for _ in range(arguments.rounds):
            for name, turn in turns.items():
                rates[name].append(turn(arguments.steps).per_s)
        n_read = read_bytes() - before
    for name, paces in rates.items():
        print(f"{name:6s} {statistics.median(paces):8.1f} samples/s")
    n_examples = arguments.rounds * arguments.steps * BATCH
    print(f"read from the disk: {n_read / 2**20:.0f} MB for {n_examples} examples")
    ratios = [a / b for a, b in zip(rates["ours"], rates["bare"], strict=True)]
    print(f"ours / bare {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


@contextlib.contextmanager
def limited(n_bytes: int) -> Iterator[None]:
    """Lets this process use so much more memory than it uses now, pages of files included."""
    group = GROUPS / f"genrecore-{os.getpid()}"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(n_bytes))
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (GROUPS / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def read_bytes() -> int:
    """What this process had the disk read so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])


if __name__ == "__main__":
    main()
