"""The form of a run, built from `RunConfig`'s fields and the registries' option classes.

A new field or a newly registered part appears here by itself: its title is the label, its
description the help, its range the limits. Train, Plans and Leaks share this form: Plans adds what
varies, and Leaks chooses a dataset without a split.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import streamlit as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from genrecore.augment import AUGMENTATIONS
from genrecore.config.dotted import value_of
from genrecore.config.run import Part, RunConfig, with_values
from genrecore.data.datasets import DATASETS, check_folder
from genrecore.data.datasets.remembered import with_remembered_folder
from genrecore.errors import GenrecoreError, UsageError
from genrecore.features import FEATURES, PRESETS
from genrecore.models import MODELS
from genrecore.training.parts import REGISTRIES, ResolvedConfig, augments, fits, takes
from genrecore.ui.parts import fields
from genrecore.ui.parts.choices import choose, choose_many, choose_one, chosen
from genrecore.ui.parts.fitting import (
    check_of,
    choose_split,
    fill_in,
    show_unfit_models,
    show_unfit_splits,
)
from genrecore.ui.parts.frame import capital, plain, section, work_button

# These fields stand open; all others are folded away.
_OPEN = ("training.epochs", "training.batch_size", "training.lr")
# The section of the form that a field of the configuration belongs to; by default training.
_SECTION = {
    "genres": "data",
    "allow_leaks": "data",
    "rehearsal": "data",
    "clips_per_genre": "data",
    "audio": "data",
    "split_seed": "data",
    "fold": "data",
    "segments": "model",
    "standardise_on": "model",
}


def start_from(
    label: str, titles: Mapping[str, str], name: str, fill: Callable[[str], None], help: str
) -> str:
    """A select box that fills the form in when something is chosen; returns the choice."""
    titles = {"": "None", **titles}
    current = chosen(name) if chosen(name) in titles else ""

    def write() -> None:
        choose(name, st.session_state[name])
        if st.session_state[name]:
            fill(st.session_state[name])

    st.selectbox(
        label,
        list(titles),
        index=list(titles).index(current),
        format_func=titles.__getitem__,
        key=name,
        on_change=write,
        help=help,
    )
    return current


def run_form(base: RunConfig, own_split: bool = False) -> dict[str, Any]:
    """The form of a run: data, model and training; returns its dotted values.

    Args:
        base: What the form starts from.
        own_split: As `data_part`.
    """
    section("1 · Data", "What the model learns from, and which clips are kept back to test it.")
    values = data_part(base, own_split)
    return values | model_and_training(base, values)


def model_and_training(base: RunConfig, data: Mapping[str, Any]) -> dict[str, Any]:
    """The form after its first section, whose dotted values are `data`."""
    section("2 · Model", "How the model sees a clip, and the model itself.")
    values = model_part(base, data)
    section("3 · Training")
    values |= training_part(base)
    return values | augment_part(base, {**data, **values})


def preset_part() -> None:
    """Offers the inputs that studies used, and says what they leave open."""
    with st.expander("Start from the input of a study", icon=":material/menu_book:"):
        preset = start_from(
            "Study",
            PRESETS.titles,
            "preset",
            lambda name: fill_in(PRESETS[name].thing),
            "Fills in dataset, audio, segments, feature and standardisation as the study had them. "
            "You can still change everything.",
        )
        if preset and PRESETS[preset].facts.notes:
            st.caption("What the study leaves open, and what is chosen here:")
            st.markdown("\n".join(f"- {note}" for note in PRESETS[preset].facts.notes))


def data_part(base: RunConfig, own_split: bool = False) -> dict[str, Any]:
    """Dataset and split with their options, as dotted values.

    Args:
        base: What the form starts from.
        own_split: Whether its split is chosen by default; else it is the best for these clips.
    """
    left, right = st.columns(2, gap="medium")
    with left:
        values = _choose_part("dataset", base, "Dataset")
    dataset = values["dataset"]
    st.caption(_about(DATASETS[dataset]))
    open_fields = {
        key for key, info in DATASETS[dataset].options.model_fields.items() if info.is_required()
    }
    if DATASETS[dataset].facts.needs_folder:
        open_fields.add("folder")
    values |= _options("dataset", dataset, base, only=open_fields)
    unfit = st.container()
    with st.expander("Expert: data", icon=":material/tune:"):
        values |= _options("dataset", dataset, base, leave_out=open_fields)
        of_split = st.container()
        values |= _more_fields("data", base)
    result = check_of(values, base)
    with right:
        base = choose_split(base, result.splits, own_split)
    values["split"] = base.split.name
    with of_split:
        values |= _options("split", base.split.name, base)
    with unfit:
        show_unfit_splits(result)
    return values


def model_part(base: RunConfig, data: Mapping[str, Any]) -> dict[str, Any]:
    """Feature and model with their options, as dotted values.

    Args:
        base: What the form starts from.
        data: What `data_part` returned: only features of what the dataset holds are offered.
    """
    medium = _medium(data)
    left, right = st.columns(2, gap="medium")
    with left:
        values = _choose_part(
            "feature", base, "Feature", [name for name in FEATURES if takes(name, medium)]
        )
        feature = values["feature"]
        st.caption(_about(FEATURES[feature]))
    unfit = [name for name in MODELS if fits(feature, name)]
    with right:
        if len(unfit) == len(MODELS):
            st.error("No model takes this feature; choose another feature.")
            st.stop()
        values |= _choose_part(
            "model", base, "Model", [name for name in MODELS if name not in unfit]
        )
        model = values["model"]
        st.caption(_about(MODELS[model]))
        if MODELS[model].facts.classical:
            st.caption(
                "It is fitted in one call, without epochs: of the settings under Training, it uses "
                "only seed and device."
            )
    show_unfit_models(unfit, medium)
    with st.expander("Expert: feature and model", icon=":material/tune:"):
        values |= _options("model", model, base)
        values |= _options("feature", feature, base)
        values |= _choose_part(
            "standardise", base, RunConfig.model_fields["standardise"].title or ""
        )
        values |= _options("standardise", values["standardise"], base)
        values |= _more_fields("model", base)
    return values


def augment_part(base: RunConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """Augmentations with their options, as dotted values; only those that suit data and feature.

    Args:
        base: What the form starts from.
        values: What `data_part` and `model_part` returned.
    """
    medium, feature = _medium(values), str(values["feature"])
    suitable = {
        name: entry.title
        for name, entry in AUGMENTATIONS.items()
        if not augments(entry.facts.on, medium, feature)
    }
    defaults = {part.name: part.options for part in base.augment}
    with st.expander("Expert: augmentation", icon=":material/tune:"):
        picked = choose_many(
            "Augmentation",
            suitable,
            "augment",
            default=list(defaults),
            placeholder="None: every epoch shows the same examples",
        )
        chosen_values = {"augment": ",".join(picked)}
        for name in picked:
            st.caption(f"{AUGMENTATIONS[name].title}: {_about(AUGMENTATIONS[name])}")
            options = fields.options(AUGMENTATIONS, name, defaults.get(name, {}))
            chosen_values |= {f"augment.{name}.{key}": v for key, v in options.items()}
    return chosen_values


def training_part(base: RunConfig) -> dict[str, Any]:
    """Epochs, optimisation, seeds and device, as dotted values."""
    infos = flat_fields()
    values: dict[str, Any] = {}
    for column, dotted in zip(st.columns(len(_OPEN), gap="medium"), _OPEN, strict=True):
        with column:
            values[dotted] = fields.field(dotted, infos[dotted], value_of(base, dotted))
    with st.expander("Expert: training", icon=":material/tune:"):
        values |= _more_fields("training", base)
    return values


def configuration(values: Mapping[str, Any], base: RunConfig | None = None) -> RunConfig:
    """The configuration of a filled form.

    Raises:
        UsageError: The dataset's folder is missing, or a value is out of range.
    """
    check_folder(str(values["dataset"]), {"folder": values.get("dataset.folder")})
    return with_values(base or RunConfig(), dict(values))


@contextlib.contextmanager
def checked(label: str, key: str) -> Iterator[None]:
    """Shows why the block refuses a form, above a button that cannot be pressed."""
    try:
        yield
    except GenrecoreError as error:
        st.error(plain(error), icon=":material/error:")
        st.button(label, type="primary", width="stretch", disabled=True, key=key)


def start_button(label: str, key: str, help: str | None = None) -> bool:
    """The button that sends a form off."""
    return work_button(
        label,
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        key=key,
        help=help,
    )


def flat_fields(model: type[BaseModel] = RunConfig, prefix: str = "") -> dict[str, FieldInfo]:
    """The fields of a configuration by dotted name, without its parts."""
    flat: dict[str, FieldInfo] = {}
    for key, info in model.model_fields.items():
        kind = info.annotation
        if kind in (Part, tuple[Part, ...]):
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            flat |= flat_fields(kind, f"{prefix}{key}.")
        else:
            flat[prefix + key] = info
    return flat


def _medium(values: Mapping[str, Any]) -> str:
    """What the dataset gives a feature: `wave`, `image` or `table`."""
    options = {
        key.removeprefix("dataset."): value
        for key, value in values.items()
        if key.startswith("dataset.")
    }
    try:
        dataset = Part(name=values["dataset"], options=options)
        return ResolvedConfig(RunConfig(dataset=dataset)).medium
    except UsageError:  # the panel beside the form says which option is wrong
        return "wave"


def _choose_part(
    part: str, base: RunConfig, label: str, names: Sequence[str] | None = None
) -> dict[str, Any]:
    registry = REGISTRIES[part]
    picked = choose_one(
        label,
        {name: registry[name].title for name in (registry if names is None else names)},
        part,
        default=getattr(base, part).name,
        help=RunConfig.model_fields[part].description,
    )
    return {part: picked}


def _about(entry: Any) -> str:
    return capital(entry.source or entry.title)


def _options(
    part: str,
    name: str,
    base: RunConfig,
    only: Collection[str] | None = None,
    leave_out: Collection[str] = (),
) -> dict[str, Any]:
    registry, stored = REGISTRIES[part], getattr(base, part)
    options = dict(stored.options) if stored.name == name else {}
    if part == "dataset":
        options = with_remembered_folder(Part(name=name, options=options)).options
    if only is None and set(registry[name].options.model_fields) - set(leave_out):
        st.caption(registry[name].title)
    values = fields.options(registry, name, options, only, leave_out)
    return {f"{part}.{key}": value for key, value in values.items()}


def _more_fields(part_of_form: str, base: RunConfig) -> dict[str, Any]:
    """The folded fields of a section under the titles of their groups, as dotted values."""
    groups: dict[str, dict[str, FieldInfo]] = {}
    for dotted, info in flat_fields().items():
        first, dot, _ = dotted.partition(".")
        belongs = _SECTION.get(first, "training") == part_of_form and dotted not in _OPEN
        if belongs and _matters(dotted, info, base):
            groups.setdefault(first if dot else "", {})[dotted] = info
    values: dict[str, Any] = {}
    for first, infos in groups.items():
        alone = "Standardisation" if part_of_form == "model" else "Repetitions"
        st.caption((RunConfig.model_fields[first].title if first else alone) or first.capitalize())
        for dotted, info in fields.grid(infos):
            values[dotted] = fields.field(dotted, info, value_of(base, dotted))
    return values


def _matters(dotted: str, info: FieldInfo, base: RunConfig) -> bool:
    """Whether a field has a meaning beside what is chosen: momentum has none without SGD."""
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    group = dotted.rpartition(".")[0]
    neighbours: Any = extra.get("only_for", {})
    return all(
        (chosen(f"{group}.{name}") or str(value_of(base, f"{group}.{name}"))) in values
        for name, values in neighbours.items()
    )
