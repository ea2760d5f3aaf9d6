"""`about.json` in a run folder: what people wrote about the run, none of which changes it.

A name, a note, tags and a star. The file is missing until somebody writes something. What a file
holds beside these, or holds in another form, is left out: no page depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.store.files import read_json, write_json
from genrecore.words import plural, thousands, visible

ABOUT = "about.json"
MOST_NAME, MOST_NOTE, MOST_TAG, MOST_TAGS = 80, 10_000, 30, 20
"""Characters of a name, a note and a tag; tags of a run."""


@dataclass(frozen=True)
class About:
    """What people wrote about a run.

    Attributes:
        name: One line; empty where it has the name that was made for it.
        note: Plain text of several lines.
        tags: Words without blanks and commas, sorted.
        starred: Whether it is one of those that somebody marked.
    """

    name: str = ""
    note: str = ""
    tags: tuple[str, ...] = ()
    starred: bool = False


def read_about(folder: Path) -> About:
    """What is written about a run; the defaults where there is nothing readable."""
    values = read_json(folder / ABOUT)
    name, note, tags = (values.get(key) for key in ("name", "note", "tags"))
    words = [_line(tag) for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return About(
        _line(name)[:MOST_NAME] if isinstance(name, str) else "",
        _text(note)[:MOST_NOTE] if isinstance(note, str) else "",
        tuple(sorted({word for word in words if not _fault(word)})[:MOST_TAGS]),
        values.get("starred") is True,
    )


def checked_about(
    name: str = "", note: str = "", tags: Iterable[str] = (), starred: bool = False
) -> About:
    """What somebody wants to write, blanks at the ends left out.

    Raises:
        UsageError: A text is too long, a name has several lines, or a tag is not a word.
    """
    name, note = name.strip(), _text(note)
    if len(name.splitlines()) > 1:
        n = len(name.splitlines())
        raise UsageError(f"The name has {n} lines; expected one. A note may have several.")
    name, words = _line(name), {_line(tag) for tag in tags} - {""}
    for noun, text, most in (("name", name, MOST_NAME), ("note", note, MOST_NOTE)):
        if len(text) > most:
            length = plural(len(text), "character")
            raise UsageError(f"The {noun} has {length}; expected at most {thousands(most)}.")
    for word in sorted(words):
        if _fault(word):
            raise UsageError(f"The tag {word!r} {_fault(word)}.")
    if len(words) > MOST_TAGS:
        raise UsageError(f"There are {len(words)} tags; expected at most {MOST_TAGS}.")
    return About(name, note, tuple(sorted(words)), starred)


def write_about(folder: Path, about: About) -> None:
    """Writes it into the run's folder.

    Raises:
        GenrecoreError: The folder cannot be written.
    """
    try:
        write_json(folder / ABOUT, asdict(about))
    except OSError as error:
        reason = describe(error)
        raise GenrecoreError(f"What is said of {folder.name} cannot be kept: {reason}") from None


def _fault(tag: str) -> str:
    """What is wrong with a tag; empty where nothing is."""
    if not tag or " " in tag or "," in tag:
        return "has a blank or a comma; expected one word, like 'baseline'"
    return f"is longer than {MOST_TAG} characters" if len(tag) > MOST_TAG else ""


def _line(text: str) -> str:
    """The text in one line, with single blanks."""
    return " ".join(_text(text).split())


def _text(text: str) -> str:
    """The text without characters that no page and no terminal can show."""
    return visible(text, " ").replace("\t", " ").strip()
