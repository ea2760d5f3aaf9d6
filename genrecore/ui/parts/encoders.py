"""Pretrained encoders on pages: how one gets here, and what one needs of a form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from genrecore import words
from genrecore.config.run import RunConfig
from genrecore.data import uploads
from genrecore.errors import UsageError
from genrecore.jobs.access import working
from genrecore.models.encoders import ENCODER_KINDS, PUBLISHED, EncoderCard
from genrecore.models.encoders.files import add, installed
from genrecore.models.encoders.options import EncoderOptions
from genrecore.training.parts import ResolvedConfig
from genrecore.ui.parts.choices import choose
from genrecore.ui.parts.fitting import show_change
from genrecore.ui.parts.frame import announce, plain, sentences, work_button
from genrecore.ui.parts.tasks import task_panel

_UPLOAD = "The upload"


def encoder_titles() -> dict[str, str]:
    """The titles of the encoders that are here, and of those that can be fetched."""
    cards = {name: entry.thing for name, entry in PUBLISHED.items()} | installed()
    return {name: card.title for name, card in cards.items()}


def fetch_panel(name: str, choice: str = "") -> None:
    """The button that fetches an encoder, with its size and licence, and how far it is; and the
    form that adds one from files.

    Args:
        name: Of the encoder.
        choice: As for `add_form`.
    """
    entry = PUBLISHED[name]
    size, licence = words.size(entry.facts.n_bytes), entry.thing.licence
    task_panel(
        f"Fetch {name} ({size}, {licence} licence)",
        ["encoders", "fetch", name],
        f"Fetching {name}",
        f"fetch_{name}",
        ":material/download:",
    )
    add_form(choice)


def add_form(choice: str = "") -> None:
    """A form that adds an encoder from uploaded files, from a path, or from the Hub.

    Args:
        choice: The choice in the URL that takes the new encoder; empty where there is none.
    """
    with st.popover("Add an encoder", icon=":material/add:", type="tertiary"):
        expected = [kind.thing.expects for kind in ENCODER_KINDS.values()]
        st.caption(f"Takes {plain(words.listed(expected, 'or'))}.")
        n = st.session_state.get("_n_encoders_added", 0)
        with st.form(f"encoder_{n}", border=False):
            files = st.file_uploader(
                "Its files", accept_multiple_files=True, key=f"encoder_files_{n}"
            )
            path = st.text_input(
                "Or where it lies",
                key=f"encoder_path_{n}",
                placeholder="A path, or hf:OWNER/NAME",
                help="A path on the machine that runs this dashboard, or a model's name on the "
                "Hugging Face Hub.",
            )
            name = st.text_input(
                "What to call it",
                key=f"encoder_name_{n}",
                placeholder="As its file or folder",
                help="In small letters, digits, '_', '.' and '-'. musicnn has names of its own.",
            )
            pressed = work_button(
                "Add", widget=st.form_submit_button, type="primary", key="encoder_add"
            )
        if pressed:
            with sentences(), st.spinner("Adding the encoder …"):
                cards = _add(files, path.strip(), name.strip())
                st.session_state["_n_encoders_added"] = n + 1  # an empty form
                titles = words.listed([card.title for card in cards])
                announce(f"Added: {titles}.")
                if choice:
                    choose(choice, cards[0].name)
                st.rerun()


def _add(files: Sequence[Any], path: str, name: str) -> list[EncoderCard]:
    """Adds an encoder from uploaded files, or from a path where there are none.

    Raises:
        GenrecoreError: As `genrecore.models.encoders.files.add`; or no file or path is given, or
            both; nothing of the files is kept then.
    """
    if bool(files) == bool(path):
        raise UsageError("Give either the encoder's files, or where it lies.")
    with working("add an encoder"):
        if path:
            return add(path, name)
        with uploads.folder_of(((file.name, file) for file in files), name or _UPLOAD) as folder:
            return add(_encoder_among(folder), name)


def _encoder_among(folder: Path) -> Path:
    """The file in a folder of uploaded files that is an encoder, or the folder itself."""
    kinds = [entry.thing for entry in ENCODER_KINDS.values()]
    encoders = [file for file in sorted(folder.iterdir()) if any(k.takes(file) for k in kinds)]
    if len(encoders) > 1:
        names = words.listed([file.name for file in encoders])
        raise UsageError(f"{names} are several encoders; add one at a time.")
    if not encoders and folder.name == _UPLOAD and any(kind.takes(folder) for kind in kinds):
        raise UsageError("These files have no name together; say what to call the encoder.")
    return encoders[0] if encoders else folder


def show_encoder(config: RunConfig) -> None:
    """The card of a configuration's encoder, and buttons for what it needs and does not have: its
    weights, and waves at its sample rate."""
    resolved = ResolvedConfig(config)
    card = resolved.encoder
    if card is None:
        return
    in_feature = isinstance(resolved.feature.options, EncoderOptions)
    choice = f"{(config.feature if in_feature else config.model).name}.encoder"
    if card.non_commercial:
        st.badge(f"{card.licence}: non-commercial use only", icon=":material/block:", color="red")
    st.caption(
        plain(
            f"{card.title}, by {card.made_by}. Licence: {card.licence}. Trained on "
            f"{card.trained_on}."
        )
    )
    if card.sha256:
        add_form(choice)
    else:
        fetch_panel(card.name, choice)
    if card.sample_rate_hz != config.audio.sample_rate_hz:
        rate = f"{words.thousands(card.sample_rate_hz)} Hz"
        show_change(
            f"The encoder {card.title} takes audio at {rate}.",
            f"Take {rate}",
            "encoder_rate",
            {"audio.sample_rate_hz": card.sample_rate_hz},
            "Changes the sample rate under Audio.",
        )
