"""`genrecore cache`: what lies in the cache folder, and removing it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from genrecore.cli.app import app
from genrecore.cli.output import JSON, out, print_json, print_table
from genrecore.store import caches
from genrecore.store.files import cache_dir

cache_app = typer.Typer(
    help="See how much room decoded audio, features and made music take, and clear them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(cache_app, name="cache")

KIND = Annotated[str, typer.Argument(help=f"One of {', '.join(caches.KINDS)}; by default all.")]


@cache_app.command("list")
def list_cached(kind: KIND = "", as_json: JSON = False) -> None:
    """Everything in the cache with its size, the largest first."""
    found = caches.entries(kind)
    if as_json:
        print_json({"folder": cache_dir(), "entries": [vars(item) for item in found]})
        return
    print_table(
        [
            {
                "kind": item.kind,
                "name": item.name,
                "size": caches.size(item.n_bytes),
                "made": time.strftime("%Y-%m-%d %H:%M", time.localtime(item.made)),
                "what": item.about,
            }
            for item in found
        ],
        "The cache is empty.",
    )
    total = sum(item.n_bytes for item in found)
    out.print(f"\n{caches.size(total)} in {cache_dir()}", markup=False)


@cache_app.command("clear")
def clear_cache(
    kind: KIND = "",
    name: Annotated[str, typer.Option(help="Only the one of this name.")] = "",
    as_json: JSON = False,
) -> None:
    """Remove what the cache holds, all or of one kind. It is made anew when it is needed; only
    uploads have to be uploaded again, and audits asked for again."""
    freed = caches.clear(kind, name)
    print_json({"freed_bytes": freed}) if as_json else out.print(
        f"{caches.size(freed)} are free again."
    )
