"""A recipe's moving parts: optimiser, schedule of the learning rate, and loss."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from genrecore.config.run import Training


def optimiser(recipe: Training, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser over those parameters that are trained; fused, where torch has it so."""
    trained = [p for p in parameters if p.requires_grad]
    kind: Any = (_KINDS if recipe.compile else _EAGER)[recipe.optimiser]
    wishes: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    wishes["foreach" if recipe.optimiser in _NOT_FUSED else "fused"] = True
    if recipe.optimiser == "sgd":
        wishes["momentum"] = recipe.momentum
    made: torch.optim.Optimizer = kind(trained, **wishes)
    return made


def _eager(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """That optimiser without the wrappers that tell torch's compiler to keep out.

    They load the compiler to tell it, which takes longer than all else between a run's start and
    its first step.
    """

    def step(self: torch.optim.Optimizer, closure: Any = None) -> Any:
        with torch.no_grad():
            return plain_step(self, closure)

    plain_step = inspect.unwrap(kind.step)
    wrapped = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in wrapped}
    return type(kind.__name__, (kind,), {**methods, "step": step, "__doc__": kind.__doc__})


_KINDS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adadelta": torch.optim.Adadelta,
}
_EAGER = {name: _eager(kind) for name, kind in _KINDS.items()}
_NOT_FUSED = {"rmsprop", "adadelta"}


class Schedule:
    """The learning rate over a run: `step` after every update of the weights, `end_epoch` after
    every epoch; its state goes into the checkpoint."""

    def __init__(
        self, recipe: Training, optimiser: torch.optim.Optimizer, updates_per_epoch: int
    ) -> None:
        """Takes hold of the optimiser's learning rate.

        Args:
            recipe: `schedule` and the fields that belong to it.
            optimiser: Its rate is `recipe.lr` when the schedule begins.
            updates_per_epoch: How often `step` is called in an epoch.
        """
        n_updates = updates_per_epoch * recipe.epochs
        self._by_step: lr_scheduler.LRScheduler | None = None
        self._by_epoch: lr_scheduler.ReduceLROnPlateau | None = None
        low = min(recipe.lr_low, recipe.lr)
        if recipe.schedule == "one_cycle":
            # One step more than is taken: the scheduler counts its own construction as the first.
            self._by_step = lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=n_updates + 1)
        elif recipe.schedule == "cyclic":
            half = recipe.cycle_epochs * updates_per_epoch
            self._by_step = lr_scheduler.CyclicLR(
                optimiser, low, recipe.lr, step_size_up=half, cycle_momentum=False
            )
        elif recipe.schedule == "cosine":
            warm = min(recipe.warmup_epochs * updates_per_epoch, n_updates)
            shape = _Cosine(warm, n_updates, low / recipe.lr)
            self._by_step = lr_scheduler.LambdaLR(optimiser, shape)
        elif recipe.schedule == "plateau":
            self._by_epoch = lr_scheduler.ReduceLROnPlateau(
                optimiser,
                factor=recipe.plateau_factor,
                patience=recipe.plateau_patience,
                min_lr=low,
            )

    def step(self) -> None:
        """Tells of an update of the weights."""
        if self._by_step is not None:
            self._by_step.step()

    def end_epoch(self, loss: float) -> None:
        """Tells of an epoch and its validation loss (its training loss where none is validated)."""
        if self._by_epoch is not None:
            self._by_epoch.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """What going on needs; empty for a constant rate."""
        one = self._by_step or self._by_epoch
        return one.state_dict() if one is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to where `state_dict` was taken."""
        one = self._by_step or self._by_epoch
        if one is not None:
            one.load_state_dict(state)


class _Cosine:
    """Factor of the highest rate: a line up to 1 at the last warm-up update, then half a cosine
    that reaches `low` at the last update of the run (Loshchilov 2017, one period)."""

    def __init__(self, n_warm: int, n_updates: int, low: float) -> None:
        self.n_warm, self.n_updates, self.low = n_warm, n_updates, low

    def __call__(self, update: int) -> float:
        if update < self.n_warm:
            return (update + 1) / self.n_warm
        rest = max(1, self.n_updates - 1 - self.n_warm)
        done = min(1.0, (update - self.n_warm) / rest)
        return self.low + (1 - self.low) * (1 + math.cos(math.pi * done)) / 2


class Loss:
    """Cross-entropy of soft targets: log-softmax and negative log-likelihood in one."""

    def __init__(self, recipe: Training, n_per_genre: Tensor) -> None:
        """Weighs genres, where asked for, so that the mean weight of a training example is 1.

        Args:
            recipe: `class_weights` and `label_smoothing`.
            n_per_genre: Training examples of each genre, (genres,).
        """
        self.smoothing = recipe.label_smoothing
        self.weights: Tensor | None = None
        if recipe.class_weights:
            counts = n_per_genre.double()
            self.weights = (counts.sum() / (len(counts) * counts.clamp(min=1))).float()

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch, a float32 scalar, from (batch, genres) each."""
        return functional.cross_entropy(
            logits.float(), targets, self.weights, label_smoothing=self.smoothing
        )
