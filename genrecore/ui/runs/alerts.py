"""Alerts on the page: toasts while somebody watches, and the address they are posted to."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import streamlit as st

from genrecore.evaluation.listing import RunRow
from genrecore.jobs import alerts
from genrecore.jobs.alerts import Alert
from genrecore.store.run import LIVE, Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.cache import cached_by_files, in_runs
from genrecore.ui.parts.frame import act, plain, work_button

_SHOWN = "_alerts_shown"  # in the session
_WATCHED = frozenset({*LIVE, "lost", "failed", "done"})
_ICONS = {
    "done": ":material/check_circle:",
    "failed": ":material/error:",
    "lost": ":material/heart_broken:",
    "stalled": ":material/hourglass_disabled:",
    "not a number": ":material/error:",
    "divergence": ":material/trending_up:",
    "no progress": ":material/trending_flat:",
}


def toasts(rows: Sequence[RunRow]) -> None:
    """Shows alerts that came up since this visitor opened the page: a run is done, failed, stalled,
    or its loss diverges. Older ones are on the page anyway."""
    is_first = _SHOWN not in st.session_state
    # By run: its state at the last look, and the keys of its alerts so far.
    history: dict[str, tuple[str, list[str]]] = st.session_state.setdefault(_SHOWN, {})
    for row in rows:
        state, old_keys = history.get(row.run_id, ("", []))
        if state == row.state and not row.is_live:
            continue
        is_news = row.state in _WATCHED and (row.is_live or not is_first)
        run = readers.find(row.run_id) if is_news else None
        new = [a for a in alerts_of(run, row.state) if a.key not in old_keys] if run else []
        history[row.run_id] = (row.state, [*old_keys, *(alert.key for alert in new)])
        for alert in new if not is_first else []:
            st.toast(
                f"**{plain(row.title)}**  \n{plain(alert.sentence)}",
                icon=_ICONS[alert.kind],
                duration="long" if alert.is_good else "infinite",
            )


@cached_by_files(in_runs("history.jsonl"))
def alerts_of(run: Run, state: str) -> list[Alert]:
    """The alerts of a run in this state."""
    return alerts.find_alerts(run)


def warnings(run: Run) -> None:
    """Warnings beside a live run whose loss diverges or makes no progress."""
    for alert in alerts_of(run, run.state) if run.state in LIVE else []:
        if alert.kind in ("divergence", "no progress", "not a number"):
            st.warning(plain(alert.sentence), icon=_ICONS[alert.kind])


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
            "When a run is done, fails, is lost, stalls or its loss diverges, a sentence is "
            "posted to this address as JSON. Slack, Mattermost and Discord give you such an "
            "address under *incoming webhook*. It is kept in the store; anybody who knows it can "
            "post."
        )
        typed = st.text_input(
            "Webhook",
            type="password",
            key="webhook_url",
            placeholder="Already set; type another one to replace it" if address else "https://…",
        )
        with st.container(horizontal=True, gap="small"):
            if work_button("Keep", key="webhook_keep", disabled=not typed):
                act(lambda: alerts.set_webhook(typed))
            if work_button("Send a test", key="webhook_test", disabled=not address):
                problem = alerts.try_out(address)
                if problem:
                    st.error(plain(problem), icon=":material/error:")
                else:
                    st.success("It arrived.", icon=":material/check_circle:")
            if address and work_button("Stop sending", key="webhook_off", type="tertiary"):
                act(lambda: alerts.set_webhook(""))
        st.code("genrecore runs webhook https://… --test", language="bash")
