"""Leaks: what a split that shares artists adds to an accuracy, measured."""
# menu: Work, 80, :material/water_drop:

import streamlit as st

from genrecore import ui
from genrecore.ui.leaks import view as laboratory

ui.page("Leaks", "How much of an accuracy comes from a leak between training and test?")

laboratory.explanation()
found = laboratory.all_experiments()
if laboratory.choose_view(found) == "experiments":
    laboratory.show(found)
    st.stop()

# Only setting an experiment up needs torch.
with st.spinner("Loading torch …"):
    from genrecore.ui.leaks import form as laboratory_form

left, right = ui.pair("experiment", left=5, right=3)
with left:
    picked, values, n_folds = laboratory_form.choices()
with right:
    ui.section("This experiment")
    laboratory_form.panel(picked, values, n_folds)
