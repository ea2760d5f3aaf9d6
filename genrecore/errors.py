"""The exceptions whose message is meant for a person: one sentence, no traceback."""

import importlib
from typing import Any


class GenrecoreError(Exception):
    """What was found, what was expected, and what there is to choose from, in one sentence."""


class UsageError(GenrecoreError):
    """The request itself is wrong: an unknown name, field or value (command line: exit code 2)."""


class AudioError(GenrecoreError):
    """A file that cannot be used as a music clip; the sentence says why."""


class DamagedAudioError(AudioError):
    """A truncated or damaged file, of which a part can be decoded by whoever accepts that."""


def describe(error: BaseException) -> str:
    """The one sentence a person needs about an error of any kind."""
    if isinstance(error, GenrecoreError):
        return str(error)
    if "No space left on device" in str(error):  # some libraries hide the number in the text
        return "The disk is full."
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        words = {28: "The disk is full", 122: "The disk quota is used up"}
        return f"{words.get(error.errno or 0, error.strerror)}{where}."
    text = first_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of a library's message without its full stop, to be quoted in a sentence."""
    return str(error).strip().split("\n")[0].rstrip(".")


def optional_package(name: str, extra: str, purpose: str) -> Any:
    """A package that only one of our extras installs.

    Args:
        name: Of the package.
        extra: That installs it.
        purpose: What it is needed for, to begin a sentence with: "Writing ONNX".

    Raises:
        GenrecoreError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise GenrecoreError(
            f"{purpose} needs the package {name}: pip install -c constraints.txt "
            f"'genrecore[{extra}]'."
        ) from None
