"""`genrecore errors`: the clips behind the numbers; `genrecore annotate`: what a listener says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from typer import Argument, Option

from genrecore.cli.output import JSON, answer, out, print_json, print_table
from genrecore.errors import UsageError
from genrecore.evaluation import label_reviews, metrics, mistakes, related_clips
from genrecore.store import run as runs
from genrecore.store.run import Run
from genrecore.words import percent

commands = typer.Typer(rich_markup_mode=None)

RUN = Annotated[str, Argument(help="A tested run's id, a part of it, or 'latest'.")]
_SHARES = ("certainty", "label_proba", "suggested_proba", "spread")


@commands.command("errors")
def errors(
    run: RUN,
    cell: Annotated[str, Option(help="LABELLED,PREDICTED: the clips of that cell.")] = "",
    order: Annotated[str, Option(help=f"{', '.join(mistakes.ORDERS)}.")] = "certain",
    against: Annotated[
        list[str] | None, Option(help="Another run: who is right where. Several: disagreement.")
    ] = None,
    labels: Annotated[
        bool, Option("--labels", help="The labels that are most likely wrong.")
    ] = False,
    clip: Annotated[
        str, Option(help="One clip: its verdict, its copies, its artist's clips.")
    ] = "",
    most: Annotated[int, Option(min=1, help="So many clips.")] = 20,
    as_json: JSON = False,
) -> None:
    """The clips that a run gets wrong, or on which runs differ; page 'Errors' plays them."""
    one, several = runs.find_run(run), [runs.find_run(name) for name in against or []]
    for other in several:
        if other.config.dataset.name != one.config.dataset.name:
            raise UsageError(
                f"{one.run_id} is of {one.config.dataset.name}, {other.run_id} of "
                f"{other.config.dataset.name}: give runs on the same dataset."
            )
    found, others = (
        mistakes.clip_predictions(one),
        [mistakes.clip_predictions(other) for other in several],
    )
    columns = ["clip_id", "genre", "predicted", "certainty", "label_proba"]
    if clip:
        _one_clip(one, found, clip, as_json)
        return
    if labels:
        rows = mistakes.suspects([found, *others])
        columns = [
            "clip_id",
            "genre",
            "suggested",
            "suggested_proba",
            "label_proba",
            "n_against",
            "n_runs",
            "suspect",
        ]
    elif len(others) > 1:
        rows = mistakes.disagreement([found, *others])
        columns = ["clip_id", "genre", "predicted", "n_verdicts", "spread"]
    elif others:
        rows = mistakes.contingency(found, others[0])
        rows = rows[rows["who"].isin([mistakes.ONLY_A, mistakes.ONLY_B])].sort_values("who")
        columns = ["clip_id", "genre", "who", "predicted", "predicted_b"]
    elif cell:
        labelled, comma, predicted = cell.partition(",")
        known = sorted(set(found["genre"]) | set(found["predicted"]))
        if not comma or not {labelled, predicted} <= set(known):
            raise UsageError(
                f"--cell takes LABELLED,PREDICTED of {', '.join(known)}; found {cell!r}."
            )
        rows = mistakes.cell(found, labelled, predicted)
    else:
        if order not in mistakes.ORDERS:
            raise UsageError(f"--order takes {', '.join(mistakes.ORDERS)}; found {order!r}.")
        rows = mistakes.sort_clips(found, order)
    _print(rows[columns].head(most), len(rows), as_json)


def _one_clip(run: Run, found: pd.DataFrame, clip_id: str, as_json: bool) -> None:
    """What the run says of a test clip, and what else there is of its recording and artist."""
    rows, clips = found[found["clip_id"] == clip_id], run.clips
    if rows.empty:
        raise UsageError(f"The run {run.run_id} has no test clip {clip_id!r}.")
    copies = related_clips.copies(run, clip_id)
    same = (
        related_clips.same_artist(clips, clip_id)["clip_id"].tolist() if clips is not None else []
    )
    facts = {
        **rows.iloc[0][["clip_id", "genre", "predicted", "certainty", "label_proba"]].to_dict(),
        "proba": {g: float(rows[f"p_{g}"].iloc[0]) for g in metrics.genres_in(rows)},
        "copies": _records(copies),
        "same_artist": same,
    }
    if as_json:
        print_json(facts)
        return
    out.print(
        f"{clip_id}: labelled {facts['genre']}, taken for {facts['predicted']} with "
        f"{percent(facts['certainty'])}; the label got {percent(facts['label_proba'])}."
    )
    for row in facts["copies"]:
        out.print(f"{row['clip_id']}: {row['how']}.")
    if same:
        out.print(f"Of the same artist: {', '.join(same)}.")


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _print(table: pd.DataFrame, n: int, as_json: bool) -> None:
    rows = _records(table)
    if as_json:
        print_json({"n_clips": n, "clips": rows})
        return
    for row in rows:
        for name in _SHARES:
            if name in row:
                row[name] = percent(row[name])
    print_table(rows, "No such clip.")
    if n > len(rows):
        out.print(f"{n - len(rows)} more; --most {n} prints them all.")


@commands.command("annotate")
def annotate(
    dataset: Annotated[str, Argument(help="A dataset's name; 'list' prints what was said.")],
    clip: Annotated[str, Argument(help="A clip's id.")] = "",
    judgement: Annotated[
        str, Argument(help=f"Of its label: {', '.join(label_reviews.JUDGEMENTS)}.")
    ] = "",
    genre: Annotated[str, Option(help="The label that is judged.")] = "",
    note: Annotated[str, Option(help="Anything; one line.")] = "",
    to: Annotated[
        Path | None, Option("--out", help="With 'list': writes the table as CSV.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Say after listening whether a clip's label is right, or list and export what was said."""
    if dataset == "list":
        table = label_reviews.read()
        if to is not None:
            table.to_csv(to, index=False)
            out.print(f"{len(table)} judgements written to {to}")
        elif as_json:
            print_json(table)
        else:
            rows = _records(table.drop(columns="at"))
            print_table(rows, "Nobody has judged a label yet.")
        return
    if not clip or judgement not in label_reviews.JUDGEMENTS:
        raise UsageError(
            "Give a dataset, a clip and right, wrong or unclear: "
            "genrecore annotate gtzan jazz.00003 wrong."
        )
    label_reviews.add(dataset, clip, genre, judgement, note)
    answer(
        as_json,
        {"dataset": dataset, "clip_id": clip, "judgement": judgement},
        f"{clip}: its label is {judgement}.",
    )
