"""Probes of a run on the page Errors: does it use the music or a trick?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from genrecore import words
from genrecore.evaluation import verdicts
from genrecore.inference import probes
from genrecore.inference.probes import PROBES, ProbeResults
from genrecore.reporting.plots import mistakes as plots
from genrecore.store.run import Run
from genrecore.ui.errors.lists import ClipList, predictions
from genrecore.ui.parts.cache import cached_by_files, in_runs
from genrecore.ui.parts.choices import choose, choose_one, chosen
from genrecore.ui.parts.frame import chart, command, empty, plain, section
from genrecore.ui.parts.tasks import is_working, task_button, watch


def show_probes(run: Run, tested: Sequence[Run]) -> ClipList | None:
    """The effect of probes on the run's accuracy, and the clips that one of them breaks; None
    where there is nothing to list."""
    section(
        "Is it the music or a trick?",
        "The test clips again, each changed in a way that keeps its genre: quieter, filtered, as "
        "MP3, a little faster or higher. A run that loses accuracy uses something else than the "
        "music. Nothing is trained.",
    )
    reason = probes.why_not(run)
    if reason:
        empty("This run cannot be probed.", plain(reason))
        return None
    stored = _stored(run)
    _start(run, stored)
    if stored is None or stored.table.empty:
        return None
    if stored.note:
        st.warning(plain(stored.note), icon=":material/update:")
    st.markdown(plain(stored.summary))
    names = stored.table["probe"].to_list()
    not_lost = stored.table["word"] != probes.LOSES
    worst_first = stored.table.assign(not_lost=not_lost).sort_values(["not_lost", "difference"])
    worst = str(worst_first["probe"].iloc[0])
    picked = chosen("probe") if chosen("probe") in names else worst

    def pick(data: list[Any]) -> None:
        choose("probe", str(data[0]))
        choose("clip", "")

    figure = plots.probe_differences(stored.table, stored.accuracy, verdicts.BAND, picked)
    chart(figure, f"probes_{run.run_id}", on_click=pick)
    st.caption(
        "The intervals take clips of one artist for alike; p-values are adjusted for the number of "
        f"probes. The grey band marks differences below {words.points(verdicts.BAND)}."
    )
    titles = {name: PROBES[name].title for name in names}
    picked = choose_one("Probe", titles, "probe", default=worst)
    st.markdown(plain(stored.table.set_index("probe").loc[picked, "sentence"]))
    rows = predictions(run)
    rows = rows[rows["clip_id"].isin(probes.broken(run, picked))]
    rows = rows.sort_values("margin", ignore_index=True)
    description = (
        f"{words.plural(len(rows), 'clip')} recognised unchanged, but not with the probe "
        f"“{titles[picked]}”. The predictions below are those of the unchanged clips."
    )
    line = f"genrecore probe {run.run_id} --stored"
    return ClipList(rows, description, line, probe=picked)


def _start(run: Run, stored: ProbeResults | None) -> None:
    """The button that starts the probes, and their progress."""
    arguments = ["probe", run.run_id]
    done = [] if stored is None else stored.table["probe"].to_list()
    missing = [name for name in PROBES if name not in done]
    if not done and not is_working(arguments):
        empty(
            "This run has not been probed yet.",
            f"{len(PROBES)} probes change and classify every test clip once; that goes on when you "
            "close this page, and finished probes stay.",
        )
    if missing:
        only = ["--only", ",".join(missing)] if done else []
        task_button(
            f"Make the {len(missing)} other probes" if done else "Probe this run",
            [*arguments, *only],
            f"Probing {run.title}",
            "probe_start",
            ":material/science:",
            "secondary" if done else "primary",
            follows=arguments,
        )
    watch(arguments)
    if not done:
        command(["genrecore", *arguments])


@cached_by_files(in_runs(probes.FILE), max_entries=16)
def _stored(run: Run) -> ProbeResults | None:
    return probes.read(run)
