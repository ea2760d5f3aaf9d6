"""Totals over an epoch's training steps, and predictions of segments pooled to clips."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from genrecore.evaluation.metrics import watchable
from genrecore.evaluation.pooling import pool_segments
from genrecore.training.distributed import Team

_READ_AFTER_STEPS = 64
_READ_AFTER_S = 0.5


class PooledClips:
    """The clips of some segments, in the order of the segments."""

    def __init__(self, segments: pd.DataFrame, index: Tensor, genres: list[str]) -> None:
        rows = segments.iloc[index.numpy()]
        self._clip_of, names = pd.factorize(rows["clip_id"])
        self.n = len(names)
        self.first = np.flatnonzero(~rows["clip_id"].duplicated().to_numpy())
        self._labels = pd.Index(genres).get_indexer(
            pd.Index(rows["genre"].iloc[self.first], dtype=object)
        )

    def pooled(self, proba: np.ndarray, pooling: str) -> np.ndarray:
        """Probabilities (clips, genres) from (segments, genres)."""
        return pool_segments(proba, self._clip_of, self.n, pooling)

    def scores(self, clips: np.ndarray) -> dict[str, float]:
        """Loss and the metrics that may be watched, as the test scores them: of clips (training's
        loss is of segments)."""
        values = clips.astype(np.float64)
        return {
            f"valid_{name}": metric.thing(self._labels, values)
            for name, metric in watchable().items()
        }


def prediction_tables(
    segments: pd.DataFrame, index: Tensor, genres: list[str], proba: np.ndarray, pooling: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(predictions, segments) as a run folder keeps them.

    Args:
        segments: `clip_id, split, genre, start_s`, one row a segment.
        index: Rows of it.
        genres: Sorted names.
        proba: Of those rows, (segments, genres).
        pooling: How they become clips, a key of `POOLINGS`.
    """
    rows, clips = segments.iloc[index.numpy()], PooledClips(segments, index, genres)
    clip = ["clip_id", "split", "genre"]
    columns = [f"p_{genre}" for genre in genres]

    def joined(table: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
        beside = pd.DataFrame(values, columns=columns, index=table.index)
        return pd.concat([table, beside], axis=1).reset_index(drop=True)

    predictions = joined(rows.iloc[clips.first][clip], clips.pooled(proba, pooling))
    return predictions, joined(rows[[*clip, "start_s"]], proba)


class EpochTotals:
    """Loss and accuracy over the steps of an epoch.

    What steps give is collected and read now and then: to read it at once would make every step
    wait for the device.
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        state = state or {"loss": 0.0, "right": 0, "seen": 0, "seconds": 0.0}
        self.loss, self.right = float(state["loss"]), int(state["right"])
        self.seen, self.seconds = int(state["seen"]), float(state["seconds"])
        self.steps: list[tuple[float, int]] = [*state.get("steps", [])]  # loss, examples
        self._collected: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        self._read_at = time.perf_counter()

    def state(self) -> dict[str, Any]:
        """For a checkpoint: everything that was read."""
        return {
            "loss": self.loss,
            "right": self.right,
            "seen": self.seen,
            "seconds": self.seconds,
            "steps": self.steps,
        }

    def add(self, main: Tensor, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Collects a step: the main head's loss, what was minimised, logits and targets."""
        self._collected.append((main.detach(), loss.detach(), logits.detach(), targets))

    def due(self, by_time: bool) -> bool:
        """Whether what was collected should be read now."""
        late = by_time and time.perf_counter() - self._read_at > _READ_AFTER_S
        return late or len(self._collected) >= _READ_AFTER_STEPS

    def read(self) -> tuple[int, float] | None:
        """Adds up what was collected. Where a loss is no finite number: how many steps ago that
        was, and the number."""
        collected, self._collected = self._collected, []
        self._read_at = time.perf_counter()
        if not collected:
            return None
        mains = torch.stack([main for main, _, _, _ in collected]).tolist()
        losses = torch.stack([loss for _, loss, _, _ in collected]).tolist()
        for k, loss in enumerate(losses):
            if not math.isfinite(loss):
                return len(losses) - 1 - k, loss
        logits = torch.cat([logits for _, _, logits, _ in collected])
        targets = torch.cat([targets for _, _, _, targets in collected])
        self.right += int((logits.argmax(1) == targets.argmax(1)).sum())
        for main, (_, _, _, of_step) in zip(mains, collected, strict=True):
            self.loss += main * len(of_step)  # one by one, so that a stop changes no rounding
            self.seen += len(of_step)
            self.steps.append((main, len(of_step)))
        return None

    def means(self, team: Team) -> dict[str, float]:
        """The epoch's training loss and accuracy over all processes, and its pace."""
        sums = torch.tensor([self.loss, self.right, self.seen], dtype=torch.float64)
        loss, right, seen = team.total(sums).tolist()
        return {
            "train_loss": loss / max(seen, 1),
            "train_accuracy": right / max(seen, 1),
            "samples_per_s": seen / max(self.seconds, 1e-9),
        }

    def step_losses(self, team: Team) -> np.ndarray:
        """The loss of each step over all processes, (steps,) float32."""
        steps = torch.tensor(self.steps, dtype=torch.float64).reshape(-1, 2)
        sums = team.total(torch.stack([steps[:, 0] * steps[:, 1], steps[:, 1]]))
        return (sums[0] / sums[1]).numpy().astype("<f4")
