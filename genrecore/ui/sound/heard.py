"""What a log-mel spectrogram still sounds like, on the page Sound. Importing this imports torch."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import streamlit as st
import torch

from genrecore.audio import decode as audio
from genrecore.features import FEATURES
from genrecore.features.log_mel import LogMelOptions
from genrecore.reporting import feature_charts as depiction
from genrecore.ui.parts import fields
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import chart, pair, section
from genrecore.ui.sound.clip import Excerpt
from genrecore.ui.sound.features import computed

_N_MELS = ("16", "32", "64", "128", "256")


def view(excerpt: Excerpt) -> None:
    """The excerpt and what its log-mel spectrogram sounds like, each with its picture."""
    section(
        "What is left",
        "The log-mel spectrogram turned back into sound by Griffin and Lim's method: the phases "
        "are guessed, because the network does not get them either.",
    )
    n_mels = str(fields.chosen_options(FEATURES, "log_mel")["n_mels"])
    offered = sorted({*_N_MELS, n_mels}, key=int)
    choose_one("Mel bands", offered, "log_mel.n_mels", default="128", radio=True)
    with st.expander("More parameters", icon=":material/tune:"):
        fields.options(FEATURES, "log_mel", {}, leave_out=("n_mels",))
    options = log_mel_options()
    made = computed("log_mel", options, excerpt)
    with st.spinner("Turning the picture into sound …"):
        wave, seconds = sound_of(made.parts[0], options, excerpt, "")
    again = Excerpt(
        f"{excerpt.key}|heard|{options.model_dump_json()}",
        excerpt.name,
        excerpt.genre,
        wave,
        wav(wave, excerpt.sample_rate_hz),
        excerpt.sample_rate_hz,
        0.0,
    )
    fine = LogMelOptions()  # both are looked at alike, and closely
    left, right = pair("heard")
    with left:
        st.markdown("**Original**")
        st.audio(excerpt.wav, format="audio/wav")
        before = computed("log_mel", fine, excerpt)
        limits = (float(before.parts[0].min()), float(before.parts[0].max()))
        _picture(fine, excerpt, before.parts, limits, "original")
    with right:
        st.markdown(f"**From {options.n_mels} mel bands**")
        st.audio(again.wav, format="audio/wav")
        if len(wave) > fine.n_fft:
            after = computed("log_mel", fine, again)
            _picture(fine, again, after.parts, limits, "again")
    _, bins, frames = made.shape
    n_values = bins * frames
    st.markdown(
        f"{depiction.spaced(len(excerpt.wave))} samples became {depiction.spaced(n_values)} "
        f"numbers, {len(excerpt.wave) / n_values:.1f} samples each. :gray[Back again in "
        f"{seconds:.1f} s.]"
    )
    st.caption(
        "Both pictures are drawn with 128 bands and 80 dB. What sounds hollow or watery on the "
        "right was not in the network's picture."
    )


def log_mel_options() -> LogMelOptions:
    """The parameters of the log-mel spectrogram in the URL.

    Raises:
        UsageError: They do not fit together.
    """
    values: dict[str, Any] = fields.chosen_options(FEATURES, "log_mel")
    options: LogMelOptions = FEATURES["log_mel"].read_options(values, "feature")
    return options


def sound_of(
    db: np.ndarray, options: LogMelOptions, excerpt: Excerpt, changed: str
) -> tuple[np.ndarray, float]:
    """What a log-mel picture (bins, frames) sounds like, (n_samples,), and the seconds it took.

    Args:
        db: The picture.
        options: That made it.
        excerpt: Of which it was made.
        changed: Names what was done to it since; empty for nothing.

    Raises:
        GenrecoreError: Windows that leave gaps.
    """
    said = options.model_dump_json()
    n, rate = len(excerpt.wave), excerpt.sample_rate_hz
    return _sound_of(excerpt.key, said, changed, n, rate, db)


@st.cache_data(max_entries=24, show_spinner=False)
def _sound_of(
    key: str, said: str, changed: str, n_samples: int, rate: int, _db: np.ndarray
) -> tuple[np.ndarray, float]:
    began = time.perf_counter()
    options = LogMelOptions.model_validate_json(said)
    wave = depiction.sound_of(torch.from_numpy(_db)[None], options, rate, n_samples)
    return wave, time.perf_counter() - began


def wav(wave: np.ndarray, rate: int) -> bytes:
    """A file for players; what is louder than full scale is made quieter, not cut off."""
    peak = float(np.abs(wave).max()) if len(wave) else 0.0
    return audio.to_wav_bytes(wave / max(1.0, peak), rate)


def _picture(
    options: LogMelOptions,
    excerpt: Excerpt,
    parts: tuple[np.ndarray, ...],
    limits: tuple[float, float],
    key: str,
) -> None:
    drawn = depiction.charts(
        "image", options, excerpt.sample_rate_hz, len(excerpt.wave), parts, limits
    )
    for one, _ in drawn:
        chart(one, f"heard_{key}")
