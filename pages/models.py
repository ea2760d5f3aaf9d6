"""Models: what each model is, what it costs, and how much of the sound it sees."""
# menu: Learn, 110, :material/account_tree:

import streamlit as st

from genrecore import ui
from genrecore.ui.models import cards

ui.page("Models", "What each model is, what it costs, and how much of the sound it sees.")

choice = cards.choose_card()
if choice is None:
    st.stop()
ui.opens(choice.card.title)
cards.show_headline(choice)
left, right = ui.pair("card", left=5, right=3)
with left:
    cards.show_sizes(choice)
    cards.link_to_training(choice)
with right:
    cards.show_latency(choice)
cards.show_published(choice)
cards.show_layers(choice)
cards.show_others(choice)
