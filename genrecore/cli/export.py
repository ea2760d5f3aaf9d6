"""`genrecore export`: runs in the files of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from genrecore.cli.output import JSON, out, print_json, reporting
from genrecore.errors import UsageError
from genrecore.store import run as runs
from genrecore.store.run import Run

commands = typer.Typer(rich_markup_mode=None)


@commands.command("export")
def export_runs(
    names: Annotated[
        list[str], Argument(metavar="RUN…", help="Ids of runs, parts of them, or 'latest'.")
    ],
    tensorboard: Annotated[
        Path | None,
        Option(metavar="DIR", help="Write event files there, for 'tensorboard --logdir DIR'."),
    ] = None,
    mlflow: Annotated[
        str, Option(metavar="URI", help="Log to the MLflow tracking server at this address.")
    ] = "",
    experiment: Annotated[
        str, Option(help="With --mlflow: the experiment's name there.")
    ] = "genrecore",
    onnx: Annotated[
        Path | None,
        Option(
            metavar="FILE", help="Write one run as an ONNX file: waveform in, probabilities out."
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="Write one run as a folder for others: weights, configuration, model card.",
        ),
    ] = None,
    weights: Annotated[bool, Option(help="With --mlflow: whether the weights go along.")] = True,
    as_json: JSON = False,
) -> None:
    """Write runs for other tools: settings, every epoch's numbers, the test's scores. A run that
    still trains is written as far as it is; exporting it again adds what is new. Or write one
    trained run as a model, to be used elsewhere."""
    if tensorboard is None and not mlflow and onnx is None and bundle is None:
        raise UsageError(
            "Say where to: --tensorboard DIR, --mlflow URI, --onnx FILE, --bundle DIR."
        )
    from genrecore.reporting import trackers

    found = [runs.find_run(name) for name in names]
    made: dict[str, Any] = {}
    if onnx is not None or bundle is not None:
        made |= _as_models(found, onnx, bundle, as_json)
    if tensorboard is not None:
        folders = trackers.to_tensorboard(found, tensorboard)
        made["tensorboard"] = folders
        if not as_json:
            out.print(f"Written to {tensorboard}; 'tensorboard --logdir {tensorboard}' shows it.")
    if mlflow:
        with reporting(quiet=as_json) as report:
            logged = trackers.to_mlflow(found, mlflow, experiment, weights, report)
        made["mlflow"] = [vars(one) for one in logged]
        if not as_json:
            for one in logged:
                how = "Continued" if one.again else "Logged"
                out.print(f"{how} {one.run_id}: {one.address}")
    if as_json:
        print_json(made)


def _as_models(
    found: list[Run], onnx: Path | None, bundle: Path | None, as_json: bool
) -> dict[str, Any]:
    if len(found) != 1:
        raise UsageError(f"--onnx and --bundle take one run, but {len(found)} are named.")
    from genrecore.inference import bundle as bundles
    from genrecore.inference import loaded as inference
    from genrecore.inference import onnx as onnx_export

    loaded = inference.load(found[0])
    made: dict[str, Any] = {}
    if onnx is not None:
        with reporting(quiet=as_json) as report:
            written = onnx_export.to_onnx(loaded, onnx, report)
        made["onnx"] = vars(written)
        if not as_json:
            out.print(
                f"Written to {onnx} ({written.n_bytes / 1e6:.1f} MB); of {written.n_checked} waves "
                f"no probability differs by more than {written.difference:.1e} from the original."
            )
    if bundle is not None:
        made["bundle"] = bundles.to_bundle(loaded, bundle)
        if not as_json:
            out.print(f"Written to {bundle}, with a model card.")
    return made
