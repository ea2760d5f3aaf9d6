"""Features of waves against librosa 0.11 and against signals with known answers."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch

from genrecore.audio.spectra import mel_filters, power_spectrogram, power_to_db
from genrecore.errors import GenrecoreError
from genrecore.features import FEATURES

# One worker compiles librosa's functions, which takes half a minute where no cache has them.
pytestmark = pytest.mark.xdist_group("page_datasets")

RATE_HZ = 22_050
N_SAMPLES = 22_051
# Embeddings need weights that are fetched; test_encoder.py has the same tests of them.
OF_WAVES = [
    name
    for name, entry in FEATURES.items()
    if entry.facts.needs == ("wave",) and "encoder" not in entry.options.model_fields
]


def feature(name: str = "log_mel", n_samples: int = N_SAMPLES, rate_hz: int = RATE_HZ, **options):
    choice = FEATURES.choose(name, options)
    return choice.thing(choice.options, rate_hz, n_samples)


def noise(batch: int = 3, n: int = N_SAMPLES) -> torch.Tensor:
    return 0.3 * torch.randn(batch, 1, n, generator=torch.Generator().manual_seed(7))


def parts(output: tuple | torch.Tensor) -> tuple:
    """What a feature makes, as a tuple: of one tensor, or of a pair."""
    return output if isinstance(output, tuple) else (output,)


def announced(front: torch.nn.Module) -> tuple[tuple[int, ...], ...]:
    shape = front.output_shape
    return shape if isinstance(shape[0], tuple) else (shape,)


def fitting(name: str, **options: object) -> dict[str, object]:
    """Those of the options that the feature has."""
    fields = FEATURES[name].options.model_fields
    return {key: value for key, value in options.items() if key in fields}


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
        expected = librosa.filters.mel(
            sr=rate_hz,
            n_fft=n_fft,
            n_mels=n_mels,
            fmin=fmin_hz,
            fmax=fmax_hz or None,
            htk=scale == "htk",
            norm=norm,
        )
        # Relative to the largest weight: float32, rounded in another order.
        np.testing.assert_allclose(ours, expected, atol=2e-6 * expected.max())


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
        expected = librosas(wave[0, 0].numpy(), n_fft, hop_length, n_mels, fmin_hz, fmax_hz, scale)
        output = ours(wave)[0, 0].numpy()
        assert output.shape == expected.shape == ours.output_shape[1:]
        # dB; both are float32, and 70 dB below a tone its rounding is what one sees.
        np.testing.assert_allclose(output, expected, atol=2e-2)
        assert np.abs(output - expected).mean() < 5e-4


def librosas_others(wave: np.ndarray) -> dict[str, np.ndarray]:
    """What librosa makes of a wave at 2048 samples a window and 512 a hop, by feature."""
    magnitude = np.abs(librosa.stft(wave))
    mel = librosas(wave, 2048, 512, 128, 0, 0, "slaney")
    return {
        "stft": magnitude,
        "mfcc": librosa.feature.mfcc(S=mel, n_mfcc=33),
        "chroma": librosa.feature.chroma_stft(S=magnitude**2, sr=RATE_HZ, tuning=0.0),
    }


EXACTLY = {
    # name: options as librosa's, tolerance and why
    "stft": ({"hop_length": 512}, 1e-4),  # of magnitudes up to about 300: float32
    "mfcc": ({"n_mfcc": 33}, 2e-3),  # of values up to about 600: sums of 128 decibels in float32
    "chroma": ({"bins": 0}, 1e-5),  # of 1, beside the strongest: float32
}


@pytest.mark.parametrize("name", EXACTLY)
def test_features_of_synthetic_waves_equal_librosas(name: str) -> None:
    options, tolerance = EXACTLY[name]
    front = feature(name, **options)
    for wave in (noise(1), tone(1000) + 1e-3 * noise(1)):
        expected = librosas_others(wave[0, 0].numpy())[name]
        output = front(wave)[0, 0].numpy()
        assert output.shape == expected.shape == front.output_shape[1:]
        np.testing.assert_allclose(output, expected, atol=tolerance)


def test_features_of_real_clips_equal_librosas(real_data: Path) -> None:
    clips = sorted((real_data / "gtzan/genres_original").glob("*/*.wav"))[::23]
    log_mel = feature()
    others = {name: (feature(name, **options), atol) for name, (options, atol) in EXACTLY.items()}
    for clip in clips:
        wave, rate_hz = soundfile.read(clip, frames=N_SAMPLES, start=99_999, dtype="float32")
        assert rate_hz == RATE_HZ
        waves = torch.from_numpy(wave)[None, None]
        decibels = librosas(wave, 2048, 512, 128, 0, 0, "slaney")
        # dB; float32 in another order
        np.testing.assert_allclose(log_mel(waves)[0, 0].numpy(), decibels, atol=1e-3)
        for name, expected in librosas_others(wave).items():
            front, tolerance = others[name]
            np.testing.assert_allclose(front(waves)[0, 0].numpy(), expected, atol=tolerance)


def test_scales_of_the_spectrogram_are_librosas() -> None:
    wave = noise(1)
    magnitude = feature("stft", hop_length=512)(wave)
    power = feature("stft", hop_length=512, scale="power")(wave)
    torch.testing.assert_close(power, magnitude**2, atol=0, rtol=1e-6)  # float32
    for top_db in (80.0, 0.0):
        expected = librosa.amplitude_to_db(magnitude[0, 0].numpy(), top_db=top_db or None)
        decibels = feature("stft", hop_length=512, scale="decibels", top_db=top_db)(wave)
        np.testing.assert_allclose(decibels[0, 0].numpy(), expected, atol=1e-4)  # dB; float32


def test_chroma_equals_librosas_at_another_tuning_rate_and_window() -> None:
    wave = noise(1)
    power = np.abs(librosa.stft(wave[0, 0].numpy(), n_fft=1023, hop_length=451)) ** 2
    expected = librosa.feature.chroma_stft(S=power, n_fft=1023, sr=44_100, tuning=0.3)
    options = {"bins": 0, "tuning": 0.3, "n_fft": 1023, "hop_length": 451}
    front = feature("chroma", rate_hz=44_100, **options)
    np.testing.assert_allclose(front(wave)[0, 0].numpy(), expected, atol=1e-4)  # of 1; float32


def test_a_1_khz_tone_lights_the_1_khz_band() -> None:
    image = feature()(tone(1000))[0, 0]
    centres_hz = librosa.mel_frequencies(130, fmin=0, fmax=RATE_HZ / 2)[1:-1]
    assert (image.argmax(dim=0)[3:-3] == np.abs(centres_hz - 1000).argmin()).all()


def test_power_has_the_height_of_the_tone() -> None:
    power = power_spectrogram(tone(RATE_HZ / 2048 * 100, 0.5).squeeze(1), 2048, 512)[0]
    # A sine of amplitude a on a bin: (a / 2 · sum of the window)², the sum being n_fft / 2.
    assert power[100, 20].item() == pytest.approx((0.25 * 1024) ** 2, rel=1e-4)  # float32


def test_a_tone_on_a_bin_has_its_magnitude_in_its_row() -> None:
    image = feature("stft")(tone(RATE_HZ / 2048 * 100, 0.5))[0, 0]
    assert (image.argmax(dim=0)[2:-2] == 100).all()
    # amplitude / 2 times the sum of the window, which is n_fft / 2; float32
    assert image[100, 10].item() == pytest.approx(0.25 * 1024, rel=1e-4)


def test_an_impulse_in_the_middle_of_a_frame_has_a_flat_spectrum() -> None:
    wave = torch.zeros(1, 1, N_SAMPLES)
    wave[0, 0, 9 * 1024] = 0.3  # where the window is 1
    column = feature("stft")(wave)[0, 0, :, 9]
    torch.testing.assert_close(column, torch.full((1025,), 0.3), atol=1e-6, rtol=0)  # float32
    column = feature("stft", scale="decibels")(wave)[0, 0, :, 9]
    expected = torch.full((1025,), 20 * math.log10(0.3))
    torch.testing.assert_close(column, expected, atol=1e-4, rtol=0)  # dB; float32


def test_silence_has_one_cepstral_coefficient_and_loudness_moves_only_that() -> None:
    silence = feature("mfcc")(torch.zeros(1, 1, N_SAMPLES))
    torch.testing.assert_close(
        silence[:, :, 0], torch.full_like(silence[:, :, 0], -100 * math.sqrt(128))
    )
    assert silence[:, :, 1:].abs().max() < 1e-3  # of 1131: float32
    quiet, loud = feature("mfcc", top_db=0)(torch.cat([noise(1), 2 * noise(1)])).unbind()
    louder = 20 * math.log10(2) * math.sqrt(128)
    assert (loud - quiet)[0, 0].mean().item() == pytest.approx(louder, abs=1e-3)
    assert (loud - quiet)[0, 1:].abs().max() < 1e-3


def chord(*names: str) -> torch.Tensor:
    return torch.cat([tone(librosa.note_to_hz(name), 0.1) for name in names]).sum(0, keepdim=True)


def test_a_c_major_chord_lights_c_e_and_g_in_any_octave() -> None:
    for names in (("C4", "E4", "G4"), ("E4", "C5", "G5")):
        image = feature("chroma", bins=0)(chord(*names))[0, 0, :, 5:-5]
        rest = image[[1, 2, 3, 5, 6, 8, 9, 10, 11]]
        assert rest.max() < 0.5 * image[[0, 4, 7]].min()


def test_tuning_moves_the_pitch_classes_with_the_instrument() -> None:
    sharp = tone(440 * 2 ** (0.5 / 12))
    at_pitch = feature("chroma", bins=0, tuning=0.5)(sharp)[0, 0, :, 20]
    assert at_pitch.argmax() == 9  # A
    between = feature("chroma", bins=0)(sharp)[0, 0, :, 20]
    assert between[[9, 10]].min() > 0.9  # A and A♯ alike
    assert at_pitch[10] < 0.7


def test_the_strongest_pitch_class_of_a_frame_is_1_and_silence_is_0() -> None:
    image = feature("chroma", bins=0)(noise(2))
    assert (image.amax(dim=2) == 1).all()
    assert image.min() >= 0
    assert (feature("chroma")(torch.zeros(1, 1, N_SAMPLES)) == 0).all()


def test_padding_is_silence_in_every_feature() -> None:
    silence = torch.zeros(1, 1, N_SAMPLES)
    for name in ("log_mel", "stft", "mfcc", "chroma"):
        options = fitting(name, top_db=0, n_fft=2048, hop_length=512, frames=60, fit="pad")
        front = feature(name, **options)
        expected = front(silence)[..., -16:]
        torch.testing.assert_close(front(noise(1))[..., -16:], expected, atol=0, rtol=0)


def test_the_waveform_is_the_wave_and_a_pair_is_its_parts() -> None:
    waves = noise()
    assert torch.equal(feature("waveform")(waves), waves)
    wave, image = feature("waveform+stft", scale="decibels")(waves)
    assert torch.equal(wave, waves)
    assert torch.equal(image, feature("stft", scale="decibels")(waves))


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
@pytest.mark.parametrize(
    "options", [{}, {"frames": 77, "bins": 39}, {"frames": 77, "fit": "pad", "channels": 3}]
)
def test_a_batch_equals_its_items_and_the_shape_is_as_announced(name: str, options: dict) -> None:
    front = feature(name, **fitting(name, **options))
    waves = torch.cat([noise(2), 0.001 * noise(1), tone(999)])
    items = [parts(front(wave[None])) for wave in waves]
    for number, (batch, shape) in enumerate(
        zip(parts(front(waves)), announced(front), strict=True)
    ):
        assert batch.shape == (4, *shape)
        assert batch.dtype == torch.float32
        single = torch.cat([item[number] for item in items])
        torch.testing.assert_close(batch, single, atol=1e-3, rtol=1e-5)  # sums in another order


@pytest.mark.parametrize("name", OF_WAVES)
def test_silence_and_impulses_and_noise_stay_finite(name: str) -> None:
    waves = torch.zeros(4, 1, N_SAMPLES)
    waves[1, 0, 7777], waves[2, 0, 0] = 1.0, 1e-6
    waves[3] = torch.where(noise(1)[0] > 0, 1.0, -1.0)
    for part in parts(feature(name)(waves)):
        assert part.isfinite().all()


@pytest.mark.parametrize("name", OF_WAVES)
def test_registrations_say_what_comes_out_and_options_explain_themselves(name: str) -> None:
    entry = FEATURES[name]
    ranks = {"image": 3, "wave": 2}
    kinds = entry.facts.kind.split("+")
    assert [len(shape) for shape in announced(feature(name))] == [ranks[kind] for kind in kinds]
    assert entry.facts.cached == ("wave" not in kinds)
    assert entry.title
    assert entry.source
    for info in entry.options.model_fields.values():
        assert info.title
        assert info.description


def test_the_number_of_frames_follows_from_the_samples() -> None:
    for n in (1025, 22_050, 22_051, 22_527, 22_528):
        assert feature(n_samples=n).output_shape == (1, 128, 1 + n // 512)


@pytest.mark.parametrize("name", OF_WAVES)
def test_autocast_leaves_features_in_float32(name: str) -> None:
    front, wave = feature(name, **fitting(name, frames=32)), noise(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = parts(front(wave))
    for output, expected in zip(inside, parts(front(wave)), strict=True):
        assert output.dtype == torch.float32
        torch.testing.assert_close(output, expected, atol=0, rtol=0)


def test_resized_frames_equal_torchs_own_resizing_and_keep_a_constant() -> None:
    image = feature()(noise(2))
    for frames in (17, 128):
        expected = torch.nn.functional.interpolate(
            image, size=(128, frames), mode="bilinear", antialias=True
        )
        output = feature(frames=frames)(noise(2))
        torch.testing.assert_close(output, expected, atol=1e-4, rtol=0)  # dB; float32
        constant = feature(frames=frames)(torch.zeros(1, 1, N_SAMPLES))
        torch.testing.assert_close(constant, torch.full_like(constant, -100), atol=1e-4, rtol=0)


def test_rows_are_resized_as_torch_resizes_both_sides_of_an_image() -> None:
    expected = torch.nn.functional.interpolate(
        feature()(noise(2)), size=(57, 224), mode="bilinear", antialias=True
    )
    output = feature(frames=224, bins=57)(noise(2))
    torch.testing.assert_close(output, expected, atol=1e-4, rtol=0)  # dB; float32


def test_three_channels_are_the_same_image_three_times() -> None:
    mono, three = feature()(noise(2)), feature(channels=3)(noise(2))
    assert three.shape == (2, 3, 128, mono.shape[3])
    assert all(torch.equal(channel, mono[:, 0]) for channel in three.unbind(1))


def test_padding_is_the_floor_of_each_image_and_cutting_keeps_the_beginning() -> None:
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
    options = FEATURES.choose("log_mel", old).options
    assert options.model_dump(exclude_defaults=True) == {}
    assert list(type(options).model_fields)[: len(old)] == list(old)
    torch.testing.assert_close(feature(**old)(noise()), feature()(noise()), atol=0, rtol=0)


@pytest.mark.parametrize("name", OF_WAVES)
def test_features_work_on_the_meta_device_and_save_nothing(name: str) -> None:
    front = feature(name, **fitting(name, frames=32, bins=40)).to("meta")
    outputs = parts(front(torch.empty(5, 1, N_SAMPLES, device="meta")))
    assert tuple(part.shape for part in outputs) == tuple((5, *shape) for shape in announced(front))
    assert not front.state_dict()


# The others share their parts; the first is exported with its networks as well.
@pytest.mark.parametrize("name", [pytest.param("log_mel", marks=pytest.mark.long), "waveform+stft"])
def test_features_are_exported_for_batches_of_any_size(name: str) -> None:
    front = feature(name).eval()
    exported = torch.export.export(
        front, (noise(2),), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},)
    ).module()
    for output, expected in zip(parts(exported(noise(3))), parts(front(noise(3))), strict=True):
        torch.testing.assert_close(output, expected, atol=1e-3, rtol=1e-5)  # in another order


@pytest.mark.parametrize(
    ("name", "options", "n_samples", "sentence"),
    [
        ("log_mel", {"fmax_hz": 11_026}, N_SAMPLES, "holds nothing above 11025 Hz"),
        ("mfcc", {"fmin_hz": 3000, "fmax_hz": 2999}, N_SAMPLES, "below the highest, 2999 Hz"),
        ("log_mel", {"n_fft": 4096}, 2048, "needs at least 2049"),
        ("mfcc", {}, 1024, "needs at least 1025"),
        ("stft", {}, 1024, "needs at least 1025"),
        ("waveform+stft", {}, 1024, "needs at least 1025"),
        ("chroma", {}, 1024, "needs at least 1025"),
        ("log_mel", {"n_fft": 512, "n_mels": 512}, N_SAMPLES, "n_mels that works is (\\d+)"),
        ("mfcc", {"n_mels": 39}, N_SAMPLES, "39 cepstral coefficients, not 40"),
    ],
)
def test_impossible_options_are_refused_in_one_sentence(name, options, n_samples, sentence) -> None:
    with pytest.raises(GenrecoreError, match=sentence) as caught:
        feature(name, n_samples=n_samples, **options)
    assert "\n" not in str(caught.value)


def test_the_largest_number_of_bands_that_is_named_works() -> None:
    with pytest.raises(GenrecoreError) as caught:
        feature(n_fft=512, n_mels=512)
    largest = int(str(caught.value).split("works is ")[1].split(",")[0])
    assert (mel_filters(RATE_HZ, 512, largest).amax(dim=1) > 0).all()
    with pytest.raises(GenrecoreError):
        feature(n_fft=512, n_mels=largest + 1)


def test_blue_first_are_the_same_images_with_the_channels_turned_round() -> None:
    image = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    choice = FEATURES.choose("image", {"order": "blue green red"})
    turned = choice.thing(choice.options, (3, 5, 7))(image)
    assert turned.equal(image.flip(1) / 255.0)


def test_images_padded_with_zeros_hold_zeros_where_others_hold_silence() -> None:
    waves = 1e-3 * noise(2)
    silent, zeros = (feature(frames=99, fit=fit)(waves) for fit in ("pad", "zeros"))
    n_frames = 1 + N_SAMPLES // 512
    assert torch.equal(silent[..., :n_frames], zeros[..., :n_frames])
    assert not zeros[..., n_frames:].any()
    assert silent[..., n_frames:].max() < -20  # dB
    assert silent.amax() < 0  # so that zeros are the loudest of all
    fewer = [feature(top_db=0, frames=7, fit=fit)(waves) for fit in ("pad", "zeros")]
    assert torch.equal(*fewer)
    resized = feature(frames=99, fit="zeros", bins=31)(waves)
    assert not resized[..., n_frames:].any()
