"""`genrecore similar`: search by example, the clips that sound most like a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from genrecore.cli.options import FolderOption, JsonOption, folder_values
from genrecore.cli.output import err, out, print_json, print_table, records, reporting
from genrecore.config.dotted import read_assignments
from genrecore.config.run import Part, RunConfig, with_values
from genrecore.errors import UsageError
from genrecore.words import decimals, plural

if TYPE_CHECKING:
    import pandas as pd

    from genrecore.store.progress import Report

commands = typer.Typer(rich_markup_mode=None)


@commands.command("similar")
def find_similar(
    among: Annotated[str, Option("--in", help="A dataset's name, or a folder of music.")],
    clip: Annotated[
        Path | None,
        Argument(help="An audio file; without one, the embeddings of the clips are made ready."),
    ] = None,
    encoder: Annotated[str, Option(help="One that 'genrecore encoders list' shows.")] = "musicnn",
    run: Annotated[
        str,
        Option(
            help="A run whose embeddings are taken instead: its id, a part of it, 'latest', 'best'."
        ),
    ] = "",
    n: Annotated[int, Option("--n", min=1, help="How many clips.")] = 10,
    folder: FolderOption = None,
    set_: Annotated[
        list[str] | None, Option("--set", help="An option of the dataset, e.g. --set n_genres=4.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the clips that sound most like a recording, by the distance of embeddings; copies of the
    recording are marked. The embeddings of the clips are computed once and kept."""
    from genrecore.audio import decode
    from genrecore.inference import clip_embeddings, loaded, similar

    if clip:
        decode.inspect(clip)  # before hours of work on the others
    embedder = (
        clip_embeddings.by_run(loaded.load(run)) if run else clip_embeddings.by_encoder(encoder)
    )
    with reporting(quiet=as_json) as report:
        clips, notes = _clips(among, folder, set_, report)
        embedding, skipped = clip_embeddings.embed_clips(clips, embedder, report)
        nearest = similar.similar(clip, embedding, embedder, n) if clip else None
    facts = {"embedder": embedder.title, "n_clips": len(embedding.clips), "skipped": skipped}
    if as_json:
        columns = ["clip_id", "path", "genre", "artist", "distance", "how"]
        print_json(facts | ({} if nearest is None else {"clips": nearest[columns]}))
        return
    for note in (*notes, *(f"{item['clip_id']}: {item['reason']}" for item in skipped)):
        err.print(note)
    of_clips = f"{plural(len(embedding.clips), 'clip')} by {embedder.title}"
    if nearest is None:
        out.print(f"The embeddings of {of_clips} are ready.")
        return
    known = [name for name in ("genre", "artist") if nearest[name].notna().any()]
    rows = nearest[["clip_id", *known]].fillna("")
    rows["distance"] = nearest["distance"].map(lambda distance: decimals(distance, 3))
    if nearest["how"].any():
        rows["copy"] = nearest["how"]
    out.print(f"The nearest of {of_clips}; distance 0 is the same direction, 1 is unrelated.")
    print_table(records(rows))


def _clips(
    among: str, folder: Path | None, set_: list[str] | None, report: Report
) -> tuple[pd.DataFrame, list[str]]:
    """The clips of a dataset or of a folder, and sentences about the folder.

    Raises:
        UsageError: It is neither.
    """
    from genrecore.data import datasets
    from genrecore.data.datasets.remembered import with_remembered_folder
    from genrecore.inference.similar import folder_clips
    from genrecore.store import allowed

    if among in datasets.DATASETS:
        values = {f"dataset.{key}": v for key, v in read_assignments(set_, "n_genres=4").items()}
        part = with_remembered_folder(Part(name=among))
        config = with_values(RunConfig(dataset=part), values | folder_values(folder))
        return datasets.load(among, config.dataset.options, report), []
    path = allowed.expanded(among)
    allowed.refuse_outside(path)
    if not path.is_dir():
        raise UsageError(
            f"There is no folder {among}, and no dataset of that name; datasets are: "
            f"{', '.join(datasets.DATASETS)}."
        )
    return folder_clips(path, report)
