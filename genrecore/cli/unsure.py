"""`genrecore thresholds` and `strangers`: when a run is not sure, and what becomes of sound that is
none of its genres."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Option

from genrecore.cli.options import JsonOption, RunArgument, switch
from genrecore.cli.output import (
    out,
    print_caveats,
    print_columns,
    print_json,
    print_table,
    reporting,
)
from genrecore.errors import GenrecoreError
from genrecore.store.runs import find_run

commands = typer.Typer(rich_markup_mode=None)

PrecisionOption = Annotated[
    float, Option(min=0.5, max=0.999, help="Share of the answers that shall be right.")
]


@commands.command()
def thresholds(
    run: RunArgument, precision: PrecisionOption = 0.9, as_json: JsonOption = False
) -> None:
    """From which probability on a run's answers are right so often as wanted, for each genre:
    fitted on its validation clips, checked on its test clips. 'genrecore classify --precision'
    answers by them."""
    from genrecore.evaluation import selective
    from genrecore.evaluation.thresholds import select
    from genrecore.reporting.columns import THRESHOLDS

    chosen = find_run(run)
    answers = select([chosen], precision)
    curve = selective.curve(chosen)
    if as_json:
        print_json(
            {
                "run": chosen.run_id,
                "caveats": chosen.caveats,
                "precision": precision,
                "sentences": answers.sentences,
                "coverage": vars(answers.coverage),
                "reached": vars(answers.reached),
                "thresholds": answers.table,
                "area": vars(curve.area),
                "normalised": vars(curve.normalised),
                "risk_coverage": curve.table,
            }
        )
        return
    table = answers.table.fillna({"genre": "all"})
    print_columns(table, THRESHOLDS)
    for sentence in answers.sentences:
        out.print(sentence)
    out.print(curve.sentence)
    print_caveats(chosen)


@commands.command()
def strangers(
    run: RunArgument,
    precision: PrecisionOption = 0.9,
    stored: Annotated[bool, switch("stored", "Show the last result; classify nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Which genres swallow strangers: noise, speech-like sound, near silence and music made of
    random notes, classified by a run, with and without its thresholds. The result is kept in the
    run's folder; the page Runs shows it."""
    from genrecore.inference import strangers as strange

    chosen = find_run(run)
    if not stored:
        with reporting(quiet=as_json) as report:
            strange.classify(chosen, report)
    result = strange.read(chosen, precision)
    if result is None:
        raise GenrecoreError(
            f"The run {chosen.run_id} has classified no strangers yet: genrecore strangers "
            f"{chosen.run_id}."
        )
    if as_json:
        facts = {"run": chosen.run_id, "precision": precision, "sentence": result.sentence}
        print_json(facts | {"strangers": result.table})
        return
    print_table(strange.as_rows(result))
    out.print(result.sentence)
