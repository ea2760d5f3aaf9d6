"""Time stretch, pitch, resampling and separation against librosa and signals of known answers."""

from __future__ import annotations

import math

import librosa
import numpy as np
import pytest
import torch

from genrecore import effects, hpss

RATE_HZ = 22_050
N_SAMPLES = 33_077


@pytest.fixture(scope="module")
def music() -> torch.Tensor:
    """A tone, a glide, noise, a blow and a silence, (n_samples,)."""
    random = np.random.default_rng(3)
    time_s = np.arange(N_SAMPLES) / RATE_HZ
    wave = 0.2 * np.sin(2 * np.pi * 440 * time_s)
    wave += 0.1 * np.sin(2 * np.pi * (500 * time_s + 300 * time_s**2))
    wave += 0.02 * random.standard_normal(N_SAMPLES)
    wave[9000:9100] += 0.5 * random.standard_normal(100)
    wave[20_000:24_000] = 0
    return torch.from_numpy(wave.astype(np.float32))


def error_db(ours: torch.Tensor, theirs: torch.Tensor | np.ndarray) -> float:
    """Power of the difference against theirs."""
    theirs = torch.as_tensor(theirs)
    assert ours.shape == theirs.shape
    assert ours.dtype == torch.float32
    difference = (ours - theirs).double().square().mean()
    return 10 * math.log10(float(difference / theirs.double().square().mean()) + 1e-30)


@pytest.mark.parametrize("rate", [0.8, 1.1, 2.7])
def test_time_stretch_is_librosas(music, rate) -> None:
    theirs = librosa.effects.time_stretch(music.numpy(), rate=rate)
    # librosa adds up a phase over all frames in float32, which costs it what we allow here:
    # at a rate of 1, where nothing should change, it is 63 dB from the original.
    assert error_db(effects.time_stretch(music, rate), theirs) < -50


def test_a_rate_of_1_changes_nothing(music) -> None:
    assert error_db(effects.time_stretch(music, 1.0), music) < -120  # float32


@pytest.mark.parametrize("semitones", [-4.0, 0.3, 12.0])
def test_pitch_shift_is_librosas(music, semitones) -> None:
    theirs = librosa.effects.pitch_shift(music.numpy(), sr=RATE_HZ, n_steps=semitones)
    ours = effects.pitch_shift(music[None], [semitones])[0]
    assert error_db(ours, theirs) < -50  # the phases, as above


def test_the_percussive_part_is_librosas(music) -> None:
    theirs = librosa.effects.percussive(music.numpy())
    assert error_db(effects.percussive(music[None])[0], theirs) < -100  # float32


@pytest.mark.parametrize("at_once", [1, 7 * 1025, 10**9])
def test_stretching_does_not_depend_on_how_much_is_done_at_once(
    music, at_once, monkeypatch
) -> None:
    expected = [effects.time_stretch(music, rate) for rate in (0.77, 1.0, 1.3, 4.0)]
    monkeypatch.setattr(effects, "_POINTS_AT_ONCE", {"cpu": at_once})
    made = [effects.time_stretch(music, rate) for rate in (0.77, 1.0, 1.3, 4.0)]
    assert max(map(error_db, made, expected)) < -100  # float32, multiplied in another order


@pytest.mark.parametrize("rate", [0.7, 1.3])
def test_no_magnitude_is_lost_after_a_sound_too_faint_to_have_a_phase(music, rate) -> None:
    # Float32 cannot square the first part's magnitudes and cannot hold the second's.
    wave = torch.cat([music[:8000] * 1e-22, music[8000:12_000] * 1e-40, music[:8000]])
    spectrum = effects.stft(wave[None])[0]
    places = np.arange(0, len(spectrum), rate)
    padded = torch.cat([spectrum.abs(), torch.zeros(1, spectrum.shape[1])])
    share = torch.from_numpy(places % 1.0).float()[:, None]
    expected = padded[places.astype(int)].lerp(padded[places.astype(int) + 1], share)
    # A running product of numbers of length 1 in float32.
    assert error_db(effects.phase_vocoder(spectrum, rate).abs(), expected) < -90


@pytest.mark.parametrize("ratio", [0.5, 0.79, 1.26, 2.0])
def test_resampling_by_the_spectrum_is_soxrs(ratio) -> None:
    """Other devices resample in another way than the CPU, and must give the same."""
    random = np.random.default_rng(1)
    spectrum = np.fft.rfft(random.standard_normal(N_SAMPLES))
    spectrum[round(len(spectrum) * 0.8 * min(1.0, ratio)) :] = 0  # where neither filters
    wave = torch.from_numpy(np.fft.irfft(spectrum, N_SAMPLES).astype(np.float32))
    ours = effects._resampled_by_spectrum(wave, ratio)[: math.ceil(N_SAMPLES * ratio)]
    theirs = effects.resample(wave, ratio)
    inside = slice(1000, -1000)  # their filters ring differently where the wave breaks off
    assert error_db(ours[inside], theirs[inside]) < -60


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (97, 33)])
def test_running_medians_agree_on_all_devices(shape) -> None:
    values = torch.rand(*shape, generator=torch.Generator().manual_seed(2))
    for axis in (0, 1):
        expected = torch.from_numpy(hpss.running_median(values.numpy(), axis))
        assert torch.equal(effects.running_median(values, axis), expected)


def test_masks_agree_on_all_devices(music, monkeypatch) -> None:
    magnitude = effects.stft(music[None])[0].abs()
    magnitude[40:, 700:] = 0  # both medians 0
    expected = torch.from_numpy(hpss.harmonic_mask(magnitude.numpy()))
    monkeypatch.setattr(effects, "_IN_WINDOWS", 31 * 1025 * 10)  # in several parts
    ours = effects._harmonic_mask_by_windows(magnitude)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)  # float32


def test_threads_give_what_one_after_the_other_gives(music, monkeypatch) -> None:
    waves = torch.stack([music, music.flip(0), 0.1 * music])

    def made() -> tuple[torch.Tensor, torch.Tensor]:
        return effects.pitch_shift(waves, [1.0, -2.0, 3.0]), effects.percussive(waves)

    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    alone = made()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    torch.testing.assert_close(made(), alone, rtol=0, atol=1e-6)  # sums in another order


def test_a_spectrum_gives_back_its_wave(music) -> None:
    assert error_db(effects.istft(effects.stft(music[None]), N_SAMPLES)[0], music) < -120
