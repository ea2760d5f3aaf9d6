"""Commands that do what a button does, as lists of words; `shlex.join` makes a text of one."""

from __future__ import annotations

import json
from os.path import isabs
from typing import Any

from genrecore.config.run import PARTS, Part, RunConfig, differences


def train_command(config: RunConfig, background: bool = True) -> list[str]:
    """The command that queues this configuration, or trains it in the foreground."""
    words = settings_words(config)
    if "--split" not in words:  # without it, the command takes the best split of the clips
        words += ["--split", config.split.name]
    return ["genrecore", "train", *(["--background"] if background else []), *words]


def settings_words(config: RunConfig) -> list[str]:
    """The flags that turn the default configuration into this one."""
    words: list[str] = []
    for dotted, value in differences(config).items():
        first, _, rest = dotted.partition(".")
        if first == "augment":
            words += ["--augment", ",".join(part["name"] for part in value)]
            for part in value:
                for option, setting in part["options"].items():
                    words += set_words(f"augment.{part['name']}.{option}", setting)
        elif first in PARTS and rest == "name":
            words += [f"--{first}", str(value)]
        elif dotted == "dataset.options.folder" and isabs(str(value)):
            words += ["--folder", str(value)]
        elif first in PARTS:
            words += set_words(f"{first}.{rest.removeprefix('options.')}", value)
        else:
            flag = f"--{(rest or first).replace('_', '-')}"
            words += [flag] if value is True else [flag, str(value)]
    return words


def dataset_words(dataset: Part) -> list[str]:
    """A dataset's options as flags of the commands of `genrecore datasets`."""
    words: list[str] = []
    for option, value in dataset.options.items():
        words += ["--folder", str(value)] if option == "folder" else set_words(option, value)
    return words


def set_words(dotted: str, value: Any) -> list[str]:
    """`--set dotted=value`."""
    return ["--set", f"{dotted}={value if isinstance(value, str) else json.dumps(value)}"]
