"""Time stretch, pitch, resampling and separation against librosa and signals of known answers."""

from __future__ import annotations

import math

import librosa
import numpy as np
import pytest
import torch

from genrecore.audio import effects

# One worker compiles librosa's functions, which takes half a minute where no cache has them.
pytestmark = pytest.mark.xdist_group("page_datasets")

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


def error_db(ours: torch.Tensor, expected: torch.Tensor | np.ndarray) -> float:
    """Power of the difference against theirs."""
    expected = torch.as_tensor(expected)
    assert ours.shape == expected.shape
    assert ours.dtype == torch.float32
    difference = (ours - expected).double().square().mean()
    return 10 * math.log10(float(difference / expected.double().square().mean()) + 1e-30)


@pytest.fixture(params=["arrays", "tensors"])
def kind(request, monkeypatch) -> str:
    """Both ways of computing: what the CPU does, and what other devices do."""
    if request.param == "tensors":
        monkeypatch.setattr(
            effects,
            "_each",
            lambda effect, waves, numbers: [
                effect(wave, number) for wave, number in zip(waves, numbers, strict=True)
            ],
        )
    return request.param


@pytest.mark.parametrize("rate", [0.8, 1.1, 2.7])
def test_time_stretch_is_librosas(music, rate, kind) -> None:
    expected = librosa.effects.time_stretch(music.numpy(), rate=rate)
    # librosa adds up a phase over all frames in float32, which costs it what we allow here:
    # at a rate of 1, where nothing should change, it is 63 dB from the original.
    assert error_db(effects.time_stretch(music[None], [rate])[0], expected) < -50


def test_a_rate_of_1_changes_nothing(music, kind) -> None:
    assert error_db(effects.time_stretch(music[None], [1.0])[0], music) < -120  # float32


@pytest.mark.parametrize("semitones", [-4.0, 0.3, 12.0])
def test_pitch_shift_is_librosas(music, semitones, kind) -> None:
    expected = librosa.effects.pitch_shift(music.numpy(), sr=RATE_HZ, n_steps=semitones)
    ours = effects.pitch_shift(music[None], [semitones])[0]
    # The phases, as above; without soxr also what it fades out just below the highest frequency.
    assert error_db(ours, expected) < (-50 if kind == "arrays" else -25)


def test_the_percussive_part_is_librosas(music, kind) -> None:
    expected = librosa.effects.percussive(music.numpy())
    assert error_db(effects.percussive(music[None])[0], expected) < -100  # float32


def test_both_ways_agree(music) -> None:
    """The CPU's and the other devices'; float32 in another order of sums."""
    for rate in (0.77, 1.0, 1.3, 4.0):
        array = effects._stretched(music.numpy(), rate)
        assert error_db(effects._stretched(music, rate), array) < -90
    array = effects._percussive(music.numpy(), None)
    assert error_db(effects._percussive(music, None), array) < -100


@pytest.mark.parametrize("at_once", [1, 7, 10**9])
def test_stretching_does_not_depend_on_how_much_is_done_at_once(
    music, at_once, monkeypatch
) -> None:
    def outputs() -> list[torch.Tensor]:
        rates = (0.77, 1.0, 1.3, 4.0)
        return effects.time_stretch(music.expand(len(rates), -1), rates)

    expected = outputs()
    monkeypatch.setattr(effects, "_FRAMES_AT_ONCE", at_once)
    assert max(map(error_db, outputs(), expected)) < -100  # float32, multiplied in another order


@pytest.mark.parametrize("rate", [0.7, 1.3])
def test_no_magnitude_is_lost_after_a_sound_too_faint_to_have_a_phase(music, rate) -> None:
    # Float32 cannot square the first part's magnitudes and cannot hold the second's.
    wave = torch.cat([music[:8000] * 1e-22, music[8000:12_000] * 1e-40, music[:8000]])
    spectrum = effects._centred_stft(wave.numpy())
    places = np.arange(0, len(spectrum), rate)
    padded = np.append(np.abs(spectrum), np.zeros((1, spectrum.shape[1]), np.float32), axis=0)
    share = (places % 1.0).astype(np.float32)[:, None]
    here, next_ = padded[places.astype(int)], padded[places.astype(int) + 1]
    expected = (1 - share) * here + share * next_
    # A running product of numbers of length 1 in float32.
    stretched = effects.phase_vocoder(spectrum, rate)
    assert error_db(torch.from_numpy(np.abs(stretched)), expected) < -90
    on_devices = effects.phase_vocoder(torch.from_numpy(spectrum), rate)
    assert error_db(on_devices.abs(), expected) < -90


@pytest.mark.parametrize("ratio", [0.5, 0.79, 1.26, 2.0])
def test_resampling_by_the_spectrum_is_soxrs(ratio) -> None:
    """Other devices resample in another way than the CPU, and must give the same."""
    random = np.random.default_rng(1)
    spectrum = np.fft.rfft(random.standard_normal(N_SAMPLES))
    spectrum[round(len(spectrum) * 0.8 * min(1.0, ratio)) :] = 0  # where neither filters
    wave = np.fft.irfft(spectrum, N_SAMPLES).astype(np.float32)
    ours = effects.resample(torch.from_numpy(wave), ratio)
    expected = effects.resample(wave, ratio)
    assert abs(len(ours) - len(expected)) <= 1
    inside = slice(1000, -1000)  # their filters ring differently where the wave breaks off
    n = min(len(ours), len(expected))
    assert error_db(ours[:n][inside], expected[:n][inside]) < -60


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (97, 33)])
def test_running_medians_agree_on_all_devices(shape) -> None:
    values = torch.rand(*shape, generator=torch.Generator().manual_seed(2))
    for axis in (0, 1):
        expected = torch.from_numpy(effects.running_median(values.numpy(), axis))
        assert torch.equal(effects.running_median(values, axis), expected)


def test_masks_agree_on_all_devices(music, monkeypatch) -> None:
    magnitude = effects._centred_stft(music).abs()
    magnitude[40:, 700:] = 0  # both medians 0
    expected = torch.from_numpy(effects.harmonic_mask(magnitude.numpy()))
    monkeypatch.setattr(effects, "_IN_WINDOWS", 31 * 1025 * 10)  # in several parts
    ours = effects.harmonic_mask(magnitude)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)  # float32


def test_threads_give_what_one_after_the_other_gives(music, monkeypatch) -> None:
    waves = torch.stack([music, music.flip(0), 0.1 * music])

    def outputs() -> tuple[torch.Tensor, torch.Tensor]:
        return effects.pitch_shift(waves, [1.0, -2.0, 3.0]), effects.percussive(waves)

    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    alone = outputs()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert all(map(torch.equal, outputs(), alone))


def test_a_spectrum_gives_back_its_wave(music) -> None:
    assert error_db(effects.istft(effects._centred_stft(music), N_SAMPLES), music) < -120
