"""Mending a run folder that cannot be read: a copy first, then what its other files say.

| damaged | what becomes of it |
|---|---|
| `config.json` | taken from the weights, which hold it too |
| `status.json` | its good values; the state from predictions, weights and checkpoint |
| `queue.json`, `origin.json`, … | their good values; the defaults in place of the others |
| `history.jsonl` | its good lines |
| `steps.f32` | its losses before the first that is none |
| `audit.json`, tables, `epochs.u8` | taken away: part of them could say what is not true |
| the folder's name | becomes one that can be shown |

Copies, and what is taken away, lie in `damaged/` in the run's folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from genrecore.config.run import read_config
from genrecore.errors import GenrecoreError
from genrecore.evaluation import label_reviews
from genrecore.store import own_files, settings
from genrecore.store.faults import CONFIG, HISTORY, STEPS
from genrecore.store.files import (
    MOST_BYTES,
    Unreadable,
    is_regular_file,
    open_regular,
    read_bytes,
    read_json,
    write_bytes,
    write_json,
)
from genrecore.store.records import (
    MOST_EPOCHS,
    RECORDS,
    Epoch,
    Record,
    RunStatus,
    StateEntry,
    read_history,
)
from genrecore.store.run import Run
from genrecore.store.runs import fault
from genrecore.store.status import STATUS, Status
from genrecore.words import plural, visible_line

DAMAGED = "damaged"
_CACHES = ("scores.json", "calibration.json")
_MOST_HEADER_BYTES = 16 * 2**20


def store_faults(store: Path) -> list[Unreadable]:
    """What is damaged of a store's own files; all else goes on without them."""
    faults = own_files.damaged(store)
    if not any(error.path.name == settings.FILE for error in faults):
        faults += [error for error in [settings.fault(store)] if error]
    if not any(error.path.name == label_reviews.FILE for error in faults):
        try:
            label_reviews.read(store)
        except Unreadable as error:
            faults.append(error)
    return faults


def mend_store_file(error: Unreadable) -> str:
    """Moves a file of the store aside; settings that are good are kept. Returns a sentence."""
    path = error.path
    values = good_values(read_json(path), settings.SettingsFile) if _is_settings(path) else {}
    aside = own_files.move_aside(path, path.parent)
    if values:
        settings.change(path.parent, path.name, **values)
    where = f"{aside.parent.name}/{aside.name}"
    kept = f" It keeps {', '.join(values)}." if values else ""
    return f"The store's {path.name} is begun anew; the damaged one is {where}.{kept}"


def _is_settings(path: Path) -> bool:
    return path.name == settings.FILE


def first_fault(run: Run) -> Unreadable | None:
    """Why a run cannot be read, also where only its tables say so; None where it can."""
    error = fault(run.folder)
    if error is None:
        fresh = Run(run.folder)
        try:
            _ = fresh.tables, fresh.epoch_predictions, fresh.step_losses
        except Unreadable as deeper:
            return deeper
    return error


def visible_folder(folder: Path) -> Path:
    """The folder, under another name where its own cannot be shown."""
    name = visible_line(folder.name, "_")
    if name == folder.name:
        return folder
    names = (name if n == 1 else f"{name}-{n}" for n in range(1, 10_000))
    other = next(path for path in map(folder.with_name, names) if not os.path.lexists(path))
    folder.rename(other)
    return other


def mend(run: Run) -> list[str]:
    """Mends what can be mended; returns a sentence for each file. The caller holds the run's lock.

    Raises:
        GenrecoreError: A file cannot be mended; those before it are.
        OSError: The folder cannot be written.
    """
    sentences: list[str] = []
    mended: set[str] = set()
    while (error := first_fault(run)) is not None:
        name = error.path.name
        if name in mended:
            raise GenrecoreError(f"{' '.join(sentences)} {error}".strip())
        mended.add(name)
        if not sentences:
            for cache in _CACHES:
                (run.folder / cache).unlink(missing_ok=True)
        keep_copy(run.folder / name)
        sentences.append(_mend(run, name, error))
    return sentences


def _mend(run: Run, name: str, error: Unreadable) -> str:
    mender: Callable[[Path], str] = {
        CONFIG: _mend_config,
        STATUS: _mend_status,
        HISTORY: _mend_history,
        STEPS: _mend_steps,
    }.get(name, _take_away)
    if name in RECORDS and name not in (STATUS, "audit.json"):
        mender = _mend_record
    sentence = mender(run.folder / name)
    if name == "predictions.parquet":
        sentence += f" {_mend_status(run.folder / STATUS)}"
    return sentence


def keep_copy(path: Path) -> None:
    """A copy in `damaged/`, beside earlier ones. What no reader takes, because it is no regular
    file or too large, is moved there."""
    if not os.path.lexists(path):
        return
    kept = path.parent / DAMAGED
    kept.mkdir(exist_ok=True)
    copies = (kept / (path.name if n == 1 else f"{path.name}.{n}") for n in range(1, 10_000))
    copy = next(copy for copy in copies if not os.path.lexists(copy))
    if is_regular_file(str(path)) and path.stat().st_size <= MOST_BYTES:
        shutil.copyfile(path, copy)
    else:
        path.rename(copy)


def _take_away(path: Path) -> str:
    path.unlink(missing_ok=True)
    return f"{path.name} is taken away."


def _mend_config(path: Path) -> str:
    """The configuration in the weights."""
    for weights in ("weights.safetensors", "last.safetensors", "model.skops"):
        with contextlib.suppress(GenrecoreError, OSError, ValueError, KeyError):
            config = read_config(json.loads(_metadata(path.with_name(weights))["config"]))
            write_json(path, config.model_dump())
            return f"{path.name} is taken from {weights}."
    raise GenrecoreError(
        f"{path.name} of the run {path.parent.name} cannot be mended: no weights hold its "
        "configuration. Put a good copy in its place, or delete the run."
    )


def _metadata(weights: Path) -> dict[str, Any]:
    if weights.suffix == ".skops":
        from genrecore.models import fitted

        return dict(fitted.read_metadata(weights))
    with open_regular(weights) as file:
        n_bytes = int.from_bytes(file.read(8), "little")
        if n_bytes > _MOST_HEADER_BYTES:
            raise ValueError("no header")
        return dict(json.loads(file.read(n_bytes))["__metadata__"])


def _mend_record(path: Path) -> str:
    values = good_values(read_json(path), RECORDS[path.name])
    write_json(path, values)
    kept = f"keeps {', '.join(values)}" if values else "is begun anew"
    return f"{path.name} {kept}."


def good_values(values: dict[str, Any], record: type[Record]) -> dict[str, Any]:
    """The values without those that do not fit."""
    while True:
        try:
            record.model_validate(values)
        except ValidationError as error:
            bad = {item["loc"][0] for item in error.errors()} & values.keys()
            if not bad:  # a key is missing
                return values
            values = {key: value for key, value in values.items() if key not in bad}
        else:
            return values


def _mend_status(path: Path) -> str:
    """The good values of a status, with a state that agrees with the other files."""
    folder = path.parent
    written = read_json(path)
    values = good_values(written, RunStatus)
    if "states" not in values and isinstance(written.get("states"), list):
        values["states"] = [entry for entry in written["states"] if _is_entry(entry)]
    epochs: list[dict[str, Any]] = []
    with contextlib.suppress(Unreadable):  # its turn comes
        epochs = read_history(folder / HISTORY)
    if epochs:
        values.setdefault("epoch", len(epochs))
        best = [row for row in epochs if row.get("best") is True]
        values.setdefault("best_epoch", int((best or epochs)[-1]["epoch"]))
        accuracy = (best or epochs)[-1].get("valid_accuracy")
        if accuracy is not None:
            values.setdefault("best_valid_accuracy", float(accuracy))
    is_tested = (folder / "predictions.parquet").exists() and Run(folder).weights.exists()
    state, reason = values.get("state"), ""
    if state is None or (state == "done" and not is_tested):
        begun = (folder / "resume.pt").exists()
        state = "done" if is_tested else "stopped" if begun else "failed"
        reason = {
            "done": "",
            "stopped": "Its files were damaged; resuming goes on from its last checkpoint.",
            "failed": "Its files were damaged, and it has no checkpoint; resuming starts over.",
        }[state]
        values.setdefault("finished_at", time.time())
    written_state = values.get("state")
    write_json(path, values | {"state": state, "reason": reason or values.get("reason", "")})
    if written_state != state:
        Status(folder).move(str(state), reason)
    return f"{path.name} says that the run is {state}."


def _is_entry(entry: Any) -> bool:
    try:
        StateEntry.model_validate(entry)
    except ValidationError:
        return False
    return True


def _mend_history(path: Path) -> str:
    """The good lines, in their order."""
    lines = read_bytes(path).splitlines(keepends=True) if path.exists() else []
    good = [line for line in lines[:MOST_EPOCHS] if _is_epoch(line)]
    write_bytes(path, b"".join(good))
    return f"{path.name} keeps {len(good)} of {plural(len(lines), 'line')}."


def _mend_steps(path: Path) -> str:
    """The losses before the first that is none."""
    import numpy as np

    content = read_bytes(path) if path.exists() else b""
    losses = np.frombuffer(content[: len(content) // 4 * 4], dtype="<f4")
    n_good = int(np.append(np.isfinite(losses), False).argmin())
    write_bytes(path, content[: 4 * n_good])
    return f"{path.name} keeps the losses of {plural(n_good, 'step')}."


def _is_epoch(line: bytes) -> bool:
    try:
        Epoch.model_validate_json(line)
    except ValidationError:
        return False
    return line.endswith(b"\n")
