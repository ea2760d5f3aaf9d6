"""The mel scale explained with a tone, on the page Sound."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import streamlit as st

from genrecore import words
from genrecore.audio.mel_scale import MelBank, octave_elsewhere
from genrecore.config.run import Audio
from genrecore.features import FEATURES
from genrecore.reporting.plots import mel_scale as plots
from genrecore.ui.parts import fields
from genrecore.ui.parts.choices import choose, chosen, set_widget
from genrecore.ui.parts.frame import chart, pair, section
from genrecore.ui.parts.player import SoundExcerpt, player
from genrecore.ui.sound.resynthesis import log_mel_options

_LOWEST_HZ = 27.5  # the A at the left end of a piano
_DEFAULT_HZ = 440
_NOTES = ("A", "A♯", "B", "C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯")
_SECONDS = 1.5
_RATE_HZ = 44_100
_BANDS = ("n_mels", "fmin_hz", "fmax_hz", "mel_scale")
_SCALES = {"slaney": "Slaney", "htk": "HTK"}


def show() -> None:
    """A tone to hear, the bands that respond to it, and how many bands lie below it."""
    section(
        "The mel scale",
        "A log-mel spectrogram gives low frequencies many narrow bands and high ones few wide "
        "bands, similar to human hearing.",
    )
    info = Audio.model_fields["sample_rate_hz"]
    text = chosen("audio.sample_rate_hz")
    rate = int(text) if text in ("16000", "44100") else int(info.get_default())
    with st.expander("The bands", icon=":material/tune:"):
        fields.options(FEATURES, "log_mel", {}, only=_BANDS)
    options = log_mel_options()
    FEATURES["log_mel"].thing(options, rate, rate)  # refuses bands that are impossible
    bank = options.mel_bank(rate)
    left, right = pair("mel", left=2, right=3)
    with left:
        tone_hz, note = _choose_tone(rate / 2)
        t = np.arange(round(_SECONDS * _RATE_HZ)) / _RATE_HZ
        fade = np.clip(np.minimum(t, _SECONDS - t) / 0.03, 0.0, 1.0)  # no clicks
        wave = (0.25 * fade * np.sin(2 * np.pi * tone_hz * t)).astype(np.float32)
        player(SoundExcerpt(f"{words.thousands(tone_hz)} Hz", "", wave, _RATE_HZ), "tone")
        st.markdown(_describe_tone(bank, tone_hz, note))
        st.markdown(_describe_octave(bank, tone_hz))
    with right:
        hz = np.union1d(np.linspace(0.0, rate / 2, 400), np.geomspace(10.0, rate / 2, 200))
        n = bank.n_mels
        below = {
            title: np.clip(replace(bank, scale=scale).below(hz), 0.0, n)  # type: ignore[arg-type]
            for scale, title in _SCALES.items()
        }
        even = (hz - bank.fmin_hz) / (bank.fmax_hz - bank.fmin_hz)
        below["equally wide bands"] = n * np.clip(even, 0.0, 1.0)
        chart(plots.bands_below(hz, below, tone_hz, n), "mel_curves")


def _choose_tone(top_hz: float) -> tuple[float, str]:
    """The frequency of the URL, as the nearest semitone, and the note's name."""
    n = math.floor(12 * math.log2(0.999 * top_hz / _LOWEST_HZ)) + 1
    notes = {_LOWEST_HZ * 2 ** (k / 12): f"{_NOTES[k % 12]}{(k + 9) // 12}" for k in range(n)}
    try:
        tone_hz = float(chosen("tone") or _DEFAULT_HZ)
    except ValueError:
        tone_hz = _DEFAULT_HZ
    tone_hz = tone_hz if 1.0 <= tone_hz < math.inf else _DEFAULT_HZ
    set_widget("slider_tone", min(notes, key=lambda hz: abs(math.log(hz / tone_hz))))

    def write() -> None:
        value = round(st.session_state["slider_tone"])
        choose("tone", "" if value == _DEFAULT_HZ else str(value))

    picked = st.select_slider(
        "A tone",
        list(notes),
        format_func=lambda hz: f"{words.thousands(hz)} Hz · {notes[hz]}",
        key="slider_tone",
        on_change=write,
        help="In semitones. Turn the volume down before you play high ones.",
    )
    return float(picked), notes[picked]


def _describe_tone(bank: MelBank, tone_hz: float, note: str) -> str:
    """The bands that respond to a tone, in a sentence."""
    tone = f"**{words.thousands(tone_hz)} Hz** ({note})"
    bands = bank.answering(tone_hz)
    if not bands:
        above = tone_hz >= bank.edges_hz[-1]
        end = f"they {'end' if above else 'begin'} at {_hz(bank.edges_hz[-1 if above else 0])}"
        return f"{tone} lies outside the {bank.n_mels} bands: {end}."
    low_hz, high_hz = bank.edges_hz[bands[0]], bank.edges_hz[bands[-1] + 2]
    names = f"band{'s' if bands[1:] else ''} {words.listed([str(k + 1) for k in bands])}"
    return (
        f"{tone} falls into {names} of {bank.n_mels}, which {'span' if bands[1:] else 'spans'} "
        f"{words.thousands(low_hz)} to {_hz(high_hz)}: the network can hardly tell two tones in "
        "this range apart."
    )


def _describe_octave(bank: MelBank, tone_hz: float) -> str:
    """How many bands the octave at a tone has, and another range that has as many."""
    low_hz = tone_hz if 2.0 * tone_hz <= bank.fmax_hz else tone_hz / 2.0
    low_hz = max(low_hz, bank.fmin_hz)
    high_hz = min(2.0 * low_hz, bank.fmax_hz)
    n_bands = words.decimals(bank.between(low_hz, high_hz))
    sentence = (
        f"From {words.thousands(low_hz)} to {_hz(high_hz)} lie {n_bands} of {bank.n_mels} bands"
    )
    if high_hz < 2.0 * low_hz:
        return f"{sentence}."
    begin_hz, end_hz = octave_elsewhere(low_hz, bank.scale)
    if begin_hz < bank.fmin_hz or end_hz > bank.fmax_hz:
        return f"{sentence}: one octave."
    return f"{sentence}, as many as from {words.thousands(begin_hz)} to {_hz(end_hz)}."


def _hz(value: float) -> str:
    return f"{words.thousands(value)} Hz"
