"""Embeddings of a pretrained encoder, and a small classifier above them.

Writes stereo MP3 clips of 30 s in genre folders and takes turns: everything from the files to the
cached embeddings, on all cores, and the bare network on waves that lie in memory. Then a linear
probe learns from 8,000 embeddings that were cached before. The encoder is musicnn, which must have
been fetched.
"""

from __future__ import annotations

import argparse
import os
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
    """Clips a second from files to cached embeddings, beside the network alone, which gets a clip
    a core: threads that share one would wait for one another."""
    network, hop = load("musicnn"), card_of("musicnn").hop_samples()
    n_cores = torch.get_num_threads()

    @torch.inference_mode()
    def bare(wave: torch.Tensor) -> None:
        network.embeddings(wave, ("penultimate",), hop)

    music = home / "music"
    music.mkdir()
    for k, path in enumerate(write_clips(music, n_clips)):
        target = music / GENRES[k % len(GENRES)] / path.name
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    waves = list(0.1 * torch.randn(n_clips, 1, 480_000))
    took: list[tuple[float, ...]] = []
    for n in range(n_rounds):
        own_cache = home / f"cache {n}"  # with nothing in it yet
        own_cache.mkdir()
        (own_cache / "encoders").symlink_to(encoders)
        os.environ["GENRECORE_CACHE"] = str(own_cache)
        values = PRESETS["musicnn"].thing | {
            "dataset": "folder", "dataset.folder": str(music), "model": "linear_probe",
        }  # fmt: skip
        resolved = resolve(with_values(RunConfig(), values))
        marks = [(time.perf_counter(), time.process_time())]
        corpus = prepare.decode(resolved.config).corpus
        marks.append((time.perf_counter(), time.process_time()))
        cache.compute(corpus, resolved.config, resolved.front_end())
        marks.append((time.perf_counter(), time.process_time()))
        hardware.map_on_cores(bare, waves)
        marks.append((time.perf_counter(), time.process_time()))
        took.append(tuple(np.diff(np.array(marks), axis=0).T.ravel() / n_clips))
    print(f"{n_clips} clips, {n_cores} threads; the network alone / from files to embeddings")
    for name, seconds in zip(
        ("clock", "processor time"), np.hsplit(np.array(took), 2), strict=True
    ):
        ratios = seconds[:, 2] / seconds[:, :2].sum(axis=1)
        decoding, features, alone = np.median(seconds, axis=0)
        print(
            f"  by {name}: {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f}; the "
            f"goal is 0.85); s a clip: decoding {decoding:.2f}, embedding {features:.2f}, the "
            f"network alone {alone:.2f}"
        )


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
