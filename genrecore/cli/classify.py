"""`genrecore classify`: genres of audio files and folders of them, by trained runs."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from genrecore.cli.options import BEST, JsonOption, RunsOption, switch
from genrecore.cli.output import err, out, print_json, reporting
from genrecore.errors import GenrecoreError, UsageError
from genrecore.words import percent, sheet_text

commands = typer.Typer(rich_markup_mode=None)


@commands.command()
def classify(
    files: Annotated[
        list[Path],
        Argument(
            metavar="FILE…",
            help="Audio files, and folders with audio files in them; images or arrays (.npy, .npz) "
            "for runs that were trained on such.",
        ),
    ],
    run: RunsOption = BEST,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, switch("csv", "Print a table: a line for each file and run.")] = False,
    with_doubts: Annotated[
        bool,
        Option(
            "--doubts",
            help="Give reasons to doubt each prediction: no music, unlike all training clips, or "
            "one of them. Takes about twice as long.",
        ),
    ] = False,
) -> None:
    """Classify audio files, or all in a folder, with one trained run or several. Files that cannot
    be used are reported at the end; the exit code is 1 only if none could be used."""
    if as_json and as_csv:
        raise UsageError("Give --json or --csv, not both.")
    from genrecore.inference import ensemble as ensembles
    from genrecore.inference.loaded import FILES

    ensemble = ensembles.load(run)
    paths, failures = _files(files, FILES[ensemble.loaded[0].medium].formats)
    results: list[dict[str, Any]] = []
    table = _CsvTable(ensemble, with_doubts) if as_csv else None
    finder = _doubt_finder(ensemble, quiet=as_json or as_csv) if with_doubts else None
    with reporting(quiet=as_json or as_csv or len(paths) < 2) as report:
        predictions = ensemble.classify_many(paths, [path.name for path in paths], report)
        for path, prediction in zip(paths, predictions, strict=True):
            if prediction.problem:
                failures.append(_failure(path, prediction.name, prediction.problem))
                continue
            if prediction.warning and not as_json:
                err.print(prediction.warning)
            result = {"path": str(path), **prediction.as_dict()}
            if finder:
                result["doubts"] = [asdict(doubt) for doubt in finder.doubts_about(prediction)]
            if table:
                table.write(result)
            elif not as_json:
                _print(result)
            results.append(result if as_json else {})  # text and tables need no more than a count
    if as_json:
        ids = [loaded.run.run_id for loaded in ensemble.loaded]
        which = {"run": ids[0]} if len(ids) == 1 else {"runs": ids, "note": ensemble.note}
        caveats = {loaded.run.run_id: loaded.run.caveats for loaded in ensemble.loaded}
        print_json({**which, "caveats": caveats, "clips": results, "failures": failures})
    elif not as_csv and ensemble.note and results:
        out.print(ensemble.note)
    for failure in failures:
        err.print(failure["error"])
    if ensemble.caution and results:
        err.print(ensemble.caution)
    for loaded in ensemble.loaded if results and not as_json else []:
        for caveat in loaded.run.caveats:
            err.print(f"{loaded.run.run_id}: {caveat}")
    if failures and not results:
        raise GenrecoreError(
            "The clip could not be used." if len(failures) == 1 else "No clip could be used."
        )


def _doubt_finder(ensemble: Any, quiet: bool) -> Any:
    """A finder of doubts; prints which runs' training clips it cannot compare files with."""
    from genrecore.inference import doubts

    with reporting(quiet=quiet) as report:
        for loaded in ensemble.loaded if ensemble.loaded[0].medium == "wave" else []:
            try:
                doubts.prepare(loaded.run, report)
            except GenrecoreError as error:
                err.print(
                    f"Files cannot be compared with the training clips of {loaded.run.run_id}: "
                    f"{error}"
                )
    return doubts.DoubtFinder(ensemble.loaded)


def _failure(path: Path, name: str, problem: str) -> dict[str, str]:
    return {"path": str(path), "name": name, "error": problem}


def _files(
    paths: Iterable[Path], endings: tuple[str, ...]
) -> tuple[list[Path], list[dict[str, str]]]:
    """The named files and those in folders, in order, each once; and a failure for each folder
    without any."""
    files: dict[Path, None] = {}
    failures = []
    for path in paths:
        inside = sorted(_within(path, endings)) if path.is_dir() else [path]
        files.update(dict.fromkeys(inside))
        if not inside:
            problem = f"There are no clips in the folder {path} ({', '.join(endings)})."
            failures.append(_failure(path, path.name, problem))
    return list(files), failures


def _within(folder: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:  # macOS writes a file ._name beside each file
            if name.lower().endswith(endings) and not name.startswith("."):
                yield Path(parent) / name


def _print(result: dict[str, Any]) -> None:
    """The prediction as a line, and one for each run where there are several."""
    several = "runs" in result
    if several:
        average = f"{_likeliest(result['proba'])} on average. " if "proba" in result else ""
        out.print(f"{result['path']}: {average}{result['agreement']}")
        for prediction in result["runs"]:
            out.print(f"    {prediction['run']}: {_likeliest(prediction['proba'])}")
    else:
        out.print(f"{result['path']}: {_likeliest(result['proba'])}")
    for doubt in result.get("doubts", []):
        whose = f"{', '.join(doubt['runs'])}: " if doubt["runs"] and several else ""
        out.print(f"    {whose}{doubt['sentence']}")


def _likeliest(proba: dict[str, float]) -> str:
    best = sorted(proba.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{genre} {percent(p)}" for genre, p in best)


class _CsvTable:
    """Lines of `path, run, genre, p_<genre>…` and, if asked for, the kinds of `doubts`; the run is
    `average` for the mean of several."""

    def __init__(self, ensemble: Any, with_doubts: bool) -> None:
        self.with_doubts = with_doubts
        self.genres = sorted({genre for loaded in ensemble.loaded for genre in loaded.genres})
        self.lines = csv.writer(sys.stdout, lineterminator="\n")
        doubts = ["doubts"] if with_doubts else []
        self._write(["path", "run", "genre", *(f"p_{g}" for g in self.genres), *doubts])

    def write(self, result: dict[str, Any]) -> None:
        for prediction in result.get("runs", [result]):
            self._line(result, prediction, prediction["run"])
        if "runs" in result and "proba" in result:
            self._line(result, result, "average")

    def _line(self, result: dict[str, Any], prediction: dict[str, Any], run: str) -> None:
        proba = prediction["proba"]
        shares = [f"{proba[genre]:.6f}" if genre in proba else "" for genre in self.genres]
        kinds = [
            doubt["kind"]
            for doubt in result.get("doubts", [])
            if not doubt["runs"] or run in doubt["runs"]
        ]
        doubts = [", ".join(kinds)] if self.with_doubts else []
        self._write([result["path"], run, prediction["genre"], *shares, *doubts])

    def _write(self, cells: list[str]) -> None:
        self.lines.writerow([sheet_text(cell) for cell in cells])
