"""Speed of the trainer, against plain loops and against the bare step; contestants take turns.

By default four of them train ResNet-18 on 128 × 128 log-mel images, batch 32:

- ours: `genrecore.training.loop.Trainer` as a run uses it, logging and all, features from the cache
- bare: forward, backward and step on resident random tensors, in our precision
- plain, cached: a float32 loop over a DataLoader that serves cached features
- plain, librosa: the same with librosa computing each item (reported only)

`--study` takes a model at the input and with the recipe of its study instead, `--all` every network
so (ours against bare), and `--tiny` measures a whole run of steps that take next to no time.

The ratios are medians over the rounds, of wall time and of the processor time of all threads; what
else the machine does meanwhile moves the first more than the second.
"""

from __future__ import annotations

import argparse
import atexit
import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from genrecore.training import hardware

hardware.share_cores()  # as the command does, before torch is imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

from genrecore.config.run import RunConfig, with_values  # noqa: E402
from genrecore.data import prepare as preparation  # noqa: E402
from genrecore.data.prepare import Prepared  # noqa: E402
from genrecore.features import cache as feature_cache  # noqa: E402
from genrecore.models import MODELS  # noqa: E402
from genrecore.store.progress import Report  # noqa: E402
from genrecore.store.run import Run  # noqa: E402
from genrecore.training import model_inputs  # noqa: E402
from genrecore.training import optimisation as recipe  # noqa: E402
from genrecore.training.classifier import Classifier  # noqa: E402
from genrecore.training.epochs import PooledClips  # noqa: E402
from genrecore.training.examples import Examples  # noqa: E402
from genrecore.training.loop import Trainer  # noqa: E402
from genrecore.training.parts import ResolvedConfig  # noqa: E402
from genrecore.training.progress import RunProgress  # noqa: E402
from genrecore.training.resolve import resolve  # noqa: E402

BATCH = 32
N_GENRES = 4
TINY = 600  # examples


class Pace(NamedTuple):
    """How fast a turn was."""

    per_s: float  # samples a second
    cpu_s: float  # processor seconds a sample


Turn = Callable[[int], Pace]
"""`turn(steps)` takes so many optimiser steps."""


def main() -> None:
    """Prints rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=0, help="a turn; by default about 2 s of them")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--study", action="store_true", help="the input of the model's study")
    parser.add_argument(
        "--all", nargs="*", metavar="NAME", help="every network, or these, ours against bare"
    )
    parser.add_argument("--tiny", action="store_true", help="a whole run of tiny steps")
    parser.add_argument("--epochs", type=int, default=300, help="of the run of tiny steps")
    arguments = parser.parse_args()
    chosen = hardware.choose(arguments.device)
    print(f"{chosen.name}; ours and bare: {chosen.reason} Plain loops: float32.", flush=True)
    hardware.keep_memory()  # as training does; so the others have it, too
    if arguments.tiny:
        tiny(arguments.rounds, arguments.epochs, arguments.device)
    elif arguments.all is not None:
        networks = [name for name in MODELS if not MODELS[name].facts.classical]
        for name in arguments.all or networks:
            alone(name, arguments)
    else:
        compared(arguments)


def compared(arguments: argparse.Namespace) -> None:
    """All contestants on one model; without librosa where the input is a study's own."""
    config = studied(arguments) if arguments.study else small(arguments)
    chosen = hardware.choose(config.device)
    prepared = preparation.with_split(preparation.decode(config), config)
    contestants = {
        "ours": ours(config, prepared, chosen),
        "bare": bare(config, prepared, chosen),
        "plain, cached": plain(config, prepared, chosen, Cached),
    }
    if not arguments.study:
        contestants["plain, librosa"] = plain(config, prepared, chosen, WithLibrosa)
    rounds = taken_in_turns(contestants, arguments)
    for name, paces in rounds.items():
        print(f"{name:16s} {statistics.median(pace.per_s for pace in paces):8.1f} samples/s")
    for name in list(contestants)[1:]:
        print(f"ours / {name:14s} {ratios(rounds['ours'], rounds[name])}")


def alone(name: str, arguments: argparse.Namespace) -> None:
    """Ours against bare for one network on the input of its study."""
    config = studied(argparse.Namespace(model=name, device=arguments.device))
    chosen = hardware.choose(config.device)
    prepared = preparation.with_split(preparation.decode(config), config)
    rounds = taken_in_turns(
        {"ours": ours(config, prepared, chosen), "bare": bare(config, prepared, chosen)}, arguments
    )
    size = config.training.batch_size
    step_ms = 1e3 * size / statistics.median(pace.per_s for pace in rounds["bare"])
    print(
        f"{name:20s} batch {size:3d}, bare step {step_ms:8.1f} ms, ours / bare "
        f"{ratios(rounds['ours'], rounds['bare'])}",
        flush=True,
    )


def taken_in_turns(
    contestants: dict[str, Turn], arguments: argparse.Namespace
) -> dict[str, list[Pace]]:
    """What each contestant reached in each round, after a first step that does not count."""
    for turn in contestants.values():
        turn(1)
    steps = arguments.steps
    if not steps:
        began = time.perf_counter()
        contestants["bare"](1)
        steps = max(1, min(200, round(2.0 / (time.perf_counter() - began))))
    measured: dict[str, list[Pace]] = {name: [] for name in contestants}
    for _ in range(arguments.rounds):
        for name, turn in contestants.items():
            measured[name].append(turn(steps))
    return measured


def ratios(first: list[Pace], second: list[Pace]) -> str:
    """How much faster the first is: by the clock, and by the processor time of a sample."""
    wall = [a.per_s / b.per_s for a, b in zip(first, second, strict=True)]
    cpu = [b.cpu_s / a.cpu_s for a, b in zip(first, second, strict=True)]
    return f"{spread(wall)}; by processor time {spread(cpu)}"


def spread(values: list[float]) -> str:
    """The median, and the range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def small(arguments: argparse.Namespace) -> RunConfig:
    """Any model of images on 128 × 128."""
    values = {
        "dataset.n_genres": N_GENRES,
        "dataset.n_clips": 40,
        "feature.frames": 128,
        "model": arguments.model,
        "training.epochs": 1,
        "training.batch_size": BATCH,
        "device": arguments.device,
    }
    return resolve(with_values(RunConfig(), values)).config


def studied(arguments: argparse.Namespace) -> RunConfig:
    """A model on the input of its study and with its recipe, but on demo music: as many clips as
    make a batch."""
    config = model_inputs.study_config(arguments.model)
    form = config.dataset.options.get("form", "audio")
    described = model_inputs.described(*model_inputs.front_end(config))
    n_segments = described.n_segments if config.segments.excerpts == "all" else 1
    n_clips = math.ceil(config.training.batch_size / n_segments / N_GENRES / 0.6)
    values = {
        "dataset": "demo",
        "dataset.form": form,
        "dataset.n_genres": N_GENRES,
        "dataset.n_clips": max(5, n_clips),
        "dataset.clip_s": math.ceil(config.audio.clip_s),
        "split": "stratified",
        "split.n_folds": 5,
        "device": arguments.device,
    }
    return resolve(with_values(config, values)).config


class _Enough(Exception):
    """The steps that were to be measured are taken."""


def ours(
    config: RunConfig, prepared: Prepared, chosen: hardware.Hardware, everything: bool = False
) -> Turn:
    """Turns of the trainer: its steps from the first batch to where it would validate.

    Every turn draws from the same few examples, or from all that there are.
    """
    net, examples = built(config, prepared, chosen)
    everywhere, size = examples.trained_on(), config.training.batch_size
    folder = Path(tempfile.mkdtemp(prefix="genrecore-benchmark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    draws = torch.Generator().manual_seed(0)

    def turn(steps: int) -> Pace:
        trainer = Trainer(net, examples, chosen, RunProgress(Run(folder), enough_at(steps)))
        keep = steps * size
        many = everywhere.repeat(math.ceil(keep / len(everywhere)))
        if everything:
            many = many[torch.randperm(len(many), generator=draws)]
        trainer.train, trainer.n_steps = many[:keep], steps
        trainer.valid = trainer.valid[:size]
        trainer.valid_clips = PooledClips(examples.segments, trainer.valid, net.genres)
        watch = Watch(chosen)
        try:
            trainer.fit()
        except _Enough:
            return watch.pace(keep)
        raise AssertionError("the trainer reported no validation")

    return turn


def built(
    config: RunConfig, prepared: Prepared, chosen: hardware.Hardware
) -> tuple[Classifier, Examples]:
    """Network and examples as a run makes them."""
    torch.manual_seed(0)
    net = Classifier(ResolvedConfig(config), prepared.genres, prepared.corpus.shape)
    chosen.prepare(net)
    examples = Examples(
        prepared.corpus, net.resolved, net.feature, prepared.clips, prepared.genres, chosen
    )
    train = examples.in_split("train")
    net.fit_standardisation(lambda: map(examples.features, train.split(examples.most)))
    return net, examples


def enough_at(n_steps: int) -> Report:
    """A report that ends the training after so many steps."""

    def report(phase: str, done: int, total: int) -> None:
        if done >= n_steps:
            raise _Enough

    return report


class Watch:
    """Wall and processor time since it was made."""

    def __init__(self, chosen: hardware.Hardware) -> None:
        self._chosen = chosen
        chosen.synchronize()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def pace(self, n_samples: int) -> Pace:
        """The pace at which so many samples were seen."""
        self._chosen.synchronize()
        wall_s, cpu_s = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Pace(n_samples / wall_s, cpu_s / n_samples)


def bare(config: RunConfig, prepared: Prepared, chosen: hardware.Hardware) -> Turn:
    """Turns of nothing but the step on random tensors that lie ready."""
    torch.manual_seed(0)
    net = Classifier(ResolvedConfig(config), prepared.genres, prepared.corpus.shape)
    chosen.prepare(net)
    size = config.training.batch_size

    def random(shape: tuple[int, ...]) -> Tensor:
        tensor = torch.randn(size, *shape, device=chosen.device)
        if chosen.channels_last and tensor.ndim == 4:
            tensor = tensor.to(memory_format=torch.channels_last)
        return tensor

    shape: Any = net.feature.output_shape
    pair = isinstance(shape[0], tuple)
    described: Any = tuple(random(part) for part in shape) if pair else random(shape)
    targets = torch.eye(len(prepared.genres), device=chosen.device)[
        torch.randint(len(prepared.genres), (size,), device=chosen.device)
    ]

    def turn(steps: int) -> Pace:
        net.train()
        watch = Watch(chosen)
        optimiser = recipe.optimiser(config.training, net.parameters())
        for _ in range(steps):
            with chosen.autocast():
                heads = net.heads(described)
            losses = (
                weight * nn.functional.cross_entropy(logits.float(), targets)
                for weight, logits in heads
            )
            sum(losses, torch.zeros((), device=chosen.device)).backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return watch.pace(steps * size)

    return turn


def tiny(rounds: int, n_epochs: int, device: str) -> None:
    """A whole run of ours, with validation, history, status and checkpoint, against the bare loop
    of the same steps: a perceptron on 57 descriptors, batch 8."""
    values = {
        "dataset.form": "table_30s",
        "dataset.n_genres": N_GENRES,
        "dataset.n_clips": 200,
        "dataset.clip_s": 1.0,
        "split": "stratified",
        "split.n_folds": 8,
        "feature": "descriptors",
        "model": "mlp",
        "training.epochs": n_epochs,
        "training.batch_size": 8,
        "device": device,
    }
    config = resolve(with_values(RunConfig(), values)).config
    chosen = hardware.choose(config.device)
    prepared = preparation.with_split(preparation.decode(config), config)
    alone = bare(config, prepared, chosen)
    measured: dict[str, list[Pace]] = {"bare": [], "ours": []}
    steps = TINY // 8
    for _ in range(rounds):
        measured["bare"].append(alone(steps * n_epochs))
        net, examples = built(config, prepared, chosen)
        with tempfile.TemporaryDirectory(prefix="genrecore-benchmark-") as folder:
            trainer = Trainer(net, examples, chosen, RunProgress(Run(Path(folder))))
            assert len(trainer.train) == TINY
            watch = Watch(chosen)
            trainer.fit()
            measured["ours"].append(watch.pace(steps * n_epochs * 8))
    for name, paces in measured.items():
        step_us = 8e6 / statistics.median(pace.per_s for pace in paces)
        cpu_us = 8e6 * statistics.median(pace.cpu_s for pace in paces)
        print(f"{name}  {step_us:5.0f} µs a step ({cpu_us:.0f} µs of processor time)")
    print(
        f"{n_epochs} epochs of {steps} steps, validated on {len(trainer.valid)}: the whole run "
        f"takes x times as long as the bare loop, x = {ratios(measured['bare'], measured['ours'])}"
    )


class Cached(Dataset):
    """Features from the cache, one at a time, standardised, as most projects keep them."""

    def __init__(self, config: RunConfig, prepared: Prepared) -> None:
        net = Classifier(ResolvedConfig(config), prepared.genres, prepared.corpus.shape)
        features = feature_cache.compute(prepared.corpus, config, net.feature)
        self.rows, self.n_channels = features.rows.numpy().copy(), features.channels
        self.rows = (self.rows - self.rows.mean()) / self.rows.std()
        genre = features.segments["clip_id"].map(prepared.clips.set_index("clip_id")["genre"])
        self.labels = [prepared.genres.index(name) for name in genre]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        row = torch.from_numpy(self.rows[index])
        return row.expand(self.n_channels, *row.shape[1:]), self.labels[index]


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
    config: RunConfig, prepared: Prepared, chosen: hardware.Hardware, dataset: type[Dataset]
) -> Turn:
    """Turns of the loop that most projects write: float32, channels first, DataLoader, .item()
    each step."""
    torch.manual_seed(0)
    net = Classifier(ResolvedConfig(config), prepared.genres, prepared.corpus.shape).to(
        chosen.device
    )
    items, size = dataset(config, prepared), config.training.batch_size

    def turn(steps: int) -> Pace:
        net.train()
        watch = Watch(chosen)
        optimiser = torch.optim.Adam(net.parameters(), lr=config.training.lr)
        # Workers would take cores from the network; on two cores none is the fastest choice.
        loader = DataLoader(items, batch_size=size, shuffle=True, drop_last=True)
        done, running_loss = 0, 0.0
        while done < steps:
            for images, labels in loader:
                images, labels = images.to(chosen.device), labels.to(chosen.device)
                optimiser.zero_grad()
                loss = torch.zeros((), device=chosen.device)
                for weight, logits in net.heads(images):
                    loss = loss + weight * nn.functional.cross_entropy(logits, labels)
                loss.backward()
                optimiser.step()
                running_loss += loss.item()
                done += 1
                if done == steps:
                    break
        return watch.pace(steps * size)

    return turn


if __name__ == "__main__":
    main()
