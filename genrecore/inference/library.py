"""A whole library classified into one file, a line for each recording as soon as it is done.

The working file is JSON lines: first what made it, then only appended to, so that whatever ends the
work, the same call goes on where it was. A table (CSV, Parquet) is made of it. What is done is
known by content: a file that was moved is not classified again, one that was changed is.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from genrecore import __version__
from genrecore.audio import decode
from genrecore.data.folders import Walk
from genrecore.data.parallel import in_order
from genrecore.errors import GenrecoreError, UsageError
from genrecore.inference.doubts import DoubtFinder
from genrecore.inference.ensemble import Ensemble
from genrecore.inference.library_results import (
    MARK,
    VERSION,
    WorkingFile,
    answer_of,
    form_of,
    held,
    stamp_of,
    working_file,
)
from genrecore.inference.loaded import FILES
from genrecore.inference.sources import fault_of
from genrecore.store.files import is_regular_file
from genrecore.store.progress import Phase, Report, Stopped, silent
from genrecore.training import hardware
from genrecore.words import NOT_SURE, listed

_MOST_FAILURES = 20  # that are told; the file names all


@dataclass(frozen=True)
class LibrarySummary:
    """What a file of results holds after a library was classified.

    Attributes:
        out: The file.
        n_files: Recordings that were listed.
        n_new: Of these, how many were classified now, or failed now.
        n_moved: Of these, how many had been classified elsewhere before, by their content.
        genres: Recordings of each genre in the file.
        n_failed: Recordings in the file that could not be used; `failures` are the first of them.
        failures: `path, error` of each.
        notes: Sentences about what is not read.
    """

    out: Path
    n_files: int
    n_new: int
    n_moved: int
    genres: Counter[str] = field(default_factory=Counter)
    n_failed: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def classify_library(
    ensemble: Ensemble,
    sources: Iterable[str | Path],
    out: str | Path,
    form: str = "",
    finder: DoubtFinder | None = None,
    whole: bool = False,
    report: Report = silent,
) -> LibrarySummary:
    """Classifies all recordings in folders into a file, and goes on with one that was begun.

    Each core takes a file at a time from reading to the prediction; of the results only a few are
    in memory. A line does not depend on the lines before it, so that an interrupted work gives the
    same file as an undisturbed one.

    Args:
        ensemble: The runs.
        sources: Folders, which are looked through, and files.
        out: The file of results. Beside `NAME.csv` and `NAME.parquet`, `NAME.csv.jsonl` keeps what
            is done.
        form: One of `library_results.FORMS`; by default as the file's ending says.
        finder: Adds its doubts to each result.
        whole: Whether all of each recording is classified, as by `classify_whole`, and its sections
            are kept; by default its middle.
        report: Called with the number of files that are done; `Stopped` ends the work in order.

    Raises:
        UsageError: The file is none for results, or holds those of other runs.
        GenrecoreError: It cannot be written, or another process writes it.
    """
    out = Path(os.path.abspath(out))
    form = form_of(out, form)
    working = working_file(out, form)
    kind = FILES[ensemble.medium]
    named = [os.path.abspath(source) for source in sources]
    files, notes = list_files(named, kind.formats, report)
    if not files:
        names = listed(named)
        raise GenrecoreError(f"There are no clips in {names} ({', '.join(kind.formats)}).")
    if working != out and out.exists() and not working.exists():
        raise UsageError(f"{out} is there already, and not from here; name another file.")
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(held(working, out, _header(ensemble, finder, whole)))
        _use_accelerator(ensemble)
        waiting = [path for path in files if not lines.is_done(path)]
        work = _work(ensemble, finder, whole, lines)
        n_moved, n_done = 0, len(files) - len(waiting)
        try:
            results = in_order(work, waiting, report, Phase.CLASSIFYING, n_done)
            for result, is_known in results:
                lines.append(result)
                n_moved += is_known
        except Stopped:
            lines.write(out, form)
            raise
        lines.write(out, form)
        n_new = len(waiting) - n_moved
        summary = LibrarySummary(out, len(files), n_new, n_moved, notes=notes)
        return _counted(lines.standing(), summary)


def list_files(
    sources: Iterable[str | Path], endings: Sequence[str], report: Report = silent
) -> tuple[list[str], list[str]]:
    """The files that are named and those in folders, each once, and sentences about what else lies
    there."""
    files: dict[str, None] = {}
    notes: list[str] = []
    for source in sources:
        path = os.fspath(source)
        if not os.path.isdir(path):
            files[path] = None
            continue
        walk = Walk(path, endings)
        for file in walk:
            files[file] = None
            report(Phase.FINDING_CLIPS, len(files), 0)
        notes += walk.notes
    return list(files), notes


def _header(ensemble: Ensemble, finder: DoubtFinder | None, whole: bool) -> dict[str, Any]:
    """What makes the results: a file is continued only by the same."""
    runs = [
        {
            "run": loaded.run.run_id,
            "weights": decode.digest(loaded.run.weights),
            "temperature": loaded.calibration.temperature,
        }
        for loaded in ensemble.loaded
    ]
    return {
        MARK: VERSION,
        "runs": runs,
        "genres": ensemble.genres,
        "settings": {
            "doubts": finder is not None,
            "whole": whole,
            **({"precision": ensemble.precision} if ensemble.precision else {}),
        },
        "version": __version__,
    }


def _use_accelerator(ensemble: Ensemble) -> None:
    device = hardware.choose().device
    if device.startswith("cuda"):
        for loaded in ensemble.loaded:
            loaded.to(device)


def _work(
    ensemble: Ensemble, finder: DoubtFinder | None, whole: bool, lines: WorkingFile
) -> Callable[[str], tuple[dict[str, Any], bool]]:
    """The function that makes a line of a path, on one core, and says whether it was known."""
    n_cores = torch.get_num_threads()

    def classified(path: str) -> tuple[dict[str, Any], bool]:
        before, digest = stamp_of(path), _digest(path)
        name = os.path.basename(path)
        result = lines.same_content(digest)
        is_known = result is not None
        if result is None:
            try:
                with fault_of(name), hardware.torch_threads(1, later=n_cores):
                    classify = ensemble.classify_whole if whole else ensemble.classify
                    prediction = classify(path, name)
                    result = _without_timeline(prediction.as_dict())
                    if finder is not None:
                        doubts = finder.doubts_about(prediction)
                        result["doubts"] = [asdict(doubt) for doubt in doubts]
            except GenrecoreError as error:
                result = {"error": str(error)}
        if stamp_of(path) != before and os.path.lexists(path):
            digest, result = "", {"error": f"{name} was changed while it was read."}
        # What could not be read, for whatever reason, is tried again another time.
        identity = {"digest": digest, "stamp": before if digest else ""}
        return {**result, "path": path, "name": name, **identity}, is_known

    return classified


def _without_timeline(result: dict[str, Any]) -> dict[str, Any]:
    """A prediction without the rows of its windows: of an hour they are a megabyte."""
    for prediction in (result, *result.get("runs", [])):
        prediction.pop("timeline", None)
    return result


def _digest(path: str) -> str:
    with contextlib.suppress(OSError):
        return decode.digest(path) if is_regular_file(path) else ""
    return ""


def _counted(results: Iterable[dict[str, Any]], summary: LibrarySummary) -> LibrarySummary:
    genres: Counter[str] = Counter()
    failures: list[dict[str, str]] = []
    n_failed = 0
    for result in results:
        if "error" in result:
            n_failed += 1
            if len(failures) < _MOST_FAILURES:
                failures.append({"path": result["path"], "error": result["error"]})
        else:
            unsure = NOT_SURE if "answer" in result else ""
            genres[answer_of(result) or unsure] += 1
    return replace(summary, genres=genres, n_failed=n_failed, failures=failures)
