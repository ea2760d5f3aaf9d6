"""What the page Compare reads, cached by path and time of change; shared, so never changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from genrecore.evaluation import comparison, costs, systems
from genrecore.evaluation.comparison import Comparison
from genrecore.evaluation.systems import Blocks, System
from genrecore.reporting import plots
from genrecore.reporting.plots import RunStyle
from genrecore.store.run import Run
from genrecore.ui.parts import readers

Keys = tuple[tuple[str, tuple[tuple[str, int, int], ...]], ...]


def compared(members: Mapping[str, Sequence[Run]], band: float, on_shared: bool) -> Comparison:
    """Runs or systems compared.

    Args:
        members: The runs of each by its key: one run by its own id, or those of a system.
        band: As a share.
        on_shared: Whether only on the clips that all share.
    """
    return _compared(_keys(members), band, on_shared)


@st.cache_resource(show_spinner="Comparing …", max_entries=16)
def _compared(keys: Keys, band: float, on_shared: bool) -> Comparison:
    by_key = _runs(keys)
    if all(len(found) == 1 and found[0].run_id == key for key, found in by_key.items()):
        made = comparison.compare([found[0] for found in by_key.values()], band, on_shared)
    else:
        made = systems.compare([_system(key, by_key[key]) for key in by_key], band, on_shared)
    # What was read of the runs need not be kept.
    return dataclasses.replace(made, runs=[Run(run.folder) for run in made.runs])


def blocks(members: Mapping[str, Sequence[Run]]) -> Blocks:
    """The systems ranked over the datasets, splits and folds that all were tested on."""
    return _blocks(_keys(members))


@st.cache_resource(show_spinner=False, max_entries=16)
def _blocks(keys: Keys) -> Blocks:
    return systems.over_blocks(systems.of(run for found in _runs(keys).values() for run in found))


def cost_table(members: Mapping[str, Sequence[Run]], titles: Mapping[str, str]) -> pd.DataFrame:
    """What each cost, as `costs.table`."""
    kept = tuple(readers.changed(run, costs.FILE) for found in members.values() for run in found)
    return _cost_table(_keys(members), tuple(titles[key] for key in members), kept)


@st.cache_resource(show_spinner=False, max_entries=16)
def _cost_table(keys: Keys, titles: tuple[str, ...], kept: tuple[int, ...]) -> pd.DataFrame:
    return costs.table(
        [(key, title, found) for title, (key, found) in zip(titles, _runs(keys).items(),
                                                            strict=True)]
    )  # fmt: skip


def grouped(found: Sequence[Run]) -> dict[str, System]:
    """The systems of tested runs by their signatures."""
    return {one.signature: one for one in systems.of(found)}


def styles_of(made: Mapping[str, System]) -> dict[str, RunStyle]:
    """How each system is drawn, in the order of their oldest runs: all those of the store are
    given, so that a system keeps its style."""
    first = {min(run.run_id for run in one.runs): key for key, one in made.items()}
    return {first[run_id]: style for run_id, style in plots.run_styles(list(first)).items()}


def _system(signature: str, found: Sequence[Run]) -> System:
    return System(signature, tuple(found))


def _keys(members: Mapping[str, Sequence[Run]]) -> Keys:
    return tuple(
        (
            key,
            tuple(
                (str(run.folder), readers.changed(run, "predictions.parquet"),
                 readers.changed(run, "history.jsonl"))
                for run in found
            ),
        )
        for key, found in members.items()
    )  # fmt: skip


def _runs(keys: Keys) -> dict[str, list[Run]]:
    return {key: [Run(Path(folder)) for folder, *_ in places] for key, places in keys}
