"""`genrecore datasets write`: the demo music as files like GTZAN's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genrecore.cli.data import SET, datasets_app
from genrecore.cli.output import JSON, out, print_json, reporting
from genrecore.config.run import RunConfig, with_values
from genrecore.data.datasets import DATASETS, demo


@datasets_app.command("write")
def write(
    folder: Annotated[Path, typer.Argument(help="Where to; it is made if it is not there.")],
    set_: SET = None,
    as_json: JSON = False,
) -> None:
    """Write the demo music into a folder in all forms in which GTZAN is published: wav files, both
    tables of descriptors, and pictures. The dataset gtzan reads it from there."""
    values = dict(item.partition("=")[::2] for item in set_ or [])
    config = with_values(RunConfig(), {f"dataset.{key}": value for key, value in values.items()})
    options = DATASETS["demo"].read_options(config.dataset.options, "dataset")
    with reporting(quiet=as_json) as report:
        demo.write_as_gtzan(options, folder, report)
    place = folder.expanduser().absolute()
    if as_json:
        print_json({"folder": place})
    else:
        out.print(f"Written to {place}.", markup=False)
