"""The training loop: draw, forward, backward, step, log; then the test with the chosen epoch.

The trainer writes raw predictions, not scores. The only score it computes is the validation one,
to choose the epoch. It can be stopped between any two steps and goes on, on the CPU bit for bit,
as if it had not been.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from genrecore import classifier as classifiers
from genrecore.classifier import Classifier
from genrecore.config import RunConfig, Training
from genrecore.examples import Examples
from genrecore.hardware import Hardware
from genrecore.jobfolder import Status, write_bytes
from genrecore.metrics import clip_proba
from genrecore.progress import Report, Stopped

_PREDICT_BATCH = 128
_LEAST_BETWEEN_CHECKPOINTS_S = 30.0
_CHECKPOINT_SHARE = 0.05  # of the run's time, at most


class Trainer:
    """One run's training; `fit` may be left by `Stopped` at any step and entered again."""

    def __init__(
        self,
        config: RunConfig,
        classifier: Classifier,
        examples: Examples,
        hardware: Hardware,
        status: Status,
        report: Report,
    ) -> None:
        self.config, self.recipe = config, config.training
        self.classifier, self.examples, self.hardware = classifier, examples, hardware
        self.folder, self.status, self.report = status.folder, status, report
        self.train, self.valid = examples.trained_on(), examples.of("valid")
        size = self.recipe.batch_size
        # A last batch of one segment has no spread to normalise by, so it is left out.
        self.n_steps = max(1, len(self.train) // size + (len(self.train) % size > 1))
        self.optimiser = _optimiser(self.recipe, classifier)
        self.schedule = _schedule(self.recipe, self.optimiser, self.n_steps * self.recipe.epochs)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.epoch = 0  # finished epochs
        self.step = 0  # finished steps of the epoch under way
        self.sums = _Sums(hardware.device)
        self.best: dict[str, Any] = {}
        self.best_weights: dict[str, Tensor] = {}
        self._epoch_generator = self.generator.get_state()
        self._saved_at, self._save_cost_s = time.perf_counter(), 0.0

    def fit(self) -> str:
        """Trains to the end; returns why it ended early, or an empty text.

        Raises:
            Stopped: A stop was asked for; `resume.pt` holds where it stood.
        """
        started, done_before = time.perf_counter(), self.epoch * self.n_steps + self.step
        try:
            while self.epoch < self.recipe.epochs and not self._out_of_patience():
                self._train_epoch(started, done_before)
                self._finish_epoch()
        except Stopped:
            self.save()
            raise
        self.save()
        if self.epoch < self.recipe.epochs:
            return (
                f"stopped early after epoch {self.epoch}: validation accuracy had not improved "
                f"since epoch {self.best['epoch']}"
            )
        return ""

    def _train_epoch(self, started: float, done_before: int) -> None:
        self.classifier.train()
        if self.step == 0:
            self._epoch_generator = self.generator.get_state()
            self.sums = _Sums(self.hardware.device)
        total = self.n_steps * self.recipe.epochs
        began = time.perf_counter()
        for index in self._draws():
            done = self.epoch * self.n_steps + self.step
            self.report("Training", done, total)
            self._checkpoint_by_time()
            features, targets = self.examples.training(index, self._step_generator())
            with self.hardware.autocast():
                pairs = self.classifier.training_logits(features)
            loss = torch.stack(
                [weight * functional.cross_entropy(z.float(), targets) for weight, z in pairs]
            ).sum()
            loss.backward()
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
            self.schedule.step()
            self.step += 1
            self.sums.add(loss, pairs[0][1], targets)
            self.sums.seconds += (now := time.perf_counter()) - began
            began = now
            pace_s = (now - started) / (done + 1 - done_before)
            self.status.values |= {
                "epoch": self.epoch,
                "n_epochs": self.recipe.epochs,
                "time_left_s": pace_s * (total - done - 1),
                "median_step_s": pace_s,
            }
        self.hardware.synchronize()
        self.sums.seconds += time.perf_counter() - began

    def _step_generator(self) -> torch.Generator:
        """Random numbers for the examples of this very step: going on draws the same ones."""
        place = np.random.SeedSequence([self.config.seed, self.epoch, self.step, 7])
        return torch.Generator().manual_seed(int(place.generate_state(1, np.uint64)[0] >> 1))

    def _draws(self) -> Iterator[Tensor]:
        """This epoch's batches of segment indices, from where the epoch stands."""
        self.generator.set_state(self._epoch_generator)
        order = self.train[torch.randperm(len(self.train), generator=self.generator)]
        size = self.recipe.batch_size
        for step in range(self.step, self.n_steps):
            yield order[step * size : (step + 1) * size]

    def _finish_epoch(self) -> None:
        began = time.perf_counter()
        row: dict[str, Any] = {"epoch": self.epoch + 1, **self.sums.means()}
        row["lr"] = self.optimiser.param_groups[0]["lr"]
        predicted = np.zeros(0, np.uint8)
        if len(self.valid):
            with self.hardware.autocast():
                proba = self._proba(self.valid, "Training")
            row |= self._validate(proba)
            predicted = self._clips(self._segments(self.valid, proba)).to_numpy().argmax(1)
        row["seconds"] = self.sums.seconds + time.perf_counter() - began
        self.epoch, self.step = self.epoch + 1, 0
        key = [row.get("valid_accuracy", 0.0), -row.get("valid_loss", 0.0)]
        last_counts = self.recipe.choose_epoch == "last" or not len(self.valid)
        row["best"] = last_counts or not self.best or key > self.best["key"]
        if row["best"]:
            self.best = {"epoch": self.epoch, "key": key}
            state = self.classifier.state_dict()
            self.best_weights = {name: tensor.detach().clone() for name, tensor in state.items()}
            if not last_counts:
                classifiers.save(self.classifier, self.folder / "weights.safetensors")
        with open(self.folder / "epochs.u8", "ab") as stream:
            stream.write(predicted.astype(np.uint8).tobytes())
        with open(self.folder / "history.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        known = {"best_epoch": self.best["epoch"], "samples_per_s": row["samples_per_s"]}
        if len(self.valid):
            known["best_valid_accuracy"] = self.best["key"][0]
        self.status.update(epoch=self.epoch, **known)

    def _validate(self, proba: Tensor) -> dict[str, float]:
        """Loss and accuracy of clips, as the test judges them; training's loss is of segments."""
        clips = self._clips(self._segments(self.valid, proba))
        labels = pd.Index(self.classifier.genres).get_indexer(clips.index.get_level_values("genre"))
        values = clips.to_numpy(dtype=np.float64)
        # Clamped where a probability has rounded to 0, whose logarithm no average survives.
        losses = -np.log(np.maximum(values[np.arange(len(values)), labels], 1e-12))
        right = values.argmax(1) == labels
        return {"valid_loss": float(losses.mean()), "valid_accuracy": float(right.mean())}

    @torch.no_grad()
    def _proba(self, index: Tensor, phase: str) -> Tensor:
        """Probabilities (segments, genres) float32 on the CPU, in evaluation mode."""
        self.classifier.eval()
        parts = []
        for batch in index.split(min(_PREDICT_BATCH, self.examples.most)):
            done = self.epoch * self.n_steps + self.step
            self.report(phase, done, self.n_steps * self.recipe.epochs)
            logits = self.classifier.logits(self.examples.features(batch))
            parts.append(logits.float().softmax(1).cpu())
        return torch.cat(parts)

    def _segments(self, index: Tensor, proba: Tensor) -> pd.DataFrame:
        table = self.examples.segments.iloc[index.numpy()][["clip_id", "split", "genre", "start_s"]]
        columns = [f"p_{genre}" for genre in self.classifier.genres]
        values = pd.DataFrame(proba.numpy(), columns=columns, index=table.index)
        return pd.concat([table, values], axis=1).reset_index(drop=True)

    def predict(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(predictions, segments) of validation and test with the chosen epoch, in float32: the
        arithmetic in which the run will be used."""
        self.classifier.load_state_dict(self.best_weights)
        index = torch.cat([self.valid, self.examples.of("test")])
        segments = self._segments(index, self._proba(index, "Testing"))
        return self._clips(segments).reset_index(), segments

    def _clips(self, segments: pd.DataFrame) -> pd.DataFrame:
        return clip_proba(segments, self.config.segments.pooling)

    def _out_of_patience(self) -> bool:
        patience = self.recipe.patience
        return bool(patience and self.best and self.epoch - self.best["epoch"] >= patience)

    def _checkpoint_by_time(self) -> None:
        apart_s = max(_LEAST_BETWEEN_CHECKPOINTS_S, self._save_cost_s / _CHECKPOINT_SHARE)
        if time.perf_counter() - self._saved_at > apart_s:
            self.save()

    def save(self) -> None:
        """Writes `resume.pt`: everything that going on needs, nothing a pickle could hide in."""
        began = time.perf_counter()
        state = {
            "classifier": self.classifier.state_dict(),
            "best_weights": self.best_weights,
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.sums.state(),
            "epoch_generator": self._epoch_generator,
            "generator": self.generator.get_state(),
            "torch_generator": torch.get_rng_state(),
            "device_generator": _device_generator(self.hardware.device),
            "n_threads": torch.get_num_threads(),
            "precision": self.hardware.precision,
        }
        buffer = io.BytesIO()  # so that a full disk is the operating system's clear error
        torch.save(state, buffer)
        write_bytes(self.folder / "resume.pt", buffer.getbuffer())
        self._saved_at = time.perf_counter()
        self._save_cost_s = self._saved_at - began

    def restore(self, state: dict[str, Any]) -> None:
        """Goes back to where `resume.pt` stands; histories are cut to it."""
        self.classifier.load_state_dict(state["classifier"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.best, self.best_weights = state["best"], state["best_weights"]
        self.epoch, self.step = state["epoch"], state["step"]
        self.sums = _Sums(self.hardware.device, state["sums"])
        self._epoch_generator = state["epoch_generator"]
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_generator"])
        if state["device_generator"] is not None and self.hardware.device.startswith("cuda"):
            torch.cuda.set_rng_state(state["device_generator"], self.hardware.device)
        n_valid = int(self.examples.segments.iloc[self.valid.numpy()]["clip_id"].nunique())
        _keep_lines(self.folder / "history.jsonl", self.epoch)
        if (self.folder / "epochs.u8").exists():
            os.truncate(self.folder / "epochs.u8", self.epoch * n_valid)
        if self.best and self.recipe.choose_epoch == "best" and n_valid:
            now = {k: v.clone() for k, v in self.classifier.state_dict().items()}
            self.classifier.load_state_dict(self.best_weights)
            classifiers.save(self.classifier, self.folder / "weights.safetensors")
            self.classifier.load_state_dict(now)


class _Sums:
    """Running sums of an epoch, on the device: reading them would make every step wait."""

    def __init__(self, device: str, state: dict[str, Any] | None = None) -> None:
        state = state or {"loss": 0.0, "right": 0.0, "seen": 0, "seconds": 0.0}
        self.loss = torch.tensor(state["loss"], dtype=torch.float64, device="cpu").to(device)
        self.right = torch.tensor(state["right"], device=device)
        self.seen, self.seconds = int(state["seen"]), float(state["seconds"])

    def add(self, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        n = len(targets)
        self.loss += loss.detach() * n
        self.right += (logits.detach().argmax(1) == targets.argmax(1)).sum()
        self.seen += n

    def means(self) -> dict[str, float]:
        n = max(self.seen, 1)
        return {
            "train_loss": float(self.loss) / n,
            "train_accuracy": float(self.right) / n,
            "samples_per_s": self.seen / max(self.seconds, 1e-9),
        }

    def state(self) -> dict[str, Any]:
        return {
            "loss": float(self.loss),
            "right": float(self.right),
            "seen": self.seen,
            "seconds": self.seconds,
        }


def _optimiser(recipe: Training, classifier: Classifier) -> torch.optim.Optimizer:
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    parameters = [p for p in classifier.parameters() if p.requires_grad]
    return kinds[recipe.optimiser](
        parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
    )


def _schedule(
    recipe: Training, optimiser: torch.optim.Optimizer, n_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if recipe.schedule == "one_cycle":
        # One step more than is taken: the scheduler counts its own construction as the first.
        return torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=n_steps + 1)
    return torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1.0)


def _device_generator(device: str) -> Tensor | None:
    return torch.cuda.get_rng_state(device) if device.startswith("cuda") else None


def _keep_lines(path: Path, n: int) -> None:
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        os.truncate(path, sum(len(line.encode()) for line in lines[:n]))
