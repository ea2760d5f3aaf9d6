"""The runs of a store: made, listed, found, and checked before they are read.

Lists take what they need from `summaries`; the others read the run folder (`run`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from genrecore.config.run import RunConfig, signature
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.store import generations
from genrecore.store.about import ABOUT
from genrecore.store.faults import (
    CONFIG,
    EPOCHS,
    HISTORY,
    STAMPED,
    STEPS,
    TYPED,
    any_noted,
    note_fault,
    noted,
    raise_if_noted,
    stamps,
    stamps_of,
)
from genrecore.store.files import Unreadable, in_a_sentence, new_folder, write_json
from genrecore.store.locks import LOCK, take_lock
from genrecore.store.processes import ENDED, LEADER
from genrecore.store.records import RECORDS, check_history, read_record
from genrecore.store.run import AT_REST, SCORES, SONG, WEIGHTS, Run, store_dir
from genrecore.store.scores import FORMAT, read_kept
from genrecore.store.status import FINAL, STATUS, Status
from genrecore.store.summaries import Stamps, Summaries, Summary
from genrecore.store.tables import TABLES, look_at_table
from genrecore.words import visible_line

_WEIGHT_FILES = ("resume.pt", "weights.safetensors", "last.safetensors", "model.skops")
_KEPT_AS = {"queue.json": "queue", "origin.json": "origin", SONG: "_song", ENDED: "ended",
            "environment.json": "environment", "audit.json": "audit"}  # fmt: skip
"""Records and the properties of a run that hold them."""
NAME = "the folder's name"
"""The place of a fault that no file has."""


def read_run(folder: Path, changes: Stamps | None = None) -> Run:
    """A run whose files are read and checked, except that of its tables only the ends are.

    Args:
        folder: The run's.
        changes: `stamps(folder)`, where the caller has them.

    Raises:
        Unreadable: The first fault; or one that was noted when a table was read, until a file
            changes.
    """
    changes = stamps(folder) if changes is None else changes
    check_name(folder / CONFIG)
    raise_if_noted(folder, changes)
    run, known = Run(folder), dict(zip((*STAMPED, *TYPED), changes, strict=True))
    try:
        for name in (ABOUT, EPOCHS, STEPS, *TYPED, *_WEIGHT_FILES):
            facts = known[name] if name in known else stamps_of(folder, name)[0]
            if facts and not stat.S_ISREG(facts[-1]):
                raise Unreadable(folder / name, "", "it is no regular file")
        _ = run.config
        if not known[STATUS]:
            raise Unreadable(folder / STATUS, "", "it is missing")
        _ = run.status
        for name, kept_as in _KEPT_AS.items():
            vars(run)[kept_as] = (
                read_record(f"{folder}/{name}", RECORDS[name]) if known[name] else {}
            )
        for name in (LEADER, generations.FILE):
            if known[name]:
                read_record(f"{folder}/{name}", RECORDS[name])
        _ = run.job
        for name in TABLES:
            if known[name]:
                look_at_table(f"{folder}/{name}")
        if known[HISTORY]:
            check_history(f"{folder}/{HISTORY}")
    except Unreadable as error:
        if error.path.name in known:
            note_fault(folder, changes, error)
        raise
    note_fault(folder, changes, None)
    return run


def check_name(path: Path, noun: str = "run") -> None:
    """
    Raises:
        Unreadable: The name of the folder of this file is one that no page and no terminal can
            show.
    """
    if visible_line(path.parent.name) != path.parent.name:
        reason = "expected a name that can be shown; give the folder another one"
        raise Unreadable(path, NAME, reason, noun)


def fault(folder: Path) -> Unreadable | None:
    """Why a run folder cannot be read; None where it can. Files that did not change since the last
    look are not read again."""
    changes, known = stamps(folder), noted(folder)
    if known is not None and known[0] == changes:
        return known[1]
    try:
        read_run(folder, changes)
    except Unreadable as error:
        return error
    return None


Read = TypeVar("Read")


def each_readable(runs: Iterable[Run], read: Callable[[Run], Read]) -> Iterator[tuple[Run, Read]]:
    """Each run with what `read` returns of it, without those that turn out to be unreadable: files
    may be damaged, or gone, since the runs were listed."""
    for run in runs:
        with contextlib.suppress(Unreadable):
            yield run, read(run)


@in_a_sentence("The song cannot be kept for the run")
def keep_song(run: Run, clips: str) -> None:
    """Keeps the uploads of this id for the run, which classifies them once it is done."""
    write_json(run.folder / SONG, {"clips": clips})


def create_run(
    config: RunConfig,
    store: Path | None = None,
    priority: int = 0,
    origin: Mapping[str, str] | None = None,
    files: Sequence[Path] = (),
    on: str = "",
) -> Run:
    """A new queued run, its folder complete before it can be seen under its name.

    Args:
        config: A resolved configuration.
        store: The folder of the runs.
        priority: The higher, the earlier it starts.
        origin: The content of `Run.origin`.
        files: Copied into its folder, where they exist.
        on: Where it is carried out, as `slurm:NAME`; on this machine where it is empty.

    Raises:
        GenrecoreError: The store cannot be written.
    """
    run, lock = create_held_run(config, store, priority, origin, files, on)
    os.close(lock)
    return run


def create_held_run(
    config: RunConfig,
    store: Path | None = None,
    priority: int = 0,
    origin: Mapping[str, str] | None = None,
    files: Sequence[Path] = (),
    on: str = "",
) -> tuple[Run, int]:
    """Like `create_run`, but returns the descriptor of the run's lock too, held from the beginning,
    so that nobody else can start the run."""
    store = store or store_dir()
    stamp = time.strftime("%Y%m%d-%H%M%S")
    run_id = f"{stamp}-{config.dataset.name}-{config.model.name}-{secrets.token_hex(2)}"
    while (store / run_id).exists():  # a plan may queue hundreds in a second
        run_id = run_id[:-4] + secrets.token_hex(2)
    try:
        with new_folder(store / run_id) as hidden:
            write_json(hidden / "config.json", config.model_dump())
            write_json(
                hidden / "queue.json",
                {"priority": priority, "position": time.time(), "queued_at": time.time(), "on": on},
            )
            if origin:
                write_json(hidden / "origin.json", dict(origin))
            for file in files:
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(file, hidden / file.name)
            Status(hidden).move("queued")
            lock = take_lock(hidden / LOCK)
            if lock is None:
                raise GenrecoreError(f"Another process has locked {hidden.name}, which is new.")
    except OSError as error:
        raise GenrecoreError(
            f"The store {store} cannot take a new run: {describe(error)}"
        ) from None
    return Run(store / run_id), lock


def run_folders(store: Path | None = None) -> list[Path]:
    """The folders of all runs in the store, readable or not, the newest first."""
    store = store or store_dir()
    try:
        names = sorted(os.listdir(store), reverse=True)
    except OSError:
        return []
    return [store / name for name in names if not name.startswith(".") and _is_run(store / name)]


def _is_run(folder: Path) -> bool:
    """Whether a folder is one of a run: it has a configuration, or had one."""
    for name in (CONFIG, STATUS):
        try:
            os.lstat(f"{folder}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link that leads nowhere
                continue
        return True
    return False


def summaries(store: Path | None = None, quick: bool = False) -> list[Summary]:
    """A summary of each run in the store, readable or not, the newest first.

    Args:
        store: The folder of the runs.
        quick: Whether a file that was edited in place may be noticed late (`Summaries.look`).
    """
    kept = _summaries(store or store_dir()).look(quick)
    if any_noted():  # one was found since, as a table was read
        return [_with_noted(summary) for summary in kept]
    return kept


def all_runs(store: Path | None = None) -> list[Run]:
    """Every readable run in the store, the newest first."""
    return [Run.summarised(kept) for kept in summaries(store) if kept.fault is None]


def unreadable_runs(store: Path | None = None) -> list[Unreadable]:
    """Why each of the other runs cannot be read; an error names its `folder`."""
    return [kept.fault for kept in summaries(store) if kept.fault is not None]


@lru_cache(maxsize=8)
def _summaries(store: Path) -> Summaries:
    return Summaries(store, f"scores {FORMAT}", _all_stamps, _is_run, _summarise)


def _all_stamps(folder: Path) -> Stamps:
    return (*stamps(folder), *stamps_of(folder, SCORES, *WEIGHTS))


def _summarise(folder: Path, changes: Stamps) -> tuple[dict[str, Any], dict[str, Any]]:
    run = read_run(folder, changes[: -1 - len(WEIGHTS)])
    listed = {
        "at_rest": run.status["state"] in (FINAL if run.job else AT_REST),
        "course": run.course,
        "facts": asdict(run.facts),
        "queue": run.queue,
        "origin": run.origin,
        "about": asdict(run.about),
        "warnings": run.warnings,
        "scores": read_kept(run),
        "is_tested": run.is_tested,
        "has_weights": run.has_weights,
    }
    return listed, {"status": run.status, "config": run.config.model_dump(exclude_defaults=True)}


def _with_noted(summary: Summary) -> Summary:
    """The same, or with the fault that was noted of its files as they are."""
    known = noted(summary.folder)
    if summary.fault or known is None or known[1] is None or known[0] != stamps(summary.folder):
        return summary
    return replace(summary, fault=known[1])


def find_folder(name: str, store: Path | None = None) -> Run:
    """Like `find_run`, but the run may be unreadable.

    Raises:
        UsageError: There is none, or there are several.
    """
    if name and _is_run(Path(name)):
        return Run(Path(name).absolute())
    kept = summaries(store)
    runs = [Run(each.folder) if each.fault else Run.summarised(each) for each in kept]
    if name == "latest":
        runs = [run for run in runs if run.summary] or runs
    elif name not in (run.run_id for run in runs):
        for each in kept:
            if each.fault is not None and each.fault.name == name:
                return Run(each.folder)  # its id was shown with escapes
        named = [run for run in runs if name and run.about.name == name]
        if not named and not any(name in run.run_id for run in runs):
            named = [run for run, made in each_readable(runs, _made_name) if made == name]
        if len(named) > 1:
            ids = ", ".join(run.run_id for run in named[:5])
            raise UsageError(f"{len(named)} runs have the name {name!r}: {ids}; give an id.")
        if named:
            return named[0]
    return find_by_id(name, runs, "run", store or store_dir())


def _made_name(run: Run) -> str:
    return run.made_name


def find_run(name: str, store: Path | None = None) -> Run:
    """The run of this id, of this name, of an unambiguous part of the id, or in this folder.

    Raises:
        UsageError: There is none, or there are several.
        Unreadable: It cannot be read.
    """
    run = find_folder(name, store)
    error = fault(run.folder)
    if error is not None:
        raise error.with_traceback(None)
    return run


class _Folder(Protocol):
    @property
    def folder(self) -> Path: ...


T = TypeVar("T", bound=_Folder)
_DATED = re.compile(r"\d{8}-\d{6}-")
_AHEAD_S = 120.0  # by which clocks of machines that share a store may differ


def find_by_id(name: str, newest_first: Sequence[T], noun: str, store: Path) -> T:
    """The run or plan of this id, or of an unambiguous part of it; the newest for `latest`.

    Raises:
        UsageError: There is none, or there are several.
    """
    if name == "latest" and newest_first:
        # Ids begin with the time. What is dated in the future was made before the clock went back.
        soon = time.strftime("%Y%m%d-%H%M%S", time.localtime(time.time() + _AHEAD_S))
        past = (i for i in newest_first if not _DATED.match(i.folder.name) or i.folder.name < soon)
        return next(past, newest_first[0])
    exact = [item for item in newest_first if item.folder.name == name]
    matches = exact or [item for item in newest_first if name and name in item.folder.name]
    if len(matches) == 1:
        return matches[0]
    ids = ", ".join(item.folder.name for item in (matches or newest_first)[:5]) or "none yet"
    if matches:
        raise UsageError(f"{name!r} could be any of {len(matches)} {noun}s: {ids} …")
    raise UsageError(f"There is no {noun} {name!r} in {store}; the newest: {ids}.")


def find_same(
    configs: Sequence[RunConfig],
    store: Path | None = None,
    only_done: bool = False,
    among: Iterable[Run] | None = None,
) -> list[Run | None]:
    """For each resolved configuration its run: a done one, or else one that works or waits.

    A dataset counts by its name and folder: what its files hold is not read to draw up a plan. Of
    runs between which files were replaced, comparisons say so (`same_clips`).

    Args:
        configs: The configurations.
        store: The folder of the runs.
        only_done: Whether runs that work or wait do not count.
        among: All runs of the store, from a caller that just looked.
    """
    signatures = [signature(config) for config in configs]
    wanted = set(signatures)
    same: dict[str, Run] = {}
    runs = all_runs(store) if among is None else among
    for run, key in each_readable(runs, lambda run: run.facts.signature):
        with contextlib.suppress(Unreadable):
            if key in wanted and (run.state == "done" or (run.is_active and not only_done)):
                same[key] = max(run, same.get(key, run), key=precedence)
    return [same.get(key) for key in signatures]


def precedence(run: Run) -> tuple[int, str]:
    """Largest for the run that counts of several with one configuration: a done one, else one that
    works or waits, else the newest."""
    return 2 if run.state == "done" else 1 if run.is_active else 0, run.run_id
