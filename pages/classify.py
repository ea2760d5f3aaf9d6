"""Classify: upload or record clips, hear them, and see which genres runs assign, when and why."""
# menu: Work, 70, :material/graphic_eq:

import streamlit as st

from genrecore import ui
from genrecore.ui.classify import inputs
from genrecore.ui.classify.library import choose_folder, show_library
from genrecore.ui.classify.predictions import open_runs
from genrecore.ui.classify.view import show_clips
from genrecore.ui.overview.song import tag_song, train_first
from genrecore.ui.parts import readers

ui.page("Classify", "Hear a clip while runs tell its genre, moment by moment, and why.")

usable = readers.usable(ui.look_at_runs().runs)
if not usable:
    ui.empty(
        "There is no trained run yet.",
        "Until one has finished, a pretrained tagger says what it hears in a song.",
    )
    for clip in inputs.choose_clips([])[:1]:
        tag_song(clip)
    train_first("Train on the demo music")
    st.stop()

left, right = ui.pair("asked")
with left:
    runs = inputs.choose_runs(usable)
    precision = inputs.choose_precision()
with right:
    clips = inputs.choose_clips(runs)
    is_library = ui.chosen("from") == inputs.LIBRARY
    if is_library:
        choose_folder()
if not runs:
    st.info("Pick at least one run.", icon=":material/graphic_eq:")
    st.stop()

ui.opens(*[clip.name for clip in clips] or [run.title for run in runs])
with ui.sentences():
    if is_library:
        clips = show_library(runs, precision)
    if clips:
        show_clips(open_runs(runs), clips, precision)
    elif not is_library:
        open_runs(runs)  # while the visitor looks for a file
        st.caption(
            "Runs classify the middle of a long clip, as long as the clips they were trained on; "
            "you can choose another part."
        )
