"""Augmentations of waves, each by an effect that can be measured."""

from __future__ import annotations

import math

import pytest
import torch
from augmentations import (
    N_SAMPLES,
    RATE_HZ,
    augmentation,
    changed,
    examples,
    level_db,
    peak_hz,
    seeded,
    tone,
)

from genrecore.augment import AUGMENTATIONS


@pytest.mark.parametrize("n_samples", [N_SAMPLES, 2**21 + 12_345])
def test_noise_has_the_stated_level(n_samples) -> None:
    step = augmentation("noise", amount=0.02)
    # The second begins so late that it goes on at the bank's beginning, the third is turned over.
    parameters = torch.tensor([[0.1, 0.2], [0.9999, 0.2], [0.1, 0.8]])
    added = step.apply(torch.zeros(3, 1, n_samples), parameters)
    # The standard deviation of n normal numbers scatters by 1 / sqrt(2 n) = 0.7 %; four times that.
    torch.testing.assert_close(added.std(dim=-1), torch.full((3, 1), 0.02), rtol=0.03, atol=0)
    assert added[:2].mean().abs() < 0.02 * 4 / math.sqrt(n_samples)
    torch.testing.assert_close(added[2], -added[0])
    first_again = step.apply(torch.ones(3, 1, n_samples), parameters)[0] - 1.0
    torch.testing.assert_close(first_again, added[0], rtol=0, atol=1e-6)  # float32 around 1


def test_shift_moves_1600_samples_to_the_left() -> None:
    x = torch.arange(5000.0)[None, None]
    after = changed("shift", x)
    assert after[0, 0, 0] == 1600
    assert after[0, 0, -1600:].tolist() == list(range(1600))


def test_an_octave_up_doubles_the_frequency() -> None:
    step = augmentation("pitch")
    shifted = step.apply(tone(441.0).repeat(3, 1, 1), torch.tensor([[12.0], [-12.0], [0.0]]))
    middle = shifted[..., 2000:-2000]
    # Bins of the Fourier transform are 3 Hz apart here.
    assert [peak_hz(x) for x in middle] == pytest.approx([882.0, 220.5, 441.0], abs=3.2)
    # A phase vocoder lets neighbouring bins drift out of step: a tone loses up to a decibel or so.
    assert [level_db(x) for x in middle] == pytest.approx([level_db(tone(441.0))] * 3, abs=1.5)


def test_pitch_stays_within_its_range() -> None:
    parameters = augmentation("pitch", range_semitones=3.0).draw(4000, (1, 9), seeded())
    # The extremes of 4000 uniform numbers lie within a few thousandths of the ends.
    assert -3.0 <= parameters.min() < -2.97
    assert 2.97 < parameters.max() <= 3.0


def test_faster_music_is_shorter_and_as_high() -> None:
    step = augmentation("speed")
    x = tone(441.0, 33_075)
    fast, slow = step.apply(x.repeat(2, 1, 1), torch.tensor([[1.1], [0.9]]))
    end = round(33_075 / 1.1)
    assert not fast[0, end:].any()
    # Up to the last frame it sounds on at the same level and pitch.
    last = fast[0, end - 3000 : end - 1000]
    assert level_db(last) == pytest.approx(level_db(x), abs=0.5)
    for wave in (fast[0, 1000 : end - 1000], slow[0]):
        assert peak_hz(wave) == pytest.approx(441.0, abs=1.0)


def test_speed_moves_events_by_its_factor() -> None:
    x = torch.zeros(1, 1, 33_075)
    x[0, 0, 20_000] = 1.0
    position = augmentation("speed").apply(x, torch.tensor([[1.1]]))[0, 0].abs().argmax()
    assert int(position) == pytest.approx(20_000 / 1.1, abs=512)  # a hop: frames are interpolated


def test_the_percussive_part_has_clicks_but_no_tones() -> None:
    step = augmentation("percussive")
    steady = tone(1000.0, 44_100)
    click = torch.zeros(1, 1, 44_100)
    click[0, 0, 22_050] = 1.0
    # Without the ends, where the tone begins and breaks off, which is a blow.
    inside = slice(6000, -6000)
    remainder = step.apply(steady, torch.empty(1, 0))[..., inside]
    assert level_db(remainder) < level_db(steady) - 20
    assert level_db(step.apply(click, torch.empty(1, 0))) == pytest.approx(level_db(click), abs=3)
    both = step.apply(steady + click, torch.empty(1, 0))[..., inside]
    assert both.abs().argmax() + 6000 == 22_050


def test_gain_is_in_decibels() -> None:
    x = examples("gain", n=2)
    after = augmentation("gain").apply(x, torch.tensor([[6.0], [-20.0]]))
    levels = [level_db(a) - level_db(b) for a, b in zip(after, x, strict=True)]
    assert levels == pytest.approx([6.0, -20.0], abs=1e-4)


def test_the_equaliser_is_torchaudios() -> None:
    import torchaudio

    step = augmentation("equaliser", quality=0.7)
    x = 0.1 * examples("equaliser", n=4)  # theirs cuts off at full scale
    parameters = step.draw(4, (1, N_SAMPLES), seeded())
    for ours, wave, (middle_hz, gain_db) in zip(
        step.apply(x, parameters), x, parameters.tolist(), strict=True
    ):
        expected = torchaudio.functional.equalizer_biquad(wave, RATE_HZ, middle_hz, gain_db, 0.7)
        # Both float32; the recursion's errors grow along the wave.
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


def test_the_equaliser_raises_its_band_and_no_other() -> None:
    step = augmentation("equaliser")
    parameters = torch.tensor([[1000.0, 12.0]] * 2)
    x = torch.cat([tone(1000.0), tone(60.0)])
    inside = slice(3000, -3000)  # the tones' beginnings and ends have other frequencies
    before, after = x[..., inside], step.apply(x, parameters)[..., inside]
    raised = [level_db(a) - level_db(b) for a, b in zip(after, before, strict=True)]
    assert raised == pytest.approx([12.0, 0.0], abs=0.2)
    middle_hz, gain_db = step.draw(2000, (1, 9), seeded()).unbind(1)
    assert 100 <= middle_hz.min() < middle_hz.max() <= 6000
    assert middle_hz.median() == pytest.approx(math.sqrt(100 * 6000), rel=0.15)  # octaves alike
    assert -12 <= gain_db.min() < -11 < 11 < gain_db.max() <= 12


def test_the_equaliser_stays_below_half_the_sample_rate() -> None:
    choice = AUGMENTATIONS.choose("equaliser", {"highest_hz": 20_000})
    parameters = choice.thing(choice.options, 16_000).draw(500, (1, 9), seeded())
    assert 6000 < parameters[:, 0].max() <= 7200


@pytest.mark.parametrize("name", ["roll", "roll_time"])
def test_rolling_only_reorders(name) -> None:
    x = examples(name)
    after = augmentation(name).apply(x, torch.tensor([[0.0], [0.25], [0.9999999]]))
    assert torch.equal(after[0], x[0])
    n = x.shape[-1]
    assert torch.equal(after[1], x[1].roll(-(n // 4), -1))
    assert torch.equal(after[2], x[2].roll(1, -1))
