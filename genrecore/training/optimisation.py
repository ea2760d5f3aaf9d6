"""What a training step is made of: heads of the network, loss, optimiser and learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from genrecore.config.run import Training
from genrecore.training import memory
from genrecore.training.classifier import Classifier, Features
from genrecore.training.distributed import Team

Heads = Callable[[Features], list[tuple[float, Tensor]]]
"""Standardised features → (weight, logits) pairs, as `Classifier.heads`."""


def training_heads(
    classifier: Classifier, team: Team, device: str, note: Callable[[str], None]
) -> Heads:
    """The heads of a classifier as training calls them: as they are, compiled, or shared by
    processes.

    Args:
        classifier: On the device.
        team: The processes that average their gradients.
        device: Where the classifier is.
        note: Called with a sentence where the network cannot be compiled; it then runs as it is.
    """
    compiled = classifier.config.training.compile
    if team.size == 1 and not compiled:
        return classifier.heads
    module = team.wrapped(_HeadsModule(classifier), device)
    return _Compiled(module, note) if compiled else module


class _HeadsModule(nn.Module):
    """`Classifier.heads` as a module, with the parameters of the network alone."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.network = classifier.network
        self._heads = classifier.heads

    def forward(self, standardised: Features) -> list[tuple[float, Tensor]]:
        return self._heads(standardised)


class _Compiled:
    """A module compiled at its first call; the module itself where that cannot be."""

    def __init__(self, module: nn.Module, note: Callable[[str], None]) -> None:
        self._module, self._note, self._called = module, note, False
        self._heads: Heads = torch.compile(module)

    def __call__(self, features: Features) -> list[tuple[float, Tensor]]:
        if self._called:
            return self._heads(features)
        self._called = True
        try:
            return self._heads(features)
        except RuntimeError as error:  # of any part of the compiler, or of the network itself
            if memory.ran_out(error):
                raise
            first_line = str(error).strip().split("\n")[0]
            self._note(f"The network is not compiled and trains as it is: {first_line}")
            self._heads = self._module
            return self._heads(features)


def optimiser(recipe: Training, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of the parameters that are trained; fused, where torch has it so."""
    trained = [p for p in parameters if p.requires_grad]
    options: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    options["foreach" if recipe.optimiser in _NOT_FUSED else "fused"] = True
    if recipe.optimiser == "sgd":
        options["momentum"] = recipe.momentum
    kind: Any = _KINDS[recipe.optimiser]
    optimiser: torch.optim.Optimizer = kind(trained, **options)
    return optimiser


_KINDS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adadelta": torch.optim.Adadelta,
}
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
        """Follows an update of the weights."""
        if self._by_step is not None:
            self._by_step.step()

    def end_epoch(self, loss: float) -> None:
        """Follows an epoch with its validation loss (its training loss where none is validated)."""
        if self._by_epoch is not None:
            self._by_epoch.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint; empty for a constant rate."""
        scheduler = self._by_step or self._by_epoch
        return scheduler.state_dict() if scheduler is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to where `state_dict` was taken."""
        scheduler = self._by_step or self._by_epoch
        if scheduler is not None:
            scheduler.load_state_dict(state)


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


_TINY = 1e-12  # a probability of 0 has no logarithm


class Loss:
    """A loss of soft targets; cross-entropy is log-softmax and negative log-likelihood in one."""

    def __init__(self, recipe: Training, n_per_genre: Tensor) -> None:
        """Weighs genres, where asked for, so that the mean weight of a training example is 1.

        Args:
            recipe: `loss`, of which `output`, `class_weights` and `label_smoothing`.
            n_per_genre: Training examples of each genre, (genres,).
        """
        self.name, self.output = recipe.loss, recipe.output
        self.smoothing = recipe.label_smoothing
        self.weights: Tensor | None = None
        if recipe.class_weights:
            counts = n_per_genre.double()
            self.weights = (counts.sum() / (len(counts) * counts.clamp(min=1))).float()

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch, a float32 scalar, from (batch, genres) each."""
        output = logits.float()
        if self.name == "cross_entropy":
            return functional.cross_entropy(
                output, targets, self.weights, label_smoothing=self.smoothing
            )
        smoothed = targets * (1 - self.smoothing) + self.smoothing / targets.shape[1]
        if self.name == "likelihood":
            losses = -(smoothed * output).sum(dim=1)
        elif self.name == "binary":
            log_p, log_rest = self._logarithms(output)
            losses = -(smoothed * log_p + (1 - smoothed) * log_rest).mean(dim=1)
        else:
            losses = (output - smoothed).square().mean(dim=1)
        return (losses if self.weights is None else losses * (targets @ self.weights)).mean()

    def _logarithms(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Of each genre's own probability, and of 1 minus it."""
        if self.output == "logits":
            return functional.logsigmoid(output), functional.logsigmoid(-output)
        if self.output == "log_sigmoid":
            return output, (-output.expm1()).clamp(min=_TINY).log()
        return output.clamp(min=_TINY).log(), (1 - output).clamp(min=_TINY).log()


def rates(recipe: Training) -> list[float]:
    """The learning rate at the start of every epoch, as far as no loss decides it."""
    moved = torch.optim.SGD([nn.Parameter(torch.zeros(1))], recipe.lr)
    n_updates = 20  # in an epoch; no schedule depends on their number
    schedule = Schedule(recipe, moved, n_updates)
    starts = []
    for _ in range(recipe.epochs):
        starts.append(float(moved.param_groups[0]["lr"]))
        for _ in range(n_updates):
            moved.step()
            schedule.step()
    return starts
