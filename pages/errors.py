"""Errors: the clips that a run confuses, to hear, to see and to judge."""
# menu: Work, 60, :material/hearing_disabled:

import streamlit as st

from genrecore import ui
from genrecore.ui.errors import view as errors
from genrecore.ui.parts import readers

ui.page("Errors", "Hear which clips a run confuses, and judge for yourself.")

tested = readers.tested(ui.look_at_runs().runs)
if not tested:
    ui.empty(
        "There are no mistakes to hear yet.",
        "Train a model: once it has been tested, every clip it got wrong can be played here.",
    )
    ui.link_to("train", "Train a model", ":material/model_training:")
    st.stop()

run = errors.choose_run(tested)
ui.opens(run.title)
errors.browse(run, tested)
