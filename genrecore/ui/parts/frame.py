"""The frame of every page: navigation, title, charts with their numbers, errors as sentences."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import re
import runpy
import shlex
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from genrecore.errors import GenrecoreError
from genrecore.jobs import access as rights
from genrecore.jobs import actions as jobs
from genrecore.reporting import plots
from genrecore.reporting.columns import Column
from genrecore.reporting.plots import Chart
from genrecore.reporting.plots.chart import in_theme
from genrecore.reporting.plots.palette import INK
from genrecore.store.faults import with_note
from genrecore.store.files import Unreadable, app_dir
from genrecore.store.run import Run, store_dir
from genrecore.store.separation import Answer, Separation
from genrecore.training import hardware
from genrecore.ui.parts import access, sockets
from genrecore.ui.parts.choices import choose, new_run, open_page
from genrecore.ui.parts.tables import plain, show_table

T = TypeVar("T")
_PAGES = app_dir() / "pages"
# A page says in its first lines where it stands in the menu: group, order, icon.
_IN_MENU = re.compile(r"^# menu: (?P<group>[^,]+), (?P<order>\d+), (?P<icon>\S+)$", re.MULTILINE)
_LOOK_EVERY_S = 20.0
_TORCH_WAITS_S = 2.0
_ON_GUARD: ContextVar[bool] = ContextVar("on guard", default=False)
_UNREADABLE = "_unreadable"  # in the session: why the page is drawn once more
NO_BREAK = "\u00a0"
"""A blank at which no line ends."""
# Five bars of a spectrum and the name; a grey that stands out from both grounds.
_LOGO = """<svg xmlns="http://www.w3.org/2000/svg" width="176" height="32" viewBox="0 0 176 32">
<g fill="#7a80e0"><rect x="1" y="13" width="4.5" height="9" rx="2.2"/>
<rect x="8" y="6" width="4.5" height="22" rx="2.2"/>
<rect x="15" y="10" width="4.5" height="14" rx="2.2"/>
<rect x="22" y="3" width="4.5" height="27" rx="2.2" fill="#ec7350"/>
<rect x="29" y="11" width="4.5" height="12" rx="2.2"/></g>
<text x="44" y="24" font-family="Source Sans, Source Sans Pro, Helvetica, Arial, sans-serif"
 font-size="24" font-weight="700" letter-spacing="-0.3" fill="#878da6">genrecore</text></svg>"""
_ICON = """<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="0 0 34 32">
<g fill="#7a80e0"><rect x="1" y="12" width="5" height="10" rx="2.5"/>
<rect x="8" y="5" width="5" height="23" rx="2.5"/>
<rect x="15" y="9" width="5" height="15" rx="2.5"/>
<rect x="22" y="2" width="5" height="28" rx="2.5" fill="#ec7350"/>
<rect x="29" y="10" width="5" height="13" rx="2.5"/></g></svg>"""


def navigation() -> st.Page:
    """The page that the address asks for, inside the common frame; `app.py` runs it."""
    st.session_state["_framed"] = True
    _begin_to_load_torch()
    sockets.send_at_once()
    # Before the navigation, or the browser fetches the page's icon from elsewhere.
    st.set_page_config(page_title=_tab_title(), page_icon=_ICON, layout="wide")
    st.logo(_LOGO, size="large", icon_image=_ICON)
    closed = access.closed()
    page = st.navigation(menu(), position="hidden" if closed else "sidebar")
    if closed:
        closed()
        st.stop()
    access.log_out()
    return page


def _tab_title(*parts: str) -> str:
    """The title of the browser's tab: what is open first, since tabs cut the end off."""
    return " · ".join(part for part in (*parts, "genrecore") if part)


@functools.cache
def _begin_to_load_torch() -> None:
    """Imports torch in the background once the first page is out; once a process is enough.

    The import takes seconds; begun at once, it held the first page up by 1 s. It is torch alone,
    not modules of ours: a page that imports those meanwhile waits for torch, and neither thread
    sees a module that is half imported.
    """
    hardware.share_cores()  # works only before torch is imported
    timer = threading.Timer(_TORCH_WAITS_S, _load_torch)
    timer.daemon = True
    timer.start()


def _load_torch() -> None:
    """Imports it, and has Python's garbage collector leave out what there is by then: to look
    through all of it would take 0.2 s of the next visits (docs/explanations/performance.md)."""
    importlib.import_module("torch")
    gc.freeze()


def menu() -> dict[str, list[st.Page]]:
    """The pages in `pages/` by group, as each page says in its first lines; others come last."""
    pages: list[tuple[int, str, st.Page]] = []
    for path in sorted(_PAGES.glob("*.py")):
        line = _IN_MENU.search(path.read_text(encoding="utf-8"))
        group, order, icon = line.groups() if line else ("More", "1000", None)
        title = path.stem.replace("_", " ").capitalize()
        script = st.Page(path, title=title, icon=icon, default=path.stem == "overview")
        pages.append((int(order), group, script))
    groups: dict[str, list[st.Page]] = {}
    for _, group, script in sorted(pages, key=lambda item: item[0]):
        groups.setdefault(group, []).append(script)
    return groups


def page(title: str, lead: str) -> None:
    """The head of a page: a title and one sentence about what it is for.

    On the very first visit of a fresh server by a deep link Streamlit runs the page alone; then
    this sets the frame up and starts over. The page's script is run again from here, and what
    follows this call stands in that second run.
    """
    if "_framed" not in st.session_state:
        navigation()
        st.rerun()
    if not _ON_GUARD.get():
        _run_on_guard(sys._getframe(1).f_globals["__file__"])
        st.stop()
    closed = access.closed()  # again: a page may have been opened without the navigation
    if closed:
        closed()
        st.stop()
    new_run(title)
    opens()
    _show_announced()
    _ensure_runner(str(store_dir()))
    st.html(Path(__file__).parent / "style.css")
    st.title(title, anchor=False)
    st.markdown(f":gray[{lead}]")


def _run_on_guard(script: str) -> None:
    """Runs a page's script anew, so that what it raises comes here.

    A run that turns out to be unreadable while the page is drawn is left out of it from then on:
    the page is drawn once more, and a toast says why.
    """
    token = _ON_GUARD.set(True)
    try:
        runpy.run_path(script)
    except Unreadable as error:
        with_note(error)
        if error.noun == "run" and st.session_state.get(_UNREADABLE) != str(error):
            st.session_state[_UNREADABLE] = str(error)
            st.rerun()
        st.error(plain(str(error)), icon=":material/error:")
    finally:
        _ON_GUARD.reset(token)
    if _UNREADABLE in st.session_state:
        st.toast(plain(st.session_state.pop(_UNREADABLE)), icon=":material/warning:")


@st.cache_data(ttl=_LOOK_EVERY_S, show_spinner=False)
def _ensure_runner(store: str) -> None:
    """Starts the runner where runs wait or work in the store: the machine may have been restarted,
    or the runner killed."""
    jobs.ensure_runner(Path(store))


def opens(*names: str) -> None:
    """Names the page in the title of the browser's tab, and what it shows: a run, a dataset."""
    shown = ", ".join(names[:2]) + (" …" if len(names) > 2 else "")
    st.set_page_config(page_title=_tab_title(shown, str(st.session_state["_page"])))


class Step(NamedTuple):
    """A page to go on to: its name, what one does there, an icon, the choices it opens with."""

    page: str
    label: str
    icon: str
    query: Mapping[str, str] = {}


def next_steps(steps: Sequence[Step]) -> None:
    """A strip of links to what comes next, in the order in which it is usually done."""
    if not steps:
        return
    with st.container(horizontal=True, vertical_alignment="center", border=True, gap="medium"):
        st.markdown("**Next**", width="content")
        for step in steps:
            link_to(step.page, step.label, step.icon, step.query)


def section(title: str, lead: str = "") -> None:
    """A heading inside a page, with a sentence where it needs one."""
    st.space("small")
    st.header(title, anchor=False)
    if lead:
        st.caption(lead)


def pair(key: str, left: int = 1, right: int = 1) -> Sequence[DeltaGenerator]:
    """Two columns of the given widths, one below the other where the page is narrow."""
    with st.container(key=f"pair_{key}"):
        return st.columns([left, right], gap="large")


def in_pairs(items: Sequence[T], key: str) -> Iterator[T]:
    """Yields each item inside its cell of two columns; a single one takes the whole width."""
    for first in range(0, len(items), 2):
        columns = pair(f"{key}_{first}") if len(items) > 1 else [st.container()]
        for column, item in zip(columns, items[first : first + 2], strict=False):
            with column:
                yield item


def empty(title: str, text: str) -> None:
    """Says that there is nothing here, and how to get something."""
    with st.container(border=True, gap="small"):
        st.markdown(f"**{title}**")
        st.markdown(text)


def tiles(numbers: Sequence[tuple[str, str, str, str]], key: str) -> None:
    """Numbers in frames beside one another: title, value, line below it, help."""
    with st.container(key=f"tiles_{key}"):
        columns = st.columns(len(numbers), gap="small")
    for column, (title, value, below, help) in zip(columns, numbers, strict=True):
        column.metric(
            title,
            value,
            delta=below or None,
            delta_color="off",
            delta_arrow="off",
            border=True,
            height="stretch",
            help=help or None,
        )


def upload_types(formats: Iterable[str]) -> list[str]:
    """File name endings for an uploader."""
    return sorted({str(name).lower().lstrip(".") for name in formats})


def command(arguments: Sequence[str] | str, caption: str = "The same as a command") -> None:
    """A shell command to copy, below its caption; a long one goes over several lines."""
    line = arguments if isinstance(arguments, str) else shlex.join(arguments)
    if len(line) > 40 and "'" not in line:  # inside quotes a line break would be part of the text
        line = line.replace(" --", " \\\n  --")
    st.caption(caption)
    st.code(line, language="bash", wrap_lines=True)


def work_button(label: str, *, widget: Callable[..., bool] = st.button, **settings: Any) -> bool:
    """A button for what only those may do who may work: for others it is disabled and says why.

    Args:
        label: On the button.
        widget: Such as `st.form_submit_button`.
        **settings: What else the widget takes.
    """
    visitor = rights.visitor()
    if not visitor.may_work:
        settings |= {"disabled": True, "help": rights.only_looks(visitor)}
    return widget(label, **settings) and visitor.may_work


def chart(
    figure: Chart,
    key: str,
    on_click: Callable[[list[Any]], None] | None = None,
    on_range: Callable[[float, float], None] | None = None,
    is_live: bool = False,
) -> None:
    """A chart with its alternative text, and its numbers one click away.

    Args:
        figure: The chart.
        key: Names it on the page.
        on_click: Gets the data of a clicked point, before the page is drawn anew.
        on_range: Gets the first and the last x of a drag over the chart, in the same way.
        is_live: Whether it is drawn again and again; its numbers are then sent only while they are
            open.
    """
    in_ink(figure, ink())

    def select() -> None:
        selection = st.session_state[key]["selection"]
        if on_click is not None and selection["points"]:
            on_click(list(selection["points"][0]["customdata"]))
        if on_range is not None and selection.get("box"):
            on_range(min(selection["box"][0]["x"]), max(selection["box"][0]["x"]))

    settings: dict[str, Any] = {}
    if on_click or on_range:
        settings = {"on_select": select, "selection_mode": "box" if on_range else "points"}
    with st.container(gap=None):
        st.plotly_chart(
            figure.figure,
            key=key,
            alt=figure.alt,
            config={
                "displaylogo": False,
                "modeBarButtons": [["toImage"]],
                "toImageButtonOptions": {"format": "svg", "filename": f"genrecore-{key}"},
                "responsive": True,
            },
            **settings,
        )
        numbers = st.popover(
            "Numbers",
            type="tertiary",
            icon=":material/table:",
            key=f"{key}_numbers",
            on_change="rerun" if is_live else "ignore",
        )
        if numbers.open or not is_live:
            with numbers:
                formats = {str(name): figure.format_of(name) for name in figure.table.columns}
                special = {
                    name: Column(name, format)
                    for name, format in formats.items()
                    if format not in ("text", "number") and name not in figure.counts
                }
                show_table(figure.table, special=special, from_catalogue=False, key=f"{key}_table")


def confusion_chart(
    matrix: pd.DataFrame, title: str, run_id: str, key: str, percents: bool = False
) -> None:
    """A run's confusion matrix; a click on a cell opens its clips on the page Errors.

    Give the page a link to Errors as well: that is the way by keyboard.

    Args:
        matrix: Counts, labelled × predicted.
        title: Written above.
        run_id: Of the run.
        key: Names the chart on the page.
        percents: Whether a cell shows its share of the row, not the count.
    """

    def click(data: list[Any]) -> None:
        labelled, predicted = map(str, data[:2])
        cell = {"run": run_id, "labelled": labelled, "predicted": predicted}
        st.session_state["_clicked_cell"] = cell

    chart(plots.confusion(matrix, title, targets=True, percents=percents), key, on_click=click)
    cell = st.session_state.pop("_clicked_cell", None)  # no page can be opened in the callback
    if cell is not None:
        go_to("errors", cell)


def ink() -> str:
    """The colour of a chart's text in the theme that this visitor sees."""
    return INK.get(st.context.theme.type or "light", INK["light"])


def in_ink(figure: Chart, colour: str) -> Chart:
    """The chart, with its text in this colour and its shades of the same theme."""
    in_theme(figure.figure, next(theme for theme in INK if INK[theme] == colour))
    return figure


def link_to(
    name: str, label: str, icon: str | None = None, query: Mapping[str, str] | None = None
) -> None:
    """A link to a page, with the choices it opens with.

    On that very page it is a button that makes these choices: Streamlit's link to the page that is
    open does nothing.
    """
    query = dict(query or {})
    if name != open_page():
        st.page_link(f"pages/{name}.py", label=label, icon=icon, query_params=query)
        return

    def open_here() -> None:
        for choice, value in query.items():
            choose(choice, value)

    st.button(label, key=f"open_{label}_{query}", icon=icon, type="tertiary", on_click=open_here)


def go_to(name: str, query: Mapping[str, str] | None = None) -> None:
    """Opens another page, with the choices it opens with."""
    st.switch_page(f"pages/{name}.py", query_params=dict(query or {}))


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """Shows an error meant for a person as its one sentence, and goes on after the block; a run
    that turns out to be unreadable is left to `page`."""
    try:
        yield
    except Unreadable as error:
        if error.noun == "run" and st.session_state.get(_UNREADABLE) != str(error):
            raise
        st.error(plain(str(error)), icon=":material/error:")
    except GenrecoreError as error:
        st.error(plain(error), icon=":material/error:")


def separation_box(separation: Separation) -> None:
    """Whether a split keeps artists, albums and copies apart: green, red, or amber where that
    cannot be known; with an icon and the reason."""
    boxes = {
        Answer.KEPT_APART: (st.success, ":material/verified:"),
        Answer.CROSSES: (st.error, ":material/block:"),
        Answer.CANNOT_BE_KNOWN: (st.warning, ":material/help:"),
    }
    box, icon = boxes[separation.answer]
    box(plain(separation.sentence), icon=icon)


def run_badges(run: Run) -> None:
    """What stands wherever a run is shown: a red badge where training knew something of the test
    clips, an amber one where nobody can tell, a grey one for a rehearsal; nothing for most."""
    if run.leak:
        st.badge(plain(run.leak), icon=":material/warning:", color="red")
    if run.unknown:
        why = run.separation.sentence if run.separation else ""
        st.badge(plain(run.unknown), icon=":material/help:", color="orange", help=plain(why))
    if run.unknown_encoder:
        why = (
            "Nobody knows whether clips of this dataset were among the songs that the encoder was "
            "trained on."
        )
        st.badge(plain(run.unknown_encoder), icon=":material/help:", color="orange", help=why)
    if run.rehearsal:
        st.badge(plain(run.rehearsal), icon=":material/science:", color="gray")


def act(action: Callable[[], str]) -> None:
    """Does something, draws the page anew and shows the returned sentence as a toast; an error is
    shown instead."""
    with sentences():
        announce(action())
        st.rerun()


def announce(sentence: str) -> None:
    """Has a sentence shown as a toast when the page is drawn next."""
    st.session_state.setdefault("_announced", []).append(sentence)


def _show_announced() -> None:
    """Shows the toasts that were announced since the page was drawn."""
    for sentence in st.session_state.pop("_announced", []):
        st.toast(plain(sentence), icon=":material/check_circle:")


def capitalised(text: str) -> str:
    """The text as a sentence: with a capital letter and a full stop."""
    text = capital(text.strip())
    return text + ("" if not text or text[-1] in ".!?" else ".")


def capital(text: str) -> str:
    """The text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]
