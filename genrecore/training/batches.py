"""What the steps of an epoch are fed: batches of examples, ready for the network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from genrecore.config.run import RunConfig
from genrecore.training.classifier import Classifier
from genrecore.training.distributed import Team
from genrecore.training.examples import Examples, Given
from genrecore.training.hardware import Hardware

_AHEAD = 2**18  # numbers that are fetched at once: for tiny examples several batches


class Feed:
    """Batches of a run's training examples, one a step."""

    def __init__(
        self,
        config: RunConfig,
        classifier: Classifier,
        examples: Examples,
        hardware: Hardware,
        team: Team,
    ) -> None:
        self.size, self.seed = config.training.batch_size, config.seed
        self.classifier, self.examples = classifier, examples
        self.hardware, self.team = hardware, team
        self._unused = torch.Generator()
        self._precision: torch.dtype | None = None  # looked at before it is first needed

    def batches(
        self, order: Tensor, epoch: int, first: int, n_steps: int
    ) -> Iterator[tuple[Given, Tensor]]:
        """(features, soft targets) of an epoch's steps.

        Args:
            order: Training examples of all processes, in the order in which they come.
            epoch: Finished epochs.
            first: Finished steps of this one.
            n_steps: Steps of an epoch.
        """
        step, ahead, size = first, 1, self.size
        alike = self.team.size == 1 and not self.examples.change
        while step < n_steps:
            ahead = min(ahead, n_steps - step)
            index = order[step * size : (step + ahead) * size]
            if not alike:
                index = self.team.share(index)
            features, targets = self._made(index, epoch, step)
            if ahead == 1:
                yield features, targets
            else:
                assert isinstance(features, Tensor)  # of pairs nothing is fetched ahead
                yield from zip(features.split(size), targets.split(size), strict=True)
            step += ahead
            if alike and isinstance(features, Tensor):
                batch_numbers = max(1, features.numel() // ahead)
                ahead = max(1, min(_AHEAD // batch_numbers, self.examples.most // size))

    def given(self, index: Tensor, epoch: int, step: int) -> tuple[Given, Tensor]:
        """Examples as they are before they are standardised, and their soft targets."""
        return self.examples.training(index, self._generator(epoch, step))

    @torch.no_grad()
    def _made(self, index: Tensor, epoch: int, step: int) -> tuple[Given, Tensor]:
        if self.examples.row_by_row(index):
            if self._precision is None:
                self._precision = self._rounded_first(index[:2])
            modules = self.classifier.standardise
            parts = list(modules) if isinstance(modules, nn.ModuleList) else [modules]
            made = self.examples.standardised(index, parts, self._precision)
            return made, self.examples.targets(index)
        given, targets = self.given(index, epoch, step)
        return self.examples.laid_out(self.classifier.standardised(given)), targets

    def _rounded_first(self, index: Tensor) -> torch.dtype:
        """The precision in which rows from the cache may be given: the training's own where to
        round them is the first thing that the network does anyway."""
        precision: torch.dtype = getattr(torch, self.hardware.precision)
        if precision == torch.float32:
            return precision
        given = self.classifier.standardised(self.examples.features(index))
        rounded = (
            (given[0], given[1].to(precision)) if isinstance(given, tuple) else given.to(precision)
        )
        self.classifier.eval()
        with self.hardware.autocast():
            plain = self.classifier.heads(given)[0][1]
            other = self.classifier.heads(rounded)[0][1]
        self.classifier.train()
        return precision if torch.equal(plain, other) else torch.float32

    def _generator(self, epoch: int, step: int) -> torch.Generator:
        """Random numbers for the examples of this very step: going on draws the same ones."""
        if not self.examples.change:
            return self._unused
        place = np.random.SeedSequence([self.seed, epoch, step, 7 + self.team.rank])
        return torch.Generator().manual_seed(int(place.generate_state(1, np.uint64)[0] >> 1))
