"""Samples per second of the trainer, against plain loops and against the bare step.

Four contestants take turns for a few rounds, ResNet-18 on 128 × 128 log-mel images, batch 32:

- ours: `genrecore.trainer.Trainer` as a run uses it, logging and all, features from the cache
- bare: forward, backward and step on resident random tensors, in our precision
- plain, cached: a float32 loop over a DataLoader that serves cached features
- plain, librosa: the same with librosa computing each item (reported only)

The ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from genrecore import classifier, feature_cache, hardware, preparation
from genrecore.classifier import Classifier
from genrecore.config import RunConfig, with_values
from genrecore.examples import Examples
from genrecore.jobfolder import Status
from genrecore.preparation import Prepared
from genrecore.progress import silent
from genrecore.trainer import Trainer

BATCH = 32


def main() -> None:
    """Prints each contestant's rate and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="optimiser steps per turn")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    config = classifier.resolve(
        with_values(
            RunConfig(),
            {
                "dataset.n_genres": 4,
                "dataset.n_clips": 40,
                "feature.frames": 128,
                "model": arguments.model,
                "training.epochs": 1,
                "training.batch_size": BATCH,
                "device": arguments.device,
            },
        )
    )
    chosen = hardware.choose(config.device)
    print(f"{chosen.name}; ours and bare: {chosen.reason} Plain loops: float32.")
    prepared = preparation.with_split(preparation.decode(config), config)
    contestants = {
        "ours": ours(config, prepared, chosen, arguments.steps),
        "bare": bare(config, prepared, chosen, arguments.steps),
        "plain, cached": plain(config, prepared, chosen, arguments.steps, Cached),
        "plain, librosa": plain(config, prepared, chosen, arguments.steps, WithLibrosa),
    }
    for turn in contestants.values():
        turn()  # warm-up
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(arguments.rounds):
        for name, turn in contestants.items():
            rates[name].append(turn())
    for name, values in rates.items():
        print(f"{name:16s} {statistics.median(values):8.1f} samples/s")
    for name in ("bare", "plain, cached", "plain, librosa"):
        ratios = [a / b for a, b in zip(rates["ours"], rates[name], strict=True)]
        print(
            f"ours / {name:14s} {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


def ours(
    config: RunConfig,
    prepared: Prepared,
    chosen: hardware.Hardware,
    steps: int,
    batch: int = BATCH,
    everything: bool = False,
):
    """A turn of the trainer: samples per second as its history reports them.

    Every turn draws from the same few examples, or from all that there are.
    """
    torch.manual_seed(0)
    net = Classifier(config, prepared.genres)
    chosen.prepare(net)
    keep = steps * batch
    examples = Examples(
        prepared.corpus, config, net.feature, prepared.clips, prepared.genres, chosen
    )
    everywhere = examples.trained_on()
    train = everywhere[:keep]
    assert len(train) == keep, f"only {len(train)} training segments; take fewer steps"
    net.fit_standardisation(lambda: map(examples.features, train.split(examples.most)))
    folder = Path(tempfile.mkdtemp(prefix="genrecore-benchmark-"))
    draws = torch.Generator().manual_seed(0)

    def turn() -> float:
        trainer = Trainer(config, net, examples, chosen, Status(folder), silent)
        some = torch.randperm(len(everywhere), generator=draws)[:keep]
        trainer.train, trainer.n_steps = everywhere[some] if everything else train, steps
        trainer.valid = trainer.valid[:batch]
        trainer.fit()
        return float(Status(folder).values["samples_per_s"])

    return turn


def bare(config: RunConfig, prepared: Prepared, chosen: hardware.Hardware, steps: int):
    """A turn of nothing but the step on random tensors that lie ready."""
    torch.manual_seed(0)
    net = Classifier(config, prepared.genres)
    shape = net.feature.output_shape
    network = chosen.prepare(net.network)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    images = torch.randn(BATCH, *shape, device=chosen.device)
    if chosen.channels_last:
        images = images.to(memory_format=torch.channels_last)
    targets = torch.eye(len(prepared.genres), device=chosen.device)[
        torch.randint(len(prepared.genres), (BATCH,), device=chosen.device)
    ]

    def turn() -> float:
        network.train()
        chosen.synchronize()
        began = time.perf_counter()
        for _ in range(steps):
            with chosen.autocast():
                logits = network(images)
            nn.functional.cross_entropy(logits.float(), targets).backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        chosen.synchronize()
        return steps * BATCH / (time.perf_counter() - began)

    return turn


class Cached(Dataset):
    """Features from the cache, one at a time, standardised, as most projects keep them."""

    def __init__(self, config: RunConfig, prepared: Prepared) -> None:
        net = Classifier(config, prepared.genres)
        features = feature_cache.compute(prepared.corpus, config, net.feature)
        self.rows = features.rows.numpy().copy()
        self.rows = (self.rows - self.rows.mean()) / self.rows.std()
        genre = features.segments["clip_id"].map(prepared.clips.set_index("clip_id")["genre"])
        self.labels = [prepared.genres.index(name) for name in genre]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.rows[index]), self.labels[index]


class WithLibrosa(Dataset):
    """Each item computed by librosa from the wave, as a first script does it."""

    def __init__(self, config: RunConfig, prepared: Prepared) -> None:
        import librosa

        self.librosa, self.prepared = librosa, prepared
        self.rate = config.audio.sample_rate_hz
        self.n = round(config.segments.segment_s * self.rate)

    def __len__(self) -> int:
        return len(self.prepared.clips)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        clip = self.prepared.clips.iloc[index]
        wave = self.prepared.corpus.wave(clip["clip_id"])[: self.n]
        mel = self.librosa.feature.melspectrogram(y=wave, sr=self.rate, n_mels=128)
        decibels = self.librosa.power_to_db(mel)[None, :, :128].astype(np.float32) / 40
        return torch.from_numpy(decibels), self.prepared.genres.index(clip["genre"])


def plain(
    config: RunConfig,
    prepared: Prepared,
    chosen: hardware.Hardware,
    steps: int,
    dataset: type[Dataset],
):
    """A turn of the loop that most projects write: float32, DataLoader, .item() each step."""
    torch.manual_seed(0)
    network = Classifier(config, prepared.genres).network.to(chosen.device)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    items = dataset(config, prepared)

    def turn() -> float:
        network.train()
        # Workers would take cores from the network; on two cores none is the fastest choice.
        loader = DataLoader(items, batch_size=BATCH, shuffle=True, drop_last=True)
        done, running_loss, began = 0, 0.0, time.perf_counter()
        while done < steps:
            for images, labels in loader:
                images, labels = images.to(chosen.device), labels.to(chosen.device)
                optimiser.zero_grad()
                loss = nn.functional.cross_entropy(network(images), labels)
                loss.backward()
                optimiser.step()
                running_loss += loss.item()
                done += 1
                if done == steps:
                    break
        return steps * BATCH / (time.perf_counter() - began)

    return turn


if __name__ == "__main__":
    main()
