"""How much memory a run needs, estimated before it is queued, and how much there is.

What is memory-mapped (corpora, cached features) is left out: the system drops it where there is no
room. A network is carried out once on torch's meta device, where torch says what it keeps for the
gradients. docs/explanations/performance.md compares estimates with runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from genrecore.features.cache import at_once
from genrecore.models.fitted import Fitted
from genrecore.training.classifier import Classifier, Features, tensors_of
from genrecore.training.hardware import choose
from genrecore.training.loop import PREDICT_BATCH
from genrecore.training.parts import ResolvedConfig
from genrecore.training.resolve import empty_input
from genrecore.training.sources import changes_waves

SURE, PERHAPS = 0.6, 1.4
"""Of an estimate, what is needed for certain and what may be needed: runs on a processor took 0.71
to 1.32 of it (docs/explanations/performance.md)."""

_PROCESS = 450 * 2**20  # Python with torch, pandas and scikit-learn, or a GPU's context
_SPECTRA = 48  # bytes a sample of the segments whose spectra are computed together
_STATES = {"adam": 2, "adamw": 2, "sgd": 1, "rmsprop": 1, "adadelta": 2}  # numbers a parameter
_COPIES = 5  # of the weights: themselves, gradients, the best epoch's, and two as they are saved
_SPREAD = 2.0  # what a processor's layers lay out anew and the C library keeps between them


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a run needs: `fixed`, and whatever is most of `before` training, `per_example` of
    a batch, and `predicting`."""

    fixed: float
    before: float = 0.0
    per_example: float = 0.0
    predicting: float = 0.0

    def of_batch(self, batch_size: int) -> float:
        """All of it, with batches of this size."""
        return self.fixed + max(self.before, batch_size * self.per_example, self.predicting)

    def largest_batch(self, n_bytes: float) -> int:
        """The largest power of two whose batches fit; 0 where none does."""
        if not self.per_example or self.of_batch(1) > n_bytes:
            return 0
        return 2 ** int(math.log2((n_bytes - self.fixed) / self.per_example))


def memory_need(
    resolved: ResolvedConfig, shape: tuple[int, ...], n_rows: int, n_tested: int, n_genres: int
) -> MemoryNeed:
    """What a process of a run needs: of the memory of its GPU, or of the machine.

    Args:
        resolved: The configuration.
        shape: Of one image or row that the dataset gives; empty for waves.
        n_rows: Training segments.
        n_tested: Segments of validation or test, whichever has more.
        n_genres: Outputs.
    """
    with torch.device("meta"):
        genres = [str(k) for k in range(n_genres)]
        classifier = Classifier(resolved, genres, shape, pretrained=False)
        example, config = empty_input(classifier, 2), resolved.config
    numbers = sum(tensor[0].numel() for tensor in tensors_of(example))
    is_audio, before = resolved.medium == "wave", 0.0
    n_computed = at_once("audio" if is_audio else resolved.medium, config)
    if is_audio and "image" in resolved.feature.facts.kind:
        before = _SPECTRA * min(n_computed, n_rows) * resolved.segmenter.n_samples
    if isinstance(classifier.network, Fitted):
        # Vectors in batches, joined, in double precision, and scikit-learn's own copy.
        return MemoryNeed(_PROCESS + n_rows * numbers * (4 + 4 + 8 + 8), before)
    kept, largest = _activations(classifier, example)
    n_copies = _COPIES + _STATES[config.training.optimiser]
    cached = resolved.feature.facts.cached and not changes_waves(resolved)
    n_predicted = min(PREDICT_BATCH if cached else n_computed, n_tested)
    hardware = choose(config.device, config.training.precision)
    spread = 1.0 if hardware.device.startswith("cuda") else _SPREAD
    half = 1.0 if hardware.precision == "float32" else 0.5
    return MemoryNeed(
        _PROCESS + 4 * n_copies * classifier.n_parameters(),
        before,
        spread * (half * (kept + 2 * largest) / 2 + 8 * numbers),
        n_predicted * (largest + 4 * numbers),
    )


def memory_there(device: str) -> tuple[int, int]:
    """Bytes that are free now, and all that there are, of a GPU or for this process: what the
    machine has, or the control group allows."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)
    machine = psutil.virtual_memory()
    free, total = machine.available, machine.total + psutil.swap_memory().total
    for folder in _control_groups():
        try:
            limit = int((folder / "memory.max").read_text())
            used = int((folder / "memory.current").read_text())
            kept = (folder / "memory.stat").read_text().partition("\ninactive_file ")[2]
        except (OSError, ValueError):  # no limit
            continue
        free = min(free, limit - used + int(kept.split()[0] if kept else 0))
        total = min(total, limit)
    return free, total


def _control_groups() -> list[Path]:
    """The folders of the control groups that this process is in (Linux, version 2)."""
    root = Path("/sys/fs/cgroup")
    try:
        own = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2].strip("/")
    except OSError:
        return []
    folder = root / own
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]


def _activations(classifier: Classifier, examples: Features) -> tuple[int, int]:
    """Bytes that a training step on these examples keeps for the gradients, and the bytes of the
    largest output of a layer."""
    own = {id(tensor.untyped_storage()) for tensor in classifier.state_dict().values()}
    own |= {id(parameter.untyped_storage()) for parameter in classifier.parameters()}
    kept: dict[int, Any] = {}
    largest = 0

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in own:
            kept[id(storage)] = storage  # held, so that no other gets its number
        return tensor

    def measure(layer: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.numel() * output.element_size())

    classifier.train()
    handles = [layer.register_forward_hook(measure) for layer in classifier.network.modules()]
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            heads = classifier.heads(examples)
    finally:
        for handle in handles:
            handle.remove()
    del heads
    return sum(storage.nbytes() for storage in kept.values()), largest
