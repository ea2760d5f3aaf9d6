"""`genrecore compare`: finished runs side by side, and the files that show it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from genrecore.cli.output import JSON, out, print_json, print_table, reporting
from genrecore.evaluation import verdicts
from genrecore.evaluation.metrics import METRICS, noun
from genrecore.evaluation.scores import read_test_predictions
from genrecore.store import run as runs
from genrecore.store.progress import Phase
from genrecore.store.run import Run
from genrecore.words import percent, seconds

if TYPE_CHECKING:
    import pandas as pd

    from genrecore.evaluation.comparison import Comparison

commands = typer.Typer(rich_markup_mode=None)


@commands.command()
def compare(
    names: Annotated[
        list[str], Argument(metavar="RUN RUN…", help="Ids of runs, or parts of them.")
    ],
    systems: Annotated[
        bool,
        Option(
            "--systems",
            help="Each run stands for its system: all tested runs that differ from it in seed, "
            "split seed and fold only, pooled.",
        ),
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
        bool,
        Option("--shared", help="Compare on the clips that all were tested on, and only those."),
    ] = False,
    measure: Annotated[
        bool,
        Option("--measure", help="Count multiply–adds and measure latency on this machine first."),
    ] = False,
    report_to: REPORT = None,
    tables_to: TABLES = None,
    figures_to: FIGURES = None,
    as_json: JSON = False,
) -> None:
    """Compare finished runs, or systems over their seeds, on their test clips: accuracies with
    intervals, and every pair on the clips that both were tested on."""
    from genrecore.evaluation import costs

    result, members = compared(names, systems, band, shared)
    if measure:
        from genrecore.training import latency  # torch

        with reporting(quiet=as_json) as report:
            for run in costs.not_measured(members):
                latency.measure_run(run, report)
    cost = costs.cost_table(members)
    again = same_again([found[0].run_id for _, _, found in members], systems, band, shared)
    places = (report_to, tables_to, figures_to)
    if as_json:
        print_json(
            {
                "runs": result.table,
                "notes": result.notes,
                "pairs": result.pairs,
                "per_genre": result.per_genre,
                "dependence": result.dependence,
                "calibration": result.calibration,
                "costs": cost,
                "confusions": {
                    run_id: matrix.to_dict(orient="index")
                    for run_id, matrix in result.confusions.items()
                },
                "written": write_files(result, again, *places, quiet=True),
            }
        )
        return
    print_comparison(result, cost)
    write_files(result, again, *places, quiet=False)


def compared(
    names: Sequence[str], as_systems: bool, band: float, on_shared: bool
) -> tuple[Comparison, list[tuple[str, str, list[Run]]]]:
    """What the options of `compare` ask for, and key, title and runs of each.

    Args:
        names: Of runs, as `find_run` takes them.
        as_systems: Whether each stands for its system.
        band: In points.
        on_shared: Whether only on the clips that all share.

    Raises:
        GenrecoreError: As `comparison.compare` and `systems.compare`.
    """
    from genrecore.evaluation import comparison, systems

    found = [runs.find_run(name) for name in names]
    if not as_systems:
        made = comparison.compare(found, band / 100, on_shared)
        return made, [(run.run_id, made.titles[run.run_id], [run]) for run in found]
    every = {
        one.signature: one for one in systems.group_runs(runs.all_runs(found[0].folder.parent))
    }
    picked: dict[str, systems.System] = {}
    for run in found:
        read_test_predictions(run)
        signature = systems.signature(run)
        # A run from elsewhere is not among those of the store.
        picked[signature] = every.get(signature) or systems.System(signature, (run,))
    made = systems.compare(list(picked.values()), band / 100, on_shared)
    return made, [(key, made.titles[key], list(one.runs)) for key, one in picked.items()]


def print_comparison(result: Comparison, cost: pd.DataFrame | None = None) -> None:
    """A comparison as a table, the recalls of each genre, and one sentence a pair.

    Args:
        result: The comparison.
        cost: As `costs.cost_table` makes it, in the same order.
    """
    several = bool((result.table["n_runs"] > 1).any())
    rows = []
    for place, row in enumerate(result.table.to_dict(orient="records")):
        shown = {
            "system" if several else "run": row["title"],
            "accuracy": percent(row["accuracy"]),
            "95 % interval": f"{percent(row['accuracy_low'])} to {percent(row['accuracy_high'])}",
        }
        if several:
            shown["tests"] = row["n_runs"]
            shown["from, to"] = f"{percent(row['seed_low'])} to {percent(row['seed_high'])}"
        shown |= {
            **{
                noun(metric): metric.facts.written(row[name])
                for name, metric in METRICS.items()
                if name != "accuracy"
            },
            "best epoch": row["best_epoch"],
            "took": seconds(row["train_s"]),
        }
        if cost is not None and cost[["n_multiply_adds", "latency_ms"]].notna().any().any():
            adds, ms = (cost[name].iloc[place] for name in ("n_multiply_adds", "latency_ms"))
            shown["multiply–adds"] = "–" if adds != adds else f"{adds:.3g}"
            shown["latency"] = "–" if ms != ms else f"{ms:.3g} ms"
        rows.append(shown)
    print_table(rows)
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


REPORT = Annotated[
    Path | None,
    Option(
        "--report",
        metavar="FILE",
        help="Write all of it as one HTML file that opens offline and can be sent.",
    ),
]
TABLES = Annotated[
    Path | None,
    Option("--tables", metavar="DIR", help="Write its tables as CSV, Markdown and LaTeX."),
]
FIGURES = Annotated[
    Path | None,
    Option("--figures", metavar="DIR", help="Draw its figures as SVG and PNG; needs Chromium."),
]


def same_again(run_ids: Sequence[str], systems: bool, band: float, shared: bool) -> str:
    """The command that compares these runs, or their systems, in the same way.

    Args:
        run_ids: One of each.
        systems: Whether each stands for its system.
        band: In points.
        shared: Whether only on the clips that all share.
    """
    line = f"genrecore compare {' '.join(run_ids)}" + (" --systems" if systems else "")
    line += f" --band {band:g}" if band != 100 * verdicts.BAND else ""
    return line + (" --shared" if shared else "")


def write_files(
    result: Comparison,
    command: str,
    report_to: Path | None,
    tables_to: Path | None,
    figures_to: Path | None,
    quiet: bool,
) -> list[Path]:
    """Writes what was asked for, and returns all files; says where they lie unless it is quiet.

    Args:
        result: What was compared.
        command: By which, to stand in the report.
        report_to: Of the report.
        tables_to: A folder.
        figures_to: A folder.
        quiet: Whether to say nothing.

    Raises:
        GenrecoreError: A file cannot be written, or no browser draws.
    """
    from genrecore.reporting import html as report

    written: list[Path] = []
    if report_to is not None:
        written.append(report.write(result, report_to, command=command))
    if tables_to is not None:
        written += report.write_tables(result, tables_to)
    if figures_to is not None:
        with reporting(quiet) as tell:
            tell(Phase.DRAWING_FIGURES, 0, 0)
            written += report.write_figures(result, figures_to)
    if not quiet:
        places = {"Report": report_to, "Tables": tables_to, "Figures": figures_to}
        for name, place in places.items():
            if place is not None:
                out.print(f"{name}: {place}")
    return written
