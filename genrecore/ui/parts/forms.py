"""The form of a run, built from `RunConfig`'s fields and the registries' option classes.

A new field or a newly registered part appears here by itself: its title is the label, its
description the help, its range the limits. Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from genrecore.augment import AUGMENTATIONS
from genrecore.config.registry import Registry
from genrecore.config.run import Part, RunConfig
from genrecore.data.datasets import DATASETS, known
from genrecore.errors import UsageError
from genrecore.features import FEATURES, PRESETS
from genrecore.models import MODELS
from genrecore.training.parts import REGISTRIES, ResolvedConfig, augments, fits, takes
from genrecore.ui.parts import fields
from genrecore.ui.parts.choices import choose, choose_many, choose_one, chosen

# What stands open; everything else is folded away until it is wanted.
_OPEN = ("training.epochs", "training.batch_size", "training.lr")
# Which fold of the form a field of the configuration belongs to; a new one joins the last.
_FOLD = {
    "genres": "data",
    "allow_leaks": "data",
    "rehearsal": "data",
    "audio": "data",
    "split_seed": "data",
    "fold": "data",
    "segments": "model",
    "standardise_on": "model",
}


def preset_part() -> None:
    """Offers the inputs of the studies: choosing one fills the form in, and its notes are shown."""
    titles = {"": "None", **{name: entry.title for name, entry in PRESETS.items()}}
    st.selectbox(
        "Start from the input of a study",
        list(titles),
        index=list(titles).index(chosen("preset")) if chosen("preset") in titles else 0,
        format_func=titles.__getitem__,
        key="preset",
        on_change=_fill_in,
        help="Fills in dataset, audio, segments, feature and standardisation as the study had "
        "them; everything can still be changed.",
    )
    notes = PRESETS[chosen("preset")].facts.notes if chosen("preset") in PRESETS else ()
    if notes:
        with st.expander("What the study leaves open, and what is chosen here"):
            st.markdown("\n".join(f"- {note}" for note in notes))


def _fill_in() -> None:
    """Writes a preset's values into the address, where the fields read them."""
    picked = str(st.session_state.get("preset") or "")
    choose("preset", picked)
    fill_in(PRESETS[picked].thing if picked else {})


def fill_in(values: Mapping[str, Any]) -> None:
    """Writes dotted values into the address, where the fields read them; an option of a part needs
    the part's name among them."""
    for dotted, value in values.items():
        part, _, option = dotted.partition(".")
        choose(f"{values[part]}.{option}" if part in REGISTRIES and option else dotted, str(value))


def varying() -> dict[str, str]:
    """Every field of a run that takes a value, by dotted name, with its title; options of parts are
    those of the parts that the address chooses, of models all."""
    titles = {dotted: info.title or dotted for dotted, info in _flat_fields(RunConfig).items()}
    for part, registry in REGISTRIES.items():
        titles[part] = RunConfig.model_fields[part].title or part
        default = getattr(RunConfig(), part).name
        names = list(registry) if part == "model" else [chosen(part) or default]
        for name in names:
            if name in registry:
                for key, info in registry[name].options.model_fields.items():
                    words = info.title or key.replace("_", " ").capitalize()
                    titles[f"{part}.{key}"] = f"{titles[part]}: {words}"
    return titles | {"augment": RunConfig.model_fields["augment"].title or "augment"}


def data_part(base: RunConfig) -> dict[str, Any]:
    """Dataset, split and what belongs to them, as dotted values."""
    left, right = st.columns(2, gap="medium")
    with left:
        values = _name("dataset", base, "Dataset")
    with right:
        values |= _name("split", base, "Split")
    dataset, split = values["dataset"], values["split"]
    st.caption(_about(DATASETS, dataset))
    needed = _needed(DATASETS, dataset)
    values |= _options("dataset", dataset, base, only=needed)
    with st.expander("More about the data", icon=":material/tune:"):
        values |= _options("dataset", dataset, base, leave_out=needed)
        values |= _options("split", split, base)
        values |= _fold("data", base)
    return values


def model_part(base: RunConfig, data: Mapping[str, Any]) -> dict[str, Any]:
    """Feature, model and what belongs to them, as dotted values.

    Args:
        base: What the form starts from.
        data: What `data_part` gave: only features of what the dataset gives are offered.
    """
    medium = _medium(data)
    fitting = [name for name in FEATURES if takes(name, medium)]
    left, right = st.columns(2, gap="medium")
    with left:
        values = _name("feature", base, "Feature", fitting)
        st.caption(_about(FEATURES, values["feature"]))
    feature = values["feature"]
    reasons = {name: fits(feature, name) for name in MODELS}
    with right:
        fitting = [name for name, reason in reasons.items() if not reason]
        if not fitting:
            st.error("No model takes this feature; choose another feature.")
            st.stop()
        model = choose_one(
            "Model",
            fitting,
            "model",
            words=lambda name: MODELS[name].title,
            default=base.model.name,
        )
        st.caption(_about(MODELS, model))
        if MODELS[model].facts.classical:
            st.caption(
                "It is fitted in one call, without epochs: of the settings under Training, only "
                "seed and device matter to it."
            )
        values["model"] = model
    unfit = {name: reason for name, reason in reasons.items() if reason}
    if unfit:
        n = f"{len(unfit)} model{'s' if len(unfit) > 1 else ''}"
        with st.expander(f"{n} cannot take this feature", icon=":material/block:"):
            st.radio(
                "Models that cannot take this feature",
                list(unfit),
                format_func=lambda name: MODELS[name].title,
                captions=list(unfit.values()),
                index=None,
                disabled=True,
                label_visibility="collapsed",
            )
    with st.expander("More about feature and model", icon=":material/tune:"):
        values |= _options("model", model, base)
        values |= _options("feature", feature, base)
        values |= _name("standardise", base, RunConfig.model_fields["standardise"].title or "")
        values |= _options("standardise", values["standardise"], base)
        values |= _fold("model", base)
    return values


def augment_part(base: RunConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """What is changed in training, as dotted values; only what suits data and feature is offered.

    Args:
        base: What the form starts from.
        values: What `data_part` and `model_part` gave.
    """
    medium, feature = _medium(values), str(values["feature"])
    able = [
        name
        for name in AUGMENTATIONS
        if not augments(AUGMENTATIONS[name].facts.on, medium, feature)
    ]
    given = {part.name: part.options for part in base.augment}
    picked = choose_many(
        "Augmentation",
        able,
        "augment",
        words=lambda name: AUGMENTATIONS[name].title,
        default=list(given),
        placeholder="None: every epoch shows the same examples",
    )
    values = {"augment": ",".join(picked)}
    if picked:
        with st.expander("More about augmentation", icon=":material/tune:"):
            for name in picked:
                st.caption(f"{AUGMENTATIONS[name].title}: {_about(AUGMENTATIONS, name)}")
                found = fields.options(AUGMENTATIONS, name, given.get(name, {}))
                values |= {f"augment.{name}.{key}": value for key, value in found.items()}
    return values


def training_part(base: RunConfig) -> dict[str, Any]:
    """The recipe, seeds and device, as dotted values."""
    given = _flat_fields(RunConfig)
    places = [dotted for dotted in _OPEN if dotted in given]
    values: dict[str, Any] = {}
    for column, dotted in zip(st.columns(len(places), gap="medium"), places, strict=True):
        with column:
            values[dotted] = fields.field(dotted, given[dotted], _value(base, dotted))
    with st.expander("More about training", icon=":material/tune:"):
        values |= _fold("training", base)
    return values


def _medium(data: Mapping[str, Any]) -> str:
    options = {
        key.removeprefix("dataset."): value
        for key, value in data.items()
        if key.startswith("dataset.")
    }
    try:
        dataset = Part(name=data["dataset"], options=options)
        return ResolvedConfig(RunConfig(dataset=dataset)).medium
    except UsageError:  # a wrong option has its own sentence beside the Train button
        return "wave"


def _name(
    part: str, base: RunConfig, label: str, choices: Sequence[str] | None = None
) -> dict[str, Any]:
    registry = REGISTRIES[part]
    choices = list(registry) if choices is None else choices
    default = getattr(base, part).name
    picked = choose_one(
        label,
        list(choices),
        part,
        words=lambda name: registry[name].title,
        default=default if default in choices else choices[0],
        help=RunConfig.model_fields[part].description,
    )
    return {part: picked}


def _about(registry: Registry[Any], name: str) -> str:
    entry = registry[name]
    about = entry.source or entry.title
    return about[:1].upper() + about[1:]


def _needed(registry: Registry[Any], name: str) -> set[str]:
    """Options that have no usable default: they stand open."""
    infos = registry[name].options.model_fields
    folder = {"folder"} if registry is DATASETS and DATASETS[name].facts.needs_folder else set()
    return {key for key, info in infos.items() if info.is_required() or key in folder}


def _options(
    part: str,
    name: str,
    base: RunConfig,
    only: set[str] | None = None,
    leave_out: Iterable[str] = (),
) -> dict[str, Any]:
    stored = getattr(base, part)
    given = stored.options if stored.name == name else {}
    if part == "dataset":
        given = known.with_known_folder(Part(name=name, options=dict(given))).options
    if only is None and set(REGISTRIES[part][name].options.model_fields) - set(leave_out):
        st.caption(REGISTRIES[part][name].title)
    values = fields.options(REGISTRIES[part], name, given, only, set(leave_out))
    return {f"{part}.{key}": value for key, value in values.items()}


def _fold(which: str, base: RunConfig) -> dict[str, Any]:
    infos = {
        dotted: info
        for dotted, info in _flat_fields(RunConfig).items()
        if dotted not in _OPEN
        and _FOLD.get(dotted.partition(".")[0], "training") == which
        and _matters(dotted, info, base)
    }
    groups: dict[str, dict[str, FieldInfo]] = {}
    for dotted, info in infos.items():
        first = dotted.partition(".")[0] if "." in dotted else ""
        groups.setdefault(first, {})[dotted] = info
    values: dict[str, Any] = {}
    for first, inside in groups.items():
        alone = "Standardisation" if which == "model" else "Repetitions"
        title = RunConfig.model_fields[first].title if first else alone
        st.caption(title or first.capitalize())
        values |= {
            dotted: fields.field(dotted, info, _value(base, dotted))
            for dotted, info in fields.grid(inside)
        }
    return values


def _matters(dotted: str, info: FieldInfo, base: RunConfig) -> bool:
    """Whether a field has a meaning beside what is chosen: momentum has none without SGD."""
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    group = dotted.rpartition(".")[0]
    neighbours: Any = extra.get("only_for", {})
    return all(
        (chosen(f"{group}.{name}") or str(_value(base, f"{group}.{name}"))) in values
        for name, values in neighbours.items()
    )


def _flat_fields(model: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    """Fields by dotted name, groups opened; parts are left to their registries."""
    flat: dict[str, FieldInfo] = {}
    for key, info in model.model_fields.items():
        kind = info.annotation
        if kind in (Part, tuple[Part, ...]):
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            flat |= _flat_fields(kind, f"{prefix}{key}.")
        else:
            flat[prefix + key] = info
    return flat


def _value(config: RunConfig, dotted: str) -> Any:
    value: Any = config
    for key in dotted.split("."):
        value = getattr(value, key)
    return value
