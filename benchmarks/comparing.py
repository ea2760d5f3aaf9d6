"""Seconds to compare 20 runs with all statistics, and to run the page's script over 1 000 runs.

Makes run folders whose predictions are drawn (800 clips, eight genres, two clips an artist), so
that nothing is trained. "Warm" is what a visitor meets after the first: files are in the system's
cache, modules are loaded and, for the page, configurations are known.

    python benchmarks/comparing.py
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
GENRES = [f"genre {k}" for k in range(8)]


def main() -> None:
    """Prints medians of clock and processor time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="compared")
    parser.add_argument("--clips", type=int, default=800)
    parser.add_argument("--store", type=int, default=1000, help="runs in the page's store")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="genrecore-benchmark-"))
    os.environ |= {"GENRECORE_RUNS": str(work / "runs"), "GENRECORE_CACHE": str(work / "cache")}
    (work / "runs").mkdir()
    try:
        statistics_of(work / "runs", arguments.runs, arguments.clips, arguments.rounds)
        page_of(work / "runs", arguments.store, arguments.rounds)
    finally:
        shutil.rmtree(work)


def statistics_of(store: Path, n_runs: int, n_clips: int, rounds: int) -> None:
    """All statistics of runs, and of the same as systems of four seeds."""
    from genrecore.evaluation import comparison, systems
    from genrecore.store.run import Run

    runs_made = [run_of(store, k, n_clips) for k in range(n_runs)]
    title = f"{n_runs} runs × {n_clips} clips × {len(GENRES)} genres, 10 000 resamples"
    report(title, rounds, lambda: comparison.compare([Run(folder) for folder in runs_made]))

    def pooled() -> None:
        systems.compare(systems.group_runs([Run(folder) for folder in runs_made]))

    report(f"the same as {n_runs // 4} systems of four seeds", rounds, pooled)


def page_of(store: Path, n_runs: int, rounds: int) -> None:
    """The page's script with so many runs in the store: all of it, and up to the first figure."""
    from streamlit.testing.v1 import AppTest

    from genrecore.ui.compare import view as compare

    first = next(store.iterdir())
    for k in range(n_runs - len(list(store.iterdir()))):
        shutil.copytree(first, store / f"20200101-{k:06d}-demo-cnn-{k:04x}")
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    app.run()
    app.switch_page("pages/compare.py")
    for unit in ("runs", "systems"):
        app.query_params["of"] = unit
        app.run()
        report(f"page with {n_runs} runs in the store, {unit}, whole script", rounds, app.run)
        verdicts_view = compare.VIEWS["verdicts"]
        compare.VIEWS["verdicts"] = ("Verdicts", lambda *_: None)
        report(f"page with {n_runs} runs in the store, {unit}, before figures", rounds, app.run)
        compare.VIEWS["verdicts"] = verdicts_view
        assert not app.exception


def report(title: str, rounds: int, act: Callable[[], object]) -> None:
    """Clock and processor time of an act, after one round to warm up."""
    act()
    clock, processor = [], []
    for _ in range(rounds):
        began, worked = time.perf_counter(), time.process_time()
        act()
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - worked)
    print(
        f"{title}: {statistics.median(clock):.2f} s ({min(clock):.2f}–{max(clock):.2f}), "
        f"processor {statistics.median(processor):.2f} s"
    )


def run_of(store: Path, k: int, n_clips: int) -> Path:
    """A finished run of which four differ in the seed alone."""
    from genrecore.config.run import RunConfig, with_values
    from genrecore.store import runs
    from genrecore.store.status import Status

    config = with_values(RunConfig(), {"seed": k % 4, "training.epochs": 20 + k // 4})
    run, lock = runs.create_held_run(config, store)
    draw = np.random.default_rng(k)
    label = np.arange(n_clips) % len(GENRES)
    proba = draw.dirichlet(np.ones(len(GENRES)) / 2, n_clips)
    proba[np.arange(n_clips), label] += draw.random(n_clips)
    proba /= proba.sum(axis=1, keepdims=True)
    table = pd.DataFrame({"clip_id": [f"clip {i:05}" for i in range(n_clips)], "split": "test"})
    table["genre"] = np.array(GENRES)[label]
    for column, genre in enumerate(GENRES):
        table[f"p_{genre}"] = proba[:, column]
    table.to_parquet(run.folder / "predictions.parquet", index=False)
    clip_table = table[["clip_id", "genre", "split"]].assign(
        artist=(np.arange(n_clips) // 2).astype(str)
    )
    clip_table.to_parquet(run.folder / "clips.parquet", index=False)
    rows = [
        {"epoch": e, "train_loss": 2 / e, "train_accuracy": 0.5, "valid_loss": 2 / e,
         "valid_accuracy": 0.5, "lr": 0.001, "seconds": 5.0}
        for e in range(1, 21)
    ]  # fmt: skip
    (run.folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Status(run.folder).move("done", best_epoch=20, epoch=20, n_parameters=1_000_000)
    os.close(lock)
    return run.folder


if __name__ == "__main__":
    main()
