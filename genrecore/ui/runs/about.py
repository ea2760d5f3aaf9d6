"""Name, note, tags and star of the open run, shown and edited in place."""

from __future__ import annotations

from collections.abc import Set

import streamlit as st

from genrecore.jobs import actions as jobs
from genrecore.store.about import MOST_NAME, MOST_NOTE
from genrecore.store.run import Run
from genrecore.ui.parts.frame import act, plain, work_button


def about_run(run: Run, tags: Set[str]) -> None:
    """The star, to be switched, and a form for name, note and tags, of which those are proposed
    that other runs have."""
    about = run.about
    if work_button(
        "★ Starred" if about.starred else "☆ Star",
        key=f"star_{run.run_id}",
        type="tertiary",
        help="Take its star away."
        if about.starred
        else "Mark it; the list can show such runs first.",
    ):
        act(lambda: jobs.annotate(run, starred=not about.starred))
    # What was written elsewhere meanwhile needs new fields: the old ones would hide it.
    own = f"{run.run_id}_{hash(about)}"
    with (
        st.popover("Name and notes", icon=":material/edit:", type="tertiary", key=f"about_{own}"),
        st.form(f"about_form_{own}", border=False),
    ):
        name = st.text_input(
            "Name",
            about.name,
            MOST_NAME,
            key=f"name_{own}",
            placeholder=run.made_name,
            help="Lists, charts and reports show it, and commands find the run by it. Without one "
            "it has the name made for it.",
        )
        note = st.text_area("Note", about.note, max_chars=MOST_NOTE, key=f"note_{own}")
        picked = st.multiselect(
            "Tags",
            sorted({*tags, *about.tags}),
            about.tags,
            key=f"tags_{own}",
            accept_new_options=True,
            placeholder="Words; type a new one",
        )
        if work_button(
            "Keep", widget=st.form_submit_button, type="primary", key=f"keep_about_{own}"
        ):
            act(lambda: jobs.annotate(run, name=name, note=note, tags=picked))


def show_about(run: Run) -> None:
    """Its tags and its note, literally."""
    if run.tags:
        with st.container(horizontal=True, gap="xsmall"):
            for tag in run.tags:
                st.badge(plain(tag), icon=":material/sell:", color="gray")
    if run.note:
        st.text(run.note)
