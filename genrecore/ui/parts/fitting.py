"""What a form can offer for these data: splits and models that work, why the others do not, and
what would have to change, one click away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from genrecore.config.run import Part, RunConfig, differences, with_values
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError
from genrecore.features import FEATURES
from genrecore.models import MODELS
from genrecore.training.check import Check, Remedy, Trial, best_of, check
from genrecore.training.parts import REGISTRIES, feature_for
from genrecore.ui.parts.choices import choose, choose_one, chosen
from genrecore.ui.parts.frame import plain, separation_box
from genrecore.words import plural

RED = " with the red badge"
"""At the end of a button's label: what it starts is marked wherever it appears."""

_MARKS = {"crosses": " (leaks)", "cannot be known": " (artists unknown)"}
_DATA = ("dataset", "genres", "rehearsal", "audio", "split_seed")
"""The fields of a configuration that say which clips are split."""


def fill_in(values: Mapping[str, Any]) -> None:
    """Writes dotted values into the URL, where the fields read them; an option of a part needs the
    part's name among them."""
    for dotted, value in values.items():
        part, _, option = dotted.partition(".")
        choose(f"{values[part]}.{option}" if part in REGISTRIES and option else dotted, str(value))


def address_of(config: RunConfig) -> dict[str, str]:
    """What the fields of a form are in the URL for this configuration, where it differs from the
    defaults."""
    query: dict[str, str] = {}
    for dotted, value in differences(config).items():
        part, _, option = dotted.partition(".")
        if dotted == "augment":
            query["augment"] = ",".join(each.name for each in config.augment)
            for each in config.augment:
                query |= {f"{each.name}.{key}": str(v) for key, v in each.options.items()}
        elif part in REGISTRIES and option == "name":
            query[part] = str(value)
        elif part in REGISTRIES:
            query[f"{getattr(config, part).name}.{option.removeprefix('options.')}"] = str(value)
        else:
            query[dotted] = str(value)
    return query


def check_of(values: Mapping[str, Any], base: RunConfig) -> Check:
    """What the clips chosen on a form allow; nothing is known of values that do not fit.

    Args:
        values: Dotted values of the form so far.
        base: What the form starts from.
    """
    about_data = {k: v for k, v in values.items() if k.partition(".")[0] in _DATA}
    try:
        config = with_values(base, about_data)
    except GenrecoreError as error:  # the panel beside the form says so
        return Check(base, str(error))
    with st.spinner("Trying the splits …"):
        result = check(config)
        _ = result.splits
    return result


def choose_split(base: RunConfig, trials: Mapping[str, Trial], own: bool) -> RunConfig:
    """The choice of a split among those that can be made; returns the base with it.

    Args:
        base: What the form starts from.
        trials: What each split would give; empty where nobody knows.
        own: Whether the base's split is chosen unless the URL names another; else it is the best.
    """
    best = best_of(trials)
    default = base.split if own or best is None else best.part
    asked = {default.name, chosen("split")}
    titles = {
        name: entry.title + _MARKS.get(trials[name].outcome if trials else "", "")
        for name, entry in SPLITS.items()
        if not trials or trials[name].separation or name in asked
    }
    name = choose_one(
        RunConfig.model_fields["split"].title or "",
        titles,
        "split",
        default=default.name,
        help=RunConfig.model_fields["split"].description,
    )
    part = default if name == default.name else Part(name=name)
    if part.name != default.name and name in trials and trials[name].separation:
        part = trials[name].part
    return base.model_copy(update={"split": part})


def show_unfit_splits(result: Check) -> None:
    """The splits that these clips do not allow, with the reason and, where there is one, a button
    that changes what stands in the way."""
    unfit = {name: trial for name, trial in result.splits.items() if not trial.separation}
    if not unfit:
        return
    title = f"{plural(len(unfit), 'split')} cannot be made of these clips"
    with st.expander(title, icon=":material/block:"):
        for name, trial in unfit.items():
            st.markdown(f"**{plain(SPLITS[name].title)}**: {plain(trial.reason)}")
            show_remedies(result.remedies_of(trial), f"split_{name}")


def show_unfit_models(unfit: Sequence[str], medium: str) -> None:
    """The models that cannot take the chosen feature, each with what it needs and a button that
    chooses it."""
    if not unfit:
        return
    title = f"{plural(len(unfit), 'model')} cannot take this feature"
    with st.expander(title, icon=":material/block:"):
        for name in unfit:
            feature = feature_for(name, medium)
            needs = FEATURES[feature].title if feature else " or ".join(MODELS[name].facts.accepts)
            show_change(
                f"{MODELS[name].title}: needs {needs}.",
                "Switch feature" if feature else "",
                f"switch_{name}",
                {"feature": feature, "model": name},
                f"Takes the feature {feature} and the model {name}.",
            )


def show_remedies(remedies: Sequence[Remedy], key: str) -> None:
    """The changes with which it works, each with a button that makes them."""
    for number, remedy in enumerate(remedies):
        show_change(
            remedy.sentence, "Change it", f"remedy_{key}_{number}", remedy.changes, remedy.settings
        )


def show_change(sentence: str, label: str, key: str, changes: Mapping[str, Any], help: str) -> None:
    """A sentence, and beside it a button that fills the form in; none without a label."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(plain(sentence), width="stretch")
        if label:
            st.button(
                label,
                key=key,
                icon=":material/swap_horiz:",
                on_click=fill_in,
                args=(changes,),
                help=help,
            )


def allowed(config: RunConfig, varies: bool = False) -> tuple[RunConfig, str]:
    """The configuration with leaks allowed where its split leaks, and then the end of the label of
    the button, which says so.

    Args:
        config: What is to be queued.
        varies: Whether its split varies: then those that leak are left out.
    """
    split = check(config).split
    if varies or split is None or split.outcome != "crosses":
        return config, ""
    return config.model_copy(update={"allow_leaks": True}), RED


def show_check(config: RunConfig, label: str, key: str) -> tuple[RunConfig, str] | None:
    """Says what a run would meet: whether its split keeps artists apart, and what is wrong, with
    buttons for what would help.

    Args:
        config: Resolved.
        label: Of the button that sends the form off.
        key: Of that button.

    Returns:
        The configuration to queue, with leaks allowed where the split leaks, and the button's
        label, which says so; None where the run is refused: then the button is drawn as one that
        cannot be pressed.
    """
    config, red = allowed(config)
    label = label.removesuffix(RED) + red if red else label
    strict = check(config.model_copy(update={"allow_leaks": False}))
    if strict.split and strict.split.separation:
        separation_box(strict.split.separation)
        if red:
            if strict.best_split and strict.best_split.outcome == "crosses":
                st.caption("No split of these clips keeps them apart.")
            others = [remedy for remedy in strict.remedies if "allow_leaks" not in remedy.changes]
            show_remedies(others, key)
    result = check(config)
    if not result.problem:
        for number, caution in enumerate(result.cautions):
            st.warning(plain(caution.sentence), icon=":material/warning:")
            show_remedies(caution.remedies, f"caution_{number}_{key}")
        return config, label
    st.error(plain(result.problem), icon=":material/error:")
    show_remedies(result.remedies, key)
    st.button(label, type="primary", width="stretch", disabled=True, key=key)
    return None
