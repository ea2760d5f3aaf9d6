"""How long work says where it is: one callable, whatever shows it (bar, status file, nothing)."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, int, int], None]
"""`report(phase, done, total)`, called often, cheap; raises `Stopped` when one was asked for."""


class Stopped(Exception):
    """A stop was asked for; raised out of `report`, so that a loop ends at a safe point."""


class Ended(Stopped):
    """The process was told to end before the loop came to a safe point: nothing is saved any more,
    what was saved earlier stays."""


def silent(phase: str, done: int, total: int) -> None:
    """A report that goes nowhere."""
