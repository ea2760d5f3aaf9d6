"""What may be named: folders of this machine by the visitor whom the present thread serves, and
addresses that nobody but this machine reaches."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from pathlib import Path

from genrecore.errors import UsageError

_NOT_OPEN = (
    'Only what was uploaded here, and what lies in the folders that "folders" in the settings.json '
    "of this server's runs lists, can be opened over a network."
)
_source: Callable[[], tuple[Path, ...] | None] = lambda: None  # noqa: E731


def limit_by(source: Callable[[], tuple[Path, ...] | None]) -> None:
    """Names the function that says which folders the visitor of this thread may name; None: all."""
    global _source
    _source = source


def folders() -> tuple[Path, ...] | None:
    """The folders that may be named, without links in their paths; None where all may."""
    return _source()


def expanded(path: str | Path) -> Path:
    """The path with `~` replaced by a home folder, where there is one."""
    return Path(os.path.expanduser(path))


def may_be_named(path: str | Path) -> bool:
    """Whether a path lies, links followed, in the folders that may be named."""
    limits = folders()
    if limits is None:
        return True
    try:
        real = Path(os.path.realpath(expanded(path)))
    except (OSError, ValueError):  # it cannot be a path
        return False
    return any(real.is_relative_to(limit) for limit in limits)


def refuse_outside(*paths: str | Path) -> None:
    """Refuses paths that may not be named.

    Raises:
        UsageError: One may not; the sentence is the same whether anything is there or not.
    """
    if not all(map(may_be_named, paths)):
        raise UsageError(_NOT_OPEN)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
