"""`genrecore compare`: finished runs side by side."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from genrecore import runs
from genrecore.cli.app import app
from genrecore.cli.output import JSON, duration, out, print_json, print_table, share


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
