"""The configuration that the flags of a command make."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Option

from genrecore.config import run as configuration
from genrecore.config.dotted import read_assignments
from genrecore.config.run import RunConfig

CONFIG = Annotated[Path | None, Option("--config", help="A configuration in JSON to start from.")]
SET = Annotated[
    list[str] | None, Option("--set", help="An option of a part, e.g. --set feature.n_mels=64.")
]
PRESET = Annotated[
    str, Option("--preset", help="The input of a study to start from; see 'genrecore list'.")
]


def settings(
    config: Path | None, values: dict[str, Any], set_: list[str] | None, preset: str = ""
) -> RunConfig:
    """The configuration of a command: defaults, then --config, --preset, then flags and --set.

    Raises:
        UsageError: An unknown field or preset, a value out of range, or a --set without an equals
            sign.
    """
    start = configuration.read_config_file(config) if config else RunConfig()
    if preset:
        from genrecore.features import PRESETS

        values = PRESETS[preset].thing | values
    values |= read_assignments(set_, "feature.n_mels=64")
    return configuration.with_values(start, values)
