"""Sound made of log-mel spectrograms, and the mel scale in a person's questions."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from genrecore.audio import resynthesis
from genrecore.audio.descriptors import beat_times
from genrecore.audio.mel_scale import MelBank, octave_elsewhere, to_mel
from genrecore.audio.spectra import mel_filters, power_spectrogram, power_to_db
from genrecore.errors import GenrecoreError

RATE_HZ, N_FFT, HOP, N_MELS = 22_050, 2048, 512, 128
# One worker compiles librosa's functions, which takes half a minute where no cache has them.
pytestmark = pytest.mark.xdist_group("page_datasets")

N_SAMPLES = 22_051


def tone(hz: float, amplitude: float = 0.3) -> torch.Tensor:
    """A tone (1, n_samples)."""
    t = torch.arange(N_SAMPLES, dtype=torch.float64) / RATE_HZ
    return (amplitude * torch.sin(2 * torch.pi * hz * t)).float()[None]


def log_mel(waves: torch.Tensor, n_mels: int = N_MELS) -> tuple[torch.Tensor, torch.Tensor]:
    """The log-mel spectrogram (n_mels, frames) and its filters."""
    filters = mel_filters(RATE_HZ, N_FFT, n_mels)
    return power_to_db(filters @ power_spectrogram(waves, N_FFT, HOP))[0], filters


def heard(waves: torch.Tensor, n_mels: int = N_MELS) -> torch.Tensor:
    """What a log-mel spectrogram of the waves sounds like, (n_samples,)."""
    db, filters = log_mel(waves, n_mels)
    return resynthesis.from_log_mel(db, filters, N_FFT, HOP, N_SAMPLES)


@pytest.mark.parametrize("n_mels", [128, 33])
@pytest.mark.parametrize("hz", [131.0, 440.0, 1000.0, 5001.0])
def test_a_tone_comes_back_within_its_band_and_about_as_loud(hz: float, n_mels: int) -> None:
    wave = heard(tone(hz), n_mels).numpy()
    assert wave.shape == (N_SAMPLES,)
    peak_hz = np.fft.rfftfreq(N_SAMPLES, 1 / RATE_HZ)[np.abs(np.fft.rfft(wave)).argmax()]
    edges_hz = MelBank(n_mels, 0.0, RATE_HZ / 2, "slaney").edges_hz
    nearest = int(np.abs(edges_hz[1:-1] - hz).argmin()) + 1
    width_hz = max(edges_hz[nearest + 1] - edges_hz[nearest], RATE_HZ / N_FFT)
    assert abs(peak_hz - hz) <= width_hz
    level_db = 20 * np.log10(wave.std() / tone(hz).std().item())
    assert abs(level_db) < 3  # dB; energy spread over a band and guessed phases


def test_its_own_log_mel_spectrogram_is_the_one_that_was_given() -> None:
    generator = torch.Generator().manual_seed(7)
    waves = tone(220.0) + tone(1234.0, 0.1) + 0.03 * torch.randn(1, N_SAMPLES, generator=generator)
    expected, _ = log_mel(waves)
    image, _ = log_mel(heard(waves)[None])
    assert (image - expected).abs().mean() < 2.5  # dB; noise, whose phases cannot all be met


def test_silence_stays_silent_and_finite() -> None:
    wave = heard(torch.zeros(1, N_SAMPLES))
    assert wave.isfinite().all()
    assert wave.abs().max() < 1e-3  # −60 dB of full scale: the floor of −100 dB a band, added up


def test_the_same_image_gives_the_same_sound_and_leaves_torch_as_it_was() -> None:
    state, n_threads = torch.get_rng_state(), torch.get_num_threads()
    assert torch.equal(heard(tone(440.0)), heard(tone(440.0)))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == n_threads


def test_powers_are_never_negative_and_meet_their_mel_energies() -> None:
    filters = mel_filters(RATE_HZ, N_FFT, N_MELS)
    mel = filters @ power_spectrogram(tone(440.0) + tone(3000.0), N_FFT, HOP)[0]
    power = resynthesis.power_from_mel(mel, filters)
    assert (power >= 0).all()
    # Twenty updates of a fit that looks at the strong energies; 6 % of their norm is 0.3 dB.
    assert torch.linalg.norm(filters @ power - mel) < 0.06 * torch.linalg.norm(mel)


def test_windows_with_gaps_between_them_are_refused_in_a_sentence() -> None:
    filters = mel_filters(RATE_HZ, N_FFT, N_MELS)
    with pytest.raises(GenrecoreError, match="at most 1024"):
        resynthesis.from_log_mel(torch.zeros(N_MELS, 22), filters, N_FFT, 1025, 22 * 1025)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_bands_are_librosas(scale: str) -> None:
    bank = MelBank(41, 30.0, 9_000.0, scale)  # type: ignore[arg-type]
    expected = librosa.mel_frequencies(n_mels=43, fmin=30.0, fmax=9_000.0, htk=scale == "htk")
    np.testing.assert_allclose(bank.edges_hz, expected, rtol=1e-9)
    filters = librosa.filters.mel(
        sr=RATE_HZ, n_fft=N_FFT, n_mels=41, fmin=30.0, fmax=9_000.0, htk=scale == "htk", norm=None
    )
    bins_hz = np.fft.rfftfreq(N_FFT, 1 / RATE_HZ)
    np.testing.assert_allclose(bank.weights(bins_hz), filters, atol=1e-6)  # float32


def test_a_tone_is_answered_by_the_bands_around_it() -> None:
    bank = MelBank(128, 0.0, RATE_HZ / 2, "slaney")
    first, second = bank.answering(440.0)
    assert second == first + 1
    assert bank.edges_hz[first] < 440.0 < bank.edges_hz[second + 2]
    assert bank.answering(bank.edges_hz[18]) == [17]
    assert bank.answering(12_000.0) == []


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("hz", [55.0, 440.0, 1000.0, 4321.0])
def test_the_range_named_elsewhere_has_as_many_bands(hz: float, scale: str) -> None:
    low, high = octave_elsewhere(hz, scale)  # type: ignore[arg-type]
    bank = MelBank(96, 0.0, 22_050.0, scale)  # type: ignore[arg-type]
    assert bank.between(low, high) == pytest.approx(bank.between(hz, 2 * hz))
    mel = to_mel(np.array([hz, 2 * hz, 0.0, 22_050.0]), scale)  # type: ignore[arg-type]
    assert bank.between(hz, 2 * hz) == pytest.approx(96 * (mel[1] - mel[0]) / (mel[3] - mel[2]))


@pytest.mark.slow
def test_the_beat_of_a_metronome_is_found_and_silence_has_none() -> None:
    wave = np.zeros(8 * RATE_HZ, dtype=np.float32)
    click = np.exp(-np.arange(900) / 120) * np.sin(np.arange(900) * 0.4)
    for k in range(16):
        wave[k * RATE_HZ // 2 :][:900] += 0.6 * click[: len(wave) - k * RATE_HZ // 2]
    tempo, times_s = beat_times(wave, RATE_HZ)
    assert tempo == pytest.approx(120, rel=0.05)  # its grid of tempi has steps of some percent
    to_click = np.abs(times_s - np.round(2 * times_s) / 2)
    assert to_click.max() < 0.06  # s; frames of 23 ms, and an onset is seen a frame or two late
    assert beat_times(np.zeros(3 * RATE_HZ, np.float32), RATE_HZ)[0] == 0.0
