"""The audit of a dataset on its page: started as a task, read as findings, heard as clips."""

from __future__ import annotations

from typing import Literal

import pandas as pd
import streamlit as st

from genrecore.data.audit import KINDS, Audit
from genrecore.jobs.actions import start_task
from genrecore.ui.datasets import readers as reading
from genrecore.ui.datasets.choice import Chosen, audit_words
from genrecore.ui.datasets.form import choose_split
from genrecore.ui.datasets.listening import show
from genrecore.ui.datasets.readers import Dataset
from genrecore.ui.datasets.tasks import is_working, latest, watch
from genrecore.ui.parts.choices import choose_one, choose_page
from genrecore.ui.parts.frame import command, empty, pair, plain, section, sentences
from genrecore.ui.parts.readers import when

_EVERYTHING = "everything"
_SIGNS: dict[str, tuple[str, Literal["red", "orange", "gray"]]] = {
    "problem": ("✕", "red"),
    "warning": ("▲", "orange"),
    "note": ("○", "gray"),
}
PAGE_FINDINGS = 8
"""Findings at a time: each brings up to two clips of sound to the browser."""


def panel(picked: Chosen, data: Dataset) -> None:
    """Button, verdict, findings, and the clips that the chosen finding is about."""
    section(
        "Audit",
        "Faults in the audio, exact copies and near-copies, and what stands on both sides of a "
        "split.",
    )
    left, right = pair("audit", left=3, right=2)
    with left:
        with_split = (
            choose_one(
                "Look at",
                ["clips", "split"],
                "audit",
                words={"clips": "The clips", "split": "The clips and a split"}.__getitem__,
                radio=True,
            )
            == "split"
        )
        split = choose_split(data) if with_split else None
    words = audit_words(picked, split)
    with right:
        working = is_working(latest(words))
        if st.button(
            "Audit",
            type="primary",
            icon=":material/fact_check:",
            key="audit_start",
            width="stretch",
            disabled=working,
            help="Measures every clip once, about 0.05 s for 30 s of sound, and keeps the result.",
        ):
            with sentences():
                start_task(words, f"Auditing {picked.name}")
                st.rerun()
        command(["genrecore", *(word for word in words if word != "--json")])
    watch(words)
    done = reading.audited(picked, data, split)
    if done is None:
        if not working:
            empty(
                "This has not been audited yet.",
                "Press Audit: it goes on when you close this page, and its findings appear here.",
            )
        return
    if done.current:
        st.caption(f"Audited on {when(done.at)}.")
    else:
        st.warning(
            f"This was found on {when(done.at)}, in other files than are there now; audit again.",
            icon=":material/update:",
        )
    _verdict(done.found, with_split)
    _findings(done.found, data)


def _verdict(found: Audit, with_split: bool) -> None:
    if found.refused:
        st.error(plain(found.reason), icon=":material/block:")
    elif with_split:
        st.success(
            "Nothing that can be seen crosses from training to validation or test.",
            icon=":material/verified:",
        )
    numbers = st.container(horizontal=True, gap="small")  # wraps where the page is narrow
    for severity, words in zip(
        ("problem", "warning", "note"),
        (
            "Wrong in a way that changes scores",
            "To be listened to before it is trusted",
            "Good to know",
        ),
        strict=True,
    ):
        name = f"{severity.capitalize()}s"
        numbers.metric(name, f"{found.n_of(severity):,}", border=True, width=170, help=words)
    numbers.metric("Clips looked at", f"{found.n_clips:,}", border=True, width=170)
    for sentence in found.crossings["sentence"]:
        st.markdown(f"- {plain(sentence)}")
    with st.expander("What was looked at", icon=":material/checklist:"):
        for sentence in found.checked:
            st.markdown(f"- {plain(sentence)}")


def _findings(found: Audit, data: Dataset) -> None:
    section("Findings", "Worst first, with a player beside every clip in question.")
    if found.findings.empty:
        empty("Nothing was found.", "No check found anything worth saying.")
        return
    kinds = [kind for kind in KINDS if found.counts.get(kind)]
    kind = choose_one(
        "Kind",
        [_EVERYTHING, *kinds],
        "kind",
        words=lambda one: (
            f"Everything ({sum(found.counts.values()):,})"
            if one == _EVERYTHING
            else f"{KINDS[one]} ({found.counts[one]:,})"
        ),
    )
    rows = found.findings
    if kind != _EVERYTHING:
        rows = rows[rows["kind"] == kind]
    n_all = sum(found.counts.values()) if kind == _EVERYTHING else found.counts[kind]
    if len(rows) < n_all:
        st.caption(f"The first {len(rows):,} of {n_all:,} are kept.")
    page = choose_page(-(-len(rows) // PAGE_FINDINGS), "page")
    on_page = rows.iloc[(page - 1) * PAGE_FINDINGS : page * PAGE_FINDINGS]
    for place, (_, row) in enumerate(on_page.iterrows()):
        with st.container(border=True):
            _finding(row, data, f"finding_{place}")


def _finding(row: pd.Series, data: Dataset, key: str) -> None:
    """What was found, and a player for each clip it is about beside it."""
    clips = [clip for clip in (row["clip_id"], row["other_clip_id"]) if clip]
    left, right = pair(key, left=2, right=3) if clips else (st.container(), None)
    with left:
        sign, colour = _SIGNS[row["severity"]]
        st.badge(f"{sign} {row['severity']}: {KINDS.get(row['kind'], row['kind'])}", color=colour)
        st.markdown(plain(row["sentence"]))
    if right is None:
        return
    with right:
        if len(clips) == 1:
            show(data, clips[0], key)
            return
        for place, (column, clip) in enumerate(zip(st.columns(2), clips, strict=True)):
            with column:
                show(data, clip, f"{key}_{place}")
