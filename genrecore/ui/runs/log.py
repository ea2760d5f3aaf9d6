"""A run's log: its end as it grows, a search through all of it, and the file itself."""

from __future__ import annotations

from collections import deque
from functools import lru_cache, partial
from pathlib import Path

import streamlit as st

from genrecore import words
from genrecore.store.files import changed, open_named
from genrecore.store.run import LIVE, SCRIPT, Run
from genrecore.store.status import LOG
from genrecore.ui.parts.choices import choose_text
from genrecore.ui.parts.frame import plain

_TAIL = 24_000  # bytes shown of the end
_MOST = 200  # lines that a search shows, the last ones
_WIDEST = 2_000  # characters of a line that a search shows
_LATER = 4 * 2**20  # bytes a growing log gains before it is searched again


def run_log(run: Run) -> None:
    """The end of the log, or the lines that a search finds; and the whole file to download."""
    path = run.folder / LOG
    size = changed(path)[1]
    if not size:
        st.caption("Nothing has been written yet.")
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(width=320):
            query = choose_text(
                "Search the log", "log", "Search the whole log", icon=":material/search:"
            )
        st.download_button(
            f"Download ({words.size(size)})",
            data=partial(_whole, path),  # called when it is asked for, not at every tick
            file_name=f"{run.run_id}.log.txt",
            mime="text/plain",
            icon=":material/download:",
            key=f"log_file_{run.run_id}",
            on_click="ignore",
        )
    if query:
        grows = run.state in LIVE and size >= _LATER
        _show_hits(path, query, size // _LATER * _LATER if grows else size)
        return
    text = run.log(_TAIL)
    if size > _TAIL:
        text = text.partition("\n")[2]
        st.caption("The end of the log; search it or download it to see the rest.")
    _code(text)


def job_script(run: Run) -> None:
    """The batch script of a run on a cluster, folded; nothing of others."""
    path = run.folder / SCRIPT
    if changed(path)[1]:
        with st.expander("The batch script of its job", icon=":material/terminal:"):
            st.caption(f"`{SCRIPT}` in the run's folder, as it was handed to `sbatch`.")
            _code(_whole(path).decode("utf-8", errors="replace"))


def _whole(path: Path) -> bytes:
    with open_named(path) as stream:
        return stream.read()


def _show_hits(path: Path, query: str, size: int) -> None:
    lines, is_all = search(path, query, size)
    quoted = f"“{plain(query)}”"
    if not lines:
        st.caption(f"No line contains {quoted}.")
        return
    n = words.plural(len(lines), "line")
    verb = "contains" if len(lines) == 1 else "contain"
    st.caption(f"{n} {verb} {quoted}." if is_all else f"The last {n} that contain {quoted}.")
    _code("\n".join(lines))


def _code(text: str) -> None:
    st.code(text, language="text", height=420 if text.count("\n") > 16 else "content")


@lru_cache(maxsize=8)
def search(path: Path, query: str, size: int) -> tuple[tuple[str, ...], bool]:
    """The last lines of a file that contain a text, in their order, and whether these are all.

    Args:
        path: The file.
        query: The text; the case of ASCII letters does not matter.
        size: Bytes of the file to look at, from its beginning.
    """
    needle = query.encode().lower()
    hits: deque[bytes] = deque(maxlen=_MOST + 1)
    with open_named(path) as stream:
        for line in stream:
            size -= len(line)
            if size < 0:  # the last line may be one that is being written
                line = line[:size]
            if needle in line.lower():
                hits.append(line)
            if size <= 0:
                break
    texts = [line.decode("utf-8", errors="replace").rstrip("\n") for line in hits]
    lines = [text.rsplit("\r", 1)[-1][:_WIDEST] for text in texts]
    return tuple(lines[-_MOST:]), len(lines) <= _MOST
