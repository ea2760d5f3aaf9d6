"""`genrecore list` and `genrecore models`: what can be chosen, and what each model is."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from genrecore.cli.output import JSON, out, print_json, print_table, reporting
from genrecore.cli.options import SET, settings
from genrecore.config.registry import Registry
from genrecore.config.run import RunConfig
from genrecore.errors import UsageError
from genrecore.evaluation import metrics

if TYPE_CHECKING:
    from genrecore.training.card import Card
    from genrecore.training.latency import Latency

commands = typer.Typer(rich_markup_mode=None)


models_app = typer.Typer(
    help="What each model is, how large it is, and how long it takes.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
commands.add_typer(models_app, name="models")

NAME = Annotated[str, Argument(help="A model's name; see 'genrecore models list'.")]
PRESET = Annotated[
    str,
    Option(
        "--preset",
        help="The input of a study for which sizes are given; by default of the model's own, and "
        "'default' is none.",
    ),
]


@models_app.command("list")
def list_models(as_json: JSON = False) -> None:
    """Every model with its size on the input of its study, or on the default one."""
    from genrecore.models import MODELS
    from genrecore.training import card as cards  # torch: not on the way to --help

    found = [cards.card(name) for name in MODELS]
    if as_json:
        print_json([card.as_dict() for card in found])
        return
    print_table(
        [
            {
                "name": card.name,
                "title": card.title,
                "year": card.year or "",
                "takes": ", ".join(card.accepts),
                "parameters": _parameters(card),
                "multiply–adds": cards.counted(card.n_multiply_adds),
                "on": card.input.preset or card.config.feature.name,
            }
            for card in found
        ]
    )


@models_app.command("show")
def show_model(
    name: NAME,
    preset: PRESET = "",
    set_: SET = None,
    measure: Annotated[
        bool, Option("--measure", help="Measure how long a clip takes on this machine.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """The card of a model: idea, sizes, what it sees of the sound, its layers, what studies print
    of it, and the command that trains it."""
    from genrecore.training import card as cards
    from genrecore.training import latency

    config = _config(name, preset, set_)
    card = cards.card(name, config)
    if measure:
        with reporting(quiet=as_json) as report:
            latency.measure(name, config, report)
    known = latency.newest(name, config)
    if as_json:
        print_json({**card.as_dict(), "latency": _facts(known)})
    else:
        _print(card, known)


@models_app.command("measure")
def measure_model(name: NAME, preset: PRESET = "", set_: SET = None, as_json: JSON = False) -> None:
    """Measure how long feature and network take for a clip of 30 s on this machine. The page Models
    and 'genrecore models show' know it from then on."""
    from genrecore.training import latency

    with reporting(quiet=as_json) as report:
        found = latency.measure(name, _config(name, preset, set_), report)
    print_json(_facts(found)) if as_json else out.print(found.sentence)


def _config(name: str, preset: str, set_: list[str] | None) -> RunConfig | None:
    """The input asked for; None for the study's own.

    Raises:
        UsageError: An unknown model, preset or field, or a --set without an equals sign.
    """
    from genrecore.training import model_inputs

    if not preset and not set_:
        return None
    values: dict[str, Any] = {"model": name}
    if preset == "default":
        values["feature"] = model_inputs.default_feature(name)
        return settings(None, values, set_)
    preset = preset or model_inputs.preset_of(name)
    if not preset:
        values["feature"] = model_inputs.default_feature(name)
    return settings(None, values, set_, preset)


def _facts(found: Latency | None) -> dict[str, Any] | None:
    return None if found is None else {**vars(found), "sentence": found.sentence}


def _parameters(card: Card) -> str:
    from genrecore.training import card as cards

    return "depends on the data" if card.classical else cards.counted(card.n_parameters)


def _print(card: Card, known: Latency | None) -> None:
    from genrecore.training import card as cards
    from genrecore.words import thousands

    out.print(card.title, style="bold")
    year = f" ({card.year})" if card.year else ""
    out.print(f"{card.idea}{year}".strip() or "–")
    out.print(f"Source: {card.source}")
    out.print(f"Takes {' or '.join(cards.KINDS.get(kind, kind) for kind in card.accepts)}.")
    out.print(f"Sizes for {card.input.words}; {card.input.n_genres} genres.")
    out.print()
    for sentence in cards.sizes_in_words(card):
        out.print(sentence)
    for sentence in card.sees:
        out.print(sentence)
    if known is not None:
        out.print(f"It takes {known.sentence}")
    elif not card.classical:
        out.print("Not measured here yet; --measure does so.")
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
    for one in card.published:
        out.print()
        out.print(
            f"{one.study} prints {thousands(one.n_printed)} parameters; ours has "
            f"{thousands(one.n_ours)} ({one.percent}), both for "
            f"{cards.shape_in_words(one.shape)} and {thousands(one.n_genres)} outputs. "
            f"{one.why}".strip()
        )
    if card.notes:
        out.print()
    for note in card.notes:
        out.print(f"Note: {note}")
    out.print(f"\nTrain it: {card.command}")


WHAT = ("datasets", "splits", "features", "standardisers", "augmentations", "presets", "models",
        "metrics")  # fmt: skip


def _registries() -> dict[str, Registry[Any]]:
    from genrecore.augment import AUGMENTATIONS  # torch
    from genrecore.features import PRESETS
    from genrecore.training.parts import REGISTRIES

    known: dict[str, Registry[Any]] = {
        "augmentations": AUGMENTATIONS,
        "presets": PRESETS,
        "metrics": metrics.METRICS,
    }
    known |= {f"{registry.what}s": registry for registry in REGISTRIES.values()}
    return {name: known[name] for name in WHAT}


@commands.command("list")
def list_registered(
    what: Annotated[str, Argument(help=f"One of {', '.join(WHAT)}; by default all.")] = "",
    as_json: JSON = False,
) -> None:
    """Everything that can be chosen: datasets, splits, features, augmentations, models, metrics,
    with options."""
    if what and what not in WHAT:
        raise UsageError(f"There is nothing called {what!r} to list; there are: {', '.join(WHAT)}.")
    chosen = {name: reg for name, reg in _registries().items() if what in ("", name)}
    if as_json:
        print_json(
            {
                kind: {name: _entry(registry, name) for name in registry}
                for kind, registry in chosen.items()
            }
        )
        return
    for kind, registry in chosen.items():
        out.print(kind.capitalize(), style="bold")
        print_table(
            [
                {
                    "name": name,
                    "title": registry[name].title,
                    "options": ", ".join(
                        f"{key}={value['default']}" if "default" in value else key
                        for key, value in _entry(registry, name)["options"].items()
                    ),
                }
                for name in registry
            ]
        )
        out.print()


def _entry(registry: Registry[Any], name: str) -> dict[str, Any]:
    entry = registry[name]
    facts = dataclasses.asdict(entry.facts)
    facts = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in facts.items()}
    schema = entry.options.model_json_schema(mode="serialization")
    return {
        "title": entry.title,
        "source": entry.source,
        "options": schema.get("properties", {}),
        **json.loads(json.dumps(facts, default=str)),
    }
