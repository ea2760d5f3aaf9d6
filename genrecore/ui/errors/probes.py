"""Is it the music or a trick? Probes of a run on the page Errors, and the clips they break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from genrecore.evaluation import verdicts
from genrecore.inference import probes
from genrecore.inference.probe_effects import PROBES
from genrecore.inference.probes import Probed
from genrecore.jobs.actions import start_task
from genrecore.reporting.plots import mistakes as drawn
from genrecore.store.run import Run
from genrecore.ui.datasets.tasks import is_working, latest, watch
from genrecore.ui.errors import lists as error_lists
from genrecore.ui.errors.lists import Listed
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose, choose_one, chosen
from genrecore.ui.parts.frame import chart, command, empty, plain, section, sentences
from genrecore.words import points


def probed(run: Run) -> Listed | None:
    """What probes did to the run's accuracy, and the clips that one of them breaks; None where
    there is nothing to list."""
    section(
        "Is it the music or a trick?",
        "The test clips again, each changed in a way that leaves its genre alone: quieter, "
        "filtered, as MP3, a little faster or higher. A run that loses by it has listened to "
        "something else than the music. Nothing is trained.",
    )
    reason = probes.why_not(run)
    if reason:
        empty("This run cannot be probed.", plain(reason))
        return None
    found = _stored(str(run.folder), readers.changed(run, probes.FILE))
    _start(run, found)
    if found is None or found.table.empty:
        return None
    if found.note:
        st.warning(plain(found.note), icon=":material/update:")
    st.markdown(plain(found.summary))
    names = found.table["probe"].to_list()
    open_ = found.table["word"] != probes.LOSES
    worst_first = found.table.assign(open=open_).sort_values(["open", "difference"])
    lost = worst_first["probe"].iloc[0]
    picked = chosen("probe") if chosen("probe") in names else str(lost)

    def heard(data: list[Any]) -> None:
        choose("probe", str(data[0]))
        choose("clip", "")

    chart(
        drawn.probe_differences(found.table, found.accuracy, verdicts.BAND, picked),
        f"probes_{run.run_id}",
        on_click=heard,
    )
    st.caption(
        "Whole artists are drawn for the intervals; p is adjusted for the number of probes. The "
        f"grey band is a difference of less than {points(verdicts.BAND)}."
    )
    titles = {name: PROBES[name].title for name in names}
    picked = choose_one("Probe", names, "probe", titles.__getitem__, default=str(lost))
    row = found.table.set_index("probe").loc[picked]
    st.markdown(plain(row["sentence"]))
    broken = probes.broken(run, picked)
    rows = error_lists.verdicts(run)
    rows = rows[rows["clip_id"].isin(broken)].sort_values("margin", ignore_index=True)
    words = (
        f"{len(rows)} clips that are recognised as they are, and no longer under "
        f"“{titles[picked]}”. Below is what the run made of the unchanged clip."
    )
    line = f"genrecore probe {run.run_id} --stored"
    return Listed(rows, error_lists.COLUMNS, words, line, probe=picked)


def _start(run: Run, found: Probed | None) -> None:
    """The button that starts it, and how it goes."""
    words = ["probe", run.run_id]
    working = is_working(latest(words))
    done = 0 if found is None else len(found.table)
    missing = [name for name in PROBES if found is None or name not in set(found.table["probe"])]
    if not done and not working:
        empty(
            "This run has not been probed yet.",
            f"{len(PROBES)} probes judge every test clip once; that goes on when you close this "
            "page, and what is done stays.",
        )
    if missing:
        asked = words if not done else [*words, "--only", ",".join(missing)]
        name = "Probe this run" if not done else f"Make the {len(missing)} other probes"
        if st.button(
            name,
            type="primary" if not done else "secondary",
            icon=":material/science:",
            key="probe_start",
            disabled=working,
        ):
            with sentences():
                start_task(asked, f"Probing {run.title}")
                st.rerun()
    watch(words)
    if not done:
        command(["genrecore", *words])


@st.cache_data(max_entries=16, show_spinner=False)
def _stored(folder: str, changed: int) -> Probed | None:
    return probes.read(Run(Path(folder)))
