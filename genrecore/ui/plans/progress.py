"""What the pages Plans and Leaks share: choosing an entry, its progress, its missing runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from genrecore import words
from genrecore.experiments.plan import Member, RunsProgress
from genrecore.store.run import WAITING
from genrecore.ui.parts.choices import choose, choose_one, chosen
from genrecore.ui.parts.frame import act, opens, plain, sentences, work_button
from genrecore.ui.parts.live import live, run_card

_MOST_CARDS = 3


def choose_view(name: str, title: str, there_are_any: bool) -> str:
    """`name` or `new`; where there are none yet there is only the form."""
    titles = {name: title} if there_are_any else {}
    new = f"New {name.removesuffix('s')}"
    return choose_one("Show", {**titles, "new": new}, "view", radio=True)


def choose_entry(name: str, titles: Mapping[str, str]) -> str:
    """The key of the plan or experiment to show: the one in the URL, or else the newest.

    Args:
        name: `plan` or `experiment`.
        titles: By key, the newest first.
    """
    key = chosen(name)
    if key and key not in titles:
        st.warning(f"There is no {name} {plain(key)}; the newest is shown.")
    key = choose_one(name.capitalize(), titles, name, pinned=True)
    opens(titles[key])
    return key


def open_entry(name: str, key: str) -> None:
    """Shows a plan or an experiment from now on, also in the URL."""
    choose(name, key)
    choose("view", "")
    st.rerun()


def follow(
    read_again: Callable[[], RunsProgress],
    title: Callable[[Member], str],
    stop: Callable[[], str],
) -> None:
    """The progress of runs, drawn again and again, and the button that stops them.

    Args:
        read_again: Reads their progress anew.
        title: The name of a run.
        stop: Stops them and returns a sentence about it.
    """

    def stage(runs: RunsProgress) -> list[object]:
        return [runs.goes_on, *(member.state for member in runs.members)]

    first_stage = stage(read_again())

    def draw() -> None:
        runs = read_again()
        if stage(runs) != first_stage:  # the other parts of the page change as well
            st.rerun()
        text = f"{runs.n_over} of {runs.n_runs} runs have ended"
        if runs.left_s is not None:
            text += f" · about {words.seconds(runs.left_s)} left"
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            st.progress(runs.share, text=text, width="stretch")
            if work_button(
                "Stop",
                icon=":material/stop_circle:",
                key="stop_runs",
                help="Running ones save a checkpoint and stop; waiting ones leave the queue. "
                "Finished ones stay.",
            ):
                act(stop)
        at_work = [member for member in runs.active if member.state not in WAITING]
        for member in at_work[:_MOST_CARDS]:
            if member.run:
                st.caption(f"Running: {plain(title(member))}")
                run_card(member.run)
        if not at_work:
            st.caption("Waiting for a free place to run. You can close this page meanwhile.")

    live(draw, while_true=True)


def failures(runs: RunsProgress, title: Callable[[Member], str]) -> None:
    """Why runs failed or were lost; each reason once."""
    reasons = {
        member.run.reason: title(member)
        for member in runs.ended
        if member.run and member.state in ("failed", "lost")
    }
    for reason, name in reasons.items():
        st.error(plain(f"{name}: {reason or 'It gave no reason.'}"), icon=":material/error:")


def offer_missing(n: int, n_runs: int, queue: Callable[[], object]) -> None:
    """How many runs have no result, and the button that queues them."""
    text = f"{n} of {n_runs} runs {'has' if n == 1 else 'have'} no result."
    label = "Queue the missing run" if n == 1 else f"Queue the {n} missing runs"
    go_on(text, label, queue)


def go_on(text: str, label: str, start: Callable[[], object]) -> None:
    """What is missing, and the button that continues the plan or experiment."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(text, width="content")
        if work_button(label, type="primary", icon=":material/play_arrow:", key="go_on"):
            with sentences(), st.spinner("Queueing …"):
                start()
                st.rerun()
