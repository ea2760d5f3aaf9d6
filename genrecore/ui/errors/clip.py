"""One clip on the page Errors: player, prediction, judgement, copies and neighbours."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.errors import GenrecoreError
from genrecore.evaluation import label_reviews, related_clips
from genrecore.evaluation.calibration import calibrate
from genrecore.evaluation.metrics import NO_PREDICTION
from genrecore.inference.probes import PROBES, change
from genrecore.jobs.access import working
from genrecore.reporting import plots
from genrecore.reporting.columns import csv_text
from genrecore.store.run import Run
from genrecore.ui.datasets import listening
from genrecore.ui.datasets.listening import cut, source_of
from genrecore.ui.datasets.similar import nearest_by_encoder
from genrecore.ui.errors.lists import CLICKED, judgements, predictions
from genrecore.ui.errors.map import neighbours
from genrecore.ui.parts.cache import cached_by_files, in_runs, no_files
from genrecore.ui.parts.choices import choose_one, chosen
from genrecore.ui.parts.encoders import encoder_titles
from genrecore.ui.parts.frame import NO_BREAK, chart, plain, section, work_button
from genrecore.ui.parts.player import Lane, SoundExcerpt
from genrecore.ui.parts.tables import show_table

_JUDGEMENTS = {
    "right": ("It is right", ":material/check:"),
    "wrong": ("It is wrong", ":material/close:"),
    "unclear": ("Hard to say", ":material/question_mark:"),
}


def show_clip(run: Run, clip: pd.Series, with_judgement: bool, probe: str = "") -> None:
    """Player, probabilities, segments, copies, the artist's other clips and the nearest ones.

    Args:
        run: Whose prediction it is.
        clip: A row of `mistakes.clip_predictions`; for a training clip without a prediction.
        with_judgement: Whether the listener judges the label here.
        probe: A probe to hear beside the clip; empty for none.
    """
    clip_id = str(clip["clip_id"])
    section("Hear it", plain(_describe(clip)).replace(" %", f"{NO_BREAK}%"))
    if with_judgement:
        _judge(run, clip)
    clips = _clips(run)
    clicked = st.session_state.pop(CLICKED, None) == clip_id

    def others(excerpt: SoundExcerpt) -> dict[str, SoundExcerpt]:
        if probe:
            return {PROBES[probe].title: excerpt.with_wave(_changed(excerpt, probe))}
        return _example(run, clips, clip)

    segments = _segments_of(run, clips, clip_id)
    lanes = [Lane(run.title, segments)] if len(segments) > 1 else []
    settings: dict[str, Any] = {"images": True, "now": clicked, "others": others, "lanes": lanes}
    is_heard = _play(clips, clip_id, "mistake", **settings)
    if pd.notna(clip["certainty"]):
        _show_prediction(run, clip, segments, over_time=not is_heard)
    if clips is not None:
        _show_copies(run, clips, clip_id)
        _show_same_artist(clips, clip_id)
        _show_nearest(run, clips, clip)


def _play(clips: pd.DataFrame | None, clip_id: str, key: str, **settings: Any) -> bool:
    """A clip's player, or why it cannot be played any more; arguments as of `listening.show`.
    Returns whether its file is there."""
    problem = "The run's table of clips is gone, so nothing can be played; the numbers stay."
    if clips is not None:
        path = next(iter(clips.loc[clips["clip_id"] == clip_id, "path"].dropna()), None)
        if path is not None and Path(str(path)).exists():
            listening.show(clips, clip_id, key, **settings)
            return True
        file = "its file" if path is None else f"its file {Path(str(path)).name}"
        problem = (
            f"{clip_id} cannot be played: {file} is not there any more. The numbers stay; put the "
            "dataset back to hear it."
        )
    st.warning(plain(problem), icon=":material/music_off:")
    return False


def _example(run: Run, clips: pd.DataFrame | None, clip: pd.Series) -> dict[str, SoundExcerpt]:
    """For a mistake the surest right prediction of the genre that it was taken for, to compare."""
    rows = predictions(run)
    rows = rows[rows["right"] & (rows["genre"] == clip["predicted"])]
    if clips is None or clip["right"] or rows.empty:
        return {}
    surest = rows.loc[rows["certainty"].idxmax(), "clip_id"]
    with contextlib.suppress(GenrecoreError, OSError, IndexError):
        source = source_of(clips[clips["clip_id"] == surest].iloc[0])
        example = cut(source, None, listening.MOST_HEARD_S, listening.SAMPLE_RATE_HZ)
        return {f"{surest}, the surest {clip['predicted']}": example}
    return {}


@cached_by_files(no_files, spinner="Changing the clip …", max_entries=16)
def _changed(excerpt: SoundExcerpt, probe: str) -> np.ndarray:
    seed = zlib.crc32(excerpt.key.encode())
    return change(probe, excerpt.wave, excerpt.sample_rate_hz, seed)


def _judge(run: Run, clip: pd.Series) -> None:
    """Buttons with which the listener judges a label."""
    st.markdown(plain(f"Is {clip['genre']} the right label?"))
    dataset = run.config.dataset.name
    now = str(clip["judgement"]) if pd.notna(clip["judgement"]) else ""
    with st.container(horizontal=True, gap="small"):
        for name in label_reviews.JUDGEMENTS:
            title, icon = _JUDGEMENTS[name]
            kind: Any = "primary" if name == now else "secondary"
            if work_button(title, key=f"judge_{name}", icon=icon, type=kind):
                judgement = "" if name == now else name  # a second press takes it back
                with working("judge a label"):
                    content = clip["content"] if pd.notna(clip["content"]) else ""
                    label_reviews.add(
                        dataset, clip["clip_id"], clip["genre"], judgement, content=str(content)
                    )
                st.rerun()
    table = judgements(dataset)
    if len(table):
        st.download_button(
            f"Download all judgements ({len(table)})",
            csv_text(table),
            "annotations.csv",
            "text/csv",
            key="judgements",
            icon=":material/download:",
            type="tertiary",
        )


def _segments_of(run: Run, clips: pd.DataFrame | None, clip_id: str) -> pd.DataFrame:
    """`start_s, end_s, p_<genre>…` of a clip's segments, in the time of the recording."""
    table, config = _segments(run), run.config
    rows = table[table["clip_id"] == clip_id].sort_values("start_s", ignore_index=True)
    if clips is not None and "duration_s" in clips:
        length_s = float(clips.loc[clips["clip_id"] == clip_id, "duration_s"].max())
        if length_s > config.audio.clip_s:  # a run takes the middle of a long clip
            rows["start_s"] += (length_s - config.audio.clip_s) / 2
    return rows.assign(end_s=rows["start_s"] + config.segments.segment_s)


def _show_prediction(run: Run, clip: pd.Series, segments: pd.DataFrame, over_time: bool) -> None:
    """The probabilities, and the segments that decided; over time where no player shows that."""
    genres = [str(name)[2:] for name in clip.index if str(name).startswith("p_")]
    chart(
        plots.probabilities(genres, [float(clip[f"p_{genre}"]) for genre in genres]),
        "mistake_prediction",
    )
    if len(segments) > 1:
        if over_time:
            chart(plots.probabilities_over_time(segments), "mistake_over_time")
        predicted = str(clip["predicted"])
        votes = segments[[f"p_{genre}" for genre in genres]].to_numpy().argmax(axis=1)
        n_same = int((votes == genres.index(predicted)).sum())
        surest = int(segments[f"p_{predicted}"].to_numpy().argmax())
        surest_s = words.decimals(segments["start_s"].iloc[surest])
        text = f"{n_same} of {len(segments)} segments say {predicted}; the surest begins at "
        text += f"{surest_s} s."
        if calibrate(run).temperature != 1.0:
            text += (
                " The timeline shows the probabilities of the segments as the network gives them; "
                "those of the clip are calibrated."
            )
        st.caption(plain(text))
    elif len(segments):
        st.caption("The run classified the clip as a single segment.")
    else:
        st.caption("The predictions of segments are not stored any more.")


def _describe(clip: pd.Series) -> str:
    genre = clip["genre"]
    if pd.isna(clip["certainty"]):
        if clip["predicted"] == NO_PREDICTION:
            return f"Labelled {genre}; its probabilities are not numbers, so it has no prediction."
        return f"Labelled {genre}; the run learned from this clip."
    certainty = words.percent(float(clip["certainty"]))
    if clip["right"]:
        return f"Labelled {genre} and recognised, with {certainty}."
    own = words.percent(float(clip[f"p_{genre}"]))
    return f"Labelled {genre}, taken for {clip['predicted']} with {certainty}; {genre} got {own}."


def _show_copies(run: Run, clips: pd.DataFrame, clip_id: str) -> None:
    copies = related_clips.copies(run, clip_id)
    if copies.empty:
        return
    rows = copies.merge(clips[["clip_id", "genre", "split"]], on="clip_id")
    own = clips.loc[clips["clip_id"] == clip_id, "genre"]
    n_different = int((rows["genre"] != own.iloc[0]).sum()) if len(own) else 0
    title = _counted(rows, "copy of this recording", "copies of this recording")
    title += f", {n_different} labelled otherwise" if n_different else ""
    _others(clips, rows, title, "copy", ":material/content_copy:", "how")


def _show_same_artist(clips: pd.DataFrame, clip_id: str) -> None:
    rows = related_clips.same_artist(clips, clip_id)
    if len(rows):
        artist = rows["artist"].iloc[0]
        title = _counted(rows, f"other clip of {artist}", f"other clips of {artist}")
        _others(clips, rows, title, "same_artist", ":material/artist:")


def _show_nearest(run: Run, clips: pd.DataFrame, clip: pd.Series) -> None:
    """The clips with the most similar embeddings: training clips by the run, or all by an
    encoder."""
    clip_id = str(clip["clip_id"])
    with st.expander("Sounds like", icon=":material/near_me:", expanded=bool(chosen("like"))):
        rows = _choose_nearest(run, clips, clip_id)
        rows = rows[rows["clip_id"].isin(clips["clip_id"])] if len(rows) else rows
        if rows.empty:
            return
        copies = related_clips.copies(run, clip_id)
        known = dict(zip(copies["clip_id"], copies["how"], strict=True))
        found = rows["how"].tolist() if "how" in rows else [""] * len(rows)
        pairs = zip(rows["clip_id"].tolist(), found, strict=True)
        rows = rows.assign(how=[known.get(other, how) for other, how in pairs])
        n_same = int((rows["genre"] == clip["genre"]).sum())
        verb = "is" if n_same == 1 else "are"
        of_genre = f"{n_same} of the {len(rows)} nearest clips {verb} labelled {clip['genre']}."
        st.markdown(plain(of_genre))
        more = ["distance", "how"] if rows["how"].any() else ["distance"]
        _list_others(clips, rows, "nearest", more, {"how": "Copy of this recording"})


def _choose_nearest(run: Run, clips: pd.DataFrame, clip_id: str) -> pd.DataFrame:
    """The nearest clips by what is chosen; none, and why, where they are not known yet."""
    clip = clips[clips["clip_id"] == clip_id].iloc[:1]
    titles = {"run": f"{run.title}, training clips"}
    if clip["path"].notna().any() and set(clip.get("medium", ())) <= {"audio"}:
        titles |= {name: f"{title}, all clips" for name, title in encoder_titles().items()}
    by = choose_one("By", titles, "like")
    if by != "run":
        path = Path(str(clip["path"].iloc[0]))
        rows = nearest_by_encoder(by, run, path, clip_id, but=(clip_id,))
        return pd.DataFrame() if rows is None else rows
    rows = neighbours(run, clip_id)
    if rows.empty:
        st.caption("The embeddings of this run are not computed yet; the view Map does that.")
    return rows


def _counted(rows: pd.DataFrame, noun: str, nouns: str) -> str:
    n, n_train = len(rows), int((rows["split"] == "train").sum())
    if n == 1:
        where = "in training" if n_train else "not in training"
    else:
        where = f"{n_train or 'none'} of them in training"
    return f"{words.plural(n, noun, nouns)}, {where}"


def _others(
    clips: pd.DataFrame, rows: pd.DataFrame, title: str, key: str, icon: str, *more: str
) -> None:
    """Other clips, folded: a list, and a player for the one that is picked."""
    with st.expander(plain(title), icon=icon):
        _list_others(clips, rows, key, more, {"how": "How it is known"})


def _list_others(
    clips: pd.DataFrame,
    rows: pd.DataFrame,
    key: str,
    more: Sequence[str],
    special: Mapping[str, str],
) -> None:
    picked = st.selectbox("Clip", rows["clip_id"].to_list(), key=key)
    _play(clips, str(picked), f"other_{key}")
    show_table(rows[["clip_id", "genre", "split", *more]], special={"genre": "Labelled", **special})


@cached_by_files(in_runs("clips.parquet"), max_entries=8, shared=True)
def _clips(run: Run) -> pd.DataFrame | None:
    clips = run.clips
    return clips if clips is None or "path" in clips else clips.assign(path=None)


@cached_by_files(in_runs("segments.parquet"), max_entries=8, shared=True)
def _segments(run: Run) -> pd.DataFrame:
    table = run.segments
    return table if table is not None else pd.DataFrame({"clip_id": [], "start_s": []})
