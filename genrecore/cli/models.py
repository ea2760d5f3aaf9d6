"""`genrecore list` and `genrecore models`: all registered parts, and facts about each model."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from genrecore.cli.options import JsonOption, SetOption, add_group, settings, switch
from genrecore.cli.output import answer, out, print_json, print_table, reporting
from genrecore.config.registry import Entry, Registry
from genrecore.config.run import RunConfig
from genrecore.errors import UsageError
from genrecore.words import short_number, thousands

if TYPE_CHECKING:
    from genrecore.training.card import Card
    from genrecore.training.timing import Latency

commands = typer.Typer(rich_markup_mode=None)
group = add_group(commands, "models", "What each model is, how large it is, and how long it takes.")

NameArgument = Annotated[str, Argument(help="A model's name; see 'genrecore models list'.")]
InputOption = Annotated[
    str,
    Option(
        "--preset",
        help="The study whose input the sizes are for; by default the model's own study; "
        "'default' is the default input.",
    ),
]


@group.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """Every model with its size on the input of its study, or on the default one."""
    from genrecore.experiments import papers
    from genrecore.models import MODELS
    from genrecore.training import card as cards  # torch: not on the way to --help

    models = [cards.model_card(name, papers.model_config(name)) for name in MODELS]
    if as_json:
        print_json([card.as_dict() for card in models])
        return
    print_table(
        [
            {
                "name": card.name,
                "title": card.title,
                "year": card.year or "",
                "takes": ", ".join(card.accepts),
                "parameters": "depends on the data"
                if card.classical
                else short_number(card.n_parameters),
                "multiply–adds": short_number(card.n_multiply_adds),
                "on": card.input.preset or card.config.feature.name,
            }
            for card in models
        ]
    )


@group.command("show")
def show_model(
    name: NameArgument,
    preset: InputOption = "",
    set_: SetOption = None,
    measure: Annotated[bool, switch("measure", "First measure the time for a clip.")] = False,
    as_json: JsonOption = False,
) -> None:
    """The card of a model: idea, sizes, receptive field, layers, the sizes that studies print, and
    the command that trains it."""
    from genrecore.experiments import papers
    from genrecore.training import card as cards
    from genrecore.training import timing

    config = _config(name, preset, set_)
    card = cards.model_card(name, config)
    if measure:
        with reporting(quiet=as_json) as report:
            timing.measure_latency(name, config, report)
    measured = timing.newest_latency(name, config)
    if as_json:
        print_json({**card.as_dict(), "latency": _facts(measured)})
    else:
        _print(card, measured)
        if not preset and not set_ and (of_study := papers.row_of_model(card.name)):
            study, row = of_study
            out.print(
                f"It is the row {row} of {study.authors} under the honest protocol; as "
                f"published: genrecore papers run {study.name} --rows {row} --protocol published"
            )


@group.command("measure")
def measure_model(
    name: NameArgument,
    preset: InputOption = "",
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how long feature and network take for a clip of 30 s on this machine. The page Models
    and 'genrecore models show' then show it."""
    from genrecore.training import timing

    with reporting(quiet=as_json) as report:
        measured = timing.measure_latency(name, _config(name, preset, set_), report)
    answer(as_json, _facts(measured), measured.sentence)


def _config(name: str, preset: str, set_: list[str] | None) -> RunConfig:
    """The configuration with the chosen input, by default as the model's study trained it.

    Raises:
        UsageError: An unknown model, preset or field, or a --set without an equals sign.
    """
    from genrecore.experiments import papers
    from genrecore.training import model_inputs

    if not preset and not set_:
        return papers.model_config(name)
    values: dict[str, Any] = {"model": name}
    if preset == "default":
        values["feature"] = model_inputs.default_feature(name)
        return settings(None, values, set_)
    preset = preset or model_inputs.preset_of(name)
    if not preset:
        values["feature"] = model_inputs.default_feature(name)
    return settings(None, values, set_, preset)


def _facts(measured: Latency | None) -> dict[str, Any] | None:
    return None if measured is None else {**vars(measured), "sentence": measured.sentence}


def _print(card: Card, measured: Latency | None) -> None:
    from genrecore.training import card as cards

    out.print(card.title, style="bold")
    year = f" ({card.year})" if card.year else ""
    out.print(f"{card.idea}{year}".strip() or "–")
    out.print(f"Source: {card.source}")
    out.print(f"Takes {' or '.join(cards.KINDS.get(kind, kind) for kind in card.accepts)}.")
    out.print(f"Sizes for {card.input.words}; {card.input.n_genres} genres.")
    out.print("", *cards.sizes_in_words(card), *card.sees, sep="\n")
    if measured is not None:
        out.print(f"It takes {measured.sentence}")
    elif not card.classical:
        out.print("Its time is not measured yet; --measure measures it.")
    if card.layers:
        out.print()
        print_table(
            [
                {
                    "layer": layer.name,
                    "what": layer.what,
                    "shape": " × ".join(map(str, layer.shape)),
                    "parameters": thousands(layer.n_parameters),
                }
                for layer in card.layers
            ]
        )
    for size in card.published:
        out.print(
            f"\n{size.study} prints {thousands(size.n_printed)} parameters; ours has "
            f"{thousands(size.n_ours)} ({size.percent}), both for "
            f"{cards.shape_in_words(size.shape)} and {thousands(size.n_genres)} outputs. "
            f"{size.why}".rstrip()
        )
    if card.notes:
        out.print("", *(f"Note: {note}" for note in card.notes), sep="\n")
    out.print(f"\nTrain it: {card.command}")


WHAT = ("datasets", "splits", "features", "standardisers", "augmentations", "presets", "models",
        "metrics")  # fmt: skip


def registries() -> dict[str, Registry[Any]]:
    """The registries of all parts, by what is in them, in the order of `WHAT`."""
    from genrecore.augment import AUGMENTATIONS  # torch
    from genrecore.evaluation.metrics import METRICS
    from genrecore.features import PRESETS
    from genrecore.training.parts import REGISTRIES

    registries = (*REGISTRIES.values(), AUGMENTATIONS, PRESETS, METRICS)
    by_name = {f"{registry.noun}s": registry for registry in registries}
    return {name: by_name[name] for name in WHAT}


@commands.command("list")
def list_registered(
    what: Annotated[str, Argument(help=f"One of {', '.join(WHAT)}; by default all.")] = "",
    as_json: JsonOption = False,
) -> None:
    """All datasets, splits, features, augmentations, models and metrics with their options."""
    if what and what not in WHAT:
        raise UsageError(f"There is nothing called {what!r} to list; there are: {', '.join(WHAT)}.")
    chosen = {
        kind: {name: facts_of_entry(entry) for name, entry in registry.items()}
        for kind, registry in registries().items()
        if what in ("", kind)
    }
    if as_json:
        print_json(chosen)
        return
    for kind, entries in chosen.items():
        out.print(kind.capitalize(), style="bold")
        rows = [
            {
                "name": name,
                "title": facts["title"],
                "options": ", ".join(
                    f"{key}={value['default']}" if "default" in value else key
                    for key, value in facts["options"].items()
                ),
            }
            for name, facts in entries.items()
        ]
        print_table(rows)
        out.print()


def facts_of_entry(entry: Entry[Any]) -> dict[str, Any]:
    """Title, source, options (as a JSON schema) and the facts of its registry, as JSON has them."""
    facts = dataclasses.asdict(entry.facts)
    facts = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in facts.items()}
    schema = entry.options.model_json_schema(mode="serialization")
    return {
        "title": entry.title,
        "source": entry.source,
        "options": schema.get("properties", {}),
        **json.loads(json.dumps(facts, default=str)),
    }
