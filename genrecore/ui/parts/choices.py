"""The view's choices live in the URL, so that a view can be sent to somebody.

Streamlit's own binding loses values on Back; here the URL is the truth, and a widget is set from it
whenever the two differ before the widget is drawn, and when it was not drawn a moment ago: its
state may then still be there, but the browser shows it as new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

# A browser that is told a new address while it asks for the next run may ask with the old one;
# within this time the old one counts as that, later as a person who went back.
_LATE_S = 3.0


def chosen(name: str) -> str:
    """What the URL says under this name; empty where it says nothing."""
    text = st.query_params.get(name, "")
    last = _last_choice(name)
    if last is not None and text in last.instead_of:
        _write(name, last.text)
        return last.text
    return text


def chosen_many(name: str) -> list[str]:
    """What the URL lists under this name, separated by commas."""
    return [part for part in chosen(name).split(",") if part]


def choose(name: str, value: str | Sequence[str]) -> None:
    """Writes a choice into the URL."""
    text = value if isinstance(value, str) else ",".join(value)
    last = _last_choice(name)
    replaced = {st.query_params.get(name, ""), *(last.instead_of | {last.text} if last else ())}
    _choices()[name] = _Choice(_place(), text, frozenset(replaced - {text}), time.monotonic())
    _write(name, text)


@dataclass(frozen=True)
class _Choice:
    """What was last chosen under a name, where, when, and what the URL said shortly before."""

    place: str
    text: str
    instead_of: frozenset[str]
    at: float


def _last_choice(name: str) -> _Choice | None:
    """The last choice on this page, if it was made just now."""
    last = _choices().get(name)
    recent = last is not None and last.place == _place() and time.monotonic() - last.at < _LATE_S
    return last if recent else None


def _choices() -> dict[str, _Choice]:
    found: dict[str, _Choice] = st.session_state.setdefault("_choices", {})
    return found


def _write(name: str, text: str) -> None:
    if text:
        st.query_params[name] = text
    else:
        st.query_params.pop(name, None)


def new_run(place: str) -> None:
    """Begins a run of a page; `ui.page` calls it.

    Args:
        place: Names the page.
    """
    same = st.session_state.get("_place") == place
    st.session_state["_drawn_before"] = st.session_state.get("_drawn", set()) if same else set()
    st.session_state["_drawn"] = set()
    st.session_state["_place"] = place


def _place() -> str:
    return str(st.session_state.get("_place", ""))


def hold(key: str, wanted: Any) -> None:
    """Sets the state of a widget that is about to be drawn, where it is not so already.

    Always setting it would undo what a person does to it during the run.
    """
    drawn = st.session_state.setdefault("_drawn", set())
    known = key in drawn or key in st.session_state.get("_drawn_before", ())
    drawn.add(key)
    if not known or st.session_state.get(key) != wanted:
        st.session_state[key] = wanted


def choose_one(
    label: str,
    options: Sequence[str],
    name: str,
    words: Callable[[str], str] = str,
    default: str = "",
    help: str | None = None,
    radio: bool = False,
    hide_label: bool = False,
) -> str:
    """A select box (or a row of buttons, where there are several) bound to the URL.

    Options must not be empty.
    """
    first = default if default in options else options[0]
    if radio and len(options) == 1:  # nothing to choose
        return first
    wanted = chosen(name) if chosen(name) in options else first
    key = f"choice_{name}"
    hold(key, wanted)

    def write() -> None:
        value = st.session_state.get(key) or first
        choose(name, "" if value == first else value)

    if radio:
        picked = st.segmented_control(
            label,
            options,
            format_func=words,
            key=key,
            on_change=write,
            help=help,
            required=True,
            label_visibility="collapsed" if hide_label else "visible",
        )
    else:
        picked = st.selectbox(
            label,
            options,
            format_func=words,
            key=key,
            on_change=write,
            help=help,
            label_visibility="collapsed" if hide_label else "visible",
        )
    return picked if picked is not None and picked in options else first


def choose_many(
    label: str,
    options: Sequence[str],
    name: str,
    words: Callable[[str], str] = str,
    default: Sequence[str] = (),
    placeholder: str | None = None,
) -> list[str]:
    """A multiple choice bound to the URL, in the order of picking."""
    wanted = [value for value in chosen_many(name) if value in options]
    if not chosen(name):
        wanted = [value for value in default if value in options]
    key = f"choice_{name}"
    hold(key, wanted)

    def write() -> None:
        # A lone comma says "none", which is not the same as saying nothing.
        choose(name, ",".join(st.session_state.get(key) or []) or ",")

    return list(
        st.multiselect(
            label,
            options,
            format_func=words,
            key=key,
            on_change=write,
            placeholder=placeholder,
        )
    )


def choose_page(n_pages: int, name: str) -> int:
    """Which page of a long list is shown, from 1; nothing is drawn where there is only one."""
    if n_pages < 2:
        return 1
    wanted = int(chosen(name)) if chosen(name).isdecimal() else 1
    wanted = wanted if 1 <= wanted <= n_pages else 1
    # Streamlit warns where such a widget is set from outside, so each page has one of its own.
    key = f"choice_{name}_{n_pages}_{wanted}"

    def write() -> None:
        page = st.session_state[key]
        choose(name, "" if page == 1 else str(page))

    return st.pagination(n_pages, default=wanted, key=key, on_change=write)
