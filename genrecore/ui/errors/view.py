"""The page Errors: choose a run and a list, pick a clip, hear and judge it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from genrecore.store.run import Run
from genrecore.ui.datasets.listening import pick
from genrecore.ui.errors import lists
from genrecore.ui.errors.clip import show_clip
from genrecore.ui.errors.lists import ClipList
from genrecore.ui.errors.map import show_map
from genrecore.ui.errors.probes import show_probes
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import command, empty, plain, run_badges, section, sentences

_VIEWS: dict[str, tuple[str, Callable[[Run, Sequence[Run]], ClipList | None]]] = {
    "cell": ("Confusions", lists.cell),
    "mistakes": ("Mistakes", lists.one_run),
    "against": ("Two runs", lists.two_runs),
    "differ": ("Runs differ", lists.runs_differ),
    "labels": ("Doubtful labels", lists.labels),
    "map": ("Map", show_map),
    "probes": ("Music or a trick?", show_probes),
}


def choose_run(tested: Sequence[Run]) -> Run:
    """The run whose mistakes are shown; by default the one that is proposed first."""
    by_id = {run.run_id: run for run in tested}
    best = readers.proposed(tested)[0]
    run = by_id[choose_one("Run", readers.titles(tested), "run", default=best, pinned=True)]
    run_badges(run)
    return run


def browse(run: Run, tested: Sequence[Run]) -> None:
    """A list of clips, and the clip that is picked in it."""
    titles = {name: title for name, (title, _) in _VIEWS.items()}
    view = choose_one("What to show", titles, "view", radio=True, hide_label=True)
    with sentences():
        clips = _VIEWS[view][1](run, tested)
        if clips is None:
            return
        section("Clips", plain(clips.description))
        if clips.rows.empty:
            empty("There is no such clip.", "Choose another cell, or another list.")
        else:
            columns, special = (*clips.columns, "artist"), {"genre": "Labelled", **clips.special}
            clip_id = pick(clips.rows, f"{view}_{clips.command}", columns, special)
            clip = clips.rows[clips.rows["clip_id"] == clip_id].iloc[0]
            show_clip(run, clip, clips.with_judgement, clips.probe)
        command(clips.command)
