"""Tasks of the page Datasets as they go: progress, stop, log."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from genrecore.jobs import Task
from genrecore.ui import dataset_readers as reading
from genrecore.ui.live import live, task_list

_SHOWN = ("failed", "lost", "stopped")


def watch(arguments: Sequence[str]) -> None:
    """The newest task of these arguments while it works, or why it ended without an answer."""
    task = reading.latest(arguments)
    if task is None or not (reading.is_working(task) or task.state in _SHOWN):
        return
    drawn = reading.is_working(task)
    live(lambda: _task(arguments, drawn), while_true=drawn)


def _task(arguments: Sequence[str], drawn: bool) -> None:
    task: Task | None = reading.latest(arguments)
    # When it ends, the rest of the page has something new to show.
    if task is None or reading.is_working(task) != drawn:
        st.rerun()
    task_list([task])
    log = task.log(6000).strip()
    if log:
        with st.expander("Log", icon=":material/notes:", expanded=task.state in ("failed", "lost")):
            st.code(log, language="text", height=260 if log.count("\n") > 10 else "content")
