"""Encoders fetched by name from the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from genrecore.errors import GenrecoreError, UsageError, describe, optional_package
from genrecore.models.encoders.huggingface import FILES

SCHEME = "hf:"


def download(name: str, folder: Path) -> tuple[Path, str]:
    """Fetches a model's settings, safetensors weights and card; nothing else of it.

    Args:
        name: `hf:OWNER/NAME`, with `@REVISION` behind it where not the newest is meant.
        folder: An empty one.

    Returns:
        The folder that holds the files, and the name with the revision that was fetched.

    Raises:
        UsageError: It is no such name.
        GenrecoreError: The package that fetches is missing, or the model cannot be fetched.
    """
    package = optional_package("huggingface_hub", "encoders", f"Fetching {name}")
    model, _, revision = name.removeprefix(SCHEME).partition("@")
    owner, _, own_name = model.partition("/")
    if not owner or not own_name or "/" in own_name:
        raise UsageError(f"{name} is no name of the Hugging Face Hub; expected hf:OWNER/NAME.")
    try:
        api = package.HfApi()
        revision = api.model_info(model, revision=revision or None).sha
        api.snapshot_download(
            model,
            revision=revision,
            local_dir=folder / own_name,
            allow_patterns=[*FILES, "README.md"],
        )
    except Exception as error:  # of the network, in many classes
        reason = describe(error).rstrip(".")
        raise GenrecoreError(
            f"{name} cannot be fetched: {reason}. Where there is a network, run: hf download "
            f"{model} --local-dir FOLDER. Then bring the folder here: genrecore encoders add FOLDER"
        ) from None
    return folder / own_name, f"{SCHEME}{model}@{revision}"
