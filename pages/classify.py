"""Classify: upload clips, hear them, and see what a run makes of them."""

import streamlit as st

from genrecore import audio, ui
from genrecore.ui import readers

ui.page("Classify", "Upload a clip, hear it, and see which genre a run hears in it, and when.")

found = readers.usable(readers.all_runs())
if not found:
    ui.empty(
        "There is no trained run yet.",
        "Classifying takes a run that has finished. Training one on the demo music takes minutes.",
    )
    ui.link_to("train", "Train on the demo music", ":material/model_training:", {"dataset": "demo"})
    st.stop()

name = ui.choose_one(
    "Run", [run.run_id for run in found], "run", words=readers.titles(found).__getitem__
)
ui.leak_badge(readers.find(name))
files = st.file_uploader(
    "Clips", type=ui.upload_types(audio.FORMATS), accept_multiple_files=True, key="clips"
)
if not files:
    st.caption("The middle of a long clip is judged, as long as the clips the run was trained on.")
    st.stop()

with st.spinner("Loading torch …"):
    from genrecore.ui import players

with ui.sentences():
    players.show_all(players.listen(readers.find(name), files))
