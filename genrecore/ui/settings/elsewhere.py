"""Settings that stand where they are used, and the ways there."""

from __future__ import annotations

import streamlit as st

from genrecore.ui.parts.frame import link_to, section


def show_links() -> None:
    """The pages and the command of the other settings."""
    section("Elsewhere", "Other settings stand where they are used.")
    link_to("runs", "Runs: alerts to a chat or a phone", ":material/notifications:")
    st.markdown("How many runs share this machine's processor: `genrecore queue slots 2`")
    st.markdown(
        "Who may look, and who may train and delete: `read` and `work` in the store's "
        "`settings.json`"
    )
