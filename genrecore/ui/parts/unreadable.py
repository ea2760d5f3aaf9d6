"""Runs that cannot be read: how many there are, why, and mending or deleting them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from genrecore.evaluation.listing import Listing, look
from genrecore.jobs import actions as jobs
from genrecore.store.files import Unreadable
from genrecore.store.run import Run
from genrecore.ui.parts.frame import act, link_to, plain, work_button
from genrecore.words import plural

_MOST = 50


def look_at_runs() -> Listing:
    """The runs of the store; a caption says how many the page leaves out because they cannot be
    read."""
    listing = look(quick=True)
    n = len(listing.unreadable)
    if n:
        with st.container(horizontal=True, vertical_alignment="center", key="unreadable"):
            st.caption(
                f":material/warning: {plural(n, 'run')} cannot be read and "
                f"{'is' if n == 1 else 'are'} left out.",
                width="content",
            )
            link_to("runs", "Why, and what to do")
    return listing


def unreadable_runs(errors: Sequence[Unreadable]) -> None:
    """The runs that cannot be read, each with its file, the place, the reason, and two buttons."""
    files = jobs.damaged_files()
    counts = [(len(errors), "run", "runs"), (len(files), "file of the store", "files of the store")]
    counted = " and ".join(plural(*count) for count in counts if count[0])
    if not counted:
        return
    with st.expander(
        f"{counted} cannot be read",
        icon=":material/warning:",
        key="unreadable_runs",
    ):
        st.caption(
            "Their files were damaged or come from another program; all other runs go on. Repair "
            "keeps a copy of a damaged file in the run's folder, then uses what its other files "
            "say. A command as well: genrecore runs repair."
        )
        for file in files:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(plain(str(file)), width="stretch")
                if work_button("Repair", icon=":material/build:", key=f"repair_{file.file}"):
                    act(partial(jobs.repair_file, file.file))
        for error in errors[:_MOST]:
            run = Run(error.folder)
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(plain(str(error)), width="stretch")
                if work_button("Repair", icon=":material/build:", key=f"repair_{error.name}"):
                    act(partial(jobs.repair, run))
                if work_button("Delete", icon=":material/delete:", key=f"drop_{error.name}"):
                    act(partial(jobs.delete, run))
        if len(errors) > _MOST:
            st.caption(f"… and {len(errors) - _MOST} more.")
