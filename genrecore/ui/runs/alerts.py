"""Alerts on the page: toasts while somebody watches, and where else they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import streamlit as st

from genrecore.jobs import alerts
from genrecore.jobs.alerts import Alert
from genrecore.store import run as runs
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.frame import act, plain
from genrecore.ui.parts.run_rows import Row

_TOLD = "_told"
_WATCHED = frozenset({*runs.LIVE, "lost", "failed", "done"})
_ICONS = {
    "done": ":material/check_circle:",
    "failed": ":material/error:",
    "lost": ":material/heart_broken:",
    "stalled": ":material/hourglass_disabled:",
    "not a number": ":material/error:",
    "divergence": ":material/trending_up:",
    "no progress": ":material/trending_flat:",
}


def toasts(found: Sequence[Row]) -> None:
    """Says what became true since this visitor came: a run is done, failed, runs away, stands
    still. What was so before is on the page anyway."""
    told: dict[str, tuple[str, list[str]]] | None = st.session_state.get(_TOLD)
    first = told is None
    told = {} if told is None else told
    for row in found:
        before = told.get(row.run_id)
        changed = before is None or before[0] != row.state
        if not (changed or row.is_live) or row.state not in _WATCHED:
            if changed:
                told[row.run_id] = (row.state, [])
            continue
        if first and not row.is_live:  # nobody asks about those that were over already
            told[row.run_id] = (row.state, [])
            continue
        run = readers.find(row.run_id)
        now = readers.alerts_of(run) if run else []
        known = before[1] if before else []
        new = [alert for alert in now if alert.key not in known]
        told[row.run_id] = (row.state, [*known, *(alert.key for alert in new)])
        if run and not first:
            for alert in new:
                toast(run, alert)
    st.session_state[_TOLD] = told


def toast(run: Run, alert: Alert) -> None:
    """Shows an alert for a while; a bad one stays until it is put away."""
    st.toast(
        f"**{plain(run.title)}**  \n{plain(alert.words)}",
        icon=_ICONS[alert.kind],
        duration="long" if alert.is_good else "infinite",
    )


def warnings(run: Run) -> None:
    """What a person who looks at a live run should know."""
    for alert in readers.alerts_of(run) if run.state in runs.LIVE else []:
        if alert.kind in ("divergence", "no progress", "not a number"):
            st.warning(plain(alert.words), icon=_ICONS[alert.kind])


def webhook() -> None:
    """Where alerts are sent besides this page, and a field to set it."""
    address = alerts.webhook()
    host = urlsplit(address).hostname
    with st.expander(
        f"Alerts go to {host} as well" if host else "Alerts to a chat or a phone",
        icon=":material/notifications:",
        key="webhook",
    ):
        st.markdown(
            "When a run is done, fails, is lost, stands still or its loss runs away, a sentence is "
            "posted to this address as JSON. Slack, Mattermost and Discord give you such an "
            "address under *incoming webhook*. It is kept in the store; who knows it can post."
        )
        typed = st.text_input(
            "Webhook",
            type="password",
            key="webhook_url",
            placeholder="Set already; type another one to replace it" if address else "https://…",
        )
        with st.container(horizontal=True, gap="small"):
            if st.button("Keep", key="webhook_keep", disabled=not typed):
                act(lambda: alerts.set_webhook(typed))
            if st.button("Send a test", key="webhook_test", disabled=not address):
                problem = alerts.try_out(address)
                if problem:
                    st.error(plain(problem), icon=":material/error:")
                else:
                    st.success("It arrived.", icon=":material/check_circle:")
            if address and st.button("Send nothing any more", key="webhook_off", type="tertiary"):
                act(lambda: alerts.set_webhook(""))
        st.code("genrecore runs webhook https://… --test", language="bash")
