"""Options and arguments that several commands share, and the configuration of a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from genrecore.config.dotted import read_assignments
from genrecore.config.run import RunConfig, read_config_file, with_values

JsonOption = Annotated[bool, Option("--json", help="Print JSON for scripts instead of text.")]
RunArgument = Annotated[str, Argument(help="A run's id, a part of it, its name, or 'latest'.")]
RunsOption = Annotated[
    list[str],
    Option(
        "--run",
        help="A finished run: its id, a part of it, 'latest', or 'best' for the most accurate "
        "without a badge. Several: averaged.",
    ),
]
PrecisionOption = Annotated[
    float | None,
    Option(
        min=0.5,
        max=0.999,
        help="Share of the answers that shall be right, such as 0.9. Where that cannot be "
        "promised, the answer is 'not sure'.",
    ),
]
BEST = ["best"]
"""Where no run is named."""
ConfigOption = Annotated[
    Path | None, Option("--config", help="A configuration in JSON to start from.")
]
SetOption = Annotated[
    list[str] | None, Option("--set", help="An option of a part, e.g. --set feature.n_mels=64.")
]
PresetOption = Annotated[
    str, Option(help="The input of a study to start from; see 'genrecore list'.")
]
FolderOption = Annotated[
    Path | None, Option(help="The folder of the dataset's files; by default the last one used.")
]
BackgroundOption = Annotated[
    bool, Option("--background", help="Start the work in the background and return at once.")
]
OnOption = Annotated[
    str | None,
    Option(
        "--on",
        help="Where it is carried out: local, or slurm:NAME; see 'genrecore cluster profiles'.",
    ),
]
PlacesOption = Annotated[
    list[str] | None,
    Option(
        "--on",
        help="Where runs are carried out: local, or slurm:NAME. May be given several times: then "
        "runs are dealt to these places in turn.",
    ),
]
DryRunOption = Annotated[
    bool, Option("--dry-run", help="Show the runs and the time they take; queue none.")
]
YesOption = Annotated[bool, Option("--yes", "-y", help="Do not ask before queueing.")]


def add_group(commands: typer.Typer, name: str, help: str) -> typer.Typer:
    """A group of commands: `genrecore NAME …`."""
    group = typer.Typer(help=help, no_args_is_help=True, rich_markup_mode=None)
    commands.add_typer(group, name=name)
    return group


def switch(name: str, help: str) -> Any:
    """An option without a value: `--name`, and no `--no-name`."""
    return Option(f"--{name}", help=help)


def folder_values(folder: Path | None) -> dict[str, str]:
    """The dataset's folder as a dotted field; nothing where none is given."""
    if folder is None:
        return {}
    # As JSON, so that a name is never taken for a number.
    return {"dataset.folder": json.dumps(str(folder.expanduser().absolute()))}


def settings(
    config: Path | None,
    values: dict[str, Any],
    set_: list[str] | None,
    preset: str = "",
    split: str = "",
    folder: Path | None = None,
) -> RunConfig:
    """The configuration of a command: defaults, then --config, --preset, then flags and --set.

    With `split`, that is the split where none of these names one, nor an option of one.

    Raises:
        UsageError: An unknown field or preset, a value out of range, or a --set without an equals
            sign.
    """
    base = read_config_file(config) if config else RunConfig()
    if preset:
        from genrecore.features import PRESETS  # torch: not on the way to --help

        values = PRESETS[preset].thing | values
    values = values | folder_values(folder) | read_assignments(set_, "feature.n_mels=64")
    named = {dotted.partition(".")[0] for dotted in values} | base.model_fields_set
    if split and "split" not in named:
        values["split"] = split
    return with_values(base, values)
