"""Runs as single files on the page Runs: one goes out, another comes in."""

from __future__ import annotations

import streamlit as st

from genrecore.jobs import sharing
from genrecore.store.run import Run
from genrecore.ui.parts.frame import announce, go_to, sentences, work_button


def share_button(run: Run) -> None:
    """Downloads a finished run as one file."""
    st.download_button(
        "Share",
        lambda: sharing.packed(run),
        f"{run.run_id}.genrecore",
        "application/zip",
        key=f"share_{run.run_id}",
        icon=":material/share:",
        on_click="ignore",
        help="One file with settings, weights and test, which others import on this page. A "
        "pretrained encoder is named in it, not contained.",
    )


def import_runs() -> None:
    """Takes a run that somebody shared."""
    with st.popover("Import a run", icon=":material/download_2:", type="tertiary"):
        st.caption("A file that *Share* on a run, or `genrecore runs share`, wrote.")
        file = st.file_uploader("Shared run", type=["genrecore", "zip"], key="shared_run")
        if file is not None and work_button("Import", type="primary", key="import_run"):
            with sentences():
                run = sharing.import_run(file.getvalue())
                announce(f"{run.title} is here. {sharing.missing_encoder(run)}".strip())
                go_to("runs", {"run": run.run_id})
