"""Tasks of the page Datasets: which one is meant, and how it goes (progress, stop, log)."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from genrecore.jobs import actions as jobs
from genrecore.jobs.actions import Task
from genrecore.store import run as runs
from genrecore.ui.parts.live import live, task_list

_SHOWN = ("failed", "lost", "stopped")
_MOST_TASKS = 200


def latest(arguments: Sequence[str]) -> Task | None:
    """The newest task whose command begins with these arguments."""
    wanted = list(arguments)
    for task in jobs.tasks()[:_MOST_TASKS]:
        if task.status.get("arguments", [])[: len(wanted)] == wanted:
            return task
    return None


def is_working(task: Task | None) -> bool:
    """Whether there is something to watch."""
    return task is not None and task.state in runs.LIVE


def watch(arguments: Sequence[str]) -> None:
    """The newest task of these arguments while it works, or why it ended without an answer."""
    task = latest(arguments)
    if task is None or not (is_working(task) or task.state in _SHOWN):
        return
    drawn = is_working(task)
    live(lambda: _task(arguments, drawn), while_true=drawn)


def _task(arguments: Sequence[str], drawn: bool) -> None:
    task: Task | None = latest(arguments)
    # When it ends, the rest of the page has something new to show.
    if task is None or is_working(task) != drawn:
        st.rerun()
    task_list([task])
    log = task.log(6000).strip()
    if log:
        with st.expander("Log", icon=":material/notes:", expanded=task.state in ("failed", "lost")):
            tall = log.count("\n") > 10
            st.code(log, language="text", wrap_lines=True, height=260 if tall else "content")
