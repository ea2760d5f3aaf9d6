"""Errors: which clips a run takes for what, to hear, to see and to judge."""
# menu: Results, 40, :material/hearing_disabled:

import streamlit as st

from genrecore import ui
from genrecore.ui.errors import view as errors
from genrecore.ui.parts import readers

ui.page("Errors", "Hear what a run takes for what, and judge for yourself.")

found = readers.tested(readers.all_runs())
if not found:
    ui.empty(
        "There are no mistakes to hear yet.",
        "Train a model: once it has been tested, every clip it got wrong can be played here.",
    )
    ui.link_to("train", "Train a model", ":material/model_training:")
    st.stop()

run = errors.choose_run(found)
view = errors.choose_view()
with ui.sentences():
    listed = errors.listed(view, run, found)
    if listed is not None:
        errors.browse(view, run, listed)
