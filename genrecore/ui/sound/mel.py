"""The mel scale explained with a tone, on the page Sound. Importing this imports torch."""

from __future__ import annotations

import math

import numpy as np
import streamlit as st

from genrecore.audio import decode as audio
from genrecore.audio.mel_scale import MelBank, octave_elsewhere
from genrecore.features import FEATURES
from genrecore.reporting.feature_charts import mel_bank, spaced
from genrecore.reporting.plots import mel_scale as drawn
from genrecore.ui.parts import fields
from genrecore.ui.parts.choices import choose, chosen, hold
from genrecore.ui.parts.frame import chart, pair, section
from genrecore.ui.sound.clip import sample_rate_hz
from genrecore.ui.sound.heard import log_mel_options

_LOWEST_HZ = 27.5  # the A at the left end of a piano
_DEFAULT_HZ = 440
_NOTES = ("A", "A♯", "B", "C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯")
_SECONDS = 1.5
_RATE_HZ = 44_100
_SCALES = {"slaney": "Slaney", "htk": "HTK"}


def view() -> None:
    """A tone to hear, the bands that answer it, and how many bands lie where."""
    section(
        "The mel scale",
        "A log-mel spectrogram gives low frequencies many narrow bands and high ones few wide "
        "bands, about as hearing does.",
    )
    rate = sample_rate_hz()
    left, right = pair("mel", left=3, right=2)
    with left:
        tone_hz, name = _tone(rate / 2)
        st.audio(_wav(tone_hz), format="audio/wav")
    with right, st.expander("The bands", icon=":material/tune:", expanded=True):
        fields.options(FEATURES, "log_mel", {}, only=("n_mels", "fmin_hz", "fmax_hz", "mel_scale"))
    options = log_mel_options()
    # The feature itself refuses what cannot be, in its own words.
    FEATURES["log_mel"].thing(options, rate, rate)
    bank = mel_bank(options, rate)
    with left:
        st.markdown(_answer(bank, tone_hz, name))
        st.markdown(_octave(bank, tone_hz))
    left, right = pair("mel_charts")
    with left:
        hz = np.linspace(0.0, rate / 2, 400)
        hz = np.unique(np.concatenate([hz, np.geomspace(10.0, rate / 2, 200)]))
        below = {name: _below(bank, scale, hz) for scale, name in _SCALES.items()}
        even = (hz - bank.fmin_hz) / (bank.fmax_hz - bank.fmin_hz)
        below["equally wide bands"] = bank.n_mels * np.clip(even, 0.0, 1.0)
        chart(drawn.bands_below(hz, below, tone_hz, bank.n_mels), "mel_curves")
    with right:
        chart(drawn.filter_bank(bank.edges_hz, bank.answering(tone_hz), tone_hz), "mel_filters")


def _below(bank: MelBank, scale: str, hz: np.ndarray) -> np.ndarray:
    other = MelBank(bank.n_mels, bank.fmin_hz, bank.fmax_hz, scale)  # type: ignore[arg-type]
    return np.clip(other.below(hz), 0.0, bank.n_mels)


def _tone(top_hz: float) -> tuple[float, str]:
    """The frequency of the URL, as the nearest semitone, and the note's name."""
    n = math.floor(12 * math.log2(0.999 * top_hz / _LOWEST_HZ)) + 1
    notes = {_LOWEST_HZ * 2 ** (k / 12): _note(k) for k in range(n)}
    try:
        wanted = float(chosen("tone") or _DEFAULT_HZ)
    except ValueError:
        wanted = _DEFAULT_HZ
    wanted = wanted if 1.0 <= wanted < math.inf else _DEFAULT_HZ
    nearest = min(notes, key=lambda hz: abs(math.log(hz / wanted)))
    key = "slider_tone"
    hold(key, nearest)

    def write() -> None:
        value = round(st.session_state[key])
        choose("tone", "" if value == _DEFAULT_HZ else str(value))

    picked = st.select_slider(
        "A tone",
        list(notes),
        format_func=lambda hz: f"{spaced(hz)} Hz · {notes[hz]}",
        key=key,
        on_change=write,
        help="In semitones. Turn the volume down before you play high ones.",
    )
    return float(picked), notes[picked]


def _note(k: int) -> str:
    """The name of the note k semitones above the lowest A."""
    return f"{_NOTES[k % 12]}{(k + 9) // 12}"


@st.cache_data(max_entries=32, show_spinner=False)
def _wav(tone_hz: float) -> bytes:
    t = np.arange(round(_SECONDS * _RATE_HZ)) / _RATE_HZ
    fade = np.clip(np.minimum(t, _SECONDS - t) / 0.03, 0.0, 1.0)  # no clicks
    return audio.to_wav_bytes(0.25 * fade * np.sin(2 * np.pi * tone_hz * t), _RATE_HZ)


def _answer(bank: MelBank, tone_hz: float, name: str) -> str:
    """Which bands a tone reaches, in a sentence."""
    said = f"**{spaced(tone_hz)} Hz** ({name})"
    bands = bank.answering(tone_hz)
    if not bands:
        return (
            f"{said} reaches none of the {bank.n_mels} bands: they end at "
            f"{spaced(bank.edges_hz[-1])} Hz."
            if tone_hz >= bank.edges_hz[-1]
            else f"{said} reaches none of the {bank.n_mels} bands: they begin at "
            f"{spaced(bank.edges_hz[0])} Hz."
        )
    low_hz, high_hz = bank.edges_hz[bands[0]], bank.edges_hz[bands[-1] + 2]
    which = (
        f"band {bands[0] + 1}"
        if len(bands) == 1
        else f"bands {' and '.join(str(band + 1) for band in bands)}"
    )
    reach = "It reaches" if len(bands) == 1 else "Together they reach"
    return (
        f"{said} is heard by {which} of {bank.n_mels}. {reach} from {spaced(low_hz)} to "
        f"{spaced(high_hz)} Hz: two tones in there can hardly be told apart."
    )


def _octave(bank: MelBank, tone_hz: float) -> str:
    """How many bands the octave at a tone has, and which other range has as many."""
    low_hz = tone_hz if 2.0 * tone_hz <= bank.fmax_hz else tone_hz / 2.0
    low_hz = max(low_hz, bank.fmin_hz)
    high_hz = min(2.0 * low_hz, bank.fmax_hz)
    said = (
        f"From {spaced(low_hz)} to {spaced(high_hz)} Hz lie {bank.between(low_hz, high_hz):.1f} of "
        f"{bank.n_mels} bands"
    )
    if high_hz < 2.0 * low_hz:
        return f"{said}."
    begin_hz, end_hz = octave_elsewhere(low_hz, bank.scale)
    if begin_hz < bank.fmin_hz or end_hz > bank.fmax_hz:
        return f"{said}: one octave."
    return f"{said}, as many as from {spaced(begin_hz)} to {spaced(end_hz)} Hz."
