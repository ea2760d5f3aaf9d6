"""Classify: upload or record clips, hear them, see what runs make of them, when and why."""
# menu: Work, 120, :material/graphic_eq:

import streamlit as st

from genrecore import ui
from genrecore.ui.classify import inputs as classify_inputs
from genrecore.ui.parts import readers

ui.page("Classify", "Hear a clip while runs say what it is, moment by moment, and why.")

found = readers.usable(readers.all_runs())
if not found:
    ui.empty(
        "There is no trained run yet.",
        "Classifying takes a run that has finished. Training one on the demo music takes minutes.",
    )
    ui.link_to("train", "Train on the demo music", ":material/model_training:", {"dataset": "demo"})
    st.stop()

left, right = ui.pair("asked")
with left:
    runs = classify_inputs.choose_runs(found)
with right:
    given = classify_inputs.choose_clips(runs)
if not runs:
    st.info("Pick at least one run.", icon=":material/graphic_eq:")
    st.stop()

# torch is loaded while the visitor looks for a file.
with st.spinner("Loading torch …"):
    from genrecore.ui.classify import view as classify

with ui.sentences():
    panel = classify.opened(runs)
    if not given:
        st.caption(
            "The middle of a long clip is judged, as long as the clips the runs were trained on; "
            "another part can be chosen."
        )
        st.stop()
    classify.view(panel, runs, given)
