"""Compare: runs or systems over one another, on the same test clips."""
# menu: Results, 30, :material/balance:

import streamlit as st

from genrecore import ui
from genrecore.ui.compare import choice as compare_choice
from genrecore.ui.compare import details as compare_details
from genrecore.ui.compare import readers as compare_readers
from genrecore.ui.compare import view as compare
from genrecore.ui.compare.report_button import report_button
from genrecore.ui.parts import readers

ui.page("Compare", "Runs or systems on the same test clips: is the difference real?")

found = readers.tested(readers.all_runs())
if len(found) < 2:
    ui.empty(
        "There is nothing to compare yet."
        if not found
        else "One run has been tested; comparing takes two.",
        "A run can be compared once it has been tested. Train another model, or the same one "
        "with another seed.",
    )
    ui.link_to("train", "Train a model", ":material/model_training:")
    st.stop()

what = compare_choice.choose_what(found)
if len(what.members) < 2:
    st.info(f"Pick at least two {what.unit}.", icon=":material/balance:")
    st.stop()

what = compare_choice.legible(what)
with ui.sentences():
    compared = compare_readers.compared(what.members, what.band, what.on_shared)
    compare.warnings(compared)
    compare_choice.ask_for_shared(compared, what)
    view = compare.choose_view()
    {**compare.SHOWN, **compare_details.SHOWN}[view](compared, what)
    compare_details.same_as_command(what)
    report_button(compared, what.command)
