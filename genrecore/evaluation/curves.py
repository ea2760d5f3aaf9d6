"""Learning curves of runs and systems as tables."""

from __future__ import annotations

from math import nan

import numpy as np
import pandas as pd

from genrecore.store.progress import Phase
from genrecore.store.run import Run

_COUNT_STEPS = (Phase.TRAINING, Phase.TESTING, Phase.EMBEDDING)  # their total counts steps


def steps_an_epoch(run: Run) -> float:
    """Optimiser steps of each epoch of a run; nan where their number is not known."""
    total, phase = run.status.get("total"), str(run.status.get("phase"))
    return float(total or nan) / run.n_epochs if phase in _COUNT_STEPS else nan


def read_curves(run: Run) -> pd.DataFrame:
    """`run_id, title, epoch, split, loss, accuracy, lr, step, seconds` of one run, train and
    validation: `step` counts optimiser steps (nan where their number is not known), `seconds` the
    time since training began, both to the end of the epoch."""
    history = run.history
    splits = [split for split in ("train", "valid") if f"{split}_loss" in history]
    n = len(history)

    def of_run(name: str) -> np.ndarray:
        values = history[name].to_numpy(dtype=float) if name in history else np.full(n, nan)
        return np.tile(values, len(splits))

    def of_split(name: str) -> np.ndarray:
        if not splits:
            return np.zeros(0)
        return np.concatenate(
            [history[f"{split}_{name}"].to_numpy(dtype=float) for split in splits]
        )

    epoch = np.tile(history["epoch"].to_numpy() if n else np.zeros(0, int), len(splits))
    seconds = history["seconds"].to_numpy(dtype=float).cumsum() if "seconds" in history else nan
    return pd.DataFrame(
        {
            "run_id": run.run_id,
            "title": run.title,
            "epoch": epoch,
            "split": np.repeat(np.array(splits, dtype=object), n),
            "loss": of_split("loss"),
            "accuracy": of_split("accuracy"),
            "lr": of_run("lr"),
            "step": epoch * steps_an_epoch(run),
            "seconds": np.tile(np.broadcast_to(seconds, n), len(splits)),
        }
    )


def curve_band(curves: pd.DataFrame) -> pd.DataFrame:
    """Learning curves of systems: means over the runs of each `key` that reached the epoch.

    Columns: `run_id` (the key), `title, epoch, split, loss, accuracy, lr, step, seconds`, and of
    loss, accuracy and learning rate `<measure>_low, <measure>_high`, the lowest and the highest.

    Args:
        curves: As `Comparison.curves`, with the systems' titles.
    """
    grouped = curves.groupby(["key", "split", "epoch"], sort=False)
    table = grouped[["loss", "accuracy", "lr", "step", "seconds"]].mean()
    for name in ("loss", "accuracy", "lr"):
        table[f"{name}_low"] = grouped[name].min()
        table[f"{name}_high"] = grouped[name].max()
    table = table.assign(title=grouped["title"].first()).reset_index()
    order = pd.Categorical(table["key"], curves["key"].unique(), ordered=True)
    table = table.assign(order=order).sort_values(["order", "split", "epoch"])
    return table.drop(columns="order").rename(columns={"key": "run_id"}).reset_index(drop=True)
