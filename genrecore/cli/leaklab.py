"""`genrecore leaklab`: the same system on a leaky and on a clean split of the same clips."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer import Option

from genrecore.cli.flags import with_flags
from genrecore.cli.options import (
    ConfigOption,
    FolderOption,
    JsonOption,
    PlacesOption,
    PresetOption,
    SetOption,
    settings,
)
from genrecore.cli.output import out, print_json, print_table, records, reporting
from genrecore.cli.runs import follow
from genrecore.config.run import RunConfig
from genrecore.jobs.places import read_places
from genrecore.store.run import Run
from genrecore.words import percent

commands = typer.Typer(rich_markup_mode=None)


@commands.command()
@with_flags(RunConfig)
def leaklab(
    values: dict[str, Any],
    config: ConfigOption = None,
    set_: SetOption = None,
    preset: PresetOption = "",
    folder: FolderOption = None,
    n_folds: Annotated[int, Option(help="Number of folds of each split.", min=3, max=20)] = 5,
    on: PlacesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how much a leaky split raises the accuracy: train the same system on every fold of a
    split by clip and of one by artist, and show the gap with its interval. Runs that exist already
    are used."""
    from genrecore.data import datasets
    from genrecore.experiments import leaks

    places = None if on is None else read_places(on)
    base = settings(config, values, set_, preset, folder=folder)
    first = leaks.draft(base, n_folds).base
    with reporting(quiet=as_json) as report:
        clips = datasets.load(first.dataset.name, first.dataset.options, report)
        leaks.check(first, clips, n_folds)
        members = leaks.start(base, n_folds, on=places).members
        done: list[Run] = []
        for number, member in enumerate(members, start=1):
            split, fold = member.config.split.name, member.config.fold
            title = f"{split} fold {fold + 1} ({number} of {len(members)})"
            if member.run is not None:
                done.append(follow(member.run, report, title))
    gap = leaks.leak_gap(done)
    if as_json:
        run_ids = [run.run_id for run in done]
        print_json({**vars(gap), "sentence": gap.sentence, "runs": run_ids})
        return
    print_table(
        [
            {
                "genre": row["genre"],
                "clips": row["n_clips"],
                "artists shared": percent(row["leaky"]),
                "artists apart": percent(row["clean"]),
            }
            for row in records(gap.per_genre)
        ]
    )
    out.print(f"\n{gap.sentence}")
