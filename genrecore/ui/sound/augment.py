"""Augmentations on the page Sound: an excerpt before and after, to see and to hear."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
import torch

from genrecore import words
from genrecore.augment import AUGMENTATIONS
from genrecore.config.registry import Options
from genrecore.errors import AudioError
from genrecore.features.colours import ColourMap
from genrecore.ui.datasets.listening import cut, source_of
from genrecore.ui.parts import fields
from genrecore.ui.parts.cache import cached_by_files, no_files
from genrecore.ui.parts.choices import choose, choose_one, chosen
from genrecore.ui.parts.frame import capital, empty, in_pairs, pair, plain, section
from genrecore.ui.parts.player import SoundExcerpt, player
from genrecore.ui.sound.clip import ClipChoice
from genrecore.ui.sound.features import compute
from genrecore.ui.sound.resynthesis import Version, before_and_after, log_mel_options, sound_of

_CHANGES = {
    "wave": "changes the sound, before the feature is computed",
    "image": "changes the image that the feature computes",
    "batch": "mixes clips with one another, and their genres in the same shares",
    "variants": "adds changed copies of every training segment, once and for all",
}
_MOST_DRAWS = 64


def show(clip: ClipChoice, excerpt: SoundExcerpt) -> None:
    """One augmentation with its options, and the excerpt before and after it."""
    section(
        "Augmentation",
        "Training shows the network changed examples, so that it learns what does not matter.",
    )
    left, right = pair("augment", left=2, right=3)
    with left:
        name = choose_one("Augmentation", AUGMENTATIONS.titles, "augmentation")
        entry = AUGMENTATIONS[name]
        acts_on = entry.facts.on
        st.caption(f"It {_CHANGES[acts_on]}. {capital(entry.source)}.")
    with right:
        values: dict[str, Any] = {}
        if set(entry.options.model_fields) - {"p"}:
            values = fields.options(AUGMENTATIONS, name, {}, leave_out=("p",))
        seed = 0 if acts_on == "variants" else _choose_seed()
    _describe(entry.thing)
    options = AUGMENTATIONS.choose(name, values).options
    if acts_on == "wave":
        _show_waves(excerpt, changed_wave(excerpt, name, options, seed), "After")
    elif acts_on == "variants":
        labels = list(entry.thing(options, excerpt.sample_rate_hz).labels)
        label = choose_one("Copy", labels, "copy", radio=True)
        wave = changed_wave(excerpt, name, options, variant=labels.index(label))
        _show_waves(excerpt, wave, f"Copy: {label}")
    else:
        augmentation = entry.thing(options, excerpt.sample_rate_hz)
        generator = torch.Generator().manual_seed(seed)
        if acts_on == "image":
            _show_image(augmentation, generator, excerpt)
        else:
            _show_mixed(augmentation, generator, clip, excerpt)
    p = getattr(options, "p", None)
    if p is not None:
        st.caption(f"Here it always happens; in training by default to {100 * p:g} % of examples.")
    clip.link_to_train("Train with it", "augment", AUGMENTATIONS, name, values)


def _choose_seed() -> int:
    """The seed of the URL, and the button that takes the next one."""
    text = chosen("draw")
    seed = int(text) if text.isdecimal() and len(text) < 10 else 1
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Draw again",
            icon=":material/casino:",
            key="draw",
            on_click=choose,
            args=("draw", str(seed + 1)),
            help="Draws the random values again. The number is in the address, so a link shows the "
            "same.",
        )
        st.caption(f"Draw {seed}", width="content")
    return seed


def _describe(augmentation: type) -> None:
    """The augmentation's own description."""
    text = (inspect.getdoc(augmentation) or "").partition("\n\nRaises:")[0]
    first, *more = (" ".join(part.split()).replace("`", "") for part in text.split("\n\n"))
    st.markdown(plain(first))
    for part in more:
        st.caption(plain(part))


@cached_by_files(no_files, spinner="Changing the sound …", max_entries=24)
def changed_wave(
    excerpt: SoundExcerpt, name: str, options: Options, seed: int = 1, variant: int | None = None
) -> np.ndarray:
    """An excerpt's wave after an augmentation, (n_samples,): drawn at random, or a variant."""
    augmentation = AUGMENTATIONS[name].thing(options, excerpt.sample_rate_hz)
    x = torch.from_numpy(excerpt.wave)[None, None]
    with torch.inference_mode():
        parameters = variant
        if variant is None:
            generator = torch.Generator().manual_seed(seed)
            parameters = augmentation.draw(1, tuple(x.shape[1:]), generator)
        return np.asarray(augmentation.apply(x, parameters)[0, 0])


def _show_waves(excerpt: SoundExcerpt, wave: np.ndarray, title: str) -> None:
    options = log_mel_options()
    after = excerpt.with_wave(wave)
    before_and_after(
        Version("Before", excerpt.wave, compute("log_mel", options, excerpt).parts[0]),
        Version(title, wave, compute("log_mel", options, after).parts[0]),
        options,
        excerpt,
    )
    if np.abs(wave).max() > 1.0:
        st.caption(
            "The result is louder than full scale. The player turns it down, so that nothing is "
            "cut off; the network gets it as it is."
        )


def _show_image(augmentation: Any, generator: torch.Generator, excerpt: SoundExcerpt) -> None:
    options = log_mel_options()
    before = compute("log_mel", options, excerpt)
    image = torch.from_numpy(before.parts[0])[None, None]
    is_coloured = options.colours != "none"
    image = (
        ColourMap(options.colours)(image)
        if is_coloured
        else image.expand(1, before.shape[0], -1, -1)
    )
    with torch.inference_mode():
        parameters = augmentation.draw(1, tuple(image.shape[1:]), generator)
        after = augmentation.apply(image.contiguous(), parameters)[0]
    if is_coloured:
        _show_pictures({"Before": image[0], "After": after})
    else:
        _show_images(excerpt, before.parts[0], after[0].numpy(), "After")


def _show_pictures(pictures: dict[str, torch.Tensor]) -> None:
    """Coloured images (3, bins, frames) from 0 to 1, the highest row above."""
    for title, picture in in_pairs(list(pictures.items()), "pictures"):
        pixels = picture.clamp(0.0, 1.0).flip(1).permute(1, 2, 0).numpy()
        st.image(pixels, caption=title, width="stretch")
    st.caption("Colours cannot be turned back into sound.")


def _show_mixed(
    augmentation: Any, generator: torch.Generator, clip: ClipChoice, excerpt: SoundExcerpt
) -> None:
    second = _choose_second(clip, excerpt)
    if second is None:
        return
    options = log_mel_options()
    first_image, second_image = (
        compute("log_mel", options, each).parts[0] for each in (excerpt, second)
    )
    images = torch.from_numpy(np.stack([first_image, second_image]))[:, None]
    with torch.inference_mode():
        for _ in range(_MOST_DRAWS):
            parameters = augmentation.draw(2, tuple(images.shape[1:]), generator)
            shares = augmentation.apply(torch.eye(2), parameters)[0].tolist()
            if shares[0] < 1.0:  # half of the draws mix a clip of such a batch with itself
                break
        after = augmentation.apply(images, parameters)[0, 0].numpy()
    genres = [excerpt.genre, second.genre]
    if genres[0] == genres[1]:
        sentence = f"Both are {genres[0]}, so the target stays {genres[0]}."
    else:
        parts = [f"{words.percent(s)} {genre}" for s, genre in zip(shares, genres, strict=True)]
        sentence = f"The target becomes {words.listed(parts)}."
    st.markdown(f"**{plain(sentence)}**")
    with st.expander("The other clip", icon=":material/music_note:"):
        player(second, "second")
    _show_images(excerpt, first_image, after, "Mixed")


def _choose_second(clip: ClipChoice, excerpt: SoundExcerpt) -> SoundExcerpt | None:
    """Another clip of the dataset, by default the first of another genre, as long as `excerpt`."""
    if clip.clips is None:
        empty(
            "Mixing takes two clips.",
            "Choose the clip from a dataset; then another one of it can be mixed in.",
        )
        return None
    others = clip.clips[clip.clips["genre"] != excerpt.genre]
    firsts = others.groupby("genre", sort=True).head(3)
    named = clip.clips[clip.clips["clip_id"] == chosen("with")]
    rows = pd.concat([firsts, named]).drop_duplicates("clip_id").set_index("clip_id", drop=False)
    if rows.empty:
        empty("There is no other genre.", "Choose a dataset with two or more.")
        return None
    titles = {str(name): f"{name} ({genre})" for name, genre in rows["genre"].items()}
    clip_id = choose_one("Mixed with", titles, "with")
    try:
        source = source_of(rows[rows["clip_id"] == clip_id].iloc[0])
        second = cut(source, 0.0, excerpt.seconds, excerpt.sample_rate_hz)
    except AudioError as error:
        st.error(plain(error), icon=":material/error:")
        return None
    wave = np.zeros_like(excerpt.wave)  # a shorter clip is filled up with silence
    n = min(len(wave), len(second.wave))
    wave[:n] = second.wave[:n]
    return second.with_wave(wave)


def _show_images(excerpt: SoundExcerpt, before: np.ndarray, after: np.ndarray, title: str) -> None:
    """Two log-mel spectrograms with the sounds of them."""
    options = log_mel_options()
    with st.spinner("Turning the spectrograms into sound …"):
        first = Version("Before", sound_of(before, options, excerpt)[0], before)
        second = Version(title, sound_of(after, options, excerpt)[0], after)
    before_and_after(first, second, options, excerpt)
    st.caption(
        "The player plays what each spectrogram sounds like, with guessed phases, so that only the "
        "change differs."
    )
