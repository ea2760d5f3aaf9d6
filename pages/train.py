"""Train: dataset, model and settings become a run that goes on without this page."""
# menu: Work, 90, :material/model_training:

import streamlit as st

from genrecore import ui

ui.page("Train", "Choose music and a model. The run goes on when you close this page.")

# Only this page and Classify need torch; the first visit waits for it here.
with st.spinner("Loading torch …"):
    from genrecore.ui.parts import forms
    from genrecore.ui.train import submission

base = submission.base_configuration(ui.chosen("from"))
left, right = ui.pair("form", left=5, right=3)

with left:
    forms.preset_part()
    ui.section("1 · Data", "What is learned, and which clips are kept back to test it.")
    values = forms.data_part(base)
    ui.section("2 · Model", "What the network sees of a clip, and the network itself.")
    values |= forms.model_part(base, values)
    ui.section("3 · Training")
    values |= forms.augment_part(base, values)
    values |= forms.training_part(base)

with right:
    ui.section("This run")
    submission.panel(values, base)
