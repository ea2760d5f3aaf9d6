"""`genrecore cache`: lists and clears the cache folder."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Argument, Option

from genrecore.cli.options import JsonOption, add_group
from genrecore.cli.output import answer, out, print_json, print_table
from genrecore.store import cache
from genrecore.store.files import cache_dir
from genrecore.words import moment, size

commands = typer.Typer(rich_markup_mode=None)
group = add_group(
    commands, "cache", "See how much room decoded audio, features and demo music take; clear it."
)

KindArgument = Annotated[str, Argument(help=f"One of {', '.join(cache.KINDS)}; by default all.")]


@group.command("list")
def list_cached(kind: KindArgument = "", as_json: JsonOption = False) -> None:
    """Everything in the cache with its size, the largest first."""
    entries = cache.entries(kind)
    if as_json:
        print_json({"folder": cache_dir(), "entries": [vars(entry) for entry in entries]})
        return
    rows = [
        {
            "kind": entry.kind,
            "name": entry.name,
            "size": size(entry.n_bytes),
            "made": moment(entry.made),
            "what": entry.about,
        }
        for entry in entries
    ]
    print_table(rows, "The cache is empty.")
    out.print(f"\n{size(sum(entry.n_bytes for entry in entries))} in {cache_dir()}")


@group.command("clear")
def clear_cache(
    kind: KindArgument = "",
    name: Annotated[str, Option(help="Only the one of this name.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Clear the cache, all or one kind. Its content is computed again when needed; only uploads
    must be uploaded again, encoders fetched again, audits run and libraries classified again."""
    freed = cache.clear(kind, name)
    answer(as_json, {"freed_bytes": freed}, f"{size(freed)} are free again.")
