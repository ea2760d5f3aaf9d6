"""Finished runs as single files, to be passed on: settings, weights, predictions and histories.

Of a run above a pretrained encoder that is a head of kilobytes: its weights name the encoder by a
checksum and do not hold it.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import zipfile
from pathlib import Path

from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.jobs.access import work
from genrecore.store import allowed
from genrecore.store.files import Unreadable, new_folder, open_named, write_bytes
from genrecore.store.run import Run, store_dir
from genrecore.store.zips import bounded_zip
from genrecore.words import size

_NAMES = (
    "config.json", "status.json", "queue.json", "about.json", "audit.json", "environment.json",
    "history.jsonl", "epochs.u8", "clips.parquet", "predictions.parquet", "segments.parquet",
    "weights.safetensors", "model.skops",
)  # fmt: skip
_ABOUT = "genrecore-run.json"
_RUN_ID = re.compile(r"[\w.-]{1,200}")
_MOST_BYTES = 2**32
_BLOCK = 2**20
_NO_RUN = (zipfile.BadZipFile, OSError, ValueError, EOFError, KeyError, RuntimeError)


def packed(run: Run) -> bytes:
    """A finished run as the content of one file.

    Raises:
        GenrecoreError: It is not done, or cannot be read.
    """
    if run.state != "done":
        raise GenrecoreError(f"The run {run.run_id} is {run.state}; a finished run can be shared.")
    content = io.BytesIO()
    try:
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_ABOUT, json.dumps({"run": run.run_id}))
            for name in _NAMES:
                with contextlib.suppress(FileNotFoundError):
                    archive.write(run.folder / name, name)
    except OSError as error:
        raise GenrecoreError(f"The run {run.run_id} cannot be read: {describe(error)}") from None
    return content.getvalue()


def share(run: Run, file: Path) -> Path:
    """Writes a finished run as one file.

    Raises:
        GenrecoreError: As `packed`, or the file cannot be written.
    """
    file = allowed.expanded(file).absolute()
    try:
        write_bytes(file, packed(run))
    except OSError as error:
        raise GenrecoreError(f"{file} cannot be written: {describe(error)}") from None
    return file


@work("import")
def import_run(source: Path | bytes, store: Path | None = None) -> Run:
    """Puts a run that was shared into the store, under its own id.

    Args:
        source: The file, or its content.
        store: The folder of the runs.

    Raises:
        UsageError: A run of this id is here already.
        GenrecoreError: It is no such file, or damaged; nothing of it is kept.
    """
    store = store or store_dir()
    name = "The file" if isinstance(source, bytes) else source.name
    try:
        with (
            io.BytesIO(source) if isinstance(source, bytes) else open_named(source) as stream,
            bounded_zip(stream, 2 * len(_NAMES)) as archive,
        ):
            run_id = str(json.loads(archive.read(archive.getinfo(_ABOUT)))["run"])
            if not _RUN_ID.fullmatch(run_id) or run_id.startswith("."):
                raise ValueError(f"it names a run {run_id!r}")
            if (store / run_id).exists():
                raise UsageError(f"The run {run_id} is here already.")
            with new_folder(store / run_id) as hidden:
                _unpack(archive, hidden)
                _check(Run(hidden))
    except Unreadable as error:
        raise GenrecoreError(f"{name} holds a damaged run: {error}") from None
    except _NO_RUN as error:
        raise GenrecoreError(f"{name} is no run that was shared: {describe(error)}") from None
    return Run(store / run_id)


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    """Writes the files of a run, no others, and no more than may belong to one."""
    left = _MOST_BYTES
    for name in _NAMES:
        if name not in archive.namelist():
            continue
        with archive.open(name) as packed_file, open(folder / name, "wb") as target:
            while block := packed_file.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    raise ValueError(f"it unpacks to more than {size(_MOST_BYTES)}")
                target.write(block)


def _check(run: Run) -> None:
    """Reads each file of a run that lists and pages read.

    Raises:
        Unreadable: One cannot be read.
        ValueError: It is not done, or has no weights.
    """
    if run.state != "done" or not run.weights.exists():
        raise ValueError("the run in it is not done, or has no weights")
    for part in ("config", "history", "clips", "predictions", "segments", "audit", "about"):
        getattr(run, part)


def missing_encoder(run: Run) -> str:
    """What to fetch before a run can classify, in a sentence; empty where nothing is missing."""
    from genrecore.models.encoders.files import check_present  # imports torch

    sha256 = str(run.config.feature.options.get("sha256", ""))
    if not sha256:
        return ""
    try:
        check_present(str(run.config.feature.options.get("encoder", "musicnn")), sha256)
    except UsageError as error:
        return str(error)
    return ""
