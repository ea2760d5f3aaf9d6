"""The page Errors: choose a run and a list, pick a clip, hear and judge it."""

from __future__ import annotations

from collections.abc import Sequence

from genrecore.store.run import Run
from genrecore.ui.datasets import listening as dataset_listening
from genrecore.ui.errors import clip as error_clip
from genrecore.ui.errors import lists as error_lists
from genrecore.ui.errors import map as error_map
from genrecore.ui.errors import probes as error_probes
from genrecore.ui.errors.lists import Listed
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import command, empty, in_percent, plain, section
from genrecore.ui.parts.live import leak_badge

_VIEWS = {
    "cell": "Confusions",
    "mistakes": "Mistakes",
    "against": "Two runs",
    "differ": "Runs differ",
    "labels": "Doubtful labels",
    "map": "Map",
    "probes": "Music or a trick?",
}


def choose_run(found: Sequence[Run]) -> Run:
    """The run whose mistakes are shown; the best by default."""
    titles, ids = readers.titles(found), [run.run_id for run in found]
    best = str(readers.leaderboard(found)["run_id"].iloc[0])
    picked = choose_one("Run", ids, "run", titles.__getitem__, default=best)
    run = next(run for run in found if run.run_id == picked)
    leak_badge(run)
    return run


def choose_view() -> str:
    """Which list is shown."""
    return choose_one(
        "What to show", list(_VIEWS), "view", _VIEWS.__getitem__, radio=True, hide_label=True
    )


def listed(view: str, run: Run, found: Sequence[Run]) -> Listed | None:
    """The clips of a view, after its choices were made; None where they leave nothing to list.

    Raises:
        GenrecoreError: The runs cannot be set beside one another.
    """
    if view == "cell":
        return error_lists.cell(run)
    if view == "mistakes":
        return error_lists.one_run(run)
    if view == "against":
        return error_lists.two_runs(run, found)
    if view == "differ":
        return error_lists.runs_differ(run, found)
    if view == "map":
        return error_map.clip_map(run)
    if view == "probes":
        return error_probes.probed(run)
    return error_lists.labels(run, found)


def browse(view: str, run: Run, shown: Listed) -> None:
    """The list, and the clip that is picked in it, in full."""
    section("Clips", plain(shown.words))
    if shown.rows.empty:
        empty("There is no such clip.", "Choose another cell, or another list.")
        command(shown.command)
        return
    columns = {name: words for name, words in shown.columns.items() if name in shown.rows}
    clip_id = dataset_listening.pick(
        in_percent(shown.rows, shown.shares), f"{view}_{shown.command}", columns
    )
    clip = shown.rows[shown.rows["clip_id"] == clip_id].iloc[0]
    error_clip.in_full(run, clip, shown.judged, shown.probe)
    command(shown.command)
