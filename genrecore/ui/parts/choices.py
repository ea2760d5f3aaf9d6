"""The view's choices live in the URL, so that a view can be sent to somebody.

Streamlit's own binding loses values on Back; here the URL is the truth, and a widget is set from it
whenever the two differ before the widget is drawn, and when it was not drawn a moment ago: its
state may then still be there, but the browser shows it as new.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from genrecore.words import thousands

T = TypeVar("T")
# A browser that is told a new address while it asks for the next run may ask with the old one; so
# does a person who clicks a link. A run that began with the change of a widget is late, one that
# began with Back is not. Any other is late if it began so soon after the run before had ended.
_LATE_S = 3.0
MOST_OPTIONS = 300
"""Offered at once by a list to choose from."""


def chosen(name: str) -> str:
    """What the URL says under this name; empty where it says nothing."""
    text = st.query_params.get(name, "")
    last = _choices().get(name)
    st.session_state["_last_sign"] = time.monotonic()
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
    _pins().pop(name, None)
    last = _choices().get(name)
    replaced = {st.query_params.get(name, ""), *(last.instead_of | {last.text} if last else ())}
    _choices()[name] = _Choice(text, frozenset(replaced - {text}))
    _write(name, text)


def pin(name: str, text: str) -> None:
    """Says in the address what the page shows by default, so that it means the same tomorrow.

    It follows the default until somebody chooses. It takes the place of the present entry in the
    browser's history, so that Back leads to the page before; the URL that the server knows has it
    from the next run on.
    """
    said, before = chosen(name), _pins().get(name, "")
    if not text or said == text or (said and said != before):
        return
    _pins()[name] = text
    st.session_state["_n_pinned"] = n = st.session_state.get("_n_pinned", 0) + 1
    arguments = json.dumps([open_page(), {name: text}, {name: before}])[1:-1]
    safe = arguments.replace("<", "\\u003c")  # nothing in a name ends the script
    script = (Path(__file__).parent / "address.js").read_text(encoding="utf-8")
    # The number makes each a new element, without which its script would not be carried out.
    st.html(f"<script>/* {n} */ ({script})({safe})</script>", unsafe_allow_javascript=True)


def is_pinned(name: str) -> bool:
    """Whether the URL says this only because it was shown by default."""
    return bool(chosen(name)) and chosen(name) == _pins().get(name)


def _pins() -> dict[str, str]:
    """What `pin` has written in this visit of the page, by name."""
    pins: dict[str, str] = st.session_state.setdefault("_pins", {})
    return pins


@dataclass(frozen=True)
class _Choice:
    """What was last chosen under a name, and what the URL said before."""

    text: str
    instead_of: frozenset[str]


def _choices() -> dict[str, _Choice]:
    """The choices on this page of which the browser may not know yet, by name."""
    choices: dict[str, _Choice] = st.session_state.setdefault("_choices", {})
    return choices


def _edit(name: str, text: str) -> None:
    """Writes what a person has changed a widget to, before the run that shows it."""
    choose(name, text)
    st.session_state.setdefault("_edited", set()).add(name)


def _settle() -> None:
    """As a run of the page begins: choices that the address lacks because it is late are written
    into it again; those that a person went back from are forgotten."""
    edited = bool(st.session_state.pop("_edited", None))
    context = get_script_run_ctx()
    went_back = context is not None and context.is_history_navigation
    for name, choice in list(_choices().items()):
        if st.query_params.get(name, "") not in choice.instead_of:
            continue
        if edited or (_begins_soon() and not went_back):
            _write(name, choice.text)
        else:
            del _choices()[name]


def _begins_soon() -> bool:
    """Whether this run begins so soon after the one before that the browser may have asked for it
    before it knew what that one had changed; asked before the run reads a choice."""
    return time.monotonic() - float(st.session_state.get("_last_sign", -_LATE_S)) < _LATE_S


def _write(name: str, text: str) -> None:
    if text:
        st.query_params[name] = text
    else:
        st.query_params.pop(name, None)


def new_run(page: str) -> None:
    """Begins a run of the page of this title; `ui.page` calls it."""
    same = st.session_state.get("_page") == page
    st.session_state["_drawn_before"] = st.session_state.get("_drawn", set()) if same else set()
    st.session_state["_drawn"] = set()
    st.session_state["_page"] = page
    if not same:
        st.session_state["_pins"] = {}
        _choices().clear()
    _settle()


def is_fresh() -> bool:
    """Whether the page is being drawn for the first time since it was opened."""
    return not st.session_state.get("_drawn_before")


def open_page() -> str:
    """The name of the page that is shown, as its script and its address have it."""
    return _page().lower()


def _page() -> str:
    return str(st.session_state.get("_page", ""))


def set_widget(key: str, value: Any) -> None:
    """Sets the state of a widget that is about to be drawn, where it differs.

    Always setting it would undo what a person does to it during the run.
    """
    keys = st.session_state.setdefault("_drawn", set())
    was_drawn = key in keys or key in st.session_state.get("_drawn_before", ())
    keys.add(key)
    before = st.session_state.get(key)
    if not was_drawn or before != value:
        st.session_state[key] = value
    if was_drawn and before != value:
        _replaced()[key] = before
    else:  # the browser knows what was set
        _replaced().pop(key, None)
    _known()[key] = value


def _replaced() -> dict[str, Any]:
    """The value before of each widget that was set and of which the browser may not know yet."""
    values: dict[str, Any] = st.session_state.setdefault("_replaced", {})
    return values


def _known() -> dict[str, Any]:
    """The value of each widget as it was last set or changed."""
    values: dict[str, Any] = st.session_state.setdefault("_known", {})
    return values


def _is_changed(key: str) -> bool:
    """Whether a person has changed a widget that reports a change.

    Nobody has where it reports the value that is known: so does a slider of epochs that has just
    gone for one of more epochs. Nor where it was set and has its old value again: a browser that
    asks for the next run before it hears of the new value sends the old one.
    """
    value = st.session_state.get(key)
    if key in _known() and _known()[key] == value:
        return False
    if key in _replaced() and _replaced()[key] == value and _begins_soon():
        return False
    _known()[key] = value
    return True


def bound(
    widget: Callable[..., Any],
    *args: Any,
    name: str,
    default: T,
    parse: Callable[[str], T],
    to_text: Callable[[T], str] = str,
    key: str = "",
    empty: T | None = None,
    keep: Callable[[T], object] | None = None,
    pinned: bool = False,
    **settings: Any,
) -> T:
    """Draws a widget whose value lives in the URL, and returns that value.

    Args:
        widget: Such as `st.slider`.
        *args: What it takes before its settings, its label first.
        name: In the URL.
        default: Its value where the URL says nothing, or nothing that fits.
        parse: From the text in the URL to the value; a ValueError says that the text does not fit.
        to_text: From the value to that text; the default is never written.
        key: Of the widget; by default made of the name.
        empty: The value for which the widget is empty, where there is one.
        keep: Called with what a person picks, not with what an address brings.
        pinned: Whether the URL says the default as well, which may be another one tomorrow.
        **settings: What else the widget takes.
    """
    key = key or f"choice_{name}"
    text = chosen(name)
    value = default
    if text and not (pinned and is_pinned(name)):
        with suppress(ValueError):
            value = parse(text)
    set_widget(key, None if empty is not None and value == empty else value)

    def write() -> None:
        if not _is_changed(key):
            return
        picked = st.session_state.get(key)
        picked = empty if picked is None else picked
        if picked is None or (picked == default and not pinned):
            _edit(name, "")
        else:
            _edit(name, to_text(picked))
        if keep is not None and picked is not None:
            keep(picked)

    picked = widget(*args, key=key, on_change=write, **settings)
    st.session_state.get("_edited", set()).discard(name)  # of a fragment, which begins no new run
    if pinned and value:
        pin(name, to_text(value))
    if picked is None:
        return value if empty is None else empty
    return picked


def choose_one(
    label: str,
    options: Sequence[str] | Mapping[str, str],
    name: str,
    default: str = "",
    help: str | None = None,
    radio: bool = False,
    hide_label: bool = False,
    pinned: bool = False,
) -> str:
    """A select box (or a row of buttons, where there are several) bound to the URL.

    Options must not be empty; a mapping gives each its title; `pinned` is as for `bound`.
    """
    titles = _titles(options)
    first = default if default in titles else next(iter(titles))
    titles = _offered(label, titles, name, {first, chosen(name)})
    options = list(titles)
    if radio and len(options) == 1:  # nothing to choose
        return first
    widget: Any = st.segmented_control if radio else st.selectbox
    only: dict[str, Any] = {"required": True} if radio else {}
    return bound(
        widget,
        label,
        options,
        name=name,
        default=first,
        parse=lambda text: options[options.index(text)],
        format_func=titles.__getitem__,
        help=help,
        label_visibility="collapsed" if hide_label else "visible",
        pinned=pinned,
        **only,
    )


def choose_many(
    label: str,
    options: Sequence[str] | Mapping[str, str],
    name: str,
    default: Sequence[str] = (),
    placeholder: str | None = None,
    keep: Callable[[list[str]], object] | None = None,
    pinned: bool = False,
    help: str | None = None,
) -> list[str]:
    """A multiple choice bound to the URL, in the order of picking; a mapping gives titles, and
    `pinned` is as for `bound`."""
    titles = _titles(options)
    titles = _offered(label, titles, name, {*default, *chosen_many(name)})

    def offered(values: Iterable[str]) -> list[str]:
        return [value for value in values if value in titles]

    return bound(
        st.multiselect,
        label,
        list(titles),
        name=name,
        default=offered(default),
        parse=lambda text: offered(text.split(",")),
        # A lone comma says "none", which is not the same as saying nothing.
        to_text=lambda values: ",".join(values) or ",",
        format_func=titles.__getitem__,
        placeholder=placeholder,
        keep=keep,
        pinned=pinned,
        help=help,
    )


def _titles(options: Sequence[str] | Mapping[str, str]) -> Mapping[str, str]:
    return options if isinstance(options, Mapping) else {option: option for option in options}


def _offered(
    label: str, titles: Mapping[str, str], name: str, kept: Collection[str]
) -> Mapping[str, str]:
    """The options; of very many only the first that fit a search, which is drawn then, and those
    that are kept: a browser takes seconds for a list of thousands."""
    if len(titles) <= MOST_OPTIONS:
        return titles
    hint = f"Find among {thousands(len(titles))}"
    query = choose_text(f"{label}: find", f"find_{name}", hint, ":material/search:")
    words = query.casefold().split()
    fitting = [
        key
        for key, title in titles.items()
        if not words or all(word in f"{title} {key}".casefold() for word in words)
    ]
    shown = {*fitting[:MOST_OPTIONS], *kept}
    if len(fitting) > MOST_OPTIONS:
        first, of = thousands(MOST_OPTIONS), thousands(len(fitting))
        st.caption(f"{label}: the first {first} of {of} are offered; a search finds the others.")
    elif not fitting:
        st.caption(f"{label}: none fits the search.")
    return {key: title for key, title in titles.items() if key in shown}


def choose_text(label: str, name: str, placeholder: str = "", icon: str | None = None) -> str:
    """A line of text bound to the URL; its label is for screen readers."""
    return bound(
        st.text_input,
        label,
        name=name,
        default="",
        parse=str,
        to_text=str.strip,
        placeholder=placeholder,
        icon=icon,
        label_visibility="collapsed",
    ).strip()


def choose_flag(label: str, name: str, help: str | None = None) -> bool:
    """A switch bound to the URL, off unless it says otherwise."""
    return bound(
        st.toggle,
        label,
        name=name,
        default=False,
        parse=lambda text: text in ("on", "True"),
        to_text=lambda value: "on" if value else "",
        help=help,
    )


def choose_number(
    label: str,
    name: str,
    low: float,
    high: float,
    step: float,
    default: float = 0.0,
    help: str | None = None,
    **settings: Any,
) -> float:
    """A slider bound to the URL."""
    return bound(
        st.slider,
        label,
        low,
        high,
        name=name,
        default=default,
        parse=lambda text: min(high, max(low, float(text))),
        to_text=lambda value: f"{value:g}",
        step=step,
        help=help,
        **settings,
    )


def choose_page(n_pages: int, name: str) -> int:
    """Which page of a long list is shown, from 1; nothing is drawn where there is only one."""
    if n_pages < 2:
        return 1
    number = int(chosen(name)) if chosen(name).isdecimal() else 1
    number = number if 1 <= number <= n_pages else 1
    # Streamlit warns where such a widget is set from outside, so each page has one of its own.
    key = f"choice_{name}_{n_pages}_{number}"

    def write() -> None:
        page = st.session_state[key]
        choose(name, "" if page == 1 else str(page))

    return st.pagination(n_pages, default=number, key=key, on_change=write)
