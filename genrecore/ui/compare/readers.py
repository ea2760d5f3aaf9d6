"""What the page Compare reads, cached by the files' times. Visitors share it: never change it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pandas as pd

from genrecore.evaluation import comparison, costs, systems
from genrecore.evaluation.comparison import Comparison
from genrecore.evaluation.systems import Blocks, System
from genrecore.store.run import Run
from genrecore.ui.parts.cache import cached_by_files, in_runs

Members = Mapping[str, list[Run]]
_SCORED = in_runs("predictions.parquet", "history.jsonl")


@cached_by_files(_SCORED, spinner="Comparing …", max_entries=16, shared=True)
def compared(members: Members, band: float, on_shared: bool) -> Comparison:
    """Runs or systems compared.

    Args:
        members: The runs of each by its key: one run by its own id, or those of a system.
        band: As a share.
        on_shared: Whether only on the clips that all share.
    """
    if all(len(runs) == 1 and runs[0].run_id == key for key, runs in members.items()):
        made = comparison.compare([runs[0] for runs in members.values()], band, on_shared)
    else:
        several = [System(key, tuple(runs)) for key, runs in members.items()]
        made = systems.compare(several, band, on_shared)
    # Fresh runs: what was read of these need not stay in memory.
    return dataclasses.replace(made, runs=[Run(run.folder) for run in made.runs])


@cached_by_files(_SCORED, max_entries=16, shared=True)
def blocks(members: Members) -> Blocks:
    """The systems ranked over the datasets, splits and folds on which all were tested."""
    return systems.over_blocks(systems.group_runs(run for runs in members.values() for run in runs))


@cached_by_files(in_runs("predictions.parquet", costs.FILE), max_entries=16, shared=True)
def cost_table(members: Members, titles: Mapping[str, str]) -> pd.DataFrame:
    """The costs of each, as `costs.cost_table`."""
    return costs.cost_table([(key, titles[key], runs) for key, runs in members.items()])
