"""Widgets of the page Runs that live in the URL, and what is said after something was done."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import streamlit as st

from genrecore.ui.parts.choices import choose, chosen, hold
from genrecore.ui.parts.frame import plain, sentences

_SAID = "_said"


def choose_text(label: str, name: str, placeholder: str = "", icon: str | None = None) -> str:
    """A line of text bound to the URL."""
    key = f"choice_{name}"
    hold(key, chosen(name))
    st.text_input(
        label,
        key=key,
        on_change=lambda: choose(name, str(st.session_state.get(key) or "").strip()),
        placeholder=placeholder,
        icon=icon,
        label_visibility="collapsed",
    )
    return chosen(name)


def choose_flag(label: str, name: str, help: str | None = None) -> bool:
    """A switch bound to the URL, off unless it says otherwise."""
    key = f"choice_{name}"
    hold(key, chosen(name) == "on")
    st.toggle(
        label,
        key=key,
        on_change=lambda: choose(name, "on" if st.session_state.get(key) else ""),
        help=help,
    )
    return chosen(name) == "on"


def choose_share(label: str, name: str, most: float, step: float, help: str | None = None) -> float:
    """A slider from 0 bound to the URL."""
    value = 0.0
    with suppress(ValueError):
        value = min(most, max(0.0, float(chosen(name) or 0)))
    key = f"choice_{name}"
    hold(key, value)

    def write() -> None:
        now = float(st.session_state.get(key) or 0)
        choose(name, f"{now:g}" if now else "")

    st.slider(label, 0.0, most, step=step, key=key, on_change=write, help=help)
    return value


def act(words: Callable[[], str]) -> None:
    """Does something and draws the page anew with what was done said in a toast; an error is said
    in its place."""
    with sentences():
        say(words())
        st.rerun()


def say(sentence: str, icon: str = ":material/check_circle:") -> None:
    """Has a sentence shown as a toast when the page is drawn next."""
    st.session_state.setdefault(_SAID, []).append((sentence, icon))


def show_said() -> None:
    """Shows what was said since the page was drawn."""
    for sentence, icon in st.session_state.pop(_SAID, []):
        st.toast(plain(sentence), icon=icon)
