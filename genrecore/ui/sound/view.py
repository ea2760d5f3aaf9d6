"""The views of the page Sound, of which only one is computed. Importing this imports torch."""

from __future__ import annotations

import streamlit as st

from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import empty, sentences
from genrecore.ui.sound import augment as sound_augment
from genrecore.ui.sound import features as sound_features
from genrecore.ui.sound import heard as sound_heard
from genrecore.ui.sound import mel as sound_mel
from genrecore.ui.sound.clip import Picked

VIEWS = {
    "features": "Features",
    "augment": "Augmentation",
    "heard": "What is left",
    "mel": "Mel scale",
}


def choose_view() -> str:
    """Which part of the page is shown."""
    return choose_one("Show", list(VIEWS), "view", words=VIEWS.__getitem__, radio=True)


def view(name: str, picked: Picked | None) -> None:
    """One part of the page; only the mel scale needs no clip."""
    with sentences():
        if name == "mel":
            sound_mel.view()
        elif picked is None:
            st.caption("This part needs a clip; the mel scale can be heard without one.")
        elif name == "features":
            sound_features.view(picked)
        elif picked.excerpt is None:
            empty(
                "This dataset ships no sound.",
                "Choose its form audio, another dataset, or a file of yours to hear something.",
            )
        elif name == "augment":
            sound_augment.view(picked, picked.excerpt)
        else:
            sound_heard.view(picked.excerpt)
