"""Models: what each model is, what it costs, and how much of the sound it sees."""
# menu: Work, 70, :material/account_tree:

import streamlit as st

from genrecore import ui

ui.page("Models", "What each model is, what it costs, and how much of the sound it sees.")

# Sizes are found out by building the networks; the first visit waits for torch here.
with st.spinner("Loading torch …"):
    from genrecore.ui.models import cards as model_cards

picked = model_cards.choose_card()
if picked is None:
    st.stop()
model_cards.headline(picked)
left, right = ui.pair("card", left=5, right=3)
with left:
    model_cards.described(picked)
with right:
    model_cards.measuring(picked)
    model_cards.training(picked)
model_cards.published(picked)
model_cards.layers(picked)
model_cards.beside(picked)
