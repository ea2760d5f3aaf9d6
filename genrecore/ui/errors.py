"""The page Errors: choose a run and a list, pick a clip, hear and judge it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from genrecore import judgements, plots
from genrecore.errors import GenrecoreError
from genrecore.plots.chart import percent
from genrecore.runs import Run
from genrecore.ui import dataset_listening, error_lists, readers
from genrecore.ui.choices import choose_one
from genrecore.ui.dataset_readers import Dataset
from genrecore.ui.error_lists import Listed
from genrecore.ui.frame import chart, command, empty, in_percent, pair, plain, section
from genrecore.ui.live import leak_badge

_VIEWS = {
    "cell": "Confusions",
    "mistakes": "Mistakes",
    "against": "Two runs",
    "differ": "Runs differ",
    "labels": "Doubtful labels",
}


def choose_run(found: Sequence[Run]) -> Run:
    """The run whose mistakes are shown; the best by default."""
    titles, ids = readers.titles(found), [run.run_id for run in found]
    best = str(readers.leaderboard(found)["run_id"].iloc[0])
    picked = choose_one("Run", ids, "run", titles.__getitem__, default=best)
    run = next(run for run in found if run.run_id == picked)
    leak_badge(run)
    return run


def choose_view() -> str:
    """Which list is shown."""
    return choose_one(
        "What to show", list(_VIEWS), "view", _VIEWS.__getitem__, radio=True, hide_label=True
    )


def listed(view: str, run: Run, found: Sequence[Run]) -> Listed | None:
    """The clips of a view, after its choices were made; None where they leave nothing to list.

    Raises:
        GenrecoreError: The runs cannot be set beside one another.
    """
    if view == "cell":
        return error_lists.cell(run)
    if view == "mistakes":
        return error_lists.one_run(run)
    if view == "against":
        return error_lists.two_runs(run, found)
    if view == "differ":
        return error_lists.runs_differ(run, found)
    return error_lists.labels(run, found)


def browse(view: str, run: Run, shown: Listed) -> None:
    """The list, and the clip that is picked in it, in full."""
    section("Clips", plain(shown.words))
    if shown.rows.empty:
        empty("There is no such clip.", "Choose another cell, or another list.")
        command(shown.command)
        return
    columns = {name: words for name, words in shown.columns.items() if name in shown.rows}
    clip_id = dataset_listening.pick(
        in_percent(shown.rows, shown.shares), f"{view}_{shown.command}", columns
    )
    clip = shown.rows[shown.rows["clip_id"] == clip_id].iloc[0]
    _in_full(run, clip, shown.judged)
    command(shown.command)


def _judge(run: Run, clip: pd.Series) -> None:
    """Buttons for what the listener makes of a label."""
    st.markdown(plain(f"Is {clip['genre']} the right label?"))
    now = str(clip["judgement"]) if pd.notna(clip["judgement"]) else ""
    words = {"right": "It is right", "wrong": "It is wrong", "unclear": "Hard to say"}
    icons = {"right": "check", "wrong": "close", "unclear": "question_mark"}
    with st.container(horizontal=True, gap="small"):
        for name in judgements.JUDGEMENTS:
            if st.button(
                words[name],
                key=f"judge_{name}",
                icon=f":material/{icons[name]}:",
                type="primary" if name == now else "secondary",
            ):
                said = "" if name == now else name  # a second press takes it back
                judgements.add(run.config.dataset.name, clip["clip_id"], clip["genre"], said)
                st.rerun()
    table = judgements.read(dataset=run.config.dataset.name)
    if len(table):
        st.download_button(
            f"Download all judgements ({len(table)})",
            table.to_csv(index=False),
            "annotations.csv",
            "text/csv",
            key="judgements",
            icon=":material/download:",
            type="tertiary",
        )


def _in_full(run: Run, clip: pd.Series, judged: bool) -> None:
    """Player, pictures, probabilities, the segments that decided, and the artist's other clips."""
    section("Hear it", plain(_what_it_says(clip)))
    everything = _clips(run)
    if judged:
        _judge(run, clip)
    data = Dataset(everything, (), (), "", "")
    dataset_listening.show(data, str(clip["clip_id"]), "mistake", pictures=True)
    genres = [str(name)[2:] for name in clip.index if str(name).startswith("p_")]
    left, right = pair("decided", left=2, right=3)
    with left:
        proba = [float(clip[f"p_{genre}"]) for genre in genres]
        chart(plots.verdict(genres, proba), "mistake_verdict")
    segments = _segments(run, str(clip["clip_id"]))
    with right:
        if len(segments) > 1:
            chart(plots.verdict_over_time(segments), "mistake_over_time")
            st.caption(plain(_who_decided(segments, genres, str(clip["predicted"]))))
        else:
            st.caption("The clip was judged in one piece, so there are no segments to tell apart.")
    _same_artist(everything, clip)


def _what_it_says(clip: pd.Series) -> str:
    surely = percent(float(clip["certainty"]))
    if clip["right"]:
        return f"Labelled {clip['genre']} and recognised, with {surely}."
    own = percent(float(clip[f"p_{clip['genre']}"]))
    return (
        f"Labelled {clip['genre']}, taken for {clip['predicted']} with {surely}; "
        f"{clip['genre']} got {own}."
    )


def _who_decided(segments: pd.DataFrame, genres: list[str], predicted: str) -> str:
    votes = segments[[f"p_{genre}" for genre in genres]].to_numpy().argmax(axis=1)
    mine = int((votes == genres.index(predicted)).sum())
    at = segments.iloc[int(segments[f"p_{predicted}"].to_numpy().argmax())]
    return (
        f"{mine} of {len(segments)} segments say {predicted}; the surest begins at "
        f"{at['start_s']:.1f} s."
    )


def _same_artist(everything: pd.DataFrame, clip: pd.Series) -> None:
    artist = clip.get("artist")
    if artist is None or pd.isna(artist):
        return
    same = everything["artist"].eq(artist).fillna(False).astype(bool)
    rows = everything[same & (everything["clip_id"] != clip["clip_id"])]
    if rows.empty:
        return
    n_train = int((rows["split"] == "train").sum())
    where = f", {n_train} of them in training" if n_train else ", none of them in training"
    words = f"{len(rows)} other clip{'s' if len(rows) > 1 else ''} of {artist}{where}"
    with st.expander(plain(words), icon=":material/artist:"):
        picked = st.selectbox("Clip", rows["clip_id"].to_list(), key="same_artist")
        dataset_listening.show(Dataset(everything, (), (), "", ""), str(picked), "other")
        st.dataframe(
            rows[["clip_id", "genre", "split"]],
            hide_index=True,
            column_config={"clip_id": "Clip", "genre": "Labelled", "split": "Split"},
        )


def _clips(run: Run) -> pd.DataFrame:
    return _read_clips(str(run.folder), readers.changed(run, "clips.parquet"))


@st.cache_resource(max_entries=8, show_spinner=False)
def _read_clips(folder: str, changed: int) -> pd.DataFrame:
    clips = Run(Path(folder)).clips
    if clips is None:
        raise GenrecoreError("The run's table of clips is gone, so nothing can be played.")
    for name in ("artist", "album"):
        if name not in clips:
            clips[name] = None
    return clips


def _segments(run: Run, clip_id: str) -> pd.DataFrame:
    table = _read_segments(str(run.folder), readers.changed(run, "segments.parquet"))
    rows = table[table["clip_id"] == clip_id].sort_values("start_s", ignore_index=True)
    return rows.assign(end_s=rows["start_s"] + run.config.segments.segment_s)


@st.cache_resource(max_entries=8, show_spinner=False)
def _read_segments(folder: str, changed: int) -> pd.DataFrame:
    table = Run(Path(folder)).segments
    return table if table is not None else pd.DataFrame({"clip_id": [], "start_s": []})
