"""The training loop: draw, forward, backward, step, log; then the test with the chosen epoch.

The trainer writes raw predictions, not scores. The only scores it computes are the validation ones,
to choose the epoch. It can be stopped between any two steps and goes on, on the CPU bit for bit,
as if it had not been.
"""

from __future__ import annotations

import io
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError
from genrecore.evaluation.metrics import noun, watched
from genrecore.store.files import write_bytes
from genrecore.store.progress import Ended, Phase, Report, Stopped
from genrecore.store.status import Status
from genrecore.training import checkpoint, heads, memory
from genrecore.training.batches import Feed
from genrecore.training.classifier import Classifier
from genrecore.training.distributed import Team
from genrecore.training.epochs import Clips, Sums, tables
from genrecore.training.examples import Examples, Given
from genrecore.training.hardware import Hardware, keep_memory
from genrecore.training.optimisation import Loss, Schedule, optimiser
from genrecore.training.weights import save_classifier

_PREDICT_BATCH = 128
_LEAST_BETWEEN_CHECKPOINTS_S = 30.0
_CHECKPOINT_SHARE = 0.05  # of the run's time, at most
_LEAST_BETWEEN_BEST_S = 2.0  # between two writes of the best weights


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
        team: Team | None = None,
    ) -> None:
        self.config, self.recipe = config, config.training
        self.classifier, self.examples, self.hardware = classifier, examples, hardware
        self.folder, self.status, self.report = status.folder, status, report
        self.team = team or Team()
        self.train, self.valid = examples.trained_on(), examples.of("valid")
        self.clips = Clips(examples.segments, self.valid, classifier.genres)
        size = self.recipe.batch_size
        # A last batch of one segment has no spread to normalise by, so it is left out; and of a
        # batch that processes share, each needs two.
        least = 2 * self.team.size
        self.n_steps = max(1, len(self.train) // size + (len(self.train) % size >= least))
        self.optimiser = optimiser(self.recipe, classifier.parameters())
        n_updates = math.ceil(self.n_steps / self.recipe.accumulate)
        self.schedule = Schedule(self.recipe, self.optimiser, n_updates)
        self.loss = Loss(self.recipe, _counts(examples, self.train, len(classifier.genres)))
        self.scaler = torch.amp.GradScaler(
            hardware.device.split(":")[0], enabled=hardware.precision == "float16"
        )
        self.heads = heads.build(
            classifier, self.team, hardware.device, self.recipe.compile, self._note
        )
        self.feed = Feed(config, classifier, examples, hardware, self.team)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.epoch = 0  # finished epochs
        self.step = 0  # finished steps of the epoch under way
        self.sums = Sums()
        self.best: dict[str, Any] = {}
        self.best_weights: dict[str, Tensor] = {}
        self.epoch_generator = self.generator.get_state()
        self._saved_at, self._save_cost_s = time.perf_counter(), 0.0
        self._best_written_at, self._best_unwritten = -math.inf, False
        self._told_at = -math.inf
        self._stop_wanted = False
        self._wrong: tuple[int, float] | None = None  # step and loss that is no number

    def _note(self, sentence: str) -> None:
        self.status.update(notes=[*self.status.values.get("notes", []), sentence])

    def fit(self) -> str:
        """Trains to the end; returns why it ended early, or an empty text.

        Raises:
            Stopped: A stop was asked for; `resume.pt` holds where it stood.
            GenrecoreError: The loss is no number any more, or memory does not hold a batch.
        """
        started, done_before = time.perf_counter(), self.epoch * self.n_steps + self.step
        keep_memory()
        try:
            while self.epoch < self.recipe.epochs and not self._out_of_patience():
                try:
                    self._train_epoch(started, done_before)
                except Exception as error:
                    if not memory.ran_out(error):
                        raise
                    error.__traceback__ = None  # it holds what did not fit
                    raise self._too_large() from None
                self._finish_epoch()
        except Ended:
            raise
        except Stopped:
            self.save()
            raise
        self.save()
        if self.epoch < self.recipe.epochs:
            return (
                f"stopped early after epoch {self.epoch}: validation "
                f"{noun(watched(self.recipe.watch))} had not improved since epoch "
                f"{self.best['epoch']}"
            )
        return ""

    def _train_epoch(self, started: float, done_before: int) -> None:
        self.classifier.train()
        if self.step == 0:
            self.sums = Sums()
        total, many = self.n_steps * self.recipe.epochs, self.recipe.accumulate
        began = time.perf_counter()
        for features, targets in self._batches():
            self._tell(Phase.TRAINING, total, started, done_before)
            self._checkpoint_by_time()
            with self.hardware.autocast():
                pairs = self.heads(features)
            loss, main = self._losses(pairs, targets)
            group = min(many, self.n_steps - self.step // many * many)
            share = len(targets) * self.team.size / self._batch_size() / group
            self.scaler.scale(loss if share == 1.0 else loss * share).backward()
            self.step += 1
            if self.step % many == 0 or self.step == self.n_steps:
                self._update()
            self.sums.add(main, loss, pairs[0][1], targets)
            if self.sums.due(by_time=self.team.size == 1):  # processes must look together
                self._look_at_losses()
            self.sums.seconds += (now := time.perf_counter()) - began
            began = now
        self.hardware.synchronize()
        self._look_at_losses()
        self.sums.seconds += time.perf_counter() - began

    def _losses(self, pairs: list[tuple[float, Tensor]], targets: Tensor) -> tuple[Tensor, Tensor]:
        """(what is minimised, the main head's loss)."""
        weight, logits = pairs[0]
        main = self.loss(logits, targets)
        loss = main if weight == 1.0 else weight * main
        for weight, logits in pairs[1:]:
            loss = loss + weight * self.loss(logits, targets)
        return loss, main

    def _update(self) -> None:
        if self.recipe.clip_norm:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.classifier.parameters(), self.recipe.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        self.schedule.step()

    def _batch_size(self) -> int:
        """Examples of the batch under way, in all processes together."""
        size = self.recipe.batch_size
        return min(size, len(self.train) - self.step * size)

    def _look_at_losses(self) -> None:
        """Adds up what was collected; a loss that is no number ends the run, for every process."""
        self._fold()
        if self.team.any(self._wrong is not None, self.hardware.device):
            step, loss = self._wrong or (self.step, math.nan)
            raise self._diverged(f"The loss became {loss} in", step)

    def _fold(self) -> None:
        wrong = self.sums.fold()
        if wrong is not None and self._wrong is None:
            self._wrong = self.step - wrong[0], wrong[1]

    def _diverged(self, what: str, step: int) -> GenrecoreError:
        advice = [f"a lower learning rate (it was {self.optimiser.param_groups[0]['lr']:g})"]
        if not self.recipe.clip_norm:
            advice.append("gradient clipping (clip_norm 1)")
        if self.hardware.precision != "float32":
            advice.append("float32 precision")
        return GenrecoreError(
            f"{what} epoch {self.epoch + 1}, step {step} of {self.n_steps}, so training ended; "
            f"try {' or '.join(advice)}."
        )

    def _batches(self) -> Iterator[tuple[Given, Tensor]]:
        """This epoch's batches from where the epoch stands: (features, soft targets)."""
        self.generator.set_state(self.epoch_generator)
        order = self.train[torch.randperm(len(self.train), generator=self.generator)]
        return self.feed.batches(order, self.epoch, self.step, self.n_steps)

    def _finish_epoch(self) -> None:
        began = time.perf_counter()
        row: dict[str, Any] = {"epoch": self.epoch + 1, **self.sums.means(self.team)}
        row["lr"] = self.optimiser.param_groups[0]["lr"]
        predicted = np.zeros(0, np.uint8)
        if len(self.valid):
            with self.hardware.autocast():
                proba = self._proba(self.valid, Phase.TRAINING).numpy()
            if not np.isfinite(proba).all():
                raise self._diverged("Validation probabilities became nan after", self.n_steps)
            clips = self.clips.pooled(proba, self.config.segments.pooling)
            row |= self.clips.scores(clips)
            predicted = clips.argmax(1)
        self.schedule.end_epoch(row.get("valid_loss", row["train_loss"]))
        row |= memory.in_use(self.hardware.device)
        row["seconds"] = self.sums.seconds + time.perf_counter() - began
        self.epoch, self.step = self.epoch + 1, 0
        self.epoch_generator = self.generator.get_state()  # a stop before its first step keeps it
        key = self._key(row)
        last_counts = self.recipe.choose_epoch == "last" or not len(self.valid)
        row["best"] = last_counts or not self.best or key > self.best["key"]
        if row["best"]:
            self.best = {"epoch": self.epoch, "key": key, "accuracy": row.get("valid_accuracy")}
            state = self.classifier.state_dict()
            self.best_weights = {name: tensor.detach().clone() for name, tensor in state.items()}
            self._best_unwritten = not last_counts
        self._write_best(time.perf_counter() - self._best_written_at > _LEAST_BETWEEN_BEST_S)
        if not self.team.leads:
            return
        with open(self.folder / "epochs.u8", "ab") as stream:
            stream.write(predicted.astype(np.uint8).tobytes())
        with open(self.folder / "history.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        known = {"best_epoch": self.best["epoch"], "samples_per_s": row["samples_per_s"]}
        if len(self.valid):
            known["best_valid_accuracy"] = self.best.get("accuracy")
        self.status.update(epoch=self.epoch, **known)

    def _key(self, row: dict[str, Any]) -> list[float]:
        """The larger, the better the epoch; of equals the one with the lower loss."""
        metric = watched(self.recipe.watch)
        value = row.get(f"valid_{metric.name}", 0.0)
        return [value if metric.facts.higher_is_better else -value, -row.get("valid_loss", 0.0)]

    def _write_best(self, now: bool) -> None:
        if self._best_unwritten and now and self.team.leads:
            save_classifier(self.classifier, self.folder / "weights.safetensors", self.best_weights)
            self._best_written_at, self._best_unwritten = time.perf_counter(), False

    @torch.no_grad()
    def _proba(self, index: Tensor, phase: str) -> Tensor:
        """Probabilities (segments, genres) float32 on the CPU, in evaluation mode."""
        self.classifier.eval()
        size = min(_PREDICT_BATCH, self.examples.most)
        proba = torch.zeros(len(index), len(self.classifier.genres))
        for k, batch in enumerate(index.split(size)):
            if k % self.team.size != self.team.rank:
                continue
            self._ask(phase)
            logits = self.classifier.logits(self.examples.features(batch))
            proba[k * size : k * size + len(batch)] = logits.float().softmax(1).cpu()
        return self.team.total(proba)

    def predict(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(predictions, segments) of validation and test with the chosen epoch, in float32: the
        arithmetic in which the run will be used."""
        self.classifier.load_state_dict(self.best_weights)
        index = torch.cat([self.valid, self.examples.of("test")])
        proba = self._proba(index, Phase.TESTING).numpy()
        pooling = self.config.segments.pooling
        return tables(self.examples.segments, index, self.classifier.genres, proba, pooling)

    def _out_of_patience(self) -> bool:
        patience = self.recipe.patience
        return bool(patience and self.best and self.epoch - self.best["epoch"] >= patience)

    def _tell(self, phase: str, total: int, started: float, done_before: int) -> None:
        """Reports a step about to be taken; every process stops here if one is to."""
        now = time.perf_counter()
        if now - self._told_at > 0.1:
            self._told_at = now
            done = self.epoch * self.n_steps + self.step
            pace_s = (now - started) / max(1, done - done_before)
            self.status.values |= {
                "epoch": self.epoch,
                "n_epochs": self.recipe.epochs,
                "time_left_s": pace_s * (total - done) if done > done_before else None,
                "median_step_s": pace_s,
            }
        self._ask(phase)
        if self.team.any(self._stop_wanted, self.hardware.device):
            self._stop_wanted = False
            raise Stopped

    def _ask(self, phase: str) -> None:
        done = self.epoch * self.n_steps + self.step
        try:
            self.report(phase, done, self.n_steps * self.recipe.epochs)
        except Stopped:
            if self.team.size == 1:
                raise
            self._stop_wanted = True  # at the next step, together

    def _checkpoint_by_time(self) -> None:
        apart_s = max(_LEAST_BETWEEN_CHECKPOINTS_S, self._save_cost_s / _CHECKPOINT_SHARE)
        if time.perf_counter() - self._saved_at > apart_s:
            self.save()

    def save(self) -> None:
        """Writes `resume.pt`: everything that going on needs, nothing a pickle could hide in."""
        if self.team.size == 1:
            self._look_at_losses()
        if not self.team.leads:
            return
        began = time.perf_counter()
        self._fold()
        self._write_best(True)
        state = checkpoint.state_of(self)
        buffer = io.BytesIO()  # so that a full disk is the operating system's clear error
        torch.save(state, buffer)
        write_bytes(self.folder / "resume.pt", buffer.getbuffer())
        self._saved_at = time.perf_counter()
        self._save_cost_s = self._saved_at - began

    def restore(self, state: dict[str, Any]) -> None:
        """Goes back to where `resume.pt` stands; histories are cut to it.

        Raises:
            GenrecoreError: It belongs to another run.
        """
        checkpoint.put_back(self, state)
        if not self.team.leads:
            return
        _keep_lines(self.folder / "history.jsonl", self.epoch)
        if (self.folder / "epochs.u8").exists():
            os.truncate(self.folder / "epochs.u8", self.epoch * self.clips.n)
        self._best_unwritten = bool(self.best) and self.recipe.choose_epoch == "best"
        self._write_best(bool(self.clips.n))

    def _too_large(self) -> GenrecoreError:
        """What to say when memory did not hold a batch: the size that would have fitted."""
        self.optimiser.zero_grad(set_to_none=True)
        self.optimiser.state.clear()
        size = self.recipe.batch_size // self.team.size
        fitting = memory.largest_that_fits(self._try_batch, size, self.hardware.device)
        return memory.too_large(self.recipe.batch_size, fitting * self.team.size, self.hardware)

    def _try_batch(self, size: int) -> None:
        """A whole step of that size; the run is over anyway."""
        index = self.train[:size].repeat(math.ceil(size / len(self.train[:size])))[:size]
        given, targets = self.feed.given(index, self.epoch, 0)
        with self.hardware.autocast():
            pairs = self.classifier.heads(self.classifier.standardised(given))
        self._losses(pairs, targets)[0].backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)


def _counts(examples: Examples, index: Tensor, n_genres: int) -> Tensor:
    """Examples of each genre among `index`, (genres,) on the device."""
    labels = examples.labels[(index % len(examples.segments)).to(examples.labels.device)]
    return torch.bincount(labels, minlength=n_genres)


def _keep_lines(path: Path, n: int) -> None:
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        os.truncate(path, sum(len(line.encode()) for line in lines[:n]))
