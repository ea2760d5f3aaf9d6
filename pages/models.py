"""Models: what each model is, what it costs, and how much of the sound it sees."""
# menu: Work, 70, :material/account_tree:

import streamlit as st

from genrecore import ui
from genrecore.ui.models import cards

ui.page("Models", "What each model is, what it costs, and how much of the sound it sees.")

shown = cards.choose_card()
if shown is None:
    st.stop()
cards.headline(shown)
left, right = ui.pair("card", left=5, right=3)
with left:
    cards.described(shown)
with right:
    cards.measuring(shown)
    cards.training(shown)
cards.published(shown)
cards.layers(shown)
cards.beside(shown)
