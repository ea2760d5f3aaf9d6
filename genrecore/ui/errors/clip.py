"""One clip on the page Errors in full: heard, seen, with its verdict, its judgement and its kin."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from genrecore.audio import decode as audio
from genrecore.errors import GenrecoreError
from genrecore.evaluation import label_reviews as judgements
from genrecore.evaluation import related_clips as kin
from genrecore.evaluation.metrics import NO_VERDICT
from genrecore.inference.probe_effects import PROBES, change
from genrecore.reporting import plots
from genrecore.reporting.plots.chart import percent
from genrecore.store.run import Run
from genrecore.ui.datasets import listening as dataset_listening
from genrecore.ui.datasets import readers as dataset_readers
from genrecore.ui.datasets.readers import Dataset
from genrecore.ui.errors.map import CLICKED, neighbours
from genrecore.ui.parts import readers
from genrecore.ui.parts.frame import chart, pair, plain, section


def in_full(run: Run, clip: pd.Series, judged: bool, probe: str = "") -> None:
    """Player, pictures, probabilities, the segments that decided, copies, the artist's other clips
    and the training clips that lie nearest.

    Args:
        run: Whose verdict it is.
        clip: A row as `mistakes.verdicts` gives it; of a training clip without a verdict.
        judged: Whether its label is judged here.
        probe: A probe that is heard beside it.
    """
    clip_id = str(clip["clip_id"])
    section("Hear it", plain(_what_it_says(clip)))
    if judged:
        _judge(run, clip)
    everything = _clips(run)
    if probe:
        _play_changed(everything, clip_id, probe)
    asked = st.session_state.pop(CLICKED, None) == clip_id
    _play(everything, clip_id, "mistake", pictures=True, now=asked)
    if pd.notna(clip["certainty"]):
        _verdict(run, clip)
    if everything is not None:
        _copies(run, everything, clip_id)
        _same_artist(everything, clip_id)
        _nearest(run, everything, clip)


def _play(
    everything: pd.DataFrame | None,
    clip_id: str,
    key: str,
    pictures: bool = False,
    now: bool = False,
) -> None:
    """A clip's player, or the sentence in its place where there is nothing to play any more.

    Args:
        everything: The run's clips.
        clip_id: The clip.
        key: Names this place of the page.
        pictures: Whether waveform and spectrogram are drawn.
        now: Whether it begins to play by itself.
    """
    if everything is None:
        st.warning(
            "The run's table of clips is gone, so nothing can be played; the numbers stay.",
            icon=":material/music_off:",
        )
        return
    file = _file(everything, clip_id)
    if file is None or not file.exists():
        named = "its file" if file is None else f"its file {file.name}"
        st.warning(
            plain(
                f"{clip_id} cannot be played: {named} is not there any more. The numbers stay; put "
                "the dataset back to hear it."
            ),
            icon=":material/music_off:",
        )
        return
    dataset_listening.show(Dataset(everything, (), (), "", ""), clip_id, key, pictures, now)


def _file(everything: pd.DataFrame, clip_id: str) -> Path | None:
    paths = everything.loc[everything["clip_id"] == clip_id, "path"].dropna()
    return Path(str(paths.iloc[0])) if len(paths) else None


def _play_changed(everything: pd.DataFrame | None, clip_id: str, probe: str) -> None:
    """The clip as a probe changes it; nothing where it cannot be played, which `_play` says."""
    file = None if everything is None else _file(everything, clip_id)
    if file is None:
        return
    with contextlib.suppress(GenrecoreError, OSError):
        heard = dataset_readers.sound(str(file))
        st.markdown(f"**{plain(PROBES[probe].title)}**")
        st.audio(_changed(heard.key, probe, heard.wave), format="audio/wav")
        st.markdown("**Unchanged**")


@st.cache_data(max_entries=16, show_spinner="Changing the clip …")
def _changed(key: str, probe: str, _wave: np.ndarray) -> bytes:
    made = change(probe, _wave, dataset_readers.SAMPLE_RATE_HZ, zlib.crc32(key.encode()))
    return audio.to_wav_bytes(made, dataset_readers.SAMPLE_RATE_HZ)


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


def _verdict(run: Run, clip: pd.Series) -> None:
    """The probabilities, and the segments that decided."""
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
        elif len(segments):
            st.caption("The clip was judged in one piece, so there are no segments to tell apart.")
        else:
            st.caption("What the run said of each segment is not kept any more.")


def _what_it_says(clip: pd.Series) -> str:
    if pd.isna(clip["certainty"]):
        return (
            f"Labelled {clip['genre']}; its probabilities are no numbers, so it has no verdict."
            if clip["predicted"] == NO_VERDICT
            else f"Labelled {clip['genre']}; the run learned from this clip."
        )
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


def _copies(run: Run, everything: pd.DataFrame, clip_id: str) -> None:
    found = kin.copies(run, clip_id)
    if found.empty:
        return
    rows = found.merge(everything[["clip_id", "genre", "split"]], on="clip_id")
    mine = everything.loc[everything["clip_id"] == clip_id, "genre"]
    n_other = int((rows["genre"] != mine.iloc[0]).sum()) if len(mine) else 0
    words = _counted(rows, "copy of this recording", "copies of this recording")
    if n_other:
        words += f", {n_other} labelled otherwise"
    _others(everything, rows, words, "copy", ":material/content_copy:", {"how": "How it is known"})


def _same_artist(everything: pd.DataFrame, clip_id: str) -> None:
    rows = kin.same_artist(everything, clip_id)
    if rows.empty:
        return
    artist = rows["artist"].iloc[0]
    words = _counted(rows, f"other clip of {artist}", f"other clips of {artist}")
    _others(everything, rows, words, "same_artist", ":material/artist:", {})


def _nearest(run: Run, everything: pd.DataFrame, clip: pd.Series) -> None:
    """What the run learned from that is most like this clip to it, once its map was drawn."""
    rows = neighbours(run, str(clip["clip_id"]))
    rows = rows[rows["clip_id"].isin(everything["clip_id"])] if len(rows) else rows
    if rows.empty:
        return
    n_alike = int((rows["genre"] == clip["genre"]).sum())
    words = (
        f"The {len(rows)} nearest training clips: {n_alike} "
        f"{'is' if n_alike == 1 else 'are'} labelled {clip['genre']}"
    )
    columns = {"distance": st.column_config.NumberColumn("Distance", format="%.3f")}
    _others(everything, rows, words, "nearest", ":material/near_me:", columns)


def _counted(rows: pd.DataFrame, one: str, many: str) -> str:
    n, n_train = len(rows), int((rows["split"] == "train").sum())
    where = f", {n_train} of them in training" if n_train else ", none of them in training"
    if n == 1:
        where = ", in training" if n_train else ", not in training"
    return f"{n} {one if n == 1 else many}{where}"


def _others(
    everything: pd.DataFrame,
    rows: pd.DataFrame,
    words: str,
    key: str,
    icon: str,
    columns: Mapping[str, Any],
) -> None:
    """Other clips behind a line of words: a list, and a player for the one that is picked."""
    with st.expander(plain(words), icon=icon):
        picked = st.selectbox("Clip", rows["clip_id"].to_list(), key=key)
        _play(everything, str(picked), f"other_{key}")
        st.dataframe(
            rows[["clip_id", "genre", "split", *columns]],
            hide_index=True,
            column_config={"clip_id": "Clip", "genre": "Labelled", "split": "Split", **columns},
        )


def _clips(run: Run) -> pd.DataFrame | None:
    return _read_clips(str(run.folder), readers.changed(run, "clips.parquet"))


@st.cache_resource(max_entries=8, show_spinner=False)
def _read_clips(folder: str, changed: int) -> pd.DataFrame | None:
    clips = Run(Path(folder)).clips
    if clips is None:
        return None
    missing = {name: None for name in ("artist", "album", "medium", "path") if name not in clips}
    return clips.assign(**missing)


def _segments(run: Run, clip_id: str) -> pd.DataFrame:
    table = _read_segments(str(run.folder), readers.changed(run, "segments.parquet"))
    rows = table[table["clip_id"] == clip_id].sort_values("start_s", ignore_index=True)
    return rows.assign(end_s=rows["start_s"] + run.config.segments.segment_s)


@st.cache_resource(max_entries=8, show_spinner=False)
def _read_segments(folder: str, changed: int) -> pd.DataFrame:
    table = Run(Path(folder)).segments
    return table if table is not None else pd.DataFrame({"clip_id": [], "start_s": []})
