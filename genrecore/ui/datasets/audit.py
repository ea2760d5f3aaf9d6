"""The audit of a dataset: started as a task, shown as findings with their clips to hear."""

from __future__ import annotations

from typing import Literal

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.data.audit import KINDS, Audit
from genrecore.ui.datasets.choice import DatasetChoice, audit_words, choose_split
from genrecore.ui.datasets.listening import show
from genrecore.ui.datasets.readers import Dataset, stored_audit
from genrecore.ui.parts.choices import choose_one, choose_page
from genrecore.ui.parts.frame import command, empty, pair, plain, section, separation_box, tiles
from genrecore.ui.parts.tasks import is_working, task_button, watch

_EVERYTHING = "everything"
_SIGNS: dict[str, tuple[str, Literal["red", "orange", "gray"]]] = {
    "problem": ("✕", "red"),
    "warning": ("▲", "orange"),
    "note": ("○", "gray"),
}
_SEVERITIES = {
    "problem": "Faults that change scores",
    "warning": "Listen to these before you trust the dataset",
    "note": "Good to know",
}
PAGE_FINDINGS = 8
"""Findings at a time: each brings up to two clips of sound to the browser."""


def show_audit(dataset: DatasetChoice, data: Dataset) -> None:
    """The button, the summary, and the findings with their clips."""
    section("Audit", "Faults in the audio, exact copies, near-duplicates, and leaks of a split.")
    left, right = pair("audit", left=3, right=2)
    with left:
        titles = {"clips": "The clips", "split": "The clips and a split"}
        scope = choose_one("Look at", titles, "audit", radio=True)
        split = choose_split(dataset) if scope == "split" else None
    arguments = audit_words(dataset, split)
    with right:
        task_button(
            "Audit",
            arguments,
            f"Auditing {dataset.name}",
            "audit_start",
            ":material/fact_check:",
            help="Measures every clip once, about 0.05 s for 30 s of sound, and keeps the result.",
            width="stretch",
        )
        command(["genrecore", *(word for word in arguments if word != "--json")])
    watch(arguments)
    stored = stored_audit(dataset, data, split)
    if stored is None:
        if not is_working(arguments):
            empty(
                "This has not been audited yet.",
                "Press Audit: it goes on when you close this page, and its findings appear here.",
            )
        return
    if stored.current:
        st.caption(f"Audited on {words.moment(stored.at)}.")
    else:
        st.warning(
            f"This audit of {words.moment(stored.at)} looked at other files than those in the "
            "folder now; audit again.",
            icon=":material/update:",
        )
    _summary(stored.audit)
    _findings(stored.audit, data.clips)


def _summary(audit: Audit) -> None:
    if audit.separation:
        separation_box(audit.separation)
    counts = [
        (f"{severity.capitalize()}s", words.thousands(audit.n_of(severity)), "", meaning)
        for severity, meaning in _SEVERITIES.items()
    ]
    tiles([*counts, ("Clips checked", words.thousands(audit.n_clips), "", "")], "audit")
    for sentence in audit.crossings["sentence"]:
        st.markdown(f"- {plain(sentence)}")
    with st.expander("What was checked", icon=":material/checklist:"):
        st.markdown("\n".join(f"- {plain(sentence)}" for sentence in audit.checked))


def _findings(audit: Audit, clips: pd.DataFrame) -> None:
    section("Findings", "The worst first, with a player for every clip.")
    if audit.findings.empty:
        empty("Nothing was found.", "No check found anything to report.")
        return
    counts = {_EVERYTHING: sum(audit.counts.values())}
    counts |= {kind: audit.counts[kind] for kind in KINDS if audit.counts.get(kind)}
    titles = {_EVERYTHING: "Everything", **KINDS}
    options = {kind: f"{titles[kind]} ({words.thousands(n)})" for kind, n in counts.items()}
    kind = choose_one("Kind", options, "kind")
    rows = audit.findings
    if kind != _EVERYTHING:
        rows = rows[rows["kind"] == kind]
    if len(rows) < counts[kind]:
        first, total = words.thousands(len(rows)), words.thousands(counts[kind])
        st.caption(f"Only the first {first} of {total} are stored.")
    page = choose_page(-(-len(rows) // PAGE_FINDINGS), "page")
    on_page = rows.iloc[(page - 1) * PAGE_FINDINGS : page * PAGE_FINDINGS]
    for n, (_, row) in enumerate(on_page.iterrows()):
        with st.container(border=True):
            _finding(row, clips, f"finding_{n}")


def _finding(row: pd.Series, clips: pd.DataFrame, key: str) -> None:
    """The finding, and beside it a player for each of its clips."""
    clip_ids = [clip_id for clip_id in (row["clip_id"], row["other_clip_id"]) if clip_id]
    left, right = pair(key, left=2, right=3) if clip_ids else (st.container(), st.container())
    with left:
        sign, colour = _SIGNS[row["severity"]]
        st.badge(f"{sign} {row['severity']}: {KINDS.get(row['kind'], row['kind'])}", color=colour)
        st.markdown(plain(row["sentence"]))
    if not clip_ids:
        return
    with right:
        columns = st.columns(2) if len(clip_ids) > 1 else [st.container()]
        for n, (column, clip_id) in enumerate(zip(columns, clip_ids, strict=True)):
            with column:
                show(clips, clip_id, f"{key}_{n}")
