"""A song that a visitor drops: classified at once, or kept until the first run is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from genrecore import words
from genrecore.audio.decode import FORMATS
from genrecore.config.run import RunConfig, with_values
from genrecore.jobs.access import visitor
from genrecore.jobs.actions import submit
from genrecore.store.run import Run
from genrecore.store.runs import find_same, keep_song
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose, chosen
from genrecore.ui.parts.frame import (
    Step,
    announce,
    go_to,
    next_steps,
    plain,
    section,
    sentences,
    upload_types,
    work_button,
)

if TYPE_CHECKING:
    from genrecore.data.uploads import UploadedClip
    from genrecore.ui.classify.inputs import InputClip

FIRST_RUN = {"training.epochs": 8}
"""What the first run of all changes: the base CNN on the demo music, for a prediction soon."""

_NEWEST = 20  # so many of the newest runs are looked at for a song of a visitor


def drop_song(usable: Sequence[Run], active: Sequence[Run]) -> None:
    """A place for a song. The best run classifies it; else the run at work will, and where there is
    none, a first one is offered.

    Args:
        usable: Runs with weights.
        active: Runs that work or wait.
    """
    if usable:
        lead = f"{plain(readers.to_ask(usable).title)}, the best run here, says at once what it is."
    elif active:
        lead = "It is classified as soon as the run at work is done."
    else:
        lead = "Nothing has been trained yet; a pretrained tagger says what it hears."
    section("Drop a song here", f"{lead} It stays on the machine that serves this page.")
    file = st.file_uploader(
        "Drop a song here", type=upload_types(FORMATS), key="song", label_visibility="collapsed"
    )
    if file is not None and file.file_id != st.session_state.get("_dropped"):
        st.session_state["_dropped"] = file.file_id
        with sentences():
            _take(file.name, file.getvalue(), usable, active)
    if usable or active:
        return
    song = _kept(chosen("heard"))
    if song is None:
        train_first("Train on the demo music")
        return
    from genrecore.ui.classify.inputs import InputClip  # imports torch

    tag_song(InputClip(song.digest, song.name, song.path))
    train_first("Train on the demo music and classify it", chosen("heard"))


def tag_song(clip: InputClip) -> None:
    """What a pretrained tagger says of a song, or the button that fetches it."""
    from genrecore.ui.classify.tags import fetch_tagger, is_tagger_here, show_tags

    with st.container(border=True, gap="small"), sentences():
        if is_tagger_here():
            show_tags(clip)
        else:
            st.markdown(f":material/music_note: **{plain(clip.name)}** is here.")
            fetch_tagger()


def _take(name: str, content: bytes, usable: Sequence[Run], active: Sequence[Run]) -> None:
    """Keeps the song and goes to where it is, or will be, classified."""
    from genrecore.data import uploads  # 0.8 s; the first page of all needs none

    song = uploads.keep_clips([(name, content)])
    if usable:
        go_to("classify", {"run": readers.to_ask(usable).run_id, "heard": song})
    elif active:
        if visitor().may_work:
            keep_song(active[-1], song)
        go_to("runs", {"run": active[-1].run_id})
    choose("heard", song)


def _kept(song: str) -> UploadedClip | None:
    """The song of this id; None where it has been cleared away."""
    if not song:
        return None
    from genrecore.data import uploads

    return next(iter(uploads.kept_clips(song)), None)


def train_first(label: str, song: str = "") -> None:
    """The button that trains a first run on the demo music and goes to it; a song is kept with the
    run."""
    st.caption(
        "genrecore makes the demo music itself: nothing is downloaded, and a small network learns "
        "its genres in about a minute or two. What it then says about real music shows how things "
        "work, and no more: real music belongs to none of those genres."
    )
    if work_button(label, type="primary", icon=":material/play_arrow:", key="first"):
        from genrecore.training.resolve import resolve  # imports torch

        with sentences():
            config = resolve(with_values(RunConfig(), dict(FIRST_RUN))).config
            (same,) = find_same([config])
            run = same or submit(config)
            if song:
                keep_song(run, song)
            announce(f"{run.title} is in the queue.")
            go_to("runs", {"run": run.run_id})


def newest_song(runs: Sequence[Run]) -> None:
    """The prediction for the song that was kept last."""
    for run in runs[:_NEWEST]:
        if run.song:
            show_song(run)
            return


def show_song(run: Run) -> None:
    """What a run makes of the song that was kept for it; nothing where there is none."""
    clip = _kept(run.song)
    if clip is None:
        return
    name = plain(clip.name)
    if run.is_active:
        st.info(
            f"Your song **{name}** is classified as soon as this run is done.",
            icon=":material/music_note:",
        )
    if run.state != "done" or not run.weights.exists():
        return
    # They import torch, which a page without a song need not wait for.
    from genrecore.ui.classify.inputs import InputClip
    from genrecore.ui.classify.predictions import classify, open_runs

    with st.container(border=True, gap="small"), sentences():
        opened = open_runs([run])
        classified = classify(opened, InputClip(clip.digest, clip.name, clip.path), None, None)
        prediction = classified.result.predictions[0]
        first, second = prediction.proba.argsort()[::-1][:2]
        genres, proba = prediction.genres, prediction.proba
        st.markdown(
            f"##### Your song: {plain(genres[first])} {words.percent(proba[first])}, "
            f"then {plain(genres[second])} {words.percent(proba[second])}"
        )
        caution = opened.in_titles(opened.ensemble.caution)
        st.caption(plain(f"{clip.name}, heard by {run.title}. {caution}"))
        query = {"run": run.run_id, "heard": run.song}
        steps = [Step("classify", "Hear when and why", ":material/graphic_eq:", query)]
        if prediction.duration_s > prediction.judged_s + 1.0:
            whole = {**query, "view": "whole"}
            steps.append(Step("classify", "All of it, over time", ":material/timeline:", whole))
        next_steps(steps)
