"""The training loop: draw, augment, forward, backward, step, log; then the test.

The trainer writes raw predictions, not scores. The only scores it computes are the validation ones,
to choose the epoch. It can be stopped between any two steps; a resumed run gives, on the CPU bit
for bit, what an uninterrupted one gives.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from genrecore.errors import GenrecoreError
from genrecore.evaluation.metrics import noun, watched
from genrecore.store.progress import Ended, Phase, Stopped
from genrecore.training import histories, memory
from genrecore.training.batches import Batches
from genrecore.training.checkpoint import Checkpoints, check_checkpoint
from genrecore.training.classifier import Classifier, Features
from genrecore.training.distributed import Team
from genrecore.training.epochs import EpochTotals, PooledClips, prediction_tables
from genrecore.training.examples import Examples
from genrecore.training.hardware import Hardware, keep_memory
from genrecore.training.optimisation import Loss, Schedule, optimiser, training_heads
from genrecore.training.progress import RunProgress

PREDICT_BATCH = 128
"""Segments that are predicted together."""

_SHOW_EVERY_S = 0.1


class Trainer:
    """One run's training; `fit` may be left by `Stopped` at any step and entered again."""

    def __init__(
        self,
        classifier: Classifier,
        examples: Examples,
        hardware: Hardware,
        progress: RunProgress,
        team: Team | None = None,
    ) -> None:
        self.classifier, self.examples, self.hardware = classifier, examples, hardware
        self.config, self.recipe = classifier.config, classifier.config.training
        self.progress, self.team = progress, team or Team()
        self.train, self.valid = examples.trained_on(), examples.in_split("valid")
        self.valid_clips = PooledClips(examples.segments, self.valid, classifier.genres)
        self.last_counts = self.recipe.choose_epoch == "last" or not len(self.valid)
        size = self.recipe.batch_size
        # A last batch of one segment has no spread to normalise by, so it is left out; and of a
        # batch that processes share, each needs two.
        least = 2 * self.team.size
        self.n_steps = max(1, len(self.train) // size + (len(self.train) % size >= least))
        self.optimiser = optimiser(self.recipe, classifier.parameters())
        n_updates = math.ceil(self.n_steps / self.recipe.accumulate)
        self.schedule = Schedule(self.recipe, self.optimiser, n_updates)
        self.loss = Loss(self.recipe, examples.targets(self.train).sum(0))
        self.scaler = torch.amp.GradScaler(
            hardware.device.split(":")[0], enabled=hardware.precision == "float16"
        )
        self.heads = training_heads(classifier, self.team, hardware.device, progress.note)
        self.batches = Batches(classifier, examples, self.team)
        self.checkpoints = Checkpoints(progress.folder)
        self.generator = torch.Generator().manual_seed(self.config.seed)
        self.epoch_generator = self.generator.get_state()  # as the epoch under way began
        self.epoch = 0  # finished epochs
        self.step = 0  # finished steps of the epoch under way
        self.totals = EpochTotals()
        self.best: dict[str, Any] = {}
        self.best_weights: dict[str, Tensor] = {}
        self._began, self._began_at_step, self._shown_at = 0.0, 0, -math.inf
        self._stop_wanted = False
        self._diverged_at: tuple[int, float] | None = None  # step, and its loss that is no number

    def fit(self) -> str:
        """Trains to the end; returns why it ended early, or an empty text.

        Raises:
            Stopped: A stop was asked for; `resume.pt` holds where it stood.
            GenrecoreError: The loss is no number any more, or memory does not hold a batch.
        """
        self._began, self._began_at_step = time.perf_counter(), self._steps_done()
        keep_memory()
        try:
            while self.epoch < self.recipe.epochs and not self._out_of_patience():
                try:
                    self._train_epoch()
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
        if self.epoch == self.recipe.epochs:
            return ""
        metric, best = noun(watched(self.recipe.watch)), self.best["epoch"]
        looks_at_loss = self.recipe.ties == "loss" and self.recipe.watch != "loss"
        loss = f", nor the loss at an equal {metric}" if looks_at_loss else ""
        return (
            f"stopped early after epoch {self.epoch}: validation {metric} "
            f"had not improved since epoch {best}{loss}"
        )

    def _train_epoch(self) -> None:
        self.classifier.train()
        if self.step == 0:
            self.totals = EpochTotals()
        began = time.perf_counter()
        for features, targets in self._draw():  # augmented and standardised
            self._report_step()
            if self.checkpoints.due():
                self.save()
            with self.hardware.autocast():
                heads = self.heads(features)
            loss, main_loss = self._losses(heads, targets)
            self.scaler.scale(self._share_of(loss, targets)).backward()
            self.step += 1
            if self.step % self.recipe.accumulate == 0 or self.step == self.n_steps:
                self._update_weights()
            self.totals.add(main_loss, loss, heads[0][1], targets)
            if self.totals.due(by_time=self.team.size == 1):  # processes must read together
                self._read_totals()
            self.totals.seconds += (now := time.perf_counter()) - began
            began = now
        self.hardware.synchronize()
        self._read_totals()
        self.totals.seconds += time.perf_counter() - began

    def _draw(self) -> Iterator[tuple[Features, Tensor]]:
        """This epoch's batches from where it stands: (standardised features, soft targets)."""
        self.generator.set_state(self.epoch_generator)
        order = self.train[torch.randperm(len(self.train), generator=self.generator)]
        return self.batches.of_epoch(order, self.epoch, self.step, self.n_steps)

    def _losses(self, heads: list[tuple[float, Tensor]], targets: Tensor) -> tuple[Tensor, Tensor]:
        """(what is minimised, the main head's loss)."""
        weight, logits = heads[0]
        main = self.loss(logits, targets)
        loss = main if weight == 1.0 else weight * main
        for weight, logits in heads[1:]:
            loss = loss + weight * self.loss(logits, targets)
        return loss, main

    def _share_of(self, loss: Tensor, targets: Tensor) -> Tensor:
        """The loss as it counts in the mean over all processes and over the batches that make one
        update together."""
        size, many = self.recipe.batch_size, self.recipe.accumulate
        n_examples = min(size, len(self.train) - self.step * size)
        n_batches = min(many, self.n_steps - self.step // many * many)
        share = len(targets) * self.team.size / n_examples / n_batches
        return loss if share == 1.0 else loss * share

    def _update_weights(self) -> None:
        if self.recipe.clip_norm:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.classifier.parameters(), self.recipe.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        self.schedule.step()

    def _read_totals(self) -> None:
        """Adds up what was collected; a loss that is no number ends the run, for every process."""
        self._add_up()
        if self.team.any(self._diverged_at is not None, self.hardware.device):
            step, loss = self._diverged_at or (self.step, math.nan)
            raise self._diverged(f"The loss became {loss} in", step)

    def _add_up(self) -> None:
        wrong = self.totals.read()
        if wrong is not None and self._diverged_at is None:
            self._diverged_at = self.step - wrong[0], wrong[1]

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

    def _finish_epoch(self) -> None:
        """Validates, notes whether the epoch is the best so far, and adds it to the histories."""
        began = time.perf_counter()
        row: dict[str, Any] = {"epoch": self.epoch + 1, **self.totals.means(self.team)}
        losses = self.totals.step_losses(self.team)
        row["lr"] = self.optimiser.param_groups[0]["lr"]
        predicted = np.zeros(0, np.uint8)
        if len(self.valid):
            clips = self._validate()
            row |= self.valid_clips.scores(clips)
            predicted = clips.argmax(1).astype(np.uint8)
        self.schedule.end_epoch(row.get("valid_loss", row["train_loss"]))
        row |= memory.in_use(self.hardware.device)
        row["seconds"] = self.totals.seconds + time.perf_counter() - began
        self.epoch, self.step = self.epoch + 1, 0
        self.epoch_generator = self.generator.get_state()  # a stop before its first step keeps it
        row["best"] = self._note_best(row)
        if not self.team.leads:
            return
        self.checkpoints.write_best(self.classifier, self.best_weights)
        histories.add_epoch(self.progress.folder, row, predicted, losses, self.n_steps)
        facts = {"best_epoch": self.best["epoch"], "samples_per_s": row["samples_per_s"]}
        if len(self.valid):
            facts["best_valid_accuracy"] = self.best.get("accuracy")
        self.progress.status.update(epoch=self.epoch, **facts)

    def _validate(self) -> np.ndarray:
        """Probabilities (clips, genres) of the validation clips."""
        with self.hardware.autocast():
            proba = self._proba(self.valid, Phase.TRAINING).numpy()
        if not np.isfinite(proba).all():
            raise self._diverged("Validation probabilities became nan after", self.n_steps)
        return self.valid_clips.pooled(proba, self.config.segments.pooling)

    def _note_best(self, row: dict[str, Any]) -> bool:
        """Keeps the weights of an epoch that is the best so far; of equals, that with the lower
        loss is the better one, or the first, as the option `ties` says."""
        metric = watched(self.recipe.watch)
        value = row.get(f"valid_{metric.name}", 0.0)
        key = [value if metric.facts.higher_is_better else -value]
        if self.recipe.ties == "loss":
            key.append(-row.get("valid_loss", 0.0))
        if not (self.last_counts or not self.best or key > self.best["key"]):
            return False
        self.best = {"epoch": self.epoch, "key": key, "accuracy": row.get("valid_accuracy")}
        state = self.classifier.state_dict()
        self.best_weights = {name: tensor.detach().clone() for name, tensor in state.items()}
        self.checkpoints.best_is_new(not self.last_counts)
        return True

    def _out_of_patience(self) -> bool:
        patience = self.recipe.patience
        return bool(patience and self.best and self.epoch - self.best["epoch"] >= patience)

    def predict(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(predictions, segments) of validation and test with the chosen epoch, in float32: the
        arithmetic in which the run will be used."""
        self.classifier.load_state_dict(self.best_weights)
        index = torch.cat([self.valid, self.examples.in_split("test")])
        proba = self._proba(index, Phase.TESTING).numpy()
        genres, pooling = self.classifier.genres, self.config.segments.pooling
        return prediction_tables(self.examples.segments, index, genres, proba, pooling)

    @torch.no_grad()
    def _proba(self, index: Tensor, phase: str) -> Tensor:
        """Probabilities (segments, genres) float32 on the CPU, in evaluation mode."""
        self.classifier.eval()
        size = min(PREDICT_BATCH, self.examples.most)
        proba = torch.zeros(len(index), len(self.classifier.genres))
        for k, batch in enumerate(index.split(size)):
            if k % self.team.size != self.team.rank:
                continue
            self._report(phase)
            logits = self.classifier.logits(self.examples.features(batch))
            proba[k * size : k * size + len(batch)] = logits.float().softmax(1).cpu()
        return self.team.total(proba)

    def _steps_done(self) -> int:
        return self.epoch * self.n_steps + self.step

    def _report_step(self) -> None:
        """Reports a step about to be taken; every process stops here if one is to."""
        now = time.perf_counter()
        if now - self._shown_at > _SHOW_EVERY_S:
            self._shown_at = now
            done, n_taken = self._steps_done(), self._steps_done() - self._began_at_step
            pace_s = (now - self._began) / max(1, n_taken)
            n_left = self.n_steps * self.recipe.epochs - done
            self.progress.show(
                epoch=self.epoch,
                n_epochs=self.recipe.epochs,
                time_left_s=pace_s * n_left if n_taken else None,
                median_step_s=pace_s,
            )
        self._report(Phase.TRAINING)
        if self.team.any(self._stop_wanted, self.hardware.device):
            self._stop_wanted = False
            raise Stopped

    def _report(self, phase: str) -> None:
        try:
            self.progress.report(phase, self._steps_done(), self.n_steps * self.recipe.epochs)
        except Stopped:
            if self.team.size == 1:
                raise
            self._stop_wanted = True  # at the next step, together

    def save(self) -> None:
        """Writes `resume.pt` and the best weights."""
        if self.team.size == 1:
            self._read_totals()
        if not self.team.leads:
            return
        self._add_up()
        self.checkpoints.write_best(self.classifier, self.best_weights, now=True)
        self.checkpoints.write(self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Everything that going on from here needs: tensors, numbers and text only."""
        device, between = self.hardware.device, self.step % self.recipe.accumulate != 0
        on_gpu = device.startswith("cuda")
        return {
            "model": self.config.model.name,
            "genres": self.classifier.genres,
            "classifier": self.classifier.state_dict(),
            "best_weights": self.best_weights,
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            # Of batches whose common update is still to come.
            "gradients": [p.grad for p in self.classifier.parameters()] if between else [],
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "n_steps": self.n_steps,
            "sums": self.totals.state(),
            "epoch_generator": self.epoch_generator,
            "generator": self.generator.get_state(),
            "torch_generator": torch.get_rng_state(),
            "device_generator": torch.cuda.get_rng_state(device) if on_gpu else None,
            "n_threads": torch.get_num_threads(),
            "precision": self.hardware.precision,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to where `state_dict` was taken; the histories are cut to it.

        Raises:
            GenrecoreError: It belongs to another run.
        """
        check_checkpoint(state, self.classifier)
        try:
            self.classifier.load_state_dict(state["classifier"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise GenrecoreError(
                f"The checkpoint's weights do not fit the model {self.config.model.name} with "
                "these options; start a new run."
            ) from error
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state.get("scaler", {}))
        gradients = state.get("gradients", [])
        for parameter, gradient in zip(self.classifier.parameters(), gradients, strict=False):
            parameter.grad = None if gradient is None else gradient.to(parameter.device)
        self.best, self.best_weights = state["best"], state["best_weights"]
        self.epoch, self.step = state["epoch"], state["step"]
        self.totals = EpochTotals(state["sums"])
        self.epoch_generator = state["epoch_generator"]
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_generator"])
        if state["device_generator"] is not None and self.hardware.device.startswith("cuda"):
            torch.cuda.set_rng_state(state["device_generator"], self.hardware.device)
        if self.team.leads:
            # Processes that share batches may have another number of steps.
            n_steps = self.n_steps if state.get("n_steps") == self.n_steps else None
            histories.cut(self.progress.folder, self.epoch, self.valid_clips.n, n_steps)
            self.checkpoints.best_is_new(bool(self.best) and not self.last_counts)
            self.checkpoints.write_best(self.classifier, self.best_weights, now=True)

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
        features, targets = self.batches.batch(index, self.epoch, 0)
        with self.hardware.autocast():
            heads = self.classifier.heads(features)
        self._losses(heads, targets)[0].backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
