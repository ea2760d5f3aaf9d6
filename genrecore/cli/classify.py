"""`genrecore classify`: genres of audio files and folders of them, by trained runs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from genrecore.cli.options import BEST, JsonOption, PrecisionOption, RunsOption, switch
from genrecore.cli.output import answer, err, out, print_json, reporting
from genrecore.errors import GenrecoreError, UsageError
from genrecore.words import NOT_SURE, clock, percent, plural, sheet_text, thousands

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
    whole: Annotated[
        bool,
        switch(
            "whole",
            "Classify all of each recording, however long, instead of its middle: probabilities "
            "over time (with --json or --csv), and the sections where the genre changes.",
        ),
    ] = False,
    file: Annotated[
        Path | None,
        Option(
            "--out",
            help="Write a whole library's predictions into this file (.csv, .jsonl, .parquet), "
            "each as soon as it is there. The same command goes on after an interruption, and "
            "classifies only what is new or has changed.",
        ),
    ] = None,
    form: Annotated[
        str, Option("--as", help="With --out: csv, jsonl or parquet, whatever the ending.")
    ] = "",
    playlists: Annotated[
        Path | None, Option(help="With --out: a folder for a playlist (M3U8) of each genre.")
    ] = None,
    relative: Annotated[
        bool, switch("relative", "Paths in playlists are relative to their folder.")
    ] = False,
    copy_to: Annotated[
        Path | None,
        Option(help="With --out: copy the files into FOLDER/genre; nothing is overwritten."),
    ] = None,
    link_to: Annotated[
        Path | None, Option(help="As --copy-to, with symbolic links instead of copies.")
    ] = None,
    precision: PrecisionOption = None,
) -> None:
    """Classify audio files, or all in a folder, with one trained run or several. Files that cannot
    be used are reported at the end; the exit code is 1 only if none could be used."""
    if as_json and as_csv:
        raise UsageError("Give --json or --csv, not both.")
    if whole and with_doubts:
        raise UsageError("Doubts are about an excerpt; give --doubts or --whole, not both.")
    if whole and precision:
        raise UsageError(
            "What a precision takes was fitted to excerpts as long as training clips; give "
            "--precision or --whole, not both."
        )
    if file is not None:
        if as_csv:
            raise UsageError("Give --out NAME.csv or --csv, not both.")
        wishes = _Wishes(file, form, whole, playlists, relative, copy_to, link_to)
        _classify_library(files, run, wishes, with_doubts, as_json, precision)
        return
    if form or playlists or relative or copy_to or link_to:
        raise UsageError(
            "--as, --playlists, --relative, --copy-to and --link-to go with --out FILE, which "
            "keeps what they are made of."
        )
    from genrecore.inference import ensemble as ensembles
    from genrecore.inference.loaded import FILES

    ensemble = ensembles.load(run, precision)
    paths, failures, notes = _files(files, FILES[ensemble.medium].formats)
    results: list[dict[str, Any]] = []
    table = _CsvTable(ensemble, with_doubts, bool(precision), whole) if as_csv else None
    finder = _doubt_finder(ensemble, quiet=as_json or as_csv) if with_doubts else None
    with reporting(quiet=as_json or as_csv or (len(paths) < 2 and not whole)) as report:
        names = [path.name for path in paths]
        predictions = ensemble.classify_many(paths, names, report)
        if whole:
            predictions = (ensemble.try_whole(path, report) for path in paths)
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
        counts = {"clips": results, "failures": failures, "notes": notes}
        wanted = {"precision": precision, "promises": ensemble.promises} if precision else {}
        print_json({**which, "caveats": caveats, **wanted, **counts})
    elif not as_csv and ensemble.note and results:
        out.print(ensemble.note)
    for sentence in [*(failure["error"] for failure in failures), *notes]:
        err.print(sentence)
    for promise in ensemble.promises if results and not as_json else []:
        err.print(promise)
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
        for loaded in ensemble.loaded if ensemble.medium == "wave" else []:
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
    sources: Iterable[Path], endings: tuple[str, ...]
) -> tuple[list[Path], list[dict[str, str]], list[str]]:
    """The named files and those in folders, in order, each once; a failure for each folder without
    any; and sentences about what else lies in folders."""
    from genrecore.inference.library import list_files

    files: dict[Path, None] = {}
    failures, notes = [], []
    for source in sources:
        inside, others = list_files([source], endings)
        files.update(dict.fromkeys(map(Path, inside)))
        notes += others
        if not inside:
            problem = f"There are no clips in the folder {source} ({', '.join(endings)})."
            failures.append(_failure(source, source.name, problem))
    return list(files), failures, notes


@dataclass(frozen=True)
class _Wishes:
    """What is to be written of a library."""

    out: Path
    form: str
    whole: bool
    playlists: Path | None
    relative: bool
    copy_to: Path | None
    link_to: Path | None


def _classify_library(
    sources: list[Path],
    runs: list[str],
    wishes: _Wishes,
    with_doubts: bool,
    as_json: bool,
    precision: float | None,
) -> None:
    if wishes.copy_to and wishes.link_to:
        raise UsageError("Give --copy-to or --link-to, not both.")
    from genrecore.inference import ensemble as ensembles
    from genrecore.inference import library, library_results
    from genrecore.inference import playlists as writing

    tree = wishes.copy_to or wishes.link_to
    if tree:
        writing.check_tree(tree, sources)
    ensemble = ensembles.load(runs, precision)
    if ensemble.genres is None and (tree or wishes.playlists):
        raise UsageError(f"{ensemble.note} So there are no playlists and folders of genres.")
    finder = _doubt_finder(ensemble, quiet=as_json) if with_doubts else None
    with reporting(quiet=as_json) as report:
        summary = library.classify_library(
            ensemble, sources, wishes.out, wishes.form, finder, wishes.whole, report
        )
    sentences = [
        f"{wishes.out}: {plural(summary.n_files, 'file')}, {thousands(summary.n_new)} classified "
        f"now, {thousands(summary.n_moved)} known from elsewhere.",
        *(f"  {genre or '–'}: {thousands(n)}" for genre, n in summary.genres.most_common()),
    ]
    facts: dict[str, Any] = {
        "out": str(summary.out), "runs": [loaded.run.run_id for loaded in ensemble.loaded],
        "n_files": summary.n_files, "n_new": summary.n_new, "n_moved": summary.n_moved,
        "n_failed": summary.n_failed, "genres": summary.genres, "failures": summary.failures,
        "notes": summary.notes,
    }  # fmt: skip
    if precision:
        facts |= {"precision": precision, "promises": ensemble.promises}
    if wishes.playlists:
        results = library_results.read_results(wishes.out)
        paths, n_left_out = writing.write_playlists(results, wishes.playlists, wishes.relative)
        facts["playlists"] = paths
        sentences.append(f"{wishes.playlists}: {plural(len(paths), 'playlist')}.")
        if n_left_out:
            summary.notes.append(
                f"{plural(n_left_out, 'file')} with a line break in the path are in no playlist."
            )
    if tree:
        results = library_results.read_results(wishes.out)
        counts = writing.write_tree(results, tree, sources, link=wishes.link_to is not None)
        facts["tree"] = asdict(counts)
        sentences.append(f"{tree}: {counts.sentence}.")
    answer(as_json, facts, "\n".join(sentences))
    n_more = summary.n_failed - len(summary.failures)
    more = [f"{thousands(n_more)} more files cannot be used; {wishes.out} names them."]
    problems = [f"{failure['path']}: {failure['error']}" for failure in summary.failures]
    for sentence in [*problems, *(more if n_more else []), *summary.notes]:
        err.print(sentence)
    for sentence in [*ensemble.promises, ensemble.caution] if not as_json else []:
        if sentence:
            err.print(sentence)
    if not summary.genres:
        raise GenrecoreError("No clip could be used.")


def _print(result: dict[str, Any]) -> None:
    """The prediction as a line, and one for each run where there are several."""
    several = "runs" in result
    if several:
        average = f"{_likeliest(result)} on average. " if "proba" in result else ""
        out.print(f"{result['path']}: {average}{result['agreement']}")
        for prediction in result["runs"]:
            out.print(f"    {prediction['run']}: {_likeliest(prediction)}")
            _print_sections(prediction)
    else:
        out.print(f"{result['path']}: {_likeliest(result)}")
        _print_sections(result)
    for doubt in result.get("doubts", []):
        whose = f"{', '.join(doubt['runs'])}: " if doubt["runs"] and several else ""
        out.print(f"    {whose}{doubt['sentence']}")


def _print_sections(prediction: dict[str, Any]) -> None:
    for section in prediction.get("sections", []):
        span = f"{clock(section['start_s'])} to {clock(section['end_s'])}"
        out.print(f"    {span}  {section['genre']} {percent(section['proba'])}")


def _likeliest(prediction: dict[str, Any]) -> str:
    best = sorted(prediction["proba"].items(), key=lambda item: -item[1])[:3]
    text = ", ".join(f"{genre} {percent(p)}" for genre, p in best)
    return f"{prediction['answer'] or NOT_SURE} ({text})" if "answer" in prediction else text


class _CsvTable:
    """Lines of `path, run, genre, p_<genre>…` and, if asked for, the `answer` and the kinds of
    `doubts`; the run is `average` for the mean of several. Or, of whole recordings, `path, run,
    start_s, end_s, p_<genre>…`, a line a segment."""

    def __init__(self, ensemble: Any, with_doubts: bool, with_answers: bool, whole: bool) -> None:
        self.with_doubts, self.with_answers, self.whole = with_doubts, with_answers, whole
        self.genres = sorted({genre for loaded in ensemble.loaded for genre in loaded.genres})
        self.lines = csv.writer(sys.stdout, lineterminator="\n")
        more = [*(["answer"] if with_answers else []), *(["doubts"] if with_doubts else [])]
        place = ["start_s", "end_s"] if whole else ["genre"]
        self._write(["path", "run", *place, *(f"p_{g}" for g in self.genres), *more])

    def write(self, result: dict[str, Any]) -> None:
        if self.whole:
            for prediction in result.get("runs", [result]):
                for row in prediction["timeline"]:
                    shares = [row.get(f"p_{genre}") for genre in self.genres]
                    numbers = [*(f"{row[name]:.3f}" for name in ("start_s", "end_s"))]
                    numbers += ["" if share is None else f"{share:.6f}" for share in shares]
                    self._write([result["path"], prediction["run"], *numbers])
            return
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
        more = [prediction["answer"] or NOT_SURE] if self.with_answers else []
        more += [", ".join(kinds)] if self.with_doubts else []
        self._write([result["path"], run, prediction["genre"], *shares, *more])

    def _write(self, cells: list[str]) -> None:
        self.lines.writerow([sheet_text(cell) for cell in cells])
