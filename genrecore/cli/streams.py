"""Standard output and error as they are: of any encoding, closed early, shared with libraries."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import select
import signal
import sys
import unicodedata
from collections.abc import Iterator
from typing import IO

from genrecore.errors import describe

PIPE_CLOSED = 128 + signal.SIGPIPE
"""Exit status of a command whose reader has gone, as `head` goes: that of a program which this
signal ends."""

_SPELLED = "genrecore-spelled"
_INSTEAD = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "‑": "-", "·": "-", "…": "...", "→": "->", "←": "<-",
        "×": "x", "‘": "'", "’": "'", "“": '"', "”": '"', "≤": "<=", "≥": ">=", "≈": "~",
        "✓": "+", "✕": "x", "▲": "!", "○": "o", "●": "*", "▷": ">", "━": "-", "╸": "-", "╺": "-",
        "─": "-", "│": "|", "█": "#", "χ": "chi", "κ": "kappa", "σ": "sigma", "µ": "u", "μ": "u",
        "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "ł": "l", "Ł": "L",
    }
)  # fmt: skip


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, in letters that every encoding has; else its escape, `\\u5927`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_INSTEAD)
    plain = (
        character
        if character.isascii()
        else unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
        or ascii(character)[1:-1]
        for character in text
    )
    return "".join(plain), error.end


def write_anywhere() -> None:
    """Lets both streams spell out what their encoding lacks, rather than fail."""
    codecs.register_error(_SPELLED, _spelled)
    if sys.stdout is None:  # closed by whoever started this
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_SPELLED)


_STDERR = 2
_answers: IO[str] | None = None


def answers() -> IO[str]:
    """Where the answer of a command goes: standard output, which nothing else shares within
    `alone`."""
    return _answers or sys.stdout


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keeps standard output for the answer (`answers`): what else is printed, also by libraries and
    other processes, goes to standard error."""
    global _answers
    before = sys.stdout
    try:
        before.flush()
        number = before.fileno()
        own = os.dup(number)
        try:
            os.dup2(sys.stderr.fileno(), number)
        except OSError:  # there is no standard error
            os.close(own)
            raise
    except (OSError, AttributeError, ValueError):  # no file, as in a notebook
        _answers, sys.stdout = before, sys.stderr
        try:
            yield
        finally:
            _answers, sys.stdout = None, before
        return
    encoding = before.encoding or "utf-8"
    _answers = open(own, "w", encoding=encoding, errors=_SPELLED, newline="\n")  # noqa: SIM115
    try:
        yield
    finally:
        answer, _answers = _answers, None
        with contextlib.suppress(OSError):
            before.flush()
        os.dup2(own, number)
        answer.close()


@contextlib.contextmanager
def without_libraries() -> Iterator[None]:
    """Keeps standard error for sentences of ours: what decoders and other libraries write there,
    past Python, is lost."""
    before = sys.stderr
    try:
        before.flush()
        if before.fileno() != _STDERR:
            raise OSError
        own = os.dup(_STDERR)
    except (OSError, AttributeError, ValueError):  # no file, as in a notebook
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, _STDERR)
    os.close(nothing)
    sys.stderr = open(own, "w", encoding=before.encoding, errors=_SPELLED, buffering=1)  # noqa: SIM115
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os.dup2(own, _STDERR)
        sys.stderr = before


def is_read() -> bool:
    """Whether somebody may still read standard output."""
    try:
        poll = select.poll()
        poll.register(answers().fileno(), 0)
        return not any(events & select.POLLERR for _, events in poll.poll(0))
    except (OSError, AttributeError, ValueError):  # no file
        return True


def ended(code: int) -> int:
    """Writes out what both streams hold, before the process ends with this exit status; returns it,
    or `PIPE_CLOSED` where nobody was there to read the answer of a command that went well."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:  # a closed pipe, or a full disk
            _discard(stream)
            if code == 0 and isinstance(error, BrokenPipeError):
                code = PIPE_CLOSED
            elif code == 0:
                code = 1
                with contextlib.suppress(OSError):
                    sys.stderr.write(f"{describe(error)}\n")
    if code == PIPE_CLOSED:
        _discard(sys.stdout)
    return code


def _discard(stream: IO[str]) -> None:
    """Lets a stream whose reader has gone write into nothing, so that Python can end in peace."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
