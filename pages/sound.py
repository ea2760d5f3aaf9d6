"""Sound: the input of a network, seen and heard, and what augmentation does to it."""
# menu: Learn, 100, :material/hearing:

import streamlit as st

from genrecore import ui
from genrecore.ui.sound import augment, features, mel, resynthesis
from genrecore.ui.sound.clip import choose_clip

ui.page("Sound", "See and hear what a network gets from a clip, and what augmentation does to it.")

clip = choose_clip()
views = {
    "features": "Features",
    "augment": "Augmentation",
    "heard": "Back to sound",
    "mel": "Mel scale",
}
view = ui.choose_one("Show", views, "view", radio=True)
with ui.sentences():
    if view == "mel":
        mel.show()
    elif clip is None:
        st.caption("This part needs a clip; the mel scale can be heard without one.")
    elif view == "features":
        features.show(clip)
    elif clip.excerpt is None:
        ui.empty(
            "This dataset ships no sound.",
            "Choose its form audio, another dataset, or a file of yours to hear something.",
        )
    elif view == "augment":
        augment.show(clip, clip.excerpt)
    else:
        resynthesis.show(clip.excerpt)
