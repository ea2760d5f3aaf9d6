"""`genrecore compare`: finished runs side by side, on the terminal and as files; `genrecore views`:
its saved views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from genrecore.cli.options import JsonOption, add_group, switch
from genrecore.cli.output import out, print_columns, print_json, print_table, reporting
from genrecore.errors import UsageError
from genrecore.store import views
from genrecore.store.progress import Phase
from genrecore.store.run import Run, store_dir
from genrecore.store.runs import all_runs, find_run
from genrecore.store.views import SavedView
from genrecore.words import percent

if TYPE_CHECKING:
    import pandas as pd

    from genrecore.evaluation.comparison import Comparison

commands = typer.Typer(rich_markup_mode=None)
views_group = add_group(commands, "views", "Saved views of comparisons.")


@commands.command()
def compare(
    names: Annotated[
        list[str] | None, Argument(metavar="RUN RUN…", help="Ids of runs or parts of them.")
    ] = None,
    systems: Annotated[
        bool,
        Option(
            "--systems",
            help="Each run stands for its system: all tested runs that differ from it in seed, "
            "split seed and fold only, pooled.",
        ),
    ] = False,
    only: Annotated[
        bool,
        switch("only", "With --systems: pool the named runs of each system alone."),
    ] = False,
    band: Annotated[
        float,
        Option(
            min=0.0,
            max=100.0,
            metavar="POINTS",
            help="Differences smaller than this make no difference in practice.",
        ),
    ] = 1.0,
    shared: Annotated[
        bool, switch("shared", "Use only the clips on which all were tested.")
    ] = False,
    measure: Annotated[
        bool, switch("measure", "First count multiply–adds and measure latency.")
    ] = False,
    report_to: Annotated[
        Path | None,
        Option("--report", metavar="FILE", help="Write one HTML file to send; it opens offline."),
    ] = None,
    tables_to: Annotated[
        Path | None,
        Option("--tables", metavar="DIR", help="Write the tables as CSV, Markdown and LaTeX."),
    ] = None,
    figures_to: Annotated[
        Path | None,
        Option("--figures", metavar="DIR", help="Draw figures as SVG and PNG; needs Chromium."),
    ] = None,
    view: Annotated[
        str, Option(metavar="NAME", help="Open a saved view in place of naming runs.")
    ] = "",
    save_as: Annotated[
        str, Option("--save", metavar="NAME", help="Save this comparison as a view.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Compare finished runs, or systems over their seeds, on their test clips: accuracies with
    intervals, and every pair on the clips that both were tested on."""
    from genrecore.evaluation import costs, verdicts

    if bool(names) == bool(view):
        raise UsageError("Name the runs to compare, or a saved view with --view NAME.")
    if view:
        opened = views.find(store_dir(), view)
        names, systems = list(opened.all_runs), opened.systems
        only = only or bool(opened.members)
        band, shared = opened.band, opened.shared
    result, members = _compared(names or [], systems, band / 100, shared, only)
    if save_as:
        ids = tuple(tuple(run.run_id for run in runs) for _, _, runs in members)
        firsts = tuple(run_ids[0] for run_ids in ids)
        view_members = ids if systems else ()
        views.save(store_dir(), SavedView(save_as, firsts, systems, band, shared, view_members))
    if measure:
        from genrecore.training import timing  # torch

        with reporting(quiet=as_json) as report:
            for run in costs.not_measured(members):
                timing.measure_cost(run, report)
    cost = costs.cost_table(members)
    named = [runs if only else runs[:1] for _, _, runs in members]
    again = ["genrecore", "compare", *(run.run_id for runs in named for run in runs)]
    again += ["--systems"] if systems else []
    again += ["--only"] if systems and only else []
    again += ["--band", f"{band:g}"] if band != 100 * verdicts.BAND else []
    again += ["--shared"] if shared else []
    destinations = {"Report": report_to, "Tables": tables_to, "Figures": figures_to}
    if not as_json:
        print_comparison(result, cost)
    written = _write_files(result, " ".join(again), destinations, quiet=as_json)
    if as_json:
        print_json(
            {
                "headline": result.headline,
                "runs": result.table,
                "notes": result.notes,
                "pairs": result.pairs,
                "per_genre": result.per_genre,
                "dependence": result.dependence,
                "calibration": result.calibration,
                "risk_coverage": result.risk_coverage,
                "areas": result.areas,
                "costs": cost,
                "confusions": {
                    run_id: matrix.to_dict(orient="index")
                    for run_id, matrix in result.confusions.items()
                },
                "written": written,
            }
        )


@views_group.command("list")
def list_views(as_json: JsonOption = False) -> None:
    """The saved views."""
    saved = views.saved(store_dir())
    rows = [
        {"view": view.name, "of": "systems" if view.systems else "runs", "runs": list(view.runs)}
        | {"band": view.band, "shared": view.shared, "members": [list(m) for m in view.members]}
        for view in saved
    ]
    if as_json:
        print_json(rows)
    else:
        shown = [
            {key: row[key] for key in ("view", "of", "band", "shared")}
            | {"runs": " ".join(view.all_runs)}
            for row, view in zip(rows, saved, strict=True)
        ]
        print_table(shown, "No view is saved yet: genrecore compare RUN RUN … --save NAME.")


ViewArgument = Annotated[str, Argument(metavar="NAME", help="Name of a saved view.")]


@views_group.command("rename")
def rename_view(
    name: ViewArgument, new: Annotated[str, Argument(metavar="NEW", help="Its new name.")]
) -> None:
    """Give a saved view another name."""
    renamed = views.rename(store_dir(), name, new)
    out.print(f"The view {name} is called {renamed.name} now.")


@views_group.command("delete")
def delete_view(name: ViewArgument) -> None:
    """Forget a saved view; its runs stay."""
    views.delete(store_dir(), name)
    out.print(f"The view {name} is deleted; its runs stay.")


def _compared(
    names: Sequence[str], as_systems: bool, band: float, on_shared: bool, only: bool
) -> tuple[Comparison, list[tuple[str, str, list[Run]]]]:
    """The comparison, and the key, title and runs of each side."""
    from genrecore.evaluation import comparison, systems
    from genrecore.evaluation.scores import read_test_predictions

    runs = [find_run(name) for name in names]
    if not as_systems:
        result = comparison.compare(runs, band, on_shared)
        return result, [(run.run_id, result.titles[run.run_id], [run]) for run in runs]
    in_store = systems.group_runs(runs if only else all_runs(runs[0].folder.parent))
    by_signature = {system.signature: system for system in in_store}
    chosen: dict[str, systems.System] = {}
    for run in runs:
        read_test_predictions(run)  # raises an error if there are none
        signature = systems.signature(run)
        # A run in another folder is not among the runs of the store.
        chosen[signature] = by_signature.get(signature) or systems.System(signature, (run,))
    result = systems.compare(list(chosen.values()), band, on_shared)
    return result, [(key, result.titles[key], list(s.runs)) for key, s in chosen.items()]


def print_comparison(result: Comparison, cost: pd.DataFrame | None = None) -> None:
    """A comparison: its outcome in a sentence, a table, the recall of each genre, and one sentence
    for each pair.

    Args:
        result: The comparison.
        cost: As `costs.cost_table` makes it, in the same order.
    """
    from genrecore.evaluation.metrics import METRICS
    from genrecore.reporting.columns import AREAS, COSTS, score_columns

    out.print(result.headline)
    out.print()
    table, names = result.table, ["title", "accuracy", "accuracy_low"]
    names += ["n_runs", "seed_low"] if (table["n_runs"] > 1).any() else []
    names += [*(name for name in METRICS if name != "accuracy"), "best_epoch", "train_s"]
    if cost is not None and cost[["n_multiply_adds", "latency_ms"]].notna().any(axis=None):
        table = table.assign(
            n_multiply_adds=cost["n_multiply_adds"].to_numpy(),
            latency_ms=cost["latency_ms"].to_numpy(),
        )
        names += ["n_multiply_adds", "latency_ms"]
    columns = score_columns() | COSTS
    print_columns(table, {name: columns[name] for name in names})
    out.print()
    recalls = result.per_genre.pivot(index="genre", columns="run_id", values="recall")
    print_table(
        [
            {"recall by genre": genre}
            | {title: percent(recalls.loc[genre, key]) for key, title in result.titles.items()}
            for genre in recalls.index
        ]
    )
    out.print()
    for note in result.notes:
        out.print(f"Note: {note}")
    for sentence in result.pairs["sentence"]:
        out.print(sentence)
    out.print()
    out.print("Who knows what it does not know?")
    print_columns(result.areas, AREAS)
    for sentence in result.pairs["area_sentence"]:
        out.print(sentence)


def _write_files(
    result: Comparison, command: str, destinations: Mapping[str, Path | None], quiet: bool
) -> list[Path]:
    """Writes the files that have a destination, and prints where they are unless it is quiet."""
    from genrecore.reporting import html as report

    report_to, tables_to, figures_to = destinations.values()
    written: list[Path] = []
    if report_to is not None:
        written.append(report.write(result, report_to, command=command))
    if tables_to is not None:
        written += report.write_tables(result, tables_to)
    if figures_to is not None:
        with reporting(quiet) as progress:
            progress(Phase.DRAWING_FIGURES, 0, 0)
            written += report.write_figures(result, figures_to)
    for name, path in destinations.items():
        if path is not None and not quiet:
            out.print(f"{name}: {path}")
    return written
