"""A run's training batches, in an order that its seed alone decides, wherever it was stopped."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

import numpy as np
import torch
from torch import Tensor

from genrecore.training.classifier import Classifier, Features, each
from genrecore.training.distributed import Team
from genrecore.training.examples import Examples

_NUMBERS_AT_ONCE = 2**18


class Batches:
    """Batches of training examples, one a step."""

    def __init__(self, classifier: Classifier, examples: Examples, team: Team) -> None:
        self._classifier, self._examples, self._team = classifier, examples, team
        self._size, self._seed = classifier.config.training.batch_size, classifier.config.seed
        self._unused = torch.Generator()

    def of_epoch(
        self, order: Tensor, epoch: int, step: int, n_steps: int
    ) -> Iterator[tuple[Features, Tensor]]:
        """(standardised features, soft targets) of the steps of an epoch that are left.

        Args:
            order: Training examples of all processes, in the order in which they come.
            epoch: Finished epochs.
            step: Finished steps of this one.
            n_steps: Steps of an epoch.
        """
        while step < n_steps:
            n = min(self._steps_at_once(), n_steps - step)
            index = self._team.share(order[step * self._size : (step + n) * self._size])
            features, targets = self.batch(index, epoch, step)
            for first in range(0, len(targets), self._size):
                rows = slice(first, first + self._size)
                yield each(itemgetter(rows), features), targets[rows]
            step += n

    def batch(self, index: Tensor, epoch: int, step: int) -> tuple[Features, Tensor]:
        """(standardised features, soft targets) of these examples in one step."""
        return self._examples.batch(index, self._generator(epoch, step), self._classifier)

    def _steps_at_once(self) -> int:
        """How many steps' examples are fetched together. More than one where nothing is drawn for
        them and they are tiny: eight rows of 57 descriptors take as long to fetch as their step."""
        if self._team.size > 1 or self._examples.changes:
            return 1
        n_fitting = _NUMBERS_AT_ONCE // (self._size * self._examples.n_numbers)
        return max(1, min(n_fitting, self._examples.most // self._size))

    def _generator(self, epoch: int, step: int) -> torch.Generator:
        """Random numbers for the examples of this very step: a resumed run draws the same ones."""
        if not self._examples.changes:
            return self._unused
        seeds = np.random.SeedSequence([self._seed, epoch, step, 7 + self._team.rank])
        return torch.Generator().manual_seed(int(seeds.generate_state(1, np.uint64)[0] >> 1))
