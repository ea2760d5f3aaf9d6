"""Sound: what a network is given of a clip, seen and heard, and what augmentation makes of it."""
# menu: Work, 60, :material/hearing:

import streamlit as st

from genrecore import ui
from genrecore.ui.sound import clip as sound_clip

ui.page(
    "Sound", "See and hear what a network is given of a clip, and what augmentation makes of it."
)

picked = sound_clip.choose_clip()

# What follows computes with torch; the first visit waits for it here.
with st.spinner("Loading torch …"):
    from genrecore.ui.sound import view as sound

sound.view(sound.choose_view(), picked)
