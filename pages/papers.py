"""Papers: what five studies print, and what our runs say beside it."""
# menu: Work, 110, :material/menu_book:

import streamlit as st

from genrecore import ui
from genrecore.ui.papers import figures as papers_figures
from genrecore.ui.papers import numbers as papers_numbers
from genrecore.ui.papers import view as papers

ui.page(
    "Papers",
    "Five studies as recipes: what they claim, and what you get, their way and an honest way.",
)

study = papers.choose_study()
view = papers.choose_view()
papers.head(study, in_full=view == "numbers")
if view == "recipe":
    papers.recipe(study)
    st.stop()
if view == "run":
    # Only making configurations needs torch.
    with st.spinner("Loading torch …"):
        from genrecore.ui.papers import run as papers_run

    papers_run.panel(study)
    st.stop()

with ui.sentences():
    results = papers_numbers.choose_results(study)
    if view == "numbers":
        papers_numbers.show(results)
    else:
        papers_figures.show(results)
