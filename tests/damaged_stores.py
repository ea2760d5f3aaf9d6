"""A store with good runs, and beside them one bad run for each way of damaging a file."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from conftest import ROOT
from damages import DAMAGES, Damage

from genrecore.jobs.actions import RUNNER_LOCK
from genrecore.store.locks import take_lock
from genrecore.store.run import Run

OLD_RUNS = {path.name[-4:]: path for path in (ROOT / "tests" / "store" / "old_runs").iterdir()}


def rewritten(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    """A table becomes another one."""
    return lambda path: change(pd.read_parquet(path)).to_parquet(path, index=False)


TABLE_DAMAGES = [
    Damage("predictions.parquet", rewritten(lambda t: t.assign(p_waltz=7.0)), "p_waltz"),
    Damage("predictions.parquet", rewritten(lambda t: t.drop(columns="genre")), "genre"),
    Damage("segments.parquet", rewritten(lambda t: t.assign(start_s="x")), "start_s"),
    Damage("segments.parquet", rewritten(lambda t: t[["clip_id"]]), "genre"),
    Damage("clips.parquet", rewritten(lambda t: t.assign(artist=5)), "artist"),
    Damage("clips.parquet", rewritten(lambda t: t.assign(split=np.nan, x=1)[["x"]]), "clip_id"),
    Damage("epochs.u8", lambda path: path.write_bytes(b"\xfa" * 24) and None, ""),
    Damage("steps.f32", lambda path: path.write_bytes(b"\0" * 7) and None, ""),
    Damage("steps.f32", lambda path: path.write_bytes(b"\xff" * 8) and None, "step 1"),
]
"""Damages that only reading a table finds."""


def fill(store: Path, damages: list[Damage]) -> tuple[list[Run], list[Run]]:
    """(good runs, bad runs): two of one system, a baseline, a stopped one; one for each damage."""
    store.mkdir(exist_ok=True)
    good = [
        _copy(store, "9df4", "20260101-000001-demo-cnn-aaa1", seed=1),
        _copy(store, "9df4", "20260101-000002-demo-cnn-aaa2", seed=2),
        _copy(store, "8030", "20260101-000003-demo-svm-aaa3", seed=3),
        _copy(store, "c77b", "20260101-000004-demo-cnn-aaa4", seed=4),
    ]
    bad = []
    for n, damage in enumerate(damages):
        run = _copy(store, "9df4", f"20260202-{n:06}-demo-cnn-{n:04x}", seed=100 + n)
        damage.damage(run.folder / damage.file)
        bad.append(run)
    return good, bad


def _copy(store: Path, name: str, run_id: str, seed: int) -> Run:
    folder = store / run_id
    shutil.copytree(OLD_RUNS[name], folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": seed}))
    return Run(folder)


ALL = [*DAMAGES, *TABLE_DAMAGES]


@contextlib.contextmanager
def filled(store: Path) -> Iterator[tuple[list[Run], list[Run]]]:
    """Good runs and a bad one for each damage (`fill`); nothing is started inside."""
    runs = fill(store, ALL)
    lock = take_lock(store / RUNNER_LOCK)
    assert lock is not None
    yield runs
    os.close(lock)
