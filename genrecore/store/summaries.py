"""What lists, searches and charts need of each run of a store, kept until the run's files change.

In memory, and in the hidden file `.summaries` of the store, which is a cache: it may be deleted or
damaged at any time, and is then made again. Its first line names its format; each other line is a
check sum and twice JSON of one run: what lists need, and the rest, which is read when it is asked
for. It is written whole under a temporary name once a fiftieth of the
runs is new, so several processes may write it, a run more costs the same however many there are,
and nothing stays in it of runs that are gone.

Whether a run changed is told by the times of its files. A process looks at all of them when it
first sees a run. Afterwards it looks at the folder's own time, which changes whenever a file comes,
goes or is replaced, as all our writers do; and in turn at all files of `_AT_A_LOOK` runs, to notice
those that others edit in place. That time is kept as well, and a quick look, as pages take it,
trusts it from the beginning: else the first page of a server would ask for the times of 22 files of
each run. The price: in a store of more than `_AT_A_LOOK` runs, a file that was edited in place
while no server ran is noticed only when the run's turn comes, or by any look that is not quick.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic_core import from_json

from genrecore.errors import GenrecoreError
from genrecore.store.files import Unreadable, read_bytes, write_bytes

FILE = ".summaries"
_FORMAT = "genrecore summaries 5"
"""Another number wherever a summary holds something else than before, or means it otherwise."""
_MOST_BYTES, _MOST_LINE = 2**28, 2**16
_AT_A_LOOK = 250
_SETTLED_NS = 2 * 10**9  # a folder may change again within one tick of a file system's clock

Stamps = tuple[tuple[int, ...], ...]
T = TypeVar("T")


@dataclass(eq=False)
class Summary:
    """Of one run; the object stays the same until the run's files change.

    Attributes:
        folder: The run's.
        changes: Stands for the times of its files.
        values: Of the two that `summarise` returned the first; nothing of an unreadable run.
        rest_text: The other one, as JSON.
        fault: Why the run cannot be read.
        folder_stamp: Of its folder when all its files were looked at; None right after a change.
        is_checked: Whether this process has looked at all its files.
    """

    folder: Path
    changes: int
    values: dict[str, Any]
    rest_text: bytes = b""
    fault: Unreadable | None = None
    folder_stamp: tuple[int, int] | None = None
    is_checked: bool = False
    _derived: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def is_lasting(self) -> bool:
        """Whether it is worth keeping: a run at work soon has another one, and whether a run can be
        read depends on who reads."""
        return self.fault is None and bool(self.values.get("at_rest"))

    @property
    def rest(self) -> dict[str, Any]:
        """The second of the two that `summarise` returned."""
        return self.derived("rest", lambda: from_json(self.rest_text))

    def derived(self, key: Any, make: Callable[[], T]) -> T:
        """What `make` returns, kept as long as the summary."""
        if key not in self._derived:
            self._derived[key] = make()
        value: T = self._derived[key]
        return value


class Summaries:
    """Of the runs of one store."""

    def __init__(
        self,
        store: Path,
        version: str,
        changes: Callable[[Path], Stamps],
        is_run: Callable[[Path], bool],
        summarise: Callable[[Path, Stamps], tuple[dict[str, Any], dict[str, Any]]],
    ) -> None:
        """
        Args:
            store: The folder of the runs.
            version: What is kept with another one is made anew.
            changes: The times of all files of a run folder.
            is_run: Whether a folder is one of a run.
            summarise: What lists need of a run with these times, and the rest, both as JSON takes
                them. It raises `Unreadable`.
        """
        self._store, self._lock = store, threading.Lock()
        self._head = f"{_FORMAT}, {version}".encode()
        self._changes, self._is_run, self._summarise = changes, is_run, summarise
        self._summaries: dict[str, Summary] = {}
        self._is_loaded, self._turn, self._n_unsaved = False, 0, 0

    def look(self, quick: bool = False) -> list[Summary]:
        """A summary of each run as it is now, the newest first.

        Args:
            quick: Whether a folder that did not change vouches for its files, even those that this
                process has not looked at yet.
        """
        with self._lock:
            try:
                names = [name for name in os.listdir(self._store) if not name.startswith(".")]
            except OSError:
                return []
            if not self._is_loaded:
                self._summaries, self._is_loaded = self._load(), True
                self._turn = random.randrange(len(names) + 1)  # some servers live for few looks
            names.sort(reverse=True)
            settled_ns = time.time_ns() - _SETTLED_NS
            turn = self._turn if self._turn < len(names) else 0
            self._turn = turn + _AT_A_LOOK
            summaries = {}
            for number, name in enumerate(names):
                summary = self._summaries.get(name)
                stamp = _folder_stamp(f"{self._store}/{name}", settled_ns)
                if (
                    summary is None
                    or not (quick or summary.is_checked)
                    or turn <= number < self._turn
                    or not stamp
                    or summary.folder_stamp != stamp
                ):
                    folder = summary.folder if summary else self._store / name
                    summary = self._check(folder, summary, stamp)
                if summary is not None:
                    summaries[name] = summary
            self._n_unsaved += len(self._summaries.keys() - summaries.keys())
            self._summaries = summaries
            if self._n_unsaved > len(summaries) // 50:
                self._save()
            return list(summaries.values())

    def _check(
        self, folder: Path, known: Summary | None, folder_stamp: tuple[int, int] | None
    ) -> Summary | None:
        """The summary of a run, made anew where a file changed; None where it is no run."""
        changes = self._changes(folder)
        number = hash(changes)  # of integers: the same in every process
        is_new = known is None or known.changes != number
        if known is None or is_new:
            if not self._is_run(folder):
                return None
            known = Summary(folder, number, {})
            try:
                known.values, rest = self._summarise(folder, changes)
                known.rest_text = _in_json(rest)
            except Unreadable as error:
                known.fault = error
        self._n_unsaved += known.is_lasting and (is_new or known.folder_stamp != folder_stamp)
        known.folder_stamp, known.is_checked = folder_stamp, True
        return known

    def _load(self) -> dict[str, Summary]:
        summaries = {}
        with contextlib.suppress(OSError, GenrecoreError):
            head, *lines = read_bytes(self._store / FILE, _MOST_BYTES).split(b"\n")
            for line in lines if head == self._head else ():
                if line[:8] == _check_sum(line[9:]):
                    text, _, rest = line[9:].partition(b"\t")
                    name, changes, stamp, values = from_json(text)
                    summaries[name] = Summary(
                        self._store / name,
                        changes,
                        values,
                        rest,
                        folder_stamp=stamp and tuple(stamp),
                    )
        return summaries

    def _save(self) -> None:
        """Writes those of readable runs, unless the store is read-only."""
        lines = [self._head]
        for name, summary in self._summaries.items():
            if summary.is_lasting:
                facts = [name, summary.changes, summary.folder_stamp, summary.values]
                line = _in_json(facts) + b"\t" + summary.rest_text
                if len(line) < _MOST_LINE:
                    lines.append(_check_sum(line) + b" " + line)
        self._n_unsaved = 0
        with contextlib.suppress(OSError):
            write_bytes(self._store / FILE, b"\n".join(lines))


def _folder_stamp(folder: str, settled_ns: int) -> tuple[int, int] | None:
    """(time of change in ns, inode); None where the folder changed after that time, since it may
    then change once more and keep its time."""
    try:
        facts = os.stat(folder)
    except (OSError, ValueError):
        return None
    # Not the time of modification, which rsync and tar set back.
    return (facts.st_ctime_ns, facts.st_ino) if facts.st_ctime_ns < settled_ns else None


def _in_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _check_sum(line: bytes) -> bytes:
    return b"%08x" % zlib.crc32(line)
