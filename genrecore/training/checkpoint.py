"""What `resume.pt` holds: all that going on needs, and nothing that a pickle could hide in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genrecore.errors import GenrecoreError
from genrecore.training.epochs import Sums

if TYPE_CHECKING:
    from genrecore.training.loop import Trainer


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Where a trainer stands, between two steps: tensors, numbers and text only."""
    between = trainer.step % trainer.recipe.accumulate != 0
    return {
        "model": trainer.config.model.name,
        "genres": trainer.classifier.genres,
        "classifier": trainer.classifier.state_dict(),
        "best_weights": trainer.best_weights,
        "best": trainer.best,
        "optimiser": trainer.optimiser.state_dict(),
        # Of batches whose common step is still to come.
        "gradients": [p.grad for p in trainer.classifier.parameters()] if between else [],
        "schedule": trainer.schedule.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "epoch": trainer.epoch,
        "step": trainer.step,
        "sums": trainer.sums.state(),
        "epoch_generator": trainer.epoch_generator,
        "generator": trainer.generator.get_state(),
        "torch_generator": torch.get_rng_state(),
        "device_generator": _device_generator(trainer.hardware.device),
        "n_threads": torch.get_num_threads(),
        "precision": trainer.hardware.precision,
    }


def put_back(trainer: Trainer, state: dict[str, Any]) -> None:
    """Puts a trainer where another one of the same configuration stood.

    Raises:
        GenrecoreError: The state is of another architecture or knows other genres.
    """
    mine = {"model": trainer.config.model.name, "genres": trainer.classifier.genres}
    for key, one in mine.items():
        found = state.get(key, one)  # earlier versions said neither
        if found != one:
            raise GenrecoreError(
                f"The checkpoint belongs to another run: its {key} {_words(found)} where this run "
                f"has {_words(one, '')}; start a new run."
            )
    try:
        trainer.classifier.load_state_dict(state["classifier"])
        trainer.optimiser.load_state_dict(state["optimiser"])
    except (RuntimeError, ValueError) as error:
        raise GenrecoreError(
            f"The checkpoint's weights do not fit the model {mine['model']} with these options; "
            "start a new run."
        ) from error
    trainer.schedule.load_state_dict(state["schedule"])
    trainer.scaler.load_state_dict(state.get("scaler", {}))
    for parameter, gradient in zip(
        trainer.classifier.parameters(), state.get("gradients", []), strict=False
    ):
        parameter.grad = None if gradient is None else gradient.to(parameter.device)
    trainer.best, trainer.best_weights = state["best"], state["best_weights"]
    trainer.epoch, trainer.step = state["epoch"], state["step"]
    trainer.sums = Sums(state["sums"])
    trainer.epoch_generator = state["epoch_generator"]
    trainer.generator.set_state(state["generator"])
    torch.set_rng_state(state["torch_generator"])
    device = trainer.hardware.device
    if state["device_generator"] is not None and device.startswith("cuda"):
        torch.cuda.set_rng_state(state["device_generator"], device)


def _words(found: Any, verb: str = "is ") -> str:
    if isinstance(found, list):
        return f"{'are ' if verb else ''}{', '.join(map(str, found))}"
    return f"{verb}{found}"


def _device_generator(device: str) -> Tensor | None:
    return torch.cuda.get_rng_state(device) if device.startswith("cuda") else None
