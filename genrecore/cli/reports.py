"""The files that `genrecore compare` writes: a report, its tables, its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrecore.cli.output import out, reporting
from genrecore.evaluation import verdicts
from genrecore.store.progress import Phase

if TYPE_CHECKING:
    from genrecore.evaluation.comparison import Comparison

REPORT = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write all of it as one HTML file that opens offline and can be sent.",
    ),
]
TABLES = Annotated[
    Path | None,
    typer.Option("--tables", metavar="DIR", help="Write its tables as CSV, Markdown and LaTeX."),
]
FIGURES = Annotated[
    Path | None,
    typer.Option(
        "--figures", metavar="DIR", help="Draw its figures as SVG and PNG; needs Chromium."
    ),
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
                out.print(f"{name}: {place}", markup=False)
    return written
