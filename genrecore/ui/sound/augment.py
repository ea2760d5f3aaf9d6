"""Augmentations of an excerpt before and after, on the page Sound. Importing this imports torch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
import torch

from genrecore.augment import AUGMENTATIONS
from genrecore.errors import AudioError
from genrecore.features.log_mel import LogMelOptions
from genrecore.reporting import feature_charts as depiction
from genrecore.reporting import plots
from genrecore.reporting.plots.chart import percent
from genrecore.ui.parts import fields
from genrecore.ui.parts.choices import choose, choose_one, chosen
from genrecore.ui.parts.frame import chart, empty, link_to, pair, plain, section
from genrecore.ui.sound.clip import Excerpt, Picked, excerpt_like, file_of
from genrecore.ui.sound.features import computed
from genrecore.ui.sound.heard import log_mel_options, sound_of, wav

_ON = {
    "wave": "changes the sound, before the feature is computed",
    "image": "changes the picture that the feature has made",
    "batch": "mixes clips with one another, and their genres alike",
    "variants": "adds changed copies of every training segment, once and for all",
}
_MOST_DRAWS = 64


def view(picked: Picked, excerpt: Excerpt) -> None:
    """One augmentation with its options, and the excerpt before and after it."""
    section(
        "Augmentation",
        "In training a network is shown changed examples, so that it learns what does not matter.",
    )
    left, right = pair("augment", left=2, right=3)
    with left:
        name = choose_one(
            "Augmentation",
            list(AUGMENTATIONS),
            "augmentation",
            words=lambda one: AUGMENTATIONS[one].title,
        )
        entry = AUGMENTATIONS[name]
        on = entry.facts.on
        st.caption(f"It {_ON[on]}. {entry.source[:1].upper()}{entry.source[1:]}.")
    with right:
        values: dict[str, Any] = {}
        if set(entry.options.model_fields) - {"p"}:
            values = fields.options(AUGMENTATIONS, name, {}, leave_out=("p",))
        seed = _seed(on)
    _explain(entry.thing)
    options = entry.read_options(values, "augmentation")
    augmentation = entry.thing(options, excerpt.sample_rate_hz)
    what = f"{name}|{options.model_dump_json()}|{seed}"
    if on == "wave":
        _wave(augmentation, what, seed, excerpt)
    elif on == "variants":
        _variants(augmentation, what, excerpt)
    elif on == "image":
        _image(augmentation, what, seed, excerpt)
    else:
        _mixed(augmentation, what, seed, picked, excerpt)
    _train(name, values, picked, on, getattr(options, "p", None))


def _seed(on: str) -> int:
    """The seed of the URL, and the button that takes the next one."""
    said = chosen("draw")
    seed = int(said) if said.isdecimal() and len(said) < 10 else 1
    if on == "variants":
        return seed
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Draw again",
            icon=":material/casino:",
            key="draw",
            on_click=choose,
            args=("draw", str(seed + 1)),
            help="What chance decides is decided anew. The number is in the address, so a link "
            "shows the same.",
        )
        st.caption(f"Draw {seed}", width="content")
    return seed


def _explain(thing: type) -> None:
    """What the augmentation says of itself, and of what it means for a spectrogram."""
    text = (inspect.getdoc(thing) or "").partition("\n\nRaises:")[0]
    first, *more = (" ".join(part.split()).replace("`", "") for part in text.split("\n\n"))
    st.markdown(plain(first))
    for part in more:
        st.caption(plain(part))


def _wave(augmentation: Any, what: str, seed: int, excerpt: Excerpt) -> None:
    with st.spinner("Changing the sound …"):
        after = _changed_wave(excerpt.key, what, augmentation, seed, excerpt.wave)
    _two_waves(excerpt, after, what, "After")


@st.cache_data(max_entries=24, show_spinner=False)
def _changed_wave(
    key: str, what: str, _augmentation: Any, seed: int, _wave: np.ndarray
) -> np.ndarray:
    x = torch.from_numpy(_wave)[None, None]
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        drawn = _augmentation.draw(1, tuple(x.shape[1:]), generator)
        return _augmentation.apply(x, drawn)[0, 0].numpy()


def _variants(augmentation: Any, what: str, excerpt: Excerpt) -> None:
    labels = list(augmentation.labels)
    label = choose_one("Copy", labels, "copy", radio=True)
    with st.spinner("Making the copy …"):
        after = _copy(excerpt.key, what, augmentation, labels.index(label), excerpt.wave)
    _two_waves(excerpt, after, f"{what}|{label}", f"Copy: {label}")


@st.cache_data(max_entries=24, show_spinner=False)
def _copy(key: str, what: str, _augmentation: Any, k: int, _wave: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return _augmentation.apply(torch.from_numpy(_wave)[None, None], k)[0, 0].numpy()


def _two_waves(before: Excerpt, wave: np.ndarray, what: str, title: str) -> None:
    """Waveform, log-mel spectrogram and player of an excerpt before and after."""
    options, rate = log_mel_options(), before.sample_rate_hz
    key = f"{before.key}|{what}"
    after = Excerpt(key, before.name, before.genre, wave, b"", rate, 0.0)
    peak = max(1.0, float(np.abs(wave).max(initial=0.0)))
    made = [computed("log_mel", options, one) for one in (before, after)]
    limits = _limits([one.parts[0] for one in made])
    for column, name, one, computed_, slot in zip(
        pair("waves"), ("Before", title), (before, after), made, ("before", "after"), strict=True
    ):
        with column:
            st.markdown(f"**{plain(name)}**")
            st.audio(wav(one.wave / peak, rate), format="audio/wav")
            chart(plots.waveform(one.wave, rate, reach=1.05 * peak), f"{slot}_wave")
            drawn = depiction.charts("image", options, rate, len(one.wave), computed_.parts, limits)
            chart(drawn[0][0], f"{slot}_picture")
    if peak > 1.0:
        st.caption(
            f"Louder than full scale: both players are {20 * np.log10(peak):.1f} dB quieter, so "
            "that nothing is cut off. The network gets it as it is."
        )


def _image(augmentation: Any, what: str, seed: int, excerpt: Excerpt) -> None:
    options = log_mel_options()
    before = computed("log_mel", options, excerpt)
    image = torch.from_numpy(before.parts[0])[None, None].expand(1, before.shape[0], -1, -1)
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        drawn = augmentation.draw(1, tuple(image.shape[1:]), generator)
        after = augmentation.apply(image.contiguous(), drawn)[0, 0].numpy()
    _two_pictures(options, excerpt, before.parts[0], after, what, ("Before", "After"))


@dataclass(frozen=True)
class _Second:
    excerpt: Excerpt
    picture: np.ndarray


def _mixed(augmentation: Any, what: str, seed: int, picked: Picked, excerpt: Excerpt) -> None:
    options = log_mel_options()
    second = _second(picked, excerpt, options)
    if second is None:
        return
    before = computed("log_mel", options, excerpt).parts[0]
    images = torch.from_numpy(np.stack([before, second.picture]))[:, None]
    generator = torch.Generator().manual_seed(seed)
    targets = torch.eye(2)
    with torch.inference_mode():
        for _ in range(_MOST_DRAWS):
            drawn = augmentation.draw(2, tuple(images.shape[1:]), generator)
            shares = augmentation.apply(targets, drawn)[0]
            # In a batch of two, half of the draws mix a clip with itself: nothing to hear.
            if float(shares[0]) < 1.0:
                break
        after = augmentation.apply(images, drawn)[0, 0].numpy()
    names = [excerpt.genre, second.excerpt.genre]
    if names[0] == names[1]:
        said = f"Both are {names[0]}, so the target stays {names[0]}."
    else:
        listed = [f"{percent(float(s))} {name}" for s, name in zip(shares, names, strict=True)]
        said = f"The target becomes {' and '.join(listed)}."
    st.markdown(f"**{plain(said)}**")
    what = f"{what}|{second.excerpt.key}"
    with st.expander("The other clip", icon=":material/music_note:"):
        st.audio(second.excerpt.wav, format="audio/wav")
    _two_pictures(options, excerpt, before, after, what, ("Before", "Mixed"))


def _second(picked: Picked, excerpt: Excerpt, options: LogMelOptions) -> _Second | None:
    """Another clip of the dataset, by default the first of another genre."""
    if picked.data is None:
        empty(
            "Mixing takes two clips.",
            "Choose the clip from a dataset; then another one of it can be mixed in.",
        )
        return None
    rows = picked.data.clips
    other = rows[rows["genre"] != excerpt.genre]
    firsts = other.groupby("genre", sort=True).head(3)
    listed = pd.concat([firsts, rows[rows["clip_id"] == chosen("with")]])
    listed = listed.drop_duplicates("clip_id")
    if listed.empty:
        empty("There is no other genre.", "Choose a dataset with two or more.")
        return None
    genres = dict(zip(listed["clip_id"], listed["genre"], strict=True))
    clip_id = choose_one(
        "Mixed with", list(genres), "with", words=lambda one: f"{one} ({genres[one]})"
    )
    try:
        row = listed[listed["clip_id"] == clip_id].iloc[0]
        found = excerpt_like(file_of(row), excerpt)
    except AudioError as error:
        st.error(plain(error), icon=":material/error:")
        return None
    return _Second(found, computed("log_mel", options, found).parts[0])


def _two_pictures(
    options: LogMelOptions,
    excerpt: Excerpt,
    before: np.ndarray,
    after: np.ndarray,
    what: str,
    titles: tuple[str, str],
) -> None:
    """Two log-mel pictures with what they sound like."""
    limits = _limits([before, after])
    rate, n = excerpt.sample_rate_hz, len(excerpt.wave)
    columns = pair("pictures")
    waves = []
    for column, values, changed in zip(columns, (before, after), ("", what), strict=True):
        with column, st.spinner("Turning the picture into sound …"):
            waves.append(sound_of(values, options, excerpt, changed)[0])
    peak = max(1.0, *(float(np.abs(wave).max(initial=0.0)) for wave in waves))
    for column, title, values, wave, slot in zip(
        columns, titles, (before, after), waves, ("before", "after"), strict=True
    ):
        with column:
            st.markdown(f"**{title}**")
            st.audio(wav(wave / peak, rate), format="audio/wav")
            drawn = depiction.charts("image", options, rate, n, (values,), limits)
            chart(drawn[0][0], f"{slot}_picture")
    st.caption(
        "Both are heard as the picture sounds, its phases guessed, so that only the change differs."
    )


def _limits(pictures: list[np.ndarray]) -> tuple[float, float]:
    """One scale of colours for all, so that louder looks louder."""
    return min(float(one.min()) for one in pictures), max(float(one.max()) for one in pictures)


def _train(name: str, values: Mapping[str, Any], picked: Picked, on: str, p: float | None) -> None:
    """How often it happens in training, and the way there."""
    if p is not None:
        st.caption(
            f"Here it always happens; in training to {100 * p:g} % of the examples, unless it is "
            "told otherwise."
        )
    if picked.query is None:
        return
    infos = AUGMENTATIONS[name].options.model_fields
    query = dict(picked.query) | {"augment": name}
    query |= {f"{name}.{k}": str(v) for k, v in values.items() if v != infos[k].get_default()}
    link_to("train", "Train with it", ":material/model_training:", query)
