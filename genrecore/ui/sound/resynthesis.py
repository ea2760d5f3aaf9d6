"""Log-mel spectrograms turned back into sound, and the row that shows a sound before and after."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import streamlit as st
import torch

from genrecore import words
from genrecore.features import FEATURES
from genrecore.features.log_mel import LogMel, LogMelOptions
from genrecore.reporting import feature_charts
from genrecore.training import hardware
from genrecore.ui.parts import fields
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import chart, section
from genrecore.ui.parts.player import SoundExcerpt, player
from genrecore.ui.sound.features import compute

_N_MELS = ("16", "32", "64", "128", "256")


@dataclass(frozen=True)
class Version:
    """A sound (n_samples,) before or after a change, and its log-mel spectrogram (bins, frames)."""

    title: str
    wave: np.ndarray
    image: np.ndarray | None  # a very short wave has none


def before_and_after(
    before: Version,
    after: Version,
    options: LogMelOptions,
    excerpt: SoundExcerpt,
) -> None:
    """Two versions of an excerpt: one player that switches between them, and their spectrograms
    below it with the same axes and colours."""
    versions = {"before": before, "after": after}
    waves = {each.title: excerpt.with_wave(each.wave) for each in versions.values()}
    player(waves, "versions", above_chart=True)
    images = [each.image for each in (before, after) if each.image is not None]
    limits = min(float(each.min()) for each in images), max(float(each.max()) for each in images)
    for slot, version in versions.items():
        if version.image is not None:
            (axes,) = LogMel(options, excerpt.sample_rate_hz, len(version.wave)).axes()
            axes = replace(axes, title=version.title)
            ((figure, _),) = feature_charts.charts(
                ("image",), [axes], (version.image,), limits, excerpt.start_s
            )
            chart(figure, f"{slot}_image")


def show(excerpt: SoundExcerpt) -> None:
    """An excerpt and the sound of its log-mel spectrogram."""
    section(
        "Back to sound",
        "The log-mel spectrogram turned back into sound by Griffin and Lim's method. The method "
        "guesses the phases, because the network does not get them either.",
    )
    n_mels = str(fields.chosen_options(FEATURES, "log_mel")["n_mels"])
    offered = sorted({*_N_MELS, n_mels}, key=int)
    choose_one("Mel bands", offered, "log_mel.n_mels", default="128", radio=True)
    with st.expander("More parameters", icon=":material/tune:"):
        fields.options(FEATURES, "log_mel", {}, leave_out=("n_mels",))
    options = log_mel_options()
    spectrogram = compute("log_mel", options, excerpt)
    with st.spinner("Turning the spectrogram into sound …"):
        wave, seconds = sound_of(spectrogram.parts[0], options, excerpt)
    fine = LogMelOptions()  # both sounds are drawn with these
    before = Version("Original", excerpt.wave, compute("log_mel", fine, excerpt).parts[0])
    wave = wave / max(1.0, float(np.abs(wave).max(initial=0.0)))  # the original stays as it is
    title, image = f"From {options.n_mels} mel bands", None
    if len(wave) > fine.n_fft:
        image = compute("log_mel", fine, excerpt.with_wave(wave)).parts[0]
    before_and_after(before, Version(title, wave, image), fine, excerpt)
    _, bins, frames = spectrogram.shape
    n_samples, n_values = len(excerpt.wave), bins * frames
    st.markdown(
        f"{words.thousands(n_samples)} samples became {words.plural(n_values, 'number')}, "
        f"{words.decimals(n_samples / n_values)} samples each. "
        f":gray[The way back took {words.seconds(seconds)}.]"
    )
    st.caption(
        "Both spectrograms are drawn with 128 bands and 80 dB. What sounds hollow or watery on the "
        "right is missing in the network's input."
    )


def log_mel_options() -> LogMelOptions:
    """The parameters of the log-mel spectrogram in the URL.

    Raises:
        UsageError: They do not fit together.
    """
    values = fields.chosen_options(FEATURES, "log_mel")
    options: LogMelOptions = FEATURES.choose("log_mel", values).options
    return options


def sound_of(
    image: np.ndarray, options: LogMelOptions, excerpt: SoundExcerpt
) -> tuple[np.ndarray, float]:
    """The sound of an excerpt's log-mel spectrogram (bins, frames), changed or not: (n_samples,),
    and the seconds that took.

    Raises:
        GenrecoreError: Windows that leave gaps.
    """
    n_samples, rate = len(excerpt.wave), excerpt.sample_rate_hz
    return _sound_of(image, options.model_dump_json(), rate, n_samples)


@st.cache_data(max_entries=24, show_spinner=False)
def _sound_of(
    image: np.ndarray, options_json: str, rate: int, n_samples: int
) -> tuple[np.ndarray, float]:
    began = time.perf_counter()
    options = LogMelOptions.model_validate_json(options_json)
    with hardware.torch_threads(1):
        wave = LogMel(options, rate, n_samples).to_wave(torch.from_numpy(image)[None])
    return wave.numpy(), time.perf_counter() - began
