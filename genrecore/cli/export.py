"""`genrecore export`: runs in the files of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from genrecore.cli.options import JsonOption, PrecisionOption
from genrecore.cli.output import out, print_json, reporting
from genrecore.errors import UsageError
from genrecore.store.runs import find_run
from genrecore.words import size

commands = typer.Typer(rich_markup_mode=None)


@commands.command("export")
def export_runs(
    names: Annotated[list[str], Argument(metavar="RUN…", help="Ids or parts of ids, or 'latest'.")],
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
        Option(metavar="FILE", help="Write one run as ONNX: waveform in, probabilities out."),
    ] = None,
    bundle: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="Write one run as a folder for others: weights, configuration, model card.",
        ),
    ] = None,
    precision: PrecisionOption = None,
    weights: Annotated[bool, Option(help="With --mlflow: whether to log the weights.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Write runs for other tools: settings, the numbers of every epoch, test scores. Of a run that
    still trains the finished epochs are written; exporting it again adds the new ones. Or write
    one trained run as a model to use elsewhere."""
    if tensorboard is None and not mlflow and onnx is None and bundle is None:
        raise UsageError("Give --tensorboard DIR, --mlflow URI, --onnx FILE or --bundle DIR.")
    if precision and onnx is None and bundle is None:
        raise UsageError("--precision belongs to --onnx and --bundle.")
    from genrecore.reporting import trackers

    runs = [find_run(name) for name in names]
    written: dict[str, Any] = {}

    def say(sentence: str) -> None:
        if not as_json:
            out.print(sentence)

    if onnx is not None or bundle is not None:
        if len(runs) != 1:
            raise UsageError(f"--onnx and --bundle take one run, but {len(runs)} are named.")
        from genrecore.inference import bundle as bundles
        from genrecore.inference import loaded as inference
        from genrecore.inference import onnx as onnx_export

        loaded = inference.load(runs[0])
        if onnx is not None:
            with reporting(quiet=as_json) as report:
                file = onnx_export.to_onnx(loaded, onnx, report, precision)
            written["onnx"] = vars(file)
            say(
                f"Written to {onnx} ({size(file.n_bytes)}); of {file.n_checked} waves no "
                f"probability differs by more than {file.difference:.1e} from the original."
            )
        if bundle is not None:
            written["bundle"] = bundles.to_bundle(loaded, bundle, precision)
            say(f"Written to {bundle}, with a model card.")
    if tensorboard is not None:
        written["tensorboard"] = trackers.to_tensorboard(runs, tensorboard)
        say(f"Written to {tensorboard}; 'tensorboard --logdir {tensorboard}' shows it.")
    if mlflow:
        with reporting(quiet=as_json) as report:
            logged = trackers.to_mlflow(runs, mlflow, experiment, weights, report)
        written["mlflow"] = [vars(entry) for entry in logged]
        for entry in logged:
            how = "Continued" if entry.again else "Logged"
            say(f"{how} {entry.run_id}: {entry.address}")
    for run in runs:
        for caveat in run.caveats:
            say(f"{run.run_id}: {caveat}")
    if as_json:
        print_json(written)
