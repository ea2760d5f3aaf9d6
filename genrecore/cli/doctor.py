"""`genrecore doctor`: what this machine offers, what is missing, what the package is made of."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from genrecore import __version__
from genrecore.cli.options import JsonOption, switch
from genrecore.cli.output import out, print_json, print_rows, print_table, writing
from genrecore.errors import GenrecoreError
from genrecore.jobs import actions
from genrecore.store import disks, packages
from genrecore.store.clocks import boot_id
from genrecore.store.files import cache_dir
from genrecore.store.run import store_dir
from genrecore.training import hardware

commands = typer.Typer(rich_markup_mode=None)

_PACKAGES = (
    "torch", "torchvision", "torchaudio", "streamlit", "plotly", "pandas", "numpy", "pyarrow",
    "librosa", "soundfile", "soxr", "scikit-learn",
)  # fmt: skip


@commands.command()
def doctor(
    licences: Annotated[
        bool, switch("licences", "List the licences of all packages that this one needs, instead.")
    ] = False,
    sbom: Annotated[
        Path | None,
        Option(metavar="FILE", help="Write what is installed for it as a CycloneDX SBOM, instead."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What this machine offers: versions, devices, the precision and the reason for it, room, file
    locks and clocks of the disks, and what is missing. The exit code is 1 if something needed is
    missing."""
    if licences or sbom is not None:
        _bill(licences, sbom, as_json)
        return
    import torch

    chosen = hardware.choose()
    versions: dict[str, str | None] = {
        "genrecore": __version__,
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    folders = {"runs": store_dir(), "cache": cache_dir()}
    disk = {name: disks.examine(folder) for name, folder in folders.items()}
    missing = [f"The package {name} is not installed." for name, v in versions.items() if v is None]
    missing += [problem for examined in disk.values() for problem in examined.problems]
    missing += [
        f"{error} 'genrecore runs repair {error.file}' moves it aside."
        for error in actions.damaged_files()
    ]
    for package, need in (("torchvision", "0.26"), ("torchaudio", "2.11"), ("torch", "2.11")):
        version = versions[package]
        if version and not version.startswith(need):
            missing.append(f"{package} {version} was found; this package is built on {need}.")
    missing = list(dict.fromkeys(missing))  # both folders may lie in one
    ffmpeg, chromium = shutil.which("ffmpeg"), shutil.which("chromium")
    facts: dict[str, Any] = {
        "versions": versions,
        "devices": hardware.devices(),
        "device": chosen.device,
        "device_name": chosen.name,
        "precision": chosen.precision,
        "precision_reason": chosen.reason,
        "cuda": torch.version.cuda,
        "ffmpeg": ffmpeg,
        "chromium": chromium,
        "boot_id": boot_id(),
        "folders": {name: str(folder) for name, folder in folders.items()},
        "disk": {name: examined.as_dict() for name, examined in disk.items()},
        "missing": missing,
    }
    if as_json:
        print_json(facts)
    else:
        rows = [{"what": name, "found": version or "missing"} for name, version in versions.items()]
        rows += [
            {"what": "devices", "found": ", ".join(facts["devices"])},
            {"what": "a run would use", "found": f"{chosen.name}; {chosen.reason}"},
            {"what": "ffmpeg", "found": ffmpeg or "not found; not needed: av brings its decoders"},
            {"what": "chromium", "found": chromium or "not found; for browser tests and figures"},
            *(
                {"what": f"{name} folder", "found": f"{folders[name]} ({_in_words(examined)})"}
                for name, examined in disk.items()
            ),
        ]
        print_table(rows)
        for remark in dict.fromkeys(r for examined in disk.values() for r in examined.remarks):
            out.print(f"\n{remark}")
        out.print("\nNothing is missing." if not missing else "")
    if missing:
        raise GenrecoreError(" ".join(missing))


def _in_words(disk: disks.Disk) -> str:
    locks = {True: "file locks work", False: "no file locks", None: "cannot be written"}[disk.locks]
    return f"{disk.as_dict()['free_gb']} GB free, {locks}"


def _bill(licences: bool, sbom: Path | None, as_json: bool) -> None:
    needed = packages.needed()
    if sbom is not None:
        with writing(sbom):
            sbom.write_text(packages.cyclonedx(needed), encoding="utf-8")
        if not as_json:
            out.print(f"{len(needed)} packages written to {sbom}")
    if licences:
        rows = [{"package": p.name, "version": p.version, "licence": p.licence} for p in needed]
        print_rows(as_json, rows)
