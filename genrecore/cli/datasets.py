"""`genrecore list` and `genrecore datasets`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from genrecore.cli.app import app
from genrecore.cli.output import JSON, out, plain, print_json, print_table, reporting
from genrecore.config import run as configuration
from genrecore.config.registry import Registry
from genrecore.config.run import Part, RunConfig
from genrecore.data import cached_results
from genrecore.data.datasets import DATASETS, known
from genrecore.errors import UsageError
from genrecore.evaluation import metrics
from genrecore.jobs import actions as jobs

datasets_app = typer.Typer(
    help="List datasets and prepare them for training.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(datasets_app, name="datasets")

NAME = Annotated[str, typer.Argument(help="A dataset's name; see 'genrecore datasets list'.")]
FOLDER = Annotated[
    Path | None,
    typer.Option("--folder", help="Where its files lie, if not where they lay last time."),
]
SET = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="An option, e.g. --set n_genres=4, or a field of a run's configuration, "
        "e.g. --set split.n_folds=3.",
    ),
]
SAMPLE_RATE_HZ = Annotated[
    int,
    typer.Option("--sample-rate-hz", help="Rate of the decoded audio: 16000, 22050 or 44100."),
]
CLIP_S = Annotated[
    float, typer.Option("--clip-s", help="Seconds taken from the middle of each clip.")
]

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


@app.command("list")
def list_registered(
    what: Annotated[str, typer.Argument(help=f"One of {', '.join(WHAT)}; by default all.")] = "",
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


@datasets_app.command("list")
def list_datasets(as_json: JSON = False) -> None:
    """The datasets genrecore can read, and where yours lie."""
    remembered = known.known()
    rows = [
        {
            "name": name,
            "title": DATASETS[name].title,
            "folder": remembered.get(name, {}).get("folder")
            or ("needs --folder" if DATASETS[name].facts.needs_folder else "built in"),
        }
        for name in DATASETS
    ]
    print_json(rows) if as_json else print_table(rows)


def asked_for(
    name: str,
    folder: Path | None,
    set_: list[str] | None,
    sample_rate_hz: int,
    clip_s: float,
    **more: Any,
) -> RunConfig:
    """The configuration that the flags of a command under `genrecore datasets` make.

    A folder that is not given is the remembered one.

    Raises:
        UsageError: An unknown field, a value out of range, or a --set without an equals sign.
    """
    values: dict[str, Any] = {"audio.sample_rate_hz": sample_rate_hz, "audio.clip_s": clip_s}
    values |= {key: value for key, value in more.items() if value is not None}
    for item in set_ or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"--set takes option=value, e.g. n_genres=4; found {item!r}.")
        # Without a dot it is the dataset's: the demo music has a seed of its own, for one.
        values[key if "." in key else f"dataset.{key}"] = value
    if folder is not None:
        values["dataset.folder"] = json.dumps(str(folder.expanduser().absolute()))
    base = RunConfig(dataset=known.with_known_folder(Part(name=name)))
    return configuration.with_values(base, values)


@datasets_app.command("prepare")
def prepare(
    name: NAME,
    folder: FOLDER = None,
    set_: SET = None,
    sample_rate_hz: SAMPLE_RATE_HZ = 22_050,
    clip_s: CLIP_S = 30.0,
    background: Annotated[
        bool, typer.Option("--background", help="Run it as a task of its own and return.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Read a dataset and decode its audio, so that training starts at once. Unusable files are
    named with their reason; the rest goes on. The folder is remembered for the next time."""
    from genrecore.data import prepare as preparation

    config = asked_for(name, folder, set_, sample_rate_hz, clip_s)
    checked = DATASETS[name].read_options(config.dataset.options, "dataset")
    if background:
        words = ["datasets", "prepare", name, "--sample-rate-hz", str(sample_rate_hz)]
        words += ["--clip-s", f"{clip_s:g}"]
        words += ["--folder", str(folder.expanduser().absolute())] if folder else []
        words += [word for item in set_ or [] for word in ("--set", item)]
        task = jobs.start_task(words, f"Preparing {name}")
        print_json({"task": task.task_id, "folder": str(task.folder)}) if as_json else out.print(
            f"Started as task {task.task_id}.", markup=False
        )
        return
    with reporting(quiet=as_json) as report:
        prepared = preparation.decode(config, report)
    if DATASETS[name].facts.needs_folder:
        known.remember(name, checked.model_dump(mode="json", exclude_defaults=True))
    facts = plain(preparation.summary(prepared))
    cached_results.keep("prepare", config, facts)
    if as_json:
        print_json({"dataset": name, **facts})
        return
    out.print(
        f"{name}: {facts['n_clips']} clips of {len(facts['clips_per_genre'])} genres, "
        + (f"{facts['minutes']} minutes, " if facts["minutes"] is not None else "")
        + f"{facts['n_artists']} known artists."
    )
    for skipped in facts["skipped"]:
        out.print(f"Left out {skipped['clip_id']}: {skipped['reason']}", markup=False)
