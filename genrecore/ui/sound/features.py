"""Features of an excerpt side by side on the page Sound."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
import torch

from genrecore import words
from genrecore.audio.axes import Axes, size_in_words
from genrecore.audio.descriptor_names import DESCRIPTORS, meaning_of, unit_of
from genrecore.config.registry import Options
from genrecore.errors import UsageError
from genrecore.features import FEATURES, PRESETS
from genrecore.reporting import feature_charts
from genrecore.training.parts import MEDIA, takes
from genrecore.ui.parts import fields
from genrecore.ui.parts.cache import cached_by_files, no_files
from genrecore.ui.parts.choices import choose, choose_many, chosen, set_widget
from genrecore.ui.parts.frame import (
    capital,
    chart,
    in_pairs,
    pair,
    plain,
    section,
    sentences,
)
from genrecore.ui.parts.player import SoundExcerpt
from genrecore.ui.sound.clip import ClipChoice

_MOST = 4


@dataclass(frozen=True)
class FeatureOutput:
    """A feature of one excerpt.

    Attributes:
        parts: Arrays without the batch, of several channels the first, of a coloured image the
            values before; two for a pair.
        shape: As the network gets it, without the batch.
        axes: Of each part.
        seconds: How long it took.
    """

    parts: tuple[np.ndarray, ...]
    shape: tuple[Any, ...]
    axes: tuple[Axes, ...]
    seconds: float


def show(clip: ClipChoice) -> None:
    """One to four features of the excerpt, each with its parameters, image and size."""
    section(
        "Features",
        "The input of a network instead of the sound. Each feature is computed as in training, "
        "with the excerpt as one segment.",
    )
    if clip.medium == "wave":
        default = ["log_mel", "mfcc"]
    else:
        default = [name for name in FEATURES if takes(name, clip.medium)][:1]
    left, right = pair("which", left=3, right=2)
    with left:
        names = choose_many(
            "Features", FEATURES.titles, "features", default=default, placeholder="Pick up to four"
        )
    with right:
        _choose_study()
    if not names:
        st.info("Pick a feature to see it.", icon=":material/image_search:")
    if len(names) > _MOST:
        titles = words.listed([FEATURES[name].title for name in names[_MOST:]])
        st.caption(f"Four fit beside one another; take one away to see {titles}.")
    names = names[:_MOST]
    for name in in_pairs(names, "features"):
        _card(name, clip)


def _card(name: str, clip: ClipChoice) -> None:
    entry = FEATURES[name]
    values: dict[str, Any] = {}
    about = capital(entry.source)
    title = f"**{entry.title}**" + (": parameters" if entry.options.model_fields else "")
    with st.expander(title, icon=":material/tune:"):
        if entry.options.model_fields:
            values = fields.options(FEATURES, name, {})
        st.caption(about if entry.options.model_fields else f"It has no parameters. {about}")
    with sentences():
        if not takes(name, clip.medium):
            inputs = [MEDIA[medium] for medium in entry.facts.needs]
            raise UsageError(
                f"This feature takes {words.listed(inputs, 'or')} that a dataset ships; the clip "
                f"is {'a recording' if clip.medium == 'wave' else 'not a recording'}. Choose a "
                "dataset in that form, or another feature."
            )
        options = FEATURES.choose(name, values).options
        if clip.excerpt is not None:
            _show_excerpt(name, options, clip.excerpt)
        elif clip.image is not None:
            _show_image(name, options, clip.image)
        else:
            st.caption("The network is given the numbers above.")
        clip.link_to_train("Train on it", "feature", FEATURES, name, values)


def _show_excerpt(name: str, options: Options, excerpt: SoundExcerpt) -> None:
    kinds = FEATURES[name].facts.kinds
    with st.spinner("Computing …"):
        output = compute(name, options, excerpt)
    charts = feature_charts.charts(kinds, output.axes, output.parts, start_s=excerpt.start_s)
    for n, (figure, note) in enumerate(charts):
        chart(figure, f"feature_{name}_{n}")
        if note:
            st.caption(note)
    rows = output.axes[0].rows
    if kinds == ("vector",) and rows is not None and rows.names == DESCRIPTORS:
        _table(output.parts[0])
    if kinds == ("sequence",):
        st.caption("Each number is scaled from its lowest (0) to its highest value (1).")
    sizes = [
        size_in_words(axes, shape)
        for axes, shape in zip(output.axes, _shapes(output.shape), strict=True)
    ]
    st.markdown(f"{'; '.join(sizes)} :gray[{_cost(output, len(excerpt.wave))}]")


def _cost(output: FeatureOutput, n_samples: int) -> str:
    """How many numbers replace how many samples, and how long it took."""
    n = sum(math.prod(shape) for shape in _shapes(output.shape))
    if n == n_samples:
        return "as they are"
    ms = 1000 * output.seconds
    took = words.seconds(output.seconds) if ms >= 1000 else f"{words.thousands(ms)} ms"
    total = f"= {words.plural(n, 'number')}, " if len(output.shape) > 1 else ""
    return f"{total}from {words.thousands(n_samples)} samples in {took}"


def _shapes(shape: tuple[Any, ...]) -> tuple[tuple[int, ...], ...]:
    return shape if isinstance(shape[0], tuple) else (shape,)


@cached_by_files(no_files, max_entries=32)
def compute(name: str, options: Options, excerpt: SoundExcerpt) -> FeatureOutput:
    """A feature of an excerpt.

    Raises:
        GenrecoreError: The options do not suit the sample rate or the length.
    """
    entry = FEATURES[name]
    feature = entry.thing(options, excerpt.sample_rate_hz, len(excerpt.wave))
    began = time.perf_counter()
    with torch.inference_mode():
        output = feature(torch.from_numpy(excerpt.wave)[None, None])
    seconds = time.perf_counter() - began
    if getattr(options, "colours", "none") != "none":
        plain = entry.thing(
            options.model_copy(update={"colours": "none"}),
            excerpt.sample_rate_hz,
            len(excerpt.wave),
        )
        with torch.inference_mode():
            output = plain(torch.from_numpy(excerpt.wave)[None, None])
    parts = output if isinstance(output, tuple) else (output,)
    arrays = tuple(
        # All channels are the same or colours of one, so the first is enough.
        (part[0, 0] if kind in ("image", "wave") else part[0]).float().numpy().copy()
        for kind, part in zip(entry.facts.kinds, parts, strict=True)
    )
    return FeatureOutput(arrays, tuple(feature.output_shape), feature.axes(), seconds)


def _table(values: np.ndarray) -> None:
    """All descriptors with their values and what they mean."""
    texts = [
        words.thousands(value) if abs(value) >= 1000 else f"{value:.4g}"
        for value in values.tolist()
    ]
    table = {
        "Descriptor": DESCRIPTORS,
        "Value": [f"{t} {unit_of(n)}".strip() for t, n in zip(texts, DESCRIPTORS, strict=True)],
        "Meaning": [meaning_of(name) for name in DESCRIPTORS],
    }
    wide = {"Meaning": st.column_config.TextColumn(width="large")}
    st.dataframe(pd.DataFrame(table), hide_index=True, height=320, column_config=wide)


def _show_image(name: str, options: Options, image: np.ndarray) -> None:
    channels = torch.from_numpy(image.copy()).permute(2, 0, 1)
    feature = FEATURES[name].thing(options, tuple(channels.shape))
    with torch.inference_mode():
        output = feature(channels[None])[0]
    scale = 255.0 if float(output.max()) > 1.0 else 1.0
    pixels = (output / scale).clamp(0.0, 1.0).permute(1, 2, 0).numpy()
    st.image(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
    st.markdown(size_in_words(feature.axes()[0], tuple(feature.output_shape)))
    st.caption(f"Values from {float(output.min()):.3g} to {float(output.max()):.3g}.")


def _choose_study() -> None:
    """The field that takes over the network input of a study; below, what the study leaves open."""
    names = [""] + [name for name in PRESETS if "feature" in PRESETS[name].thing]
    name = chosen("study") if chosen("study") in names else ""
    set_widget("choice_study", name)
    st.selectbox(
        "As in a study",
        names,
        format_func=lambda name: PRESETS[name].title if name else "Parameters of your own",
        key="choice_study",
        on_change=lambda: _take_over(st.session_state["choice_study"]),
        help="Sets feature, parameters, sample rate and length to the network input of a study.",
    )
    if not name:
        return
    entry = PRESETS[name]
    shapes = [" × ".join(map(words.thousands, shape)) for shape in _shapes(entry.facts.shape)]
    sentence = f"{plain(entry.source)}: its network is given {words.listed(shapes)}."
    st.caption(sentence + (" You have changed something since." if _changed_since(name) else ""))
    with st.expander("What the study leaves open", icon=":material/help:"):
        st.markdown("\n".join(f"- {plain(note)}" for note in entry.facts.notes))


def _changed_since(study: str) -> bool:
    """Whether the choices of this page are no longer the study's."""
    query = _study_query(study)
    name = query["features"]
    infos = FEATURES[name].options.model_fields
    now = fields.chosen_options(FEATURES, name)
    return any(
        str(query.get(f"{name}.{key}", infos[key].get_default())) != str(value)
        for key, value in now.items()
    ) or any(chosen(k) != v for k, v in query.items() if not k.startswith(f"{name}."))


def _study_query(study: str) -> dict[str, str]:
    """A study's values as the choices of this page."""
    values: Mapping[str, Any] = PRESETS[study].thing
    name = str(values["feature"])
    query = {"features": name}
    for key, value in values.items():
        if key.startswith("feature."):
            query[f"{name}.{key.removeprefix('feature.')}"] = str(value)
    if "audio.sample_rate_hz" in values:
        query["audio.sample_rate_hz"] = str(values["audio.sample_rate_hz"])
        query["length"] = f"{values['segments.segment_s']:g}"
    return query


def _take_over(study: str) -> None:
    choose("study", study)
    if not study:
        return
    query = _study_query(study)
    old = [key for key in st.query_params if key.startswith(f"{query['features']}.")]
    for key in (*old, "length", "start", "audio.sample_rate_hz"):
        choose(key, "")
    for key, value in query.items():
        choose(key, value)
