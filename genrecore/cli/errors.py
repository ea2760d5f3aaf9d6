"""`genrecore errors`: a run's mistakes clip by clip; `genrecore annotate`: reviews of labels."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from typer import Argument, Option

from genrecore.cli.options import JsonOption, RunArgument, switch
from genrecore.cli.output import (
    answer,
    err,
    out,
    print_json,
    print_rows,
    print_table,
    records,
    writing,
)
from genrecore.data.genres import composed, written
from genrecore.errors import UsageError
from genrecore.evaluation import label_reviews, metrics, mistakes, related_clips
from genrecore.evaluation.same_clips import SameClips, same_clips
from genrecore.reporting.columns import csv_text
from genrecore.store.run import Run
from genrecore.store.runs import all_runs, each_readable, find_run
from genrecore.words import listed, percent

commands = typer.Typer(rich_markup_mode=None)

_SHARES = ("certainty", "label_proba", "suggested_proba", "spread")
_OF_RUN = ["clip_id", "genre", "predicted", "certainty", "label_proba"]
_SUSPECTS = ["clip_id", "genre", "suggested", "suggested_proba", "label_proba", "n_against",
             "n_runs", "suspect"]  # fmt: skip


@commands.command("errors")
def errors(
    run: RunArgument,
    cell: Annotated[str, Option(help="LABELLED,PREDICTED: the clips of that cell.")] = "",
    order: Annotated[str, Option(help=f"{', '.join(mistakes.ORDERS)}.")] = "certain",
    against: Annotated[
        list[str] | None,
        Option(
            help="Another run: clips that only one of the two gets right. Several: disagreement."
        ),
    ] = None,
    labels: Annotated[bool, switch("labels", "Labels that are most likely wrong.")] = False,
    clip: Annotated[str, Option(help="One clip: prediction, copies, clips of its artist.")] = "",
    most: Annotated[int, Option(min=1, help="How many clips to print.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """The clips that a run gets wrong, or on which runs differ; the page Errors plays them."""
    first, others = find_run(run), [find_run(name) for name in against or []]
    same = same_clips((first, *others))
    for member in others:
        _refuse_other_clips(first, member, same)
    tables = [same.named(mistakes.clip_predictions(member), member) for member in (first, *others)]
    of_first, columns = tables[0], _OF_RUN
    if clip:
        _one_clip(first, of_first, clip, as_json)
        return
    if labels:
        rows, columns = mistakes.suspects(tables), _SUSPECTS
    elif len(others) > 1:
        rows = mistakes.disagreement(tables)
        columns = ["clip_id", "genre", "predicted", "n_verdicts", "spread"]
    elif others:
        rows = mistakes.contingency(*tables)
        rows = rows[rows["who"].isin([mistakes.ONLY_A, mistakes.ONLY_B])].sort_values("who")
        columns = ["clip_id", "genre", "who", "predicted", "predicted_b"]
    elif cell:
        genres = sorted(set(of_first["genre"]) | set(of_first["predicted"]))
        rows = mistakes.cell(of_first, *_genres_of_cell(cell, genres))
    else:
        if order not in mistakes.ORDERS:
            raise UsageError(f"--order takes {', '.join(mistakes.ORDERS)}; found {order!r}.")
        rows = mistakes.sort_clips(of_first, order)
    listed = rows[columns].head(most)
    if as_json:
        print_json({"n_clips": len(rows), "clips": listed, "notes": same.notes})
        return
    for note in same.notes:
        err.print(note)
    print_table(
        [
            {name: percent(value) if name in _SHARES else value for name, value in row.items()}
            for row in records(listed)
        ],
        "No such clip.",
    )
    if len(rows) > len(listed):
        n = len(rows)
        out.print(f"{n - len(listed)} more; --most {n} prints them all.")


def _genres_of_cell(text: str, genres: list[str]) -> tuple[str, str]:
    """The two genres in `LABELLED,PREDICTED`; names may hold commas, and compare composed.

    Raises:
        UsageError: They are not there.
    """
    named = {composed(genre): genre for genre in genres}
    parts = composed(text).split(",")
    for k in range(1, len(parts)):
        labelled, predicted = ",".join(parts[:k]), ",".join(parts[k:])
        if labelled in named and predicted in named:
            return named[labelled], named[predicted]
    raise UsageError(f"--cell takes LABELLED,PREDICTED of {written(genres)}; found {text!r}.")


def _clip_table(run: Run) -> pd.DataFrame | None:
    """Its clips; of a run without a clip table those that it predicted."""
    return run.clips if run.clips is not None else run.predictions


def _refuse_other_clips(first: Run, member: Run, same: SameClips) -> None:
    """
    Raises:
        UsageError: A run has no clip in common with the first.
    """
    ids = []
    for run in (first, member):
        table = _clip_table(run)
        ids.append(set() if table is None else set(same.named(table, run)["clip_id"]))
    if ids[0] and ids[1] and not ids[0] & ids[1]:
        datasets = [each.config.dataset.name for each in (first, member)]
        why = same.warning or " Give runs on the same dataset."
        raise UsageError(
            f"{first.run_id} is of {datasets[0]}, {member.run_id} of {datasets[1]}, and they have "
            f"no clip in common.{why}"
        )


def _one_clip(run: Run, predictions: pd.DataFrame, clip_id: str, as_json: bool) -> None:
    """The prediction for a test clip, and other clips of its recording and its artist."""
    rows, clips = predictions[predictions["clip_id"] == clip_id], run.clips
    if rows.empty:
        raise UsageError(f"The run {run.run_id} has no test clip {clip_id!r}.")
    same_artist: list[str] = []
    if clips is not None:
        same_artist = related_clips.same_artist(clips, clip_id)["clip_id"].tolist()
    facts = {
        **rows.iloc[0][_OF_RUN].to_dict(),
        "proba": {g: float(rows[f"p_{g}"].iloc[0]) for g in metrics.genres_in(rows)},
        "copies": records(related_clips.copies(run, clip_id)),
        "same_artist": same_artist,
    }
    sentences = [
        f"{clip_id}: labelled {facts['genre']}, predicted {facts['predicted']} with "
        f"{percent(facts['certainty'])}; the label got {percent(facts['label_proba'])}.",
        *(f"{copy['clip_id']}: {copy['how']}." for copy in facts["copies"]),
    ]
    if same_artist:
        sentences.append(f"By the same artist: {', '.join(same_artist)}.")
    answer(as_json, facts, "\n".join(sentences))


@commands.command("annotate")
def annotate(
    dataset: Annotated[str, Argument(help="A dataset's name; 'list' prints all judgements.")],
    clip: Annotated[str, Argument(help="A clip's id.")] = "",
    judgement: Annotated[str, Argument(help=f"One of {', '.join(label_reviews.JUDGEMENTS)}.")] = "",
    genre: Annotated[str, Option(help="The label that is judged.")] = "",
    note: Annotated[str, Option(help="Any text; one line.")] = "",
    to: Annotated[Path | None, Option("--out", help="With 'list': the CSV file to write.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge after listening whether a clip's label is right, or list and export all judgements."""
    if dataset == "list":
        table = label_reviews.read()
        if to is not None:
            with writing(to):
                to.write_text(csv_text(table), encoding="utf-8")
            out.print(f"{len(table)} judgements written to {to}")
        else:
            rows = records(table if as_json else table.drop(columns="at"))
            print_rows(as_json, rows, "Nobody has judged a label yet.")
        return
    if not clip or judgement not in label_reviews.JUDGEMENTS:
        raise UsageError(
            "Give a dataset, a clip and right, wrong or unclear: "
            "genrecore annotate gtzan jazz.00003 wrong."
        )
    _refuse_unknown_clip(dataset, clip)
    label_reviews.add(dataset, clip, genre, judgement, note)
    facts = {"dataset": dataset, "clip_id": clip, "judgement": judgement}
    answer(as_json, facts, f"{clip}: its label is {judgement}.")


def _refuse_unknown_clip(dataset: str, clip: str) -> None:
    """
    Raises:
        UsageError: Runs of the dataset have clips, and none of them is called so.
    """
    known = set[str]()
    of_dataset = (run for run in all_runs() if run.config.dataset.name == dataset)
    for _, table in each_readable(of_dataset, _clip_table):
        known |= set() if table is None else set(table["clip_id"])
        if clip in known:
            return
    if known:
        near = difflib.get_close_matches(clip, known, 3, 0.3)
        raise UsageError(
            f"No run on {dataset} has a clip {clip!r}; found clips such as "
            f"{listed(near or sorted(known)[:3])}."
        )
