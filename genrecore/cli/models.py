"""`genrecore compare` and `genrecore classify`: finished runs at work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genrecore import runs
from genrecore.cli.app import app
from genrecore.cli.output import (
    JSON,
    duration,
    err,
    out,
    print_json,
    print_table,
    reporting,
    share,
)
from genrecore.errors import AudioError, GenrecoreError


@app.command()
def compare(
    names: Annotated[
        list[str], typer.Argument(metavar="RUN RUN…", help="Ids of runs, or parts of them.")
    ],
    as_json: JSON = False,
) -> None:
    """Compare finished runs on their test clips: accuracies with intervals, and every pair on the
    clips that both predicted."""
    from genrecore import comparison

    result = comparison.compare([runs.find(name) for name in names])
    if as_json:
        print_json(
            {
                "runs": result.table,
                "notes": result.notes,
                "pairs": result.pairs,
                "per_genre": result.per_genre,
                "confusions": {
                    run_id: matrix.to_dict(orient="index")
                    for run_id, matrix in result.confusions.items()
                },
            }
        )
        return
    print_comparison(result)


def print_comparison(result: Any) -> None:
    """A comparison as a table, the recalls of each genre, and one sentence a pair."""
    print_table(
        [
            {
                "run": row["title"],
                "accuracy": share(row["accuracy"]),
                "95 % interval": f"{share(row['accuracy_low'])} to {share(row['accuracy_high'])}",
                "macro-F1": share(row["macro_f1"]),
                "best epoch": row["best_epoch"],
                "took": duration(row["train_s"]),
            }
            for row in result.table.to_dict(orient="records")
        ]
    )
    out.print()
    recalls = result.per_genre.pivot(index="genre", columns="title", values="recall")
    titles = [run.title for run in result.runs]
    print_table(
        [
            {"recall by genre": genre}
            | {title: share(recalls.loc[genre, title]) for title in titles}
            for genre in recalls.index
        ]
    )
    out.print()
    for note in result.notes:
        out.print(f"Note: {note}", markup=False)
    for sentence in result.pairs["sentence"]:
        out.print(sentence, markup=False)


@app.command()
def classify(
    clips: Annotated[list[Path], typer.Argument(metavar="CLIP…", help="Audio files to classify.")],
    run: Annotated[
        str, typer.Option("--run", help="A finished run: its id, a part of it, or 'latest'.")
    ],
    as_json: JSON = False,
) -> None:
    """Classify audio files with a trained run. Files that cannot be used are reported at the end;
    the exit code is 1 only if none could be used."""
    from genrecore import inference

    loaded = inference.load(run)
    results: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    with reporting(quiet=as_json or len(clips) < 2) as report:
        for index, path in enumerate(clips):
            report("Classifying", index, len(clips))
            try:
                verdict = loaded.classify(path)
            except AudioError as error:
                failures.append({"name": str(path), "error": str(error)})
                continue
            results.append({"path": str(path), **verdict.as_dict()})
    if as_json:
        print_json({"run": loaded.run.run_id, "clips": results, "failures": failures})
    else:
        for result in results:
            best = sorted(result["proba"].items(), key=lambda item: -item[1])[:3]
            listed = ", ".join(f"{genre} {share(p)}" for genre, p in best)
            out.print(f"{result['path']}: {listed}", markup=False)
    for failure in failures:
        err.print(failure["error"], markup=False)
    if failures and not results:
        raise GenrecoreError(
            "The clip could not be used." if len(clips) == 1 else "None of the clips could be used."
        )
