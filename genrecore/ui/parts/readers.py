"""What pages read from disk, cached by path and time of change. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from genrecore.data import clips
from genrecore.errors import GenrecoreError
from genrecore.evaluation import comparison, metrics
from genrecore.evaluation.comparison import Comparison
from genrecore.jobs import alerts
from genrecore.jobs.alerts import Alert
from genrecore.reporting.plots import RunStyle
from genrecore.store import run as runs
from genrecore.store.progress import phase_text
from genrecore.store.run import Run
from genrecore.ui.parts import run_rows


@dataclass(frozen=True)
class Progress:
    """How far a job is: a share 0 … 1, and the words beside the bar."""

    share: float
    words: str


def all_runs() -> list[Run]:
    """Every readable run of the store, the newest first."""
    return [run for run in map(run_rows.opened, run_rows.listed()) if isinstance(run, Run)]


def unreadable() -> list[str]:
    """A sentence for each run folder that cannot be read."""
    return run_rows.problems()


def styles() -> dict[str, RunStyle]:
    """The style of every run in the store."""
    return run_rows.styles()


def find(run_id: str) -> Run | None:
    """The run of exactly this id, or None."""
    folder = runs.store_dir() / run_id
    if not run_id or run_id.startswith(".") or folder.name != run_id:  # an address is no path
        return None
    if not (folder / "config.json").is_file():
        return None
    run = run_rows.opened(folder)
    return run if isinstance(run, Run) else None


def active(found: Sequence[Run]) -> list[Run]:
    """Those that work or wait for work."""
    return [run for run in found if run.state in runs.LIVE or run.state == "queued"]


def tested(found: Sequence[Run]) -> list[Run]:
    """Those whose test predictions are written."""
    return [run for run in found if (run.folder / "predictions.parquet").exists()]


def usable(found: Sequence[Run]) -> list[Run]:
    """Those with weights to classify with."""
    return [run for run in found if run.weights.exists()]


def history(run: Run) -> pd.DataFrame:
    """The run's epochs so far."""
    return _history(str(run.folder), changed(run, "history.jsonl"))


@st.cache_data(show_spinner=False, max_entries=64)
def _history(folder: str, changed: int) -> pd.DataFrame:
    return Run(Path(folder)).history


def alerts_of(run: Run) -> list[Alert]:
    """What there is to tell about the run; computed anew with a new epoch or state."""
    return _alerts(str(run.folder), run.state, changed(run, "history.jsonl"))


@st.cache_data(show_spinner=False, max_entries=64)
def _alerts(folder: str, state: str, changed: int) -> list[Alert]:
    return alerts.of(Run(Path(folder)))


@dataclass(frozen=True)
class Epoch:
    """How one epoch did on the validation clips.

    Attributes:
        confusion: Labelled × predicted counts.
        per_genre: As `metrics.per_genre` makes it, with `run_id` and `title`.
        accuracy: Share of the clips recognised.
        n_clips: Validation clips.
    """

    confusion: pd.DataFrame
    per_genre: pd.DataFrame
    accuracy: float
    n_clips: int


def n_validated(run: Run) -> int:
    """How many epochs have predicted the validation clips."""
    n_valid = len(_labels(str(run.folder), changed(run, "clips.parquet"))[0])
    try:
        n_bytes = (run.folder / "epochs.u8").stat().st_size
    except OSError:
        return 0
    return n_bytes // n_valid if n_valid else 0


def epoch(run: Run, number: int) -> Epoch:
    """An epoch's predictions of the validation clips as tables.

    Args:
        run: A run with validation clips.
        number: From 1 to `n_validated`.
    """
    return _epoch(str(run.folder), changed(run, "clips.parquet"), number, begun(run))


def begun(run: Run) -> float:
    """Changes where a run starts over: its epochs are predicted anew."""
    return float(run.status.get("started_at") or 0.0) + len(run.status.get("states") or [])


@st.cache_data(show_spinner=False, max_entries=128)
def _epoch(folder: str, changed: int, number: int, begun: float) -> Epoch:
    labels, genres = _labels(folder, changed)
    with open(Path(folder) / "epochs.u8", "rb") as stream:
        stream.seek((number - 1) * len(labels))
        predicted = np.frombuffer(stream.read(len(labels)), np.uint8)
    if len(predicted) < len(labels):
        raise GenrecoreError(f"Epoch {number} has not predicted the validation clips yet.")
    certain = np.eye(len(genres))[predicted]
    predictions = pd.DataFrame(certain, columns=[f"p_{genre}" for genre in genres])
    predictions.insert(0, "genre", labels)
    run = Run(Path(folder))
    return Epoch(
        confusion=metrics.confusion(predictions, genres),
        per_genre=metrics.per_genre(predictions, genres).assign(
            run_id=run.run_id, title=f"Epoch {number}"
        ),
        accuracy=float(np.mean(np.array(genres, dtype=object)[predicted] == labels)),
        n_clips=len(labels),
    )


@st.cache_data(show_spinner=False, max_entries=32)
def _labels(folder: str, changed: int) -> tuple[np.ndarray, list[str]]:
    """(genre of each validation clip in clip-table order, sorted genres of all clips)."""
    table = Run(Path(folder)).clips
    if table is None:
        return np.zeros(0, dtype=object), []
    valid = table.loc[table["split"] == "valid", "genre"]
    return valid.to_numpy(dtype=object), clips.genres_of(table)


def leaderboard(found: Sequence[Run]) -> pd.DataFrame:
    """The scores of the runs that have been tested."""
    return _leaderboard(_keys(tested(found)))


@st.cache_data(show_spinner=False, max_entries=8)
def _leaderboard(keys: tuple[tuple[str, int], ...]) -> pd.DataFrame:
    return comparison.leaderboard([Run(Path(folder)) for folder, _ in keys])


def compare(found: Sequence[Run]) -> Comparison:
    """The runs compared with one another, in the given order."""
    return _compare(_keys(found))


@st.cache_data(show_spinner="Comparing the runs …", max_entries=16)
def _compare(keys: tuple[tuple[str, int], ...]) -> Comparison:
    return comparison.compare([Run(Path(folder)) for folder, _ in keys])


def per_genre(run: Run) -> pd.DataFrame:
    """Recall and F1 of each genre on a tested run's test clips."""
    return _test_tables(*_keys([run])[0])[0]


def pooled_accuracies(run: Run) -> dict[str, float]:
    """Test accuracy by each way of pooling segments; cached."""
    return _pooled(str(run.folder), changed(run, "segments.parquet"))


@st.cache_data(max_entries=500, show_spinner=False)
def _pooled(folder: str, changed: int) -> dict[str, float]:
    return comparison.pooled_accuracies(Run(Path(folder)))


def confusion(run: Run) -> pd.DataFrame:
    """Labelled × predicted counts of a tested run's test clips."""
    return _test_tables(*_keys([run])[0])[1]


@st.cache_data(show_spinner=False, max_entries=32)
def _test_tables(folder: str, changed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    run = Run(Path(folder))
    table = run.predictions
    if table is None:
        raise GenrecoreError(f"The run {run.run_id} has no test predictions.")
    table = table[table["split"] == "test"].reset_index(drop=True)
    genres = metrics.genres_in(table)
    scored = metrics.per_genre(table, genres).assign(run_id=run.run_id, title=run.title)
    return scored, metrics.confusion(table, genres)


def _keys(found: Sequence[Run]) -> tuple[tuple[str, int], ...]:
    return tuple((str(run.folder), changed(run, "predictions.parquet")) for run in found)


def changed(run: Run, name: str) -> int:
    """When a file of the run was changed last, in nanoseconds; 0 where there is none."""
    try:
        return (run.folder / name).stat().st_mtime_ns
    except OSError:
        return 0


def epochs_in_words(run: Run) -> str:
    """Epochs done of epochs planned."""
    return f"{int(run.status.get('epoch') or 0)} of {run.n_epochs}"


def progress(status: dict[str, Any], state: str) -> Progress:
    """How far a run or a task is, from its status file."""
    if state == "done":
        return Progress(1.0, "Finished")
    done, total = int(status.get("done") or 0), int(status.get("total") or 0)
    share = min(1.0, done / total) if total else 0.0
    phase = phase_text(str(status.get("phase") or ""))
    phase = phase[:1].upper() + phase[1:]
    words = f"{phase}: {done:,} of {total:,}" if total and phase else phase or "Waiting to start"
    return Progress(share, words)


def time_left(run: Run) -> str:
    """The time a live run still needs, in words; empty where nothing is known."""
    left = run.status.get("time_left_s")
    if left is None or run.state not in runs.LIVE or run.state == "stopping":
        return ""
    return duration(float(left))


def took(run: Run) -> str:
    """How long a run has worked, in words."""
    return duration(run.worked_s) if run.worked_s == run.worked_s else "–"


def duration(seconds: float) -> str:
    """Seconds in words a person would use."""
    if seconds < 59.5:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def when(seconds: float) -> str:
    """A moment as date and time."""
    return datetime.fromtimestamp(seconds).strftime("%d %b %Y, %H:%M") if seconds else "–"


def titles(found: Sequence[Run]) -> dict[str, str]:
    """The title of each run by its id."""
    return {run.run_id: run.title for run in found}


def datasets_in(table: pd.DataFrame) -> list[str]:
    """The datasets of a leaderboard, the one with most runs first."""
    return [str(name) for name in table["dataset"].value_counts().index]


def of_dataset(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The rows of one dataset, the best first: accuracies on different music do not compare."""
    rows = table[table["dataset"] == dataset]
    return rows.sort_values("accuracy", ascending=False, ignore_index=True)


def two_best(found: Sequence[Run]) -> list[str]:
    """The two best runs of the dataset with most runs, to begin with."""
    table = leaderboard(found)
    if table.empty:
        return []
    return of_dataset(table, datasets_in(table)[0])["run_id"].head(2).to_list()
