"""Loudness by ITU-R BS.1770, and the outline of a wave."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genrecore.audio import levels
from genrecore.audio.levels import envelope, loudness_lufs


def tone(hz: float, seconds: float, rate_hz: int, peak: float = 1.0) -> np.ndarray:
    return peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


@pytest.mark.parametrize("rate_hz", [22_050, 44_100, 48_000])
def test_a_full_scale_tone_has_the_loudness_that_the_standard_gives_it(rate_hz: int) -> None:
    # BS.1770: a sine of 997 Hz at 0 dBFS in one channel reads −3.01 LKFS.
    assert loudness_lufs(tone(997, 3.0, rate_hz), rate_hz) == pytest.approx(-3.01, abs=0.05)


def test_the_filters_at_48_khz_are_those_printed_in_the_standard() -> None:
    # Tables 1 and 2 of BS.1770-4.
    b, a = levels._shelf(48_000)
    assert b == pytest.approx([1.53512485958697, -2.69169618940638, 1.19839281085285], abs=1e-9)
    assert a == pytest.approx([1.0, -1.69065929318241, 0.73248077421585], abs=1e-9)
    b, a = levels._high_pass(48_000)
    assert b == pytest.approx([1.0, -2.0, 1.0])
    assert a == pytest.approx([1.0, -1.99004745483398, 0.99007225036621], abs=1e-9)


def test_half_the_amplitude_is_six_decibels_less_and_bass_counts_little() -> None:
    loud = loudness_lufs(tone(997, 2.0, 22_050), 22_050)
    assert loud - loudness_lufs(tone(997, 2.0, 22_050, 0.5), 22_050) == pytest.approx(
        6.02, abs=0.01
    )
    assert loudness_lufs(tone(30, 2.0, 22_050), 22_050) < loud - 4.0


def test_pauses_do_not_make_a_sound_quieter_and_silence_has_no_loudness() -> None:
    sound = tone(997, 2.0, 22_050)
    with_pause = np.concatenate([sound, np.zeros(3 * 22_050), sound])
    whole = loudness_lufs(sound, 22_050)
    assert loudness_lufs(with_pause, 22_050) == pytest.approx(whole, abs=0.6)  # blocks at the edges
    assert loudness_lufs(np.zeros(22_050), 22_050) == -math.inf
    assert loudness_lufs(np.zeros(0), 22_050) == -math.inf
    assert loudness_lufs(tone(997, 0.2, 22_050), 22_050) == pytest.approx(whole, abs=0.3)


def test_the_outline_holds_the_extremes_of_every_stretch() -> None:
    wave = np.zeros(1001)
    wave[[3, 500, 1000]] = 0.5, -0.75, 1.0
    low, high, starts = envelope(wave, 7)
    assert len(low) == len(high) == len(starts) == 7
    assert low.tolist() == [0, 0, 0, -0.75, 0, 0, 0]
    assert high.tolist() == [0.5, 0, 0, 0, 0, 0, 1.0]
    assert len(envelope(wave[:3], 7)[0]) == 3
