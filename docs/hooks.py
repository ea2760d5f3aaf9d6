"""The reference of the site, made from the code when the site is built; none of it is a file.

The command from its own parser, the configuration from its fields, the service from its description
of itself, and a page for every dataset, split, feature, augmentation, model, preset and metric from
the registries. mkdocs calls `on_files` (`hooks:` in mkdocs.yml).
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args, get_origin

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.core import TyperGroup
from typer.main import get_command

from genrecore.cli.app import app
from genrecore.cli.models import facts_of_entry, registries
from genrecore.config.registry import Entry, Registry
from genrecore.config.run import Part, RunConfig
from genrecore.evaluation import metrics
from genrecore.experiments import papers
from genrecore.inference import ensemble, service
from genrecore.models.encoders import PUBLISHED
from genrecore.store import packages
from genrecore.training import card as cards
from genrecore.words import decimals, thousands

ROOT = Path(__file__).resolve().parent.parent
INCLUDED = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "checkpoints/README.md": "reference/run-folder.md",
    "genrecore/data/tables/README.md": "reference/tables.md",
}
"""Files of the repository that are pages of the site, too."""
LINK = re.compile(r"\[(?P<words>[^\]]*)\]\((?!https?:|#)(?P<target>[^)]*)\)")
"""A link that leads to another file."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages, and names them in the navigation."""
    pages = {
        "reference/command.md": command_page(),
        "reference/configuration.md": configuration_page(),
        "reference/http.md": http_page(),
        "licences.md": licences_page(),
    } | {page: included(path) for path, page in INCLUDED.items()}
    chapters = []
    for what, registry in registries().items():
        own = dict(part_pages(what, registry))
        chapters.append({what.capitalize(): list(own)})
        pages |= own
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    for chapter in config.nav or []:
        if "Reference" in chapter:
            chapter["Reference"] += chapters
    return files


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; its cells are Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(map(_cell, row))} |\n" for row in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|") or " "


def text(words: str) -> str:
    """Words that are no Markdown and no HTML: `<name>` and `*` stay as they are."""
    return re.sub(r"([*_\[\]`])", r"\\\1", words.replace("<", "&lt;"))


def code(value: object) -> str:
    """A value as code."""
    return f"`{value}`"


def prose(docstring: str) -> str:
    """A docstring as Markdown, down to its first section of arguments."""
    cut = re.split(r"\n(?:Args|Attributes|Returns|Raises|Yields):\n", f"{docstring}\n")[0]
    return cut.strip().replace("<", "&lt;")


def included(path: str) -> str:
    """A file of the repository as a page; what it links to outside of the site is only named."""

    def within(link: re.Match[str]) -> str:
        target = INCLUDED.get(link["target"], link["target"].removeprefix("docs/"))
        is_page = target != link["target"] and "/" not in path
        return f"[{link['words']}]({target})" if is_page else link["words"]

    return LINK.sub(within, (ROOT / path).read_text(encoding="utf-8"))


# The command


def command_page() -> str:
    """All commands with their arguments and options."""
    root = get_command(app)
    context = root.make_context("genrecore", [], resilient_parsing=True)
    lines = [
        "# The command",
        f"{root.help}\n",
        "Every command explains itself with `--help`. Exit codes: 0 done; 1 failed, with one "
        "sentence (`genrecore --debug …` adds the traceback); 2 wrong usage; 141 the reader of a "
        "pipe went. With `--json`, standard output holds JSON and nothing else.\n",
    ]
    lines += _commands(root, context, "genrecore", 2)
    return "\n".join(lines)


def _commands(command: Any, context: Any, name: str, level: int) -> Iterator[str]:
    """A section for each command, in the order of help."""
    if isinstance(command, TyperGroup):
        if level > 2:
            yield f"{'#' * (level - 1)} `{name}`\n\n{text(command.help or '')}\n"
        for word in command.list_commands(context):
            child = command.get_command(context, word)
            inner = type(context)(child, info_name=word, parent=context)
            yield from _commands(child, inner, f"{name} {word}", level + 1)
        return
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and not record[0].startswith("-h,"):
            rows.append((code(record[0]), text(record[1])))
    lines = [
        f"{'#' * max(2, level - 1)} `{name}`\n",
        f"{text(inspect.cleandoc(command.help or ''))}\n",
        f"```text\n{usage}\n```\n",
        table(("option", "meaning"), rows) if rows else "",
    ]
    yield "\n".join(lines)


# The configuration


def configuration_page() -> str:
    """Every field of a run's configuration."""
    lines = [
        "# The configuration",
        f"{inspect.cleandoc(RunConfig.__doc__ or '')} It is `config.json` of a run's folder; "
        "`genrecore train --config FILE` reads one. Each field is a flag of `genrecore train` by "
        "its last name (`training.batch_size` is `--batch-size`), and `--set NAME=VALUE` sets any "
        "field and any option of a part: `--set feature.n_mels=64`. In Python, `with_values` of "
        "`genrecore.config.run` does the same.\n",
        "A *part* is a name with options of its own: [datasets](datasets/index.md), "
        "[splits](splits/index.md), [features](features/index.md), "
        "[standardisers](standardisers/index.md), [augmentations](augmentations/index.md), "
        "[models](models/index.md).\n",
        "A default never changes, so that old configurations mean what they meant.\n",
        "## A run\n",
        _fields(RunConfig),
    ]
    for name, info in RunConfig.model_fields.items():
        group = info.annotation
        if isinstance(group, type) and issubclass(group, BaseModel) and group is not Part:
            lines += [f"## `{name}`: {info.title}\n", inspect.cleandoc(group.__doc__ or ""), ""]
            lines += [_fields(group, f"{name}.")]
    return "\n".join(lines)


def _fields(model: type[BaseModel], prefix: str = "") -> str:
    rows = []
    for name, info in model.model_fields.items():
        kind = info.annotation
        is_group = isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not Part
        if not is_group:
            extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
            meaning = f"{info.title}. {info.description or ''}"
            meaning += f" 0: {extra['zero']}." if "zero" in extra else ""
            rows.append((code(prefix + name), _kind(info), _default(info.default), text(meaning)))
    return table(("field", "type", "default", "meaning"), rows)


def _kind(info: FieldInfo) -> str:
    kind: Any = info.annotation
    if kind is Part:
        return "part"
    if kind == tuple[Part, ...]:
        return "parts"
    choices = metrics.choices(info) or (get_args(kind) if "Literal" in str(kind) else ())
    if choices:
        return ", ".join(code(choice) for choice in choices)
    name = {bool: "yes or no", int: "whole number", float: "number", str: "text"}.get(kind)
    if name is None:
        name = f"list of {get_origin(kind)}" if get_origin(kind) else str(kind)
    limits = {
        sign: getattr(item, bound)
        for item in info.metadata
        for bound, sign in {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}.items()
        if getattr(item, bound, None) is not None
    }
    return ", ".join([name, *(f"{sign} {thousands(n) if isinstance(n, int) else f'{n:g}'}"
                              for sign, n in limits.items())])  # fmt: skip


def _default(value: Any) -> str:
    if isinstance(value, Part):
        return code(value.name)
    return "" if value in ("", ()) else code(json.dumps(value, ensure_ascii=False, default=str))


# The service


def http_page() -> str:
    """The HTTP service, by its own description, as a run on demo music has it."""
    run = next((ROOT / "tests/store/old_runs").glob("*-cnn-*"))
    with TemporaryDirectory() as folder:  # a run that is loaded keeps its temperature beside it
        runs = ensemble.load([shutil.copytree(run, Path(folder) / run.name)])
        described = service.app(runs, service.ServiceLimits()).openapi()
    schemas = described["components"]["schemas"]
    lines = [
        "# The HTTP service",
        "`genrecore serve --run RUN` answers these requests. It describes itself at "
        "`/openapi.json`; where a token is set, every request but `/healthz` needs it "
        "(`Authorization: Bearer …`).\n",
    ]
    for path, methods in described["paths"].items():
        for method, facts in methods.items():
            about = facts.get("description", "").replace(
                f"{run.name} classify it", "the run or runs of the service classify it"
            )
            lines += [f"## `{method.upper()} {path}`\n", text(about), ""]
            parameters = [
                (code(p["name"]), _schema(p["schema"]), code(json.dumps(p["schema"]["default"]))
                 if p["schema"].get("default") not in (None, "") else "")
                for p in facts.get("parameters", [])
            ]  # fmt: skip
            if parameters:
                lines += [table(("parameter", "type", "default"), parameters)]
            answers = []
            for status, answer in facts["responses"].items():
                schema = answer["content"]["application/json"]["schema"]
                name = schema.get("$ref", "").rpartition("/")[2]
                link = f"[{name}](#{name.lower()})" if name else "JSON"
                answers.append((status, answer["description"], link))
            lines += [table(("status", "meaning", "holds"), answers)]
    for name, schema in schemas.items():
        rows = [
            (code(field), _schema(facts), "always" if field in schema.get("required", ()) else
             "where it was asked for, or there is any", text(facts.get("description", "")))
            for field, facts in schema["properties"].items()
        ]  # fmt: skip
        lines += [f"## {name}\n", table(("field", "type", "there", "meaning"), rows)]
    return "\n".join(lines)


def _schema(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_schema(part) for part in schema["anyOf"])
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return "a genre"
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_schema(schema['items'])}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"{_schema(inner)} by name" if isinstance(inner, dict) else "object"
    ends = [schema.get("minimum"), schema.get("maximum")]
    return kind if None in ends else f"{kind}, {ends[0]:g} to {ends[1]:g}"


# A page for each part


def part_pages(what: str, registry: Registry[Any]) -> Iterator[tuple[str, str]]:
    """The pages of a registry: a table of all its parts, and one page each."""
    folder = f"reference/{what}"
    rows = [
        (f"[`{name}`]({name}.md)", text(entry.title), text(entry.source))
        for name, entry in registry.items()
    ]
    yield f"{folder}/index.md", "\n".join(
        [f"# {what.capitalize()}\n", f"`genrecore list {what}` prints them.\n",
         table(("name", "title", "source"), rows)]
    )  # fmt: skip
    for name, entry in registry.items():
        lines = [f"# {text(entry.title)}\n", f"{registry.noun.capitalize()} `{name}`.", ""]
        if callable(entry.thing) and (entry.thing.__doc__ or what != "presets"):
            lines += [prose(inspect.getdoc(entry.thing) or ""), ""]
        if entry.source:
            lines += [f"**Source:** {text(entry.source)}\n"]
        lines += [*SAYS.get(what, _facts)(entry), ""]
        lines += _options(what, entry)
        yield f"{folder}/{name}.md", "\n".join(lines)


def _options(what: str, entry: Entry[Any]) -> list[str]:
    """The options of a part, and how a command sets one."""
    fields = entry.options.model_fields
    if not fields:
        return []
    place = SET.get(what)
    example = next(iter(fields))
    how = f"`--set {place.format(name=entry.name)}.{example}=VALUE` sets one.\n" if place else ""
    return ["## Options\n", how, _fields(entry.options)]


SET = {
    "datasets": "dataset",
    "splits": "split",
    "features": "feature",
    "standardisers": "standardise",
    "augmentations": "augment.{name}",
    "models": "model",
}
"""The field of a configuration that holds a part of each kind."""


def _facts(entry: Entry[Any]) -> list[str]:
    """What a registry states of each of its entries, where it says something."""
    facts = facts_of_entry(entry)
    rows = [
        (key.replace("_", " "), text(_words(value)))
        for key, value in facts.items()
        if key not in ("title", "source", "options") and value not in (None, "", [], 0, False)
        and not str(value).startswith("<function")
    ]  # fmt: skip
    return [table(("what", "is"), rows)] if rows else []


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_words(part) for part in value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_words(part)}" for key, part in value.items())
    return str(value)


def _dataset(entry: Entry[Any]) -> list[str]:
    facts = entry.facts
    lines = []
    if isinstance(facts.n_genres, int) and facts.n_genres:
        clips = f", {thousands(facts.n_clips)} clips" if facts.n_clips else ""
        lines += [f"{facts.n_genres} genres{clips}.\n"]
    if facts.archives:
        lines += [
            f"`genrecore datasets download {entry.name} --folder DIR` fetches it: "
            f"{decimals(facts.download_gib)} GiB.\n"
        ]
    if facts.not_fetched:
        lines += [f"{facts.not_fetched}. A mirror: {facts.mirror}\n"]
    return lines


def _preset(entry: Entry[Any]) -> list[str]:
    rows = [(code(key), code(_words(value))) for key, value in entry.thing.items()]
    shape = " × ".join(map(str, entry.facts.shape))
    lines = [f"`genrecore train --preset {entry.name}` begins with these values.\n"]
    lines += [f"What a network gets: {shape}.\n"] if shape else []
    return [*lines, table(("field", "value"), rows), *(f"- {text(note)}" for note in
                                                       entry.facts.notes)]  # fmt: skip


def _model(entry: Entry[Any]) -> list[str]:
    card = cards.model_card(entry.name, papers.model_config(entry.name))
    year = f" ({card.year})" if card.year else ""
    lines = [f"{text(card.idea)}{year}\n"] if card.idea else []
    kinds = " or ".join(cards.KINDS.get(kind, kind) for kind in card.accepts)
    lines += [f"It takes {kinds}. Sizes for {text(card.input.words)}; {card.input.n_genres} "
              "genres.\n"]  # fmt: skip
    lines += [f"- {text(sentence)}" for sentence in (*cards.sizes_in_words(card), *card.sees)]
    lines += ["\nTrain it:\n", f"```text\n{card.command}\n```\n"]
    if card.layers:
        lines += [
            "## Layers\n",
            table(
                ("layer", "what", "shape", "parameters"),
                [
                    (code(layer.name), text(layer.what), " × ".join(map(str, layer.shape)),
                     thousands(layer.n_parameters))
                    for layer in card.layers
                ],
            ),
        ]  # fmt: skip
    for size in card.published:
        lines += [
            f"{text(size.study)} prints {thousands(size.n_printed)} parameters; ours has "
            f"{thousands(size.n_ours)} ({size.percent}), both for "
            f"{cards.shape_in_words(size.shape)} and {thousands(size.n_genres)} outputs. "
            f"{text(size.why)}\n"
        ]
    return [*lines, *(f"- {text(note)}" for note in card.notes)]


SAYS: dict[str, Callable[[Entry[Any]], list[str]]] = {
    "datasets": _dataset,
    "presets": _preset,
    "models": _model,
}
"""What is said of the parts of a kind, where it is more than the facts of their registry."""


# Licences


def licences_page() -> str:
    """Licences of packages, datasets and encoders."""
    datasets = registries()["datasets"]
    return "\n".join(
        [
            "# Licences\n",
            "genrecore itself is under the MIT licence.\n",
            "## Datasets\n",
            "genrecore ships no music but what it makes itself.\n",
            table(
                ("dataset", "source and licence"),
                [
                    (f"[{entry.title}](reference/datasets/{name}.md)",
                     text(f"{entry.source}. {entry.facts.not_fetched}"))
                    for name, entry in datasets.items()
                ],
            ),
            "## Encoders\n",
            "Their weights are not shipped either. A licence that forbids commercial use is "
            "shown in red wherever the encoder is; one whose licence is not known is not passed "
            "on.\n",
            table(
                ("encoder", "by", "licence", "trained on"),
                [
                    (f"`{name}`", text(entry.thing.made_by), entry.thing.licence_note,
                     text(entry.thing.trained_on))
                    for name, entry in PUBLISHED.items()
                ],
            ),
            "## Packages\n",
            "What was installed for genrecore where this page was made, its extras included; "
            "`genrecore doctor --licences` lists what is installed for yours, and `--sbom FILE` "
            "writes a CycloneDX bill of materials.\n",
            table(
                ("package", "version", "licence"),
                [(p.name, p.version, p.licence) for p in packages.needed()],
            ),
        ]
    )  # fmt: skip
