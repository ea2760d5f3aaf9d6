"""`genrecore cache`: what lies in the cache folder, and removing it."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Argument, Option

from genrecore.cli.output import JSON, out, print_json, print_table
from genrecore.store import cache
from genrecore.store.files import cache_dir
from genrecore.words import moment, size

commands = typer.Typer(rich_markup_mode=None)

cache_app = typer.Typer(
    help="See how much room decoded audio, features and made music take, and clear them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
commands.add_typer(cache_app, name="cache")

KIND = Annotated[str, Argument(help=f"One of {', '.join(cache.KINDS)}; by default all.")]


@cache_app.command("list")
def list_cached(kind: KIND = "", as_json: JSON = False) -> None:
    """Everything in the cache with its size, the largest first."""
    entries = cache.entries(kind)
    if as_json:
        print_json({"folder": cache_dir(), "entries": [vars(entry) for entry in entries]})
        return
    print_table(
        [
            {
                "kind": entry.kind,
                "name": entry.name,
                "size": size(entry.n_bytes),
                "made": moment(entry.made),
                "what": entry.about,
            }
            for entry in entries
        ],
        "The cache is empty.",
    )
    total = sum(entry.n_bytes for entry in entries)
    out.print(f"\n{size(total)} in {cache_dir()}")


@cache_app.command("clear")
def clear_cache(
    kind: KIND = "",
    name: Annotated[str, Option(help="Only the one of this name.")] = "",
    as_json: JSON = False,
) -> None:
    """Remove what the cache holds, all or of one kind. It is made anew when it is needed; only
    uploads have to be uploaded again, and audits asked for again."""
    freed = cache.clear(kind, name)
    print_json({"freed_bytes": freed}) if as_json else out.print(f"{size(freed)} are free again.")
