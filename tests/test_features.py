"""Spectra, log-mel features and standardisers against librosa and signals with known answers."""

from __future__ import annotations

import itertools
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch

from genrecore.errors import GenrecoreError
from genrecore.features import FEATURES, STANDARDISERS
from genrecore.spectral import mel_filters, power_spectrogram, power_to_db

RATE_HZ = 22_050
N_SAMPLES = 22_051
OF_WAVES = [name for name in FEATURES if FEATURES[name].facts["needs"] == "wave"]


def feature(name: str = "log_mel", n_samples: int = N_SAMPLES, rate_hz: int = RATE_HZ, **options):
    entry = FEATURES[name]
    return entry.thing(entry.read_options(options, "feature"), rate_hz, n_samples)


def noise(batch: int = 3, n: int = N_SAMPLES) -> torch.Tensor:
    return 0.3 * torch.randn(batch, 1, n, generator=torch.Generator().manual_seed(7))


def tone(hz: float, amplitude: float = 0.1) -> torch.Tensor:
    return amplitude * torch.sin(2 * torch.pi * hz * torch.arange(N_SAMPLES) / RATE_HZ)[None, None]


SIZES = [
    # n_fft, hop_length, n_mels, fmin_hz, fmax_hz
    (2048, 512, 128, 0, 0),
    (1024, 300, 63, 50, 8000),
    (4096, 1024, 200, 20, 11_025),
    (1023, 451, 40, 0, 0),
]


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize(("n_fft", "hop_length", "n_mels", "fmin_hz", "fmax_hz"), SIZES)
def test_mel_filters_equal_librosas(n_fft, hop_length, n_mels, fmin_hz, fmax_hz, scale) -> None:
    for norm, rate_hz in itertools.product(("slaney", None), (RATE_HZ, 44_100)):
        ours = mel_filters(rate_hz, n_fft, n_mels, fmin_hz, fmax_hz, scale, norm).numpy()
        theirs = librosa.filters.mel(
            sr=rate_hz,
            n_fft=n_fft,
            n_mels=n_mels,
            fmin=fmin_hz,
            fmax=fmax_hz or None,
            htk=scale == "htk",
            norm=norm,
        )
        # Relative to the largest weight: float32, rounded in another order.
        np.testing.assert_allclose(ours, theirs, atol=2e-6 * theirs.max())


def librosas(wave, n_fft, hop_length, n_mels, fmin_hz, fmax_hz, scale, top_db=80.0) -> np.ndarray:
    """librosa's melspectrogram and power_to_db by their parts, which need no compilation."""
    power = np.abs(librosa.stft(wave, n_fft=n_fft, hop_length=hop_length)) ** 2
    filters = librosa.filters.mel(
        sr=RATE_HZ,
        n_fft=n_fft,
        n_mels=n_mels,
        fmin=fmin_hz,
        fmax=fmax_hz or None,
        htk=scale == "htk",
    )
    return librosa.power_to_db(filters @ power, ref=1.0, top_db=top_db)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize(("n_fft", "hop_length", "n_mels", "fmin_hz", "fmax_hz"), SIZES)
def test_log_mel_equals_librosas(n_fft, hop_length, n_mels, fmin_hz, fmax_hz, scale) -> None:
    ours = feature(
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
        fmin_hz=fmin_hz,
        fmax_hz=fmax_hz,
        mel_scale=scale,
    )
    for wave in (noise(1), tone(1000), tone(5000) + 1e-3 * noise(1)):
        theirs = librosas(wave[0, 0].numpy(), n_fft, hop_length, n_mels, fmin_hz, fmax_hz, scale)
        found = ours(wave)[0, 0].numpy()
        assert found.shape == theirs.shape == ours.output_shape[1:]
        # dB; both are float32, and 70 dB below a tone its rounding is what one sees.
        np.testing.assert_allclose(found, theirs, atol=2e-2)
        assert np.abs(found - theirs).mean() < 5e-4


def test_log_mel_of_real_clips_equals_librosas(real_data: Path) -> None:
    clips = sorted((real_data / "gtzan/genres_original").glob("*/*.wav"))[::23]
    ours = feature(n_samples=N_SAMPLES)
    for clip in clips:
        wave, rate_hz = soundfile.read(clip, frames=N_SAMPLES, start=99_999, dtype="float32")
        assert rate_hz == RATE_HZ
        theirs = librosas(wave, 2048, 512, 128, 0, 0, "slaney")
        found = ours(torch.from_numpy(wave)[None, None])[0, 0].numpy()
        np.testing.assert_allclose(found, theirs, atol=5e-3)  # dB; float32 in another order


def test_a_1_khz_tone_lights_the_1_khz_band() -> None:
    image = feature()(tone(1000))[0, 0]
    centres_hz = librosa.mel_frequencies(130, fmin=0, fmax=RATE_HZ / 2)[1:-1]
    assert (image.argmax(dim=0)[3:-3] == np.abs(centres_hz - 1000).argmin()).all()


def test_power_has_the_height_of_the_tone() -> None:
    power = power_spectrogram(tone(RATE_HZ / 2048 * 100, 0.5).squeeze(1), 2048, 512)[0]
    # A sine of amplitude a on a bin: (a / 2 · sum of the window)², the sum being n_fft / 2.
    assert power[100, 20].item() == pytest.approx((0.25 * 1024) ** 2, rel=1e-4)  # float32


def test_twice_the_amplitude_is_6_db_more() -> None:
    quiet, loud = feature(top_db=0)(torch.cat([tone(440, 0.1), tone(440, 0.2)]))
    band = quiet.amax(dim=2).argmax()
    difference = (loud - quiet)[0, band, 5:-5]
    torch.testing.assert_close(difference, torch.full_like(difference, 6.0206), atol=1e-3, rtol=0)


def test_silence_is_finite_and_minus_100_db() -> None:
    for top_db in (0, 80):
        assert (feature(top_db=top_db)(torch.zeros(2, 1, N_SAMPLES)) == -100).all()


def test_the_dynamic_range_is_each_examples_own() -> None:
    power = torch.tensor([[[1.0, 1e-9]], [[1e-6, 1e-9]]])
    expected = torch.tensor([[[0.0, -80.0]], [[-60.0, -90.0]]])
    torch.testing.assert_close(power_to_db(power, 80), expected)
    torch.testing.assert_close(power_to_db(power, None)[0, 0, 1].item(), -90.0)


@pytest.mark.parametrize("name", OF_WAVES)
@pytest.mark.parametrize("options", [{}, {"frames": 77}])
def test_a_batch_equals_its_items_and_the_shape_is_as_announced(name: str, options: dict) -> None:
    made = feature(name, **options)
    waves = torch.cat([noise(2), 0.001 * noise(1), tone(999)])
    batch = made(waves)
    assert batch.shape == (4, *made.output_shape)
    assert batch.dtype == torch.float32
    items = torch.cat([made(wave[None]) for wave in waves])
    torch.testing.assert_close(batch, items, atol=1e-3, rtol=0)  # dB; sums in another order


def test_the_number_of_frames_follows_from_the_samples() -> None:
    for n in (1025, 22_050, 22_051, 22_527, 22_528):
        assert feature(n_samples=n).output_shape == (1, 128, 1 + n // 512)


def test_autocast_leaves_features_in_float32() -> None:
    made, wave = feature(frames=32), noise(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = made(wave)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, made(wave), atol=0, rtol=0)


def test_resized_frames_equal_torchs_own_resizing_and_keep_a_constant() -> None:
    image = feature()(noise(2))
    for frames in (17, 128):
        expected = torch.nn.functional.interpolate(
            image, size=(128, frames), mode="bilinear", antialias=True
        )
        found = feature(frames=frames)(noise(2))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)  # dB; float32
        constant = feature(frames=frames)(torch.zeros(1, 1, N_SAMPLES))
        torch.testing.assert_close(constant, torch.full_like(constant, -100), atol=1e-4, rtol=0)


def test_rows_are_resized_as_torch_resizes_both_sides_of_a_picture() -> None:
    expected = torch.nn.functional.interpolate(
        feature()(noise(2)), size=(57, 224), mode="bilinear", antialias=True
    )
    found = feature(frames=224, bins=57)(noise(2))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)  # dB; float32


def test_three_channels_are_the_same_picture_three_times() -> None:
    one, three = feature()(noise(2)), feature(channels=3)(noise(2))
    assert three.shape == (2, 3, 128, one.shape[3])
    assert all(torch.equal(channel, one[:, 0]) for channel in three.unbind(1))


def test_padding_is_the_floor_of_each_picture_and_cutting_keeps_the_beginning() -> None:
    waves = torch.cat([tone(440, 0.3), 0.01 * noise(1)])
    plain = feature()(waves)
    padded = feature(frames=99, fit="pad")(waves)
    assert torch.equal(padded[..., : plain.shape[3]], plain)
    floor = (plain.flatten(1).amax(dim=1) - 80).clamp(min=-100)  # silence is -100 dB
    added = padded[..., plain.shape[3] :]
    assert torch.equal(added, floor[:, None, None, None].expand_as(added))
    unlimited = feature(frames=99, fit="pad", top_db=0)(waves)[..., -1]
    assert torch.equal(unlimited, torch.full_like(unlimited, -100))
    steady = feature(top_db=0)(noise(1))
    assert torch.equal(feature(top_db=0, frames=7, fit="pad")(noise(1)), steady[..., :7])


def test_new_options_leave_old_configurations_as_they_were() -> None:
    old = {
        "n_fft": 2048,
        "hop_length": 512,
        "n_mels": 128,
        "fmin_hz": 0.0,
        "fmax_hz": 0.0,
        "mel_scale": "slaney",
        "top_db": 80.0,
        "frames": 0,
    }
    read = FEATURES["log_mel"].read_options(old, "feature")
    assert read.model_dump(exclude_defaults=True) == {}
    assert list(type(read).model_fields)[: len(old)] == list(old)
    torch.testing.assert_close(feature(**old)(noise()), feature()(noise()), atol=0, rtol=0)


@pytest.mark.parametrize("name", OF_WAVES)
def test_features_work_on_the_meta_device_and_save_nothing(name: str) -> None:
    made = feature(name, frames=32).to("meta")
    shape = made(torch.empty(5, 1, N_SAMPLES, device="meta")).shape
    assert shape == (5, *made.output_shape)
    assert not made.state_dict()


@pytest.mark.parametrize(
    ("options", "n_samples", "sentence"),
    [
        ({"fmax_hz": 11_026}, N_SAMPLES, "holds nothing above 11025 Hz"),
        ({"fmin_hz": 3000, "fmax_hz": 2999}, N_SAMPLES, "must lie below the highest, 2999 Hz"),
        ({"n_fft": 4096}, 2048, "needs at least 2049"),
        ({"n_fft": 512, "n_mels": 512}, N_SAMPLES, "the largest n_mels that works is (\\d+)"),
    ],
)
def test_impossible_options_are_refused_in_one_sentence(options, n_samples, sentence) -> None:
    with pytest.raises(GenrecoreError, match=sentence) as caught:
        feature(n_samples=n_samples, **options)
    assert "\n" not in str(caught.value)


def test_the_largest_number_of_bands_that_is_named_works() -> None:
    with pytest.raises(GenrecoreError) as caught:
        feature(n_fft=512, n_mels=512)
    largest = int(str(caught.value).split("works is ")[1].split(",")[0])
    assert (mel_filters(RATE_HZ, 512, largest).amax(dim=1) > 0).all()
    with pytest.raises(GenrecoreError):
        feature(n_fft=512, n_mels=largest + 1)


def standardiser(name: str, shape: tuple[int, ...]):
    entry = STANDARDISERS[name]
    return entry.thing(entry.read_options({}, "standardiser"), shape)


def pieces() -> list[torch.Tensor]:
    """Odd batches of two channels whose mean dwarfs their spread, where naive sums cancel."""
    generator = torch.Generator().manual_seed(7)
    wide = torch.tensor([1.0, 30.0])[:, None, None]
    shift = torch.tensor([5000.0, -3.0])[:, None, None]
    return [torch.randn(n, 2, 5, 7, generator=generator) * wide + shift for n in (3, 1, 11, 2)]


def test_z_score_gives_mean_0_and_deviation_1_in_every_channel() -> None:
    fitted = standardiser("z_score", (2, 5, 7))
    fitted.fit(iter(pieces()))
    everything = torch.cat(pieces()).double()
    # float32 holds 5000 to 2.4e-4, the statistics to 1e-7 of their size
    torch.testing.assert_close(
        fitted.mean.flatten().double(), everything.mean(dim=(0, 2, 3)), atol=0, rtol=1e-6
    )
    torch.testing.assert_close(
        fitted.standard_deviation.flatten().double(),
        everything.std(dim=(0, 2, 3), correction=0),
        atol=0,
        rtol=1e-6,
    )


def test_min_max_gives_0_to_1_in_every_channel() -> None:
    fitted = standardiser("min_max", (2, 5, 7))
    fitted.fit(iter(pieces()))
    out = fitted(torch.cat(pieces()))
    for channel in range(2):
        assert (out[:, channel].min(), out[:, channel].max()) == (0, 1)


@pytest.mark.parametrize("name", list(STANDARDISERS))
@pytest.mark.parametrize("shape", [(1, 5, 7), (9,)])
def test_standardisers_survive_constants_saving_and_never_divide_by_zero(name, shape) -> None:
    fitted = standardiser(name, shape)
    fitted.fit([torch.full((3, *shape), -100.0)])
    x = torch.randn(3, *shape)
    out = fitted(x)
    assert out.shape == x.shape
    assert out.isfinite().all()
    assert all(value.dtype == torch.float32 for value in fitted.state_dict().values())
    loaded = standardiser(name, shape)
    loaded.load_state_dict(fitted.state_dict())
    torch.testing.assert_close(loaded(x), out, atol=0, rtol=0)
    if name != "none":
        with pytest.raises(GenrecoreError, match="no training features"):
            standardiser(name, shape).fit([])
