"""Embeddings of a pretrained encoder, and a small classifier above them.

Writes stereo MP3 clips of 30 s in genre folders and takes turns: everything from the files to the
cached embeddings, on all cores, and the bare network on waves that lie in memory. Then a linear
probe learns from 8,000 embeddings that were cached before. The encoder is musicnn, which must have
been fetched.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from genrecore.training import hardware

hardware.share_cores()  # as the command does, before torch is imported

# ruff: noqa: E402
import numpy as np
import torch
from corpus import write_clips

from genrecore.config.run import RunConfig, with_values
from genrecore.data import prepare
from genrecore.features import PRESETS, cache
from genrecore.models.encoders.files import card_of, load
from genrecore.store import runs
from genrecore.store.files import cache_dir
from genrecore.training import lifecycle
from genrecore.training.resolve import resolve

GENRES = ["blues", "jazz", "rock", "pop", "metal", "disco", "folk", "soul"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    encoders = cache_dir() / "encoders"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["GENRECORE_RUNS"] = str(home / "runs")
        embed(home, encoders, arguments.clips, arguments.rounds)
        train_head(home)


def embed(home: Path, encoders: Path, n_clips: int, n_rounds: int) -> None:
    """Clips a second from files to cached embeddings, beside the network alone."""
    network, hop = load("musicnn"), card_of("musicnn").hop_samples()
    music = home / "music"
    music.mkdir()
    for k, path in enumerate(write_clips(music, n_clips)):
        target = music / GENRES[k % len(GENRES)] / path.name
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    waves = 0.1 * torch.randn(4, 480_000)
    ratios = []
    for n in range(n_rounds):
        own_cache = home / f"cache {n}"  # with nothing in it yet
        own_cache.mkdir()
        (own_cache / "encoders").symlink_to(encoders)
        os.environ["GENRECORE_CACHE"] = str(own_cache)
        values = PRESETS["musicnn"].thing | {
            "dataset": "folder", "dataset.folder": str(music), "model": "linear_probe",
        }  # fmt: skip
        resolved = resolve(with_values(RunConfig(), values))
        began = time.perf_counter()
        corpus = prepare.decode(resolved.config).corpus
        cache.compute(corpus, resolved.config, resolved.front_end())
        whole = n_clips / (time.perf_counter() - began)
        began = time.perf_counter()
        with torch.inference_mode():
            for _ in range(max(1, n_clips // len(waves))):
                network.embeddings(waves, "penultimate", hop)
        bare = max(1, n_clips // len(waves)) * len(waves) / (time.perf_counter() - began)
        ratios.append(whole / bare)
        print(f"{whole:6.2f} clips/s from files to embeddings, the network alone {bare:6.2f}")
    print(f"ratio {statistics.median(ratios):.2f} (the goal is 0.85)")


def train_head(home: Path, n_clips: int = 8000) -> None:
    """Seconds in which a linear probe learns from embeddings that are there."""
    random, folder = np.random.default_rng(7), home / "vectors"
    centres = 0.35 * random.standard_normal((len(GENRES), 200))
    for k, genre in enumerate(GENRES):
        (folder / genre).mkdir(parents=True)
        rows = centres[k] + random.standard_normal((n_clips // len(GENRES), 200))
        for n, row in enumerate(rows.astype(np.float32)):
            np.save(folder / genre / f"{n}.npy", row)
    values = {
        "dataset": "folder", "dataset.folder": str(folder), "feature": "own_vector",
        "model": "linear_probe", "split": "stratified", "allow_leaks": True,
    }  # fmt: skip
    for seed in range(2):  # the first prepares
        config = resolve(with_values(RunConfig(), values | {"seed": seed})).config
        run, _ = runs.create_held_run(config)
        began = time.perf_counter()
        lifecycle.execute(run)
        took_s = time.perf_counter() - began
    fit_s = runs.find_run(run.run_id).history["seconds"].sum()
    print(f"{n_clips} cached embeddings: {took_s:.1f} s a run, {fit_s:.1f} s of it the probe")


if __name__ == "__main__":
    main()
