"""Compare: several runs or systems on the same test clips."""
# menu: Work, 50, :material/balance:

import streamlit as st

from genrecore import ui
from genrecore.ui.compare import choice, saved, view
from genrecore.ui.parts import readers
from genrecore.ui.parts.frame import command

ui.page("Compare", "Runs or systems on the same test clips: is the difference real?")

tested = readers.tested(ui.look_at_runs().runs)
if len(tested) < 2:
    ui.empty(
        "One run has been tested; comparing takes two."
        if tested
        else "There is nothing to compare yet.",
        "A run can be compared once it has been tested. Train another model, or the same one "
        "with another seed.",
    )
    ui.link_to("train", "Train a model", ":material/model_training:")
    st.stop()

outcome = st.container()
selection = choice.choose_selection(tested)
saved.show_saved(tested, selection)
if len(selection.members) < 2:
    st.info(f"Pick at least two {selection.unit}.", icon=":material/balance:")
    st.stop()

ui.opens(*selection.titles.values())
selection = choice.legible(selection)
with ui.sentences():
    compared = choice.compare(selection.members, selection.band, selection.on_shared)
    with outcome:
        view.show_headline(compared)
    view.show_warnings(compared)
    choice.ask_for_shared(compared, selection)
    view.show(compared, selection)
    command(selection.command)
    view.show_downloads(compared, selection.command)
