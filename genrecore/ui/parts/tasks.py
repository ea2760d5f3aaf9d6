"""Tasks that a page starts and follows: the button, then progress, a way to stop, and the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from genrecore.jobs.tasks import Task, start_task, stop_task, tasks
from genrecore.store.run import LIVE
from genrecore.ui.parts.frame import announce, empty, plain, sentences, work_button
from genrecore.ui.parts.live import badge, live, progress, time_left

ButtonKind = Literal["primary", "secondary", "tertiary"]
_ENDED_BADLY = ("failed", "lost", "stopped")
_MOST_TASKS = 200


def latest(arguments: Sequence[str]) -> Task | None:
    """The newest task whose command begins with these arguments."""
    for task in tasks()[:_MOST_TASKS]:
        if task.status.get("arguments", [])[: len(arguments)] == list(arguments):
            return task
    return None


def is_working(arguments: Sequence[str]) -> bool:
    """Whether a task of these arguments is at work."""
    task = latest(arguments)
    return task is not None and task.state in LIVE


def task_button(
    label: str,
    arguments: Sequence[str],
    title: str,
    key: str,
    icon: str,
    kind: ButtonKind = "primary",
    follows: Sequence[str] = (),
    help: str | None = None,
    width: Literal["content", "stretch"] = "content",
) -> None:
    """A button that starts `genrecore ARGUMENTS` as a task; disabled while such a task works.

    Args:
        label: On the button.
        arguments: Of the command.
        title: Of the task.
        key: Of the button; icon, kind, help and width as for `st.button`.
        follows: First words of the tasks it waits for, where these are fewer.
    """
    disabled = is_working(follows or arguments)
    if work_button(label, type=kind, icon=icon, key=key, disabled=disabled, help=help, width=width):
        with sentences():
            start_task(list(arguments), title)
            st.rerun()


def task_panel(
    label: str,
    arguments: Sequence[str],
    title: str,
    key: str,
    icon: str,
    kind: ButtonKind = "primary",
    absent: tuple[str, str] | None = None,
    help: str | None = None,
) -> None:
    """The button that starts a task, its progress, and what is missing before it was started.

    Args:
        label: As for `task_button`, like arguments, title, key, icon, kind and help.
        absent: Title and sentence of an empty place that stands above until the task works.
    """
    if absent and not is_working(arguments):
        empty(*absent)
    task_button(label, arguments, title, key, icon, kind, help=help)
    watch(arguments)


def watch(arguments: Sequence[str]) -> None:
    """Shows the newest task of these arguments while it works, or why it ended badly."""
    task = latest(arguments)
    if task is None or not (task.state in LIVE or task.state in _ENDED_BADLY):
        return
    was_working = task.state in LIVE

    def draw() -> None:
        task = latest(arguments)
        if task is None or (task.state in LIVE) != was_working:
            if task is not None and task.state == "done":
                announce(f"{task.title}: done.")
            st.rerun()  # the rest of the page has something new to show
        _show_task(task)

    live(draw, while_true=was_working)


def _show_task(task: Task) -> None:
    """State, progress, the button that stops it, why it ended, and its log."""
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{plain(task.title)}**", width="content")
            badge(task.state)
            st.space("stretch")
            if task.state in LIVE and work_button(
                "Stop", icon=":material/stop_circle:", key=f"stop_task_{task.task_id}"
            ):
                stop_task(task)
                st.rerun()
        if task.state in LIVE:
            share, text = progress(task.status, task.state)
            left = time_left(task)
            st.progress(share, text=plain(f"{text} · {left}" if left else text))
        if task.status.get("reason"):
            st.caption(plain(task.status["reason"]))
    log = task.log(6000).strip()
    if log:
        with st.expander("Log", icon=":material/notes:", expanded=task.state in ("failed", "lost")):
            tall = log.count("\n") > 10
            st.code(log, language="text", wrap_lines=True, height=260 if tall else "content")
