"""Whether run folders can be read, noted until their files change."""

from __future__ import annotations

import os
from pathlib import Path

from genrecore.store.about import ABOUT
from genrecore.store.files import Unreadable
from genrecore.store.locks import LOCK
from genrecore.store.records import RECORDS
from genrecore.store.status import LOG, STATUS, STOP
from genrecore.store.summaries import Stamps
from genrecore.store.tables import TABLES

CONFIG, HISTORY, EPOCHS, STEPS = "config.json", "history.jsonl", "epochs.u8", "steps.f32"
STAMPED = (CONFIG, STATUS, ABOUT, HISTORY, *(name for name in RECORDS if name != STATUS), *TABLES,
           EPOCHS, STEPS)  # fmt: skip
TYPED = (LOG, LOCK, STOP)  # of these only the kind of file matters

_faults: dict[Path, tuple[Stamps, Unreadable | None]] = {}
_MOST_FAULTS = 20_000


def stamps_of(folder: Path, *names: str) -> Stamps:
    """(time of change in ns, size, inode, mode) of each of these files of a folder; empty where
    there is none."""
    start, changes = f"{folder}/", list[tuple[int, ...]]()
    for name in names:  # in one go, since the first look at a store is at all files of all runs
        try:
            facts = os.stat(start + name)
        except (OSError, ValueError):
            changes.append(())
        else:
            changes.append((facts.st_mtime_ns, facts.st_size, facts.st_ino, facts.st_mode))
    return tuple(changes)


def stamps(folder: Path) -> Stamps:
    """`stamps_of` the files on which depends whether a run can be read and what lists show of it;
    only the kind of the last ones."""
    typed = (stamp[3:] for stamp in stamps_of(folder, *TYPED))
    return (*stamps_of(folder, *STAMPED), *typed)


def raise_if_noted(folder: Path, changes: Stamps) -> None:
    """
    Raises:
        Unreadable: The run was found unreadable, and no file changed since.
    """
    noted = _faults.get(folder)
    if noted is not None and noted[0] == changes and noted[1] is not None:
        raise noted[1].with_traceback(None)


def note_fault(folder: Path, changes: Stamps, error: Unreadable | None) -> None:
    """Notes why a run cannot be read, or that it can, while its files have these `stamps`."""
    if len(_faults) > _MOST_FAULTS:
        _faults.clear()
    _faults[folder] = changes, error


def with_note(error: Unreadable) -> Unreadable:
    """The error; that of a run is noted as its fault: a look at the folder did not find it."""
    if error.noun == "run":
        note_fault(error.folder, stamps(error.folder), error)
    return error


def noted(folder: Path) -> tuple[Stamps, Unreadable | None] | None:
    """The stamps for which something was noted, and what; None where nothing was."""
    return _faults.get(folder)


def any_noted() -> bool:
    """Whether any run was found unreadable."""
    return any(error for _, error in _faults.values())
