"""The audit of a dataset on its page: started as a task, read as findings, heard as clips."""

from __future__ import annotations

import shlex

import streamlit as st

from genrecore.audit import KINDS, Audit
from genrecore.jobs import start_task
from genrecore.ui import dataset_readers as reading
from genrecore.ui.choices import choose, choose_one, chosen
from genrecore.ui.dataset_choice import Chosen, audit_words
from genrecore.ui.dataset_form import choose_split
from genrecore.ui.dataset_listening import show
from genrecore.ui.dataset_readers import Dataset
from genrecore.ui.dataset_tasks import is_working, latest, watch
from genrecore.ui.frame import command, empty, pair, plain, section, sentences
from genrecore.ui.readers import when

_EVERYTHING = "everything"
_SIGNS = {"problem": "✕ problem", "warning": "▲ warning", "note": "○ note"}


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
        command("genrecore " + shlex.join(word for word in words if word != "--json"))
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
    section("Findings", "Worst first. Pick one to hear the clips it is about.")
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
        if len(rows) < found.counts[kind]:
            st.caption(f"The first {len(rows)} of {found.counts[kind]:,}.")
    rows = rows.reset_index(drop=True)
    wanted = chosen("finding")
    places = rows.index[(rows["kind"] + "|" + rows["sentence"]) == wanted]
    heard = rows.index[rows["clip_id"] != ""]
    picked = int(places[0] if len(places) else heard[0] if len(heard) else 0)
    key = f"findings_{kind}_{len(rows)}_{picked}"

    def write() -> None:
        selected = st.session_state[key]["selection"]["rows"]
        if selected:
            row = rows.iloc[selected[0]]
            choose("finding", f"{row['kind']}|{row['sentence']}")

    shown = rows.assign(
        severity=rows["severity"].map(_SIGNS), kind=rows["kind"].map(KINDS).fillna(rows["kind"])
    )
    columns = ["severity", "kind", "sentence"] if kind == _EVERYTHING else ["severity", "sentence"]
    st.dataframe(
        shown[columns],
        key=key,
        hide_index=True,
        height=min(38 + 35 * len(shown), 320),
        on_select=write,
        selection_mode="single-row",
        selection_default={"selection": {"rows": [picked]}},
        column_config={
            "severity": st.column_config.TextColumn("Severity", width=90),
            "kind": st.column_config.TextColumn("Kind", width=190),
            "sentence": st.column_config.TextColumn("What was found", width="large"),
        },
    )
    row = rows.iloc[picked]
    st.markdown(plain(row["sentence"]))
    clips = [clip for clip in (row["clip_id"], row["other_clip_id"]) if clip]
    if not clips:
        st.caption("This finding is about no single clip.")
    elif len(clips) == 1:
        show(data, clips[0], "finding_0")
    else:
        for place, (column, clip) in enumerate(zip(pair("suspects"), clips, strict=True)):
            with column:
                show(data, clip, f"finding_{place}")
