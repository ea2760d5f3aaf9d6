"""Pretrained encoders on pages: the button that fetches one, and what one needs of a form."""

from __future__ import annotations

import streamlit as st

from genrecore import words
from genrecore.config.run import RunConfig
from genrecore.models.encoders import PUBLISHED
from genrecore.training.parts import ResolvedConfig
from genrecore.ui.parts.fitting import show_change
from genrecore.ui.parts.frame import plain
from genrecore.ui.parts.tasks import task_panel


def fetch_panel(name: str) -> None:
    """The button that fetches an encoder, with its size and licence, and how far it is."""
    entry = PUBLISHED[name]
    size, licence = words.size(entry.facts.n_bytes), entry.thing.licence
    task_panel(
        f"Fetch {name} ({size}, {licence} licence)",
        ["encoders", "fetch", name],
        f"Fetching {name}",
        f"fetch_{name}",
        ":material/download:",
    )


def show_encoder(config: RunConfig) -> None:
    """The card of a configuration's encoder, and buttons for what it needs and does not have: its
    weights, and waves at its sample rate."""
    card = ResolvedConfig(config).encoder
    if card is None:
        return
    if card.non_commercial:
        st.badge(f"{card.licence}: non-commercial use only", icon=":material/block:", color="red")
    st.caption(
        plain(
            f"{card.title}, by {card.made_by}. Licence: {card.licence}. Trained on "
            f"{card.trained_on}."
        )
    )
    if not card.sha256:
        fetch_panel(card.name)
    if card.sample_rate_hz != config.audio.sample_rate_hz:
        rate = f"{words.thousands(card.sample_rate_hz)} Hz"
        show_change(
            f"The encoder {card.title} takes audio at {rate}.",
            f"Take {rate}",
            "encoder_rate",
            {"audio.sample_rate_hz": card.sample_rate_hz},
            "Changes the sample rate under Audio.",
        )
