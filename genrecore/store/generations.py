"""Generations: which process may write a run folder, where locks do not tell.

A lock may hold on one machine only, and a node that a cluster gave up may live on with its
processes while the run starts elsewhere. So every start writes a higher generation into
`generation.json`, and a process whose generation is no longer the newest ends before its next
write. Between that look and the write lie microseconds in which a newer one may begin; the newer
one reads the folder later than that.

A job that is handed to a scheduler is counted before (`announce`): it may start later than a newer
one, and then ends at once.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from genrecore.store.files import Unreadable, write_json
from genrecore.store.records import GenerationFile, read_record

FILE = "generation.json"
JOB = "GENRECORE_JOB"
"""The environment variable with the announced generation, in a job of a cluster."""
_own: dict[Path, tuple[int, str]] = {}  # of the runs that this process works on


class Replaced(Exception):
    """A newer process works on the run; this one must end and write nothing more."""


def read(folder: Path) -> dict[str, Any]:
    """`generation`, `announced` and `token` of the newest start; zeros where there was none."""
    try:
        return GenerationFile().model_dump() | read_record(folder / FILE, GenerationFile)
    except Unreadable:
        return GenerationFile().model_dump()


def announce(folder: Path) -> int:
    """Counts a job that will be handed to a scheduler; returns its generation. Whatever was
    announced or started before may not write from now on."""
    generation = int(read(folder)["generation"]) + 1
    write_json(
        folder / FILE, {"generation": generation, "announced": generation, "token": "", "starts": 0}
    )
    return generation


def start(folder: Path) -> int:
    """Makes this process the newest of a run; returns its generation. A job of a cluster may start
    several times.

    Raises:
        Replaced: This process belongs to a job, and another one was announced since.
    """
    newest, announced = read(folder), os.environ.get(JOB)
    if announced and announced != str(newest["announced"]):
        raise Replaced
    generation, token = int(newest["generation"]) + 1, secrets.token_hex(8)
    values = {"generation": generation, "token": token, "starts": int(newest["starts"]) + 1}
    write_json(folder / FILE, newest | values)
    _own[folder] = generation, token
    return generation


def own(folder: Path) -> int | None:
    """The generation of this process; None where it did not start the run."""
    return _own[folder][0] if folder in _own else None


def check(folder: Path) -> None:
    """To be called before a write into the folder of a run that this process works on.

    Raises:
        Replaced: A newer process works on it.
    """
    if folder in _own and read(folder)["token"] != _own[folder][1]:
        raise Replaced


def leave(folder: Path) -> None:
    """This process works on the run no longer."""
    _own.pop(folder, None)
