"""How far a verdict's probabilities may be believed, by the run's own validation clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from genrecore.evaluation import metrics
from genrecore.inference.loaded import LoadedRun, Verdict
from genrecore.reporting import plots
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.frame import chart, plain, section


def reliability(
    runs: Sequence[Run], loaded: Sequence[LoadedRun], verdicts: Sequence[Verdict]
) -> None:
    """What calibration did to each run, and how often it is right when it is as sure as here."""
    section(
        "How far to trust it",
        "Probabilities are what the network says, brought to what its validation clips bear out.",
    )
    tables = []
    for run, one, verdict in zip(runs, loaded, verdicts, strict=True):
        table = _table(str(run.folder), readers.changed(run, "predictions.parquet"), one)
        said = [one.calibration.sentence, _as_sure_as_here(table, float(verdict.proba.max()))]
        head = f"**{plain(run.title)}**  \n" if len(runs) > 1 else ""
        st.markdown(head + plain(" ".join(said).strip()))
        tables.append(table.assign(run_id=run.run_id, title=run.title))
    everything = pd.concat(tables, ignore_index=True)
    if len(everything):
        chart(plots.calibration(everything, readers.styles()), "reliability")
        st.caption(
            "Calibrated probabilities of the validation clips. A temperature was fitted on these "
            "very clips, so on new music it may fit a little less well."
        )


@st.cache_data(max_entries=32, show_spinner=False)
def _table(folder: str, changed: int, _loaded: LoadedRun) -> pd.DataFrame:
    """The reliability diagram of a run's validation clips after calibration."""
    predictions = Run(Path(folder)).predictions
    if predictions is None:
        return metrics.reliability(pd.DataFrame({"genre": []}), [])
    valid = predictions[predictions["split"] == "valid"].reset_index(drop=True)
    columns = [f"p_{genre}" for genre in _loaded.genres]
    valid[columns] = _loaded.calibration.apply(valid[columns].to_numpy(dtype=float))
    return metrics.reliability(valid, list(_loaded.genres))


def _as_sure_as_here(table: pd.DataFrame, certainty: float) -> str:
    rows = table[(table["low"] < certainty) & (certainty <= table["high"])]
    if rows.empty:
        return "It was never as sure as here of a validation clip."
    row = rows.iloc[0]
    n, right = int(row["n_clips"]), round(float(row["accuracy"]) * int(row["n_clips"]))
    return (
        f"Where it was {100 * row['low']:.0f} to {100 * row['high']:.0f} % sure, as here, "
        f"{right} of {n} validation clips were right."
    )
