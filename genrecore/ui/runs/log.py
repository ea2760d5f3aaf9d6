"""A run's log: its end as it grows, a search through all of it, and the file itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import streamlit as st

from genrecore.store import run as runs
from genrecore.store.run import Run
from genrecore.store.status import LOG
from genrecore.ui.parts.choices import choose_text
from genrecore.ui.parts.frame import plain

_TAIL = 24_000  # bytes shown of the end
_BLOCK = 2**20
_MOST = 200  # lines that a search shows, the last ones
_WIDEST = 2_000  # characters of a line that a search shows
_LATER = 4 * 2**20  # a growing log is searched anew when so much came, or when it is over


def run_log(run: Run) -> None:
    """The end of the log, or the lines that hold what is searched for; and the whole file."""
    size = _size(run.folder / LOG)
    if not size:
        st.caption("Nothing has been written yet.")
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(width=320):
            wanted = choose_text(
                "Search the log", "log", "Search the whole log", icon=":material/search:"
            )
        st.download_button(
            f"Download ({_in_words(size)})",
            # Read when it is asked for: a tick must not hold a large log in memory.
            data=(run.folder / LOG).read_bytes,
            file_name=f"{run.run_id}.log.txt",
            mime="text/plain",
            icon=":material/download:",
            key=f"log_file_{run.run_id}",
            on_click="ignore",
        )
    if wanted:
        _found(run, wanted, size)
        return
    text = run.log(_TAIL)
    if size > _TAIL:
        text = text.partition("\n")[2]
        st.caption("The end of the log; search it or download it to see the rest.")
    st.code(text, language="text", height=420 if text.count("\n") > 16 else "content")


def _found(run: Run, wanted: str, size: int) -> None:
    done = run.state not in runs.LIVE
    at = size if done or size < _LATER else size // _LATER * _LATER
    lines, all_of_them = search(str(run.folder / LOG), wanted, at)
    if not lines:
        st.caption(f"No line holds “{plain(wanted)}”.")
        return
    n = f"{len(lines)} line{'s' if len(lines) != 1 else ''}"
    n = f"{n} hold" if len(lines) != 1 else f"{n} holds"
    st.caption(
        f"{n} “{plain(wanted)}”."
        if all_of_them
        else f"The last {len(lines)} lines that hold “{plain(wanted)}”."
    )
    st.code("\n".join(lines), language="text", height=420 if len(lines) > 16 else "content")


@lru_cache(maxsize=8)
def search(path: str, wanted: str, size: int) -> tuple[tuple[str, ...], bool]:
    """The last lines of a file that hold a text, in their order, and whether these are all.

    It reads backwards and stops when it has enough.

    Args:
        path: The file.
        wanted: Text; the case of ASCII letters does not matter.
        size: Bytes of the file to look at, from its beginning.
    """
    needle = wanted.encode().lower()
    found: list[str] = []
    for line in _backwards(Path(path), needle, size):
        if len(found) == _MOST:
            return tuple(reversed(found)), False
        text = line.decode("utf-8", errors="replace").rsplit("\r", 1)[-1]
        found.append(text[:_WIDEST])
    return tuple(reversed(found)), True


def _backwards(path: Path, needle: bytes, size: int) -> Iterator[bytes]:
    """Lines that hold the needle (lower case), the last first."""
    with open(path, "rb") as stream:
        end, rest = size, b""
        while end > 0:
            start = max(0, end - _BLOCK)
            stream.seek(start)
            block = stream.read(end - start) + rest
            # The first line may have begun in the block before; a line without end is cut.
            cut = block.find(b"\n") + 1 if start else 0
            if start and not cut and len(block) < 8 * _BLOCK:
                rest, end = block, start
                continue
            rest, whole = block[:cut], block[cut:]
            lower = whole.lower()
            at = len(whole)
            while (hit := lower.rfind(needle, 0, at)) >= 0:
                first = whole.rfind(b"\n", 0, hit) + 1
                last = whole.find(b"\n", hit)
                yield whole[first : len(whole) if last < 0 else last]
                at = max(0, first - 1)
                if not first:
                    break
            end = start


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _in_words(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.0f} MB" if n_bytes >= 2**20 else f"{max(1, n_bytes // 1024)} kB"
