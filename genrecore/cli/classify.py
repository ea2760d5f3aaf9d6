"""`genrecore classify`: what trained runs say of files and folders of them."""

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

from genrecore.audio import decode as audio
from genrecore.cli.output import JSON, err, out, print_json, reporting
from genrecore.errors import GenrecoreError, UsageError
from genrecore.words import percent

commands = typer.Typer(rich_markup_mode=None)

_PICTURES = (".png", ".jpg", ".jpeg")


@commands.command()
def classify(
    files: Annotated[
        list[Path],
        Argument(metavar="FILE…", help="Audio files, and folders with audio files in them."),
    ],
    run: Annotated[
        list[str],
        Option(help="A finished run: its id, a part of it, or 'latest'. Several are averaged."),
    ],
    as_json: JSON = False,
    as_csv: Annotated[
        bool, Option("--csv", help="Print a table: a line for each file and run.")
    ] = False,
    with_doubts: Annotated[
        bool,
        Option(
            "--doubts",
            help="Say of each file why not to believe it: no music, unlike what a run learned "
            "from, or among it. Takes about as long again.",
        ),
    ] = False,
) -> None:
    """Classify audio files, or all in a folder, with one trained run or several. Files that cannot
    be used are reported at the end; the exit code is 1 only if none could be used."""
    if as_json and as_csv:
        raise UsageError("--json and --csv were both given; one of them says how to print.")
    from genrecore.inference import ensemble as panel

    asked = panel.load(run)
    paths, failures = _files(files, asked.loaded[0].medium)
    results: list[dict[str, Any]] = []
    writer = _Table(asked, with_doubts) if as_csv else None
    finder = _doubter(asked, quiet=as_json or as_csv) if with_doubts else None
    with reporting(quiet=as_json or as_csv or len(paths) < 2) as report:
        answers = asked.classify_many(paths, [path.name for path in paths], report)
        for path, answer in zip(paths, answers, strict=True):
            if answer.problem:
                failures.append({"path": str(path), "name": answer.name, "error": answer.problem})
                continue
            result = {"path": str(path), **answer.as_dict()}
            if finder:
                result["doubts"] = [asdict(doubt) for doubt in finder.doubts_about(answer)]
            if writer:
                writer.write(result)
            results.append(result if as_json else {})  # text and tables need no more than a count
            if not as_json and not as_csv:
                _say(result)
    if as_json:
        ids = [one.run.run_id for one in asked.loaded]
        which = {"run": ids[0]} if len(ids) == 1 else {"runs": ids, "note": asked.note}
        print_json({**which, "clips": results, "failures": failures})
    elif not as_csv and asked.note and results:
        out.print(asked.note)
    for failure in failures:
        err.print(failure["error"])
    if asked.caution and results:
        err.print(asked.caution)
    if failures and not results:
        raise GenrecoreError(
            "The clip could not be used." if len(failures) == 1 else "No clip could be used."
        )


def _doubter(asked: Any, quiet: bool) -> Any:
    """What doubts; of runs whose clips cannot be looked at any more it knows less, and says so."""
    from genrecore.inference import doubts

    with reporting(quiet=quiet) as report:
        for one in asked.loaded if asked.loaded[0].medium == "wave" else []:
            try:
                doubts.prepare(one.run, report)
            except GenrecoreError as error:
                err.print(
                    f"Whether a file is unlike what {one.run.run_id} learned from, or among it, "
                    f"cannot be told: {error}"
                )
    return doubts.DoubtFinder(asked.loaded)


def _files(given: Iterable[Path], medium: str) -> tuple[list[Path], list[dict[str, str]]]:
    """The files named and those in folders, in order, each once; and folders without any."""
    endings = _PICTURES if medium == "image" else audio.FORMATS
    found: dict[Path, None] = {}
    failures = []
    for path in given:
        if not path.is_dir():
            found[path] = None
            continue
        inside = sorted(_within(path, endings))
        found.update(dict.fromkeys(inside))
        if not inside:
            failures.append(
                {
                    "path": str(path),
                    "name": path.name,
                    "error": f"There are no clips in the folder {path} ({', '.join(endings)}).",
                }
            )
    return list(found), failures


def _within(folder: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:  # some systems keep a ghost beside each file, called ._name
            if name.lower().endswith(endings) and not name.startswith("."):
                yield Path(place) / name


def _say(result: dict[str, Any]) -> None:
    """The verdict as a line, and one a run where there are several."""
    if "runs" not in result:
        out.print(f"{result['path']}: {_likeliest(result['proba'])}")
        _say_doubts(result)
        return
    average = f"{_likeliest(result['proba'])} on average. " if "proba" in result else ""
    out.print(f"{result['path']}: {average}{result['agreement']}")
    for one in result["runs"]:
        out.print(f"    {one['run']}: {_likeliest(one['proba'])}")
    _say_doubts(result)


def _say_doubts(result: dict[str, Any]) -> None:
    for one in result.get("doubts", []):
        whose = f"{', '.join(one['runs'])}: " if one["runs"] and "runs" in result else ""
        out.print(f"    {whose}{one['sentence']}")


def _likeliest(proba: dict[str, float]) -> str:
    best = sorted(proba.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{genre} {percent(p)}" for genre, p in best)


class _Table:
    """Lines of `path, run, genre, p_<genre>…`, and `doubts` where they are asked for: their kinds;
    the run `average` where there are several."""

    def __init__(self, asked: Any, with_doubts: bool) -> None:
        self.with_doubts = with_doubts
        self.genres = sorted({genre for one in asked.loaded for genre in one.genres})
        self.lines = csv.writer(sys.stdout, lineterminator="\n")
        shares = [f"p_{genre}" for genre in self.genres]
        doubts = ["doubts"] if with_doubts else []
        self.lines.writerow(["path", "run", "genre", *shares, *doubts])

    def write(self, result: dict[str, Any]) -> None:
        for one in result.get("runs", [result]):
            about = [
                d for d in result.get("doubts", []) if not d["runs"] or one["run"] in d["runs"]
            ]
            self._line(result["path"], one["run"], one, about)
        if "runs" in result and "proba" in result:
            about = [d for d in result.get("doubts", []) if not d["runs"]]
            self._line(result["path"], "average", result, about)

    def _line(self, path: str, run: str, said: dict[str, Any], about: list[dict[str, Any]]) -> None:
        proba = said["proba"]
        shares = [f"{proba[genre]:.6f}" if genre in proba else "" for genre in self.genres]
        kinds = [", ".join(one["kind"] for one in about)] if self.with_doubts else []
        self.lines.writerow([path, run, said["genre"], *shares, *kinds])
