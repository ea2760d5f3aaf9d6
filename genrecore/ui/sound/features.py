"""Features of an excerpt side by side on the page Sound. Importing this imports torch."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
import torch

from genrecore.audio.descriptor_names import DESCRIPTORS, meaning_of, unit_of
from genrecore.config.registry import Options
from genrecore.errors import UsageError
from genrecore.features import FEATURES, PRESETS
from genrecore.reporting import feature_charts as depiction
from genrecore.training.parts import takes
from genrecore.ui.parts import fields
from genrecore.ui.parts.choices import choose, choose_many, chosen, hold
from genrecore.ui.parts.frame import chart, link_to, pair, plain, section, sentences
from genrecore.ui.sound.clip import Excerpt, Picked

MOST = 4
_DEFAULT = ("log_mel", "mfcc")
_GIVES = {"wave": "sound", "image": "pictures", "table": "tables of descriptors"}


@dataclass(frozen=True)
class Computed:
    """What a feature made of one excerpt.

    Attributes:
        parts: Arrays without the batch, of all channels the first; two of a pair.
        shape: As the network gets it, without the batch.
        seconds: How long it took.
    """

    parts: tuple[np.ndarray, ...]
    shape: tuple[Any, ...]
    seconds: float


def view(picked: Picked) -> None:
    """One to four features of the excerpt, each with its parameters, picture and size."""
    section(
        "Features",
        "What a network is given instead of the sound. Each is computed as in training, of the "
        "excerpt as one segment.",
    )
    left, right = pair("which", left=3, right=2)
    with left:
        names = choose_many(
            "Features",
            list(FEATURES),
            "features",
            words=lambda name: FEATURES[name].title,
            default=_default(picked),
            placeholder="Pick up to four",
        )
    with right:
        _study()
    if not names:
        st.info("Pick a feature to see it.", icon=":material/image_search:")
    if len(names) > MOST:
        st.caption(f"Four fit beside one another; take one away to see {_titles(names[MOST:])}.")
    shown = names[:MOST]
    for first in range(0, len(shown), 2):
        row = shown[first : first + 2]
        columns = pair(f"features_{first}") if len(shown) > 1 else [st.container()]
        for column, name in zip(columns, row, strict=False):
            with column:
                _card(name, picked)


def _default(picked: Picked) -> tuple[str, ...]:
    if picked.medium == "wave":
        return _DEFAULT
    return tuple(name for name in FEATURES if takes(name, picked.medium))[:1]


def _titles(names: list[str]) -> str:
    return ", ".join(FEATURES[name].title for name in names)


def _card(name: str, picked: Picked) -> None:
    entry = FEATURES[name]
    values: dict[str, Any] = {}
    about = entry.source[:1].upper() + entry.source[1:]
    if entry.options.model_fields:
        with st.expander(f"**{entry.title}**: parameters", icon=":material/tune:"):
            values = fields.options(FEATURES, name, {})
            st.caption(about)
    else:
        with st.expander(f"**{entry.title}**", icon=":material/tune:"):
            st.caption(f"It has no parameters. {about}")
    with sentences():
        if not takes(name, picked.medium):
            listed = " or ".join(_GIVES[medium] for medium in entry.facts.needs)
            raise UsageError(
                f"This feature takes {listed} that a dataset ships; the clip is "
                f"{'a recording' if picked.medium == 'wave' else 'not a recording'}. Choose a "
                "dataset in that form, or another feature."
            )
        options = entry.read_options(values, "feature")
        if picked.excerpt is not None:
            _of_excerpt(name, options, picked.excerpt)
        elif picked.picture is not None:
            _of_picture(name, options, picked.picture)
        else:
            st.caption("The numbers above are what the network is given.")
        _train(name, values, picked)


def _of_excerpt(name: str, options: Options, excerpt: Excerpt) -> None:
    kind, rate, n_samples = FEATURES[name].facts.kind, excerpt.sample_rate_hz, len(excerpt.wave)
    with st.spinner("Computing …"):
        made = computed(name, options, excerpt)
    drawn = depiction.charts(kind, options, rate, n_samples, made.parts)
    for place, (one, note) in enumerate(drawn):
        chart(one, f"feature_{name}_{place}")
        if note:
            st.caption(note)
    if kind == "vector":
        _table(made.parts[0])
    if kind == "sequence":
        st.caption("Each descriptor from its lowest (0) to its highest value (1) among the parts.")
    st.markdown(
        f"{depiction.size_in_words(kind, options, rate, made.shape)} "
        f":gray[{_at_what_cost(made, n_samples)}]"
    )


def _at_what_cost(made: Computed, n_samples: int) -> str:
    """How many numbers came of how many samples, and how long it took."""
    n = sum(int(np.prod(one)) for one in _shapes(made.shape))
    if n == n_samples:
        return "as they are"
    took = f"{made.seconds:.1f} s" if made.seconds >= 1 else f"{1000 * made.seconds:.0f} ms"
    total = f"= {depiction.spaced(n)} numbers, " if len(made.shape) > 1 else ""
    return f"{total}from {depiction.spaced(n_samples)} samples in {took}"


def _shapes(shape: tuple[Any, ...]) -> tuple[tuple[int, ...], ...]:
    return shape if isinstance(shape[0], tuple) else (shape,)


def computed(name: str, options: Options, excerpt: Excerpt) -> Computed:
    """What a feature makes of an excerpt.

    Raises:
        GenrecoreError: The options do not suit the sample rate or the length.
    """
    said = options.model_dump_json()
    return _computed(excerpt.key, name, said, excerpt.sample_rate_hz, excerpt.wave)


@st.cache_data(max_entries=32, show_spinner=False)
def _computed(key: str, name: str, said: str, rate: int, _wave: np.ndarray) -> Computed:
    entry = FEATURES[name]
    options = entry.read_options(json.loads(said), "feature")
    feature = entry.thing(options, rate, len(_wave))
    began = time.perf_counter()
    with torch.inference_mode():
        made = feature(torch.from_numpy(_wave)[None, None])
    seconds = time.perf_counter() - began
    kinds = entry.facts.kind.split("+")
    parts = made if isinstance(made, tuple) else (made,)
    arrays = tuple(
        # Channels are copies of one another, so the first is all there is to see.
        (part[0, 0] if kind in ("image", "wave") else part[0]).float().numpy().copy()
        for kind, part in zip(kinds, parts, strict=True)
    )
    return Computed(arrays, tuple(feature.output_shape), seconds)


def _table(values: np.ndarray) -> None:
    """All descriptors with their values and what they mean."""
    said = [
        f"{_readable(value)} {unit_of(name)}".strip()
        for name, value in zip(DESCRIPTORS, values.tolist(), strict=True)
    ]
    meanings = [meaning_of(name) for name in DESCRIPTORS]
    st.dataframe(
        pd.DataFrame({"Descriptor": DESCRIPTORS, "Value": said, "Meaning": meanings}),
        hide_index=True,
        height=320,
        column_config={"Meaning": st.column_config.TextColumn(width="large")},
    )


def _readable(value: float) -> str:
    return depiction.spaced(value) if abs(value) >= 1000 else f"{value:.4g}"


def _of_picture(name: str, options: Options, picture: np.ndarray) -> None:
    channels = torch.from_numpy(picture.copy()).permute(2, 0, 1)
    feature = FEATURES[name].thing(options, tuple(channels.shape))
    with torch.inference_mode():
        made = feature(channels[None])[0]
    scale = 255.0 if float(made.max()) > 1.0 else 1.0
    seen = (made / scale).clamp(0.0, 1.0).permute(1, 2, 0).numpy()
    st.image(seen if seen.shape[2] == 3 else seen[:, :, 0])
    kind = FEATURES[name].facts.kind
    st.markdown(depiction.size_in_words(kind, options, 0, tuple(feature.output_shape)))
    st.caption(f"Values from {float(made.min()):.3g} to {float(made.max()):.3g}.")


def _train(name: str, values: Mapping[str, Any], picked: Picked) -> None:
    """The way to Train with this dataset, feature and parameters."""
    if picked.data is None or picked.query is None:
        return
    infos = FEATURES[name].options.model_fields
    changed = {k: v for k, v in values.items() if v != infos[k].get_default()}
    query = dict(picked.query) | {"feature": name}
    query |= {f"{name}.{key}": str(value) for key, value in changed.items()}
    if rate := chosen("audio.sample_rate_hz"):
        query["audio.sample_rate_hz"] = rate
    link_to("train", "Train on it", ":material/model_training:", query)


def _study() -> None:
    """Takes over what a study fed its networks, and says what that leaves open."""
    names = [""] + [name for name in PRESETS if "feature" in PRESETS[name].thing]
    said = chosen("study") if chosen("study") in names else ""
    hold("choice_study", said)

    def take() -> None:
        _take(st.session_state["choice_study"])

    st.selectbox(
        "As in a study",
        names,
        format_func=lambda name: PRESETS[name].title if name else "Parameters of your own",
        key="choice_study",
        on_change=take,
        help="Sets feature, parameters, sample rate and length to what a study fed its networks.",
    )
    if not said:
        return
    entry = PRESETS[said]
    shape = " and ".join(
        " × ".join(depiction.spaced(n) for n in one) for one in _shapes(entry.facts.shape)
    )
    words = f"{plain(entry.source)}: its network is given {shape}."
    if _changed_since(said):
        words += " You have changed something since."
    st.caption(words)
    with st.expander("What the study leaves open", icon=":material/help:"):
        st.markdown("\n".join(f"- {plain(note)}" for note in entry.facts.notes))


def _changed_since(study: str) -> bool:
    """Whether the choices of this page are not the study's any more."""
    wanted = _address(study)
    name = wanted["features"]
    prefix = f"{name}."
    given = {
        key: wanted.get(prefix + key, info.get_default())
        for key, info in FEATURES[name].options.model_fields.items()
    }
    now = fields.chosen_options(FEATURES, name)
    return any(str(given[key]) != str(value) for key, value in now.items()) or any(
        chosen(key) != value for key, value in wanted.items() if not key.startswith(prefix)
    )


def _address(study: str) -> dict[str, str]:
    """A study's values as the choices of this page."""
    values: Mapping[str, Any] = PRESETS[study].thing
    name = str(values["feature"])
    said = {"features": name}
    for key, value in values.items():
        if key.startswith("feature."):
            said[f"{name}.{key.removeprefix('feature.')}"] = str(value)
    if "audio.sample_rate_hz" in values:
        said["audio.sample_rate_hz"] = str(values["audio.sample_rate_hz"])
        said["length"] = f"{values['segments.segment_s']:g}"
    return said


def _take(study: str) -> None:
    choose("study", study)
    if not study:
        return
    said = _address(study)
    for key in list(st.query_params):
        if key.startswith(f"{said['features']}."):
            choose(key, "")
    for key in ("length", "start", "audio.sample_rate_hz"):
        choose(key, "")
    for key, value in said.items():
        choose(key, value)
