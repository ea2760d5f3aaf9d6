"""`genrecore datasets download` and `genrecore datasets unpack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genrecore.cli.data import NAME, datasets_app
from genrecore.cli.output import JSON, out, print_json, reporting
from genrecore.data import download, uploads
from genrecore.data.datasets import DATASETS, known
from genrecore.errors import GenrecoreError, UsageError


@datasets_app.command("download")
def download_dataset(
    name: NAME,
    folder: Annotated[
        Path, typer.Option(help="Where it goes; remembered for training. Needs the space twice.")
    ],
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the archive beside what was unpacked from it.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Fetch a dataset that may be downloaded: the four sizes of FMA (7.2, 22, 93 and 879 GiB).
    Interrupted, the same command goes on where it broke off; checksums are compared before
    anything is unpacked."""
    entry = DATASETS[name]
    if entry.facts.not_fetched:
        raise GenrecoreError(
            f"{entry.facts.not_fetched}; it is mirrored at {entry.facts.mirror}: unpack it "
            f"yourself, then run 'genrecore datasets prepare {name} --folder'."
        )
    archives = entry.facts.archives
    if not archives:
        possible = ", ".join(other for other in DATASETS if DATASETS[other].facts.archives)
        raise UsageError(f"There is nothing to download for {name}; there is for {possible}.")
    folder = folder.expanduser().absolute()
    with reporting(quiet=as_json) as report:
        unpacked = [download.obtain(archive, folder, report, keep) for archive in archives]
    known.remember(name, {"folder": str(folder)})
    if as_json:
        print_json({"dataset": name, "folder": folder, "unpacked": unpacked})
        return
    out.print(f"{name} is in {folder} and ready to be prepared.", markup=False)


@datasets_app.command("unpack")
def unpack_archive(
    archive: Annotated[Path, typer.Argument(help="A zip or tar of genre folders.")],
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete the archive afterwards, taken or not.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Unpack an archive of genre folders with audio files or pictures into the cache folder, as
    uploads on the page Datasets are. Nothing is trusted: paths that lead elsewhere, links and
    archives that swell without measure are refused. The same archive is unpacked once."""
    archive = archive.expanduser().absolute()
    try:
        with reporting(quiet=as_json) as report:
            folder = uploads.unpack(archive, report)
    finally:
        if remove:
            uploads.discard(archive)
    if as_json:
        print_json({"archive": archive.name, "folder": folder})
        return
    out.print(f"{archive.name} is in {folder}. Prepare it:", markup=False)
    out.print(f"genrecore datasets prepare folder --folder {folder}", markup=False)
