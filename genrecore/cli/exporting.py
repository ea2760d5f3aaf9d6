"""`genrecore export`: runs in the files of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genrecore import runs
from genrecore.cli.app import app
from genrecore.cli.output import JSON, out, print_json, reporting
from genrecore.errors import UsageError


@app.command("export")
def export_runs(
    names: Annotated[
        list[str], typer.Argument(metavar="RUN…", help="Ids of runs, parts of them, or 'latest'.")
    ],
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            "--tensorboard",
            metavar="DIR",
            help="Write event files there, for 'tensorboard --logdir DIR'.",
        ),
    ] = None,
    mlflow: Annotated[
        str,
        typer.Option(
            "--mlflow", metavar="URI", help="Log to the MLflow tracking server at this address."
        ),
    ] = "",
    experiment: Annotated[
        str, typer.Option("--experiment", help="With --mlflow: the experiment's name there.")
    ] = "genrecore",
    weights: Annotated[
        bool, typer.Option(help="With --mlflow: whether the weights go along.")
    ] = True,
    as_json: JSON = False,
) -> None:
    """Write runs for other tools: settings, every epoch's numbers, the test's scores. A run that
    still trains is written as far as it is; exporting it again adds what is new."""
    if tensorboard is None and not mlflow:
        raise UsageError("Say where to: --tensorboard DIR or --mlflow URI.")
    from genrecore import export

    found = [runs.find(name) for name in names]
    made: dict[str, Any] = {}
    if tensorboard is not None:
        folders = export.to_tensorboard(found, tensorboard)
        made["tensorboard"] = folders
        if not as_json:
            out.print(f"Written to {tensorboard}; 'tensorboard --logdir {tensorboard}' shows it.",
                      markup=False)  # fmt: skip
    if mlflow:
        with reporting(quiet=as_json) as report:
            logged = export.to_mlflow(found, mlflow, experiment, weights, report)
        made["mlflow"] = [vars(one) for one in logged]
        if not as_json:
            for one in logged:
                how = "Continued" if one.again else "Logged"
                out.print(f"{how} {one.run_id}: {one.address}", markup=False)
    if as_json:
        print_json(made)
