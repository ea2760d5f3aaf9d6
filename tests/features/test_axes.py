"""Features describe their axes: the seconds and frequencies that their numbers came from."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from torch import nn

from genrecore.audio.axes import Axes, band_rows, size_in_words
from genrecore.audio.descriptor_names import DESCRIPTORS, meaning_of, unit_of
from genrecore.audio.mel_scale import MelBank
from genrecore.config.registry import Options
from genrecore.features import FEATURES
from genrecore.models.anatomy import Reach
from genrecore.reporting.feature_charts import charts
from genrecore.reporting.plots import Chart
from genrecore.reporting.plots import mel_scale as mel_plots
from genrecore.reporting.plots.sound import waveform
from genrecore.training.receptive_fields import in_sound

RATE_HZ, N = 22_050, 66_151
OTHER_RATES_HZ = {"encoder": 16_000, "encoder_sequence": 16_000}
OF_WAVES = [name for name in FEATURES if "wave" in FEATURES[name].facts.needs]


def tone(hz: float) -> np.ndarray:
    """Three seconds, the tone only in the last half second before 2 s."""
    t = np.arange(N) / RATE_HZ
    return (0.4 * np.sin(2 * np.pi * hz * t) * ((t >= 1.5) & (t < 2.0))).astype(np.float32)


def charts_of(name: str, wave: np.ndarray, **options: object) -> tuple[list[Chart], str]:
    """What a feature makes of a wave, as charts, and its size in words."""
    choice = FEATURES.choose(name, options)
    feature = choice.thing(choice.options, OTHER_RATES_HZ.get(name, RATE_HZ), len(wave))
    with torch.inference_mode():
        output = feature(torch.from_numpy(wave)[None, None])
    outputs = output if isinstance(output, tuple) else (output,)
    kinds, axes = choice.facts.kinds, feature.axes()
    parts = tuple(
        (part[0, 0] if kind in ("image", "wave") else part[0]).numpy()
        for kind, part in zip(kinds, outputs, strict=True)
    )
    shapes = feature.output_shape if len(axes) > 1 else (feature.output_shape,)
    sizes = [size_in_words(*part) for part in zip(axes, shapes, strict=True)]
    return [chart for chart, _ in charts(kinds, axes, parts)], "; ".join(sizes)


def brightest(chart: Chart) -> tuple[float, str, float]:
    """Time and name of the brightest point, and the row of it."""
    heatmap = next(trace for trace in chart.figure.data if isinstance(trace, go.Heatmap))
    z = np.asarray(heatmap.z, dtype=float)
    row, column = np.unravel_index(int(z.argmax()), z.shape)
    return float(heatmap.x[column]), str(heatmap.y[row]), float(row)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("log_mel", {}),
        ("log_mel", {"n_mels": 61, "mel_scale": "htk", "fmin_hz": 100}),
        ("log_mel", {"bins": 224, "frames": 97}),
        ("log_mel", {"bins": 40, "frames": 333}),
        ("log_mel", {"frames": 333, "fit": "pad"}),
        ("stft", {}),
        ("stft", {"n_fft": 1024, "bins": 301, "scale": "decibels"}),
        ("waveform+stft", {}),
    ],
)
@pytest.mark.parametrize("hz", [523.0, 3001.0])
def test_a_tone_is_brightest_at_its_second_and_frequency(
    name: str, options: dict[str, object], hz: float
) -> None:
    figures, _ = charts_of(name, tone(hz), **options)
    second, row, _ = brightest(figures[-1])
    assert 1.45 <= second <= 2.05  # s; a window and a stretched column reach over the edges
    named_hz = float(row.split(" Hz")[0])
    # Two bands of 61 at 3 kHz are 300 Hz wide, five rows of an FFT drawn as one 54 Hz.
    assert abs(named_hz - hz) < max(60.0, 0.06 * hz)


def test_ticks_of_an_image_stand_at_the_rows_of_their_frequencies() -> None:
    for name, options in (("log_mel", {}), ("stft", {}), ("log_mel", {"bins": 300})):
        _, _, row = brightest(charts_of(name, tone(4000.0), **options)[0][0])
        axis = charts_of(name, tone(4000.0), **options)[0][0].figure.layout.yaxis
        at = axis.tickvals[list(axis.ticktext).index("4k")]
        assert abs(at - row) <= 2  # rows; a tone between two bands lights either


@pytest.mark.parametrize("options", [{}, {"bins": 0}, {"bins": 41}])
def test_a_note_is_brightest_in_its_pitch_class(options: dict[str, int]) -> None:
    note = np.sin(2 * np.pi * 440.0 * np.arange(N) / RATE_HZ).astype(np.float32)
    chart = charts_of("chroma", note, **options)[0][0]
    heatmap, axis = chart.figure.data[0], chart.figure.layout.yaxis
    row = int(np.asarray(heatmap.z).mean(axis=1).argmax())
    assert heatmap.y[row].split(" ")[0] == "A"
    at = axis.tickvals[list(axis.ticktext).index("A")]
    assert abs(at - row) <= (options.get("bins", 72) or 12) / 24 + 0.5  # half a class


@pytest.mark.parametrize("name", OF_WAVES)
def test_every_feature_of_sound_has_charts_with_words_and_numbers(name: str) -> None:
    rng = np.random.default_rng(3)
    figures, size = charts_of(name, (0.1 * rng.standard_normal(N)).astype(np.float32))
    assert len(figures) == len(FEATURES[name].facts.kinds)
    for chart in figures:
        assert chart.alt.endswith(".")
        assert chart.figure.layout.title.text
        assert chart.figure.layout.yaxis.title.text
        assert len(chart.table)
    assert any(character.isdecimal() for character in size)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("log_mel", {}, "128 mel bands × 130 frames, 1 channel"),
        (
            "log_mel",
            {"bins": 224, "channels": 3},
            "224 rows made of 128 mel bands × 130 frames, 3 ch",
        ),
        ("mfcc", {"n_mfcc": 21, "frames": 77}, "21 coefficients × 77 frames, 1 channel"),
        ("chroma", {"bins": 0}, "12 pitch classes × 130 frames, 1 channel"),
        ("stft", {}, "1,025 frequencies × 65 frames, 1 channel"),
        ("waveform", {}, "66,151 samples, 1 channel"),
        ("waveform+stft", {}, "66,151 samples, 1 channel; 1,025 frequencies × 65"),
        ("descriptors", {}, "57 numbers"),
        ("descriptor_sequence", {"n_steps": 7}, "7 steps × 57 numbers"),
    ],
)
def test_a_size_is_written_for_people(name: str, options: dict[str, object], size: str) -> None:
    assert charts_of(name, tone(440.0), **options)[1].startswith(size)


@pytest.mark.parametrize(
    "options", [{}, {"bins": 200, "frames": 301}, {"frames": 150, "fit": "pad"}, {"channels": 3}]
)
def test_an_image_of_any_size_is_heard_at_its_pitch(options: dict[str, object]) -> None:
    choice = FEATURES.choose("log_mel", options)
    feature = choice.thing(choice.options, RATE_HZ, N)
    wave = tone(600.0)
    image = feature(torch.from_numpy(wave)[None, None])[0]
    heard = feature.to_wave(image).numpy()
    assert heard.shape == (N,)
    peak_hz = np.fft.rfftfreq(N, 1 / RATE_HZ)[np.abs(np.fft.rfft(heard)).argmax()]
    assert abs(peak_hz - 600.0) < 45  # Hz; a band at 600 Hz is 43 Hz wide
    loud = np.abs(heard) > 0.1
    inside = np.flatnonzero(loud) / RATE_HZ
    assert inside.min() > 1.4  # s; a window of 93 ms blurs the edges
    assert inside.max() < 2.1


def test_an_image_that_cuts_the_wave_off_is_heard_that_far() -> None:
    choice = FEATURES.choose("log_mel", {"frames": 51, "fit": "pad"})
    feature = choice.thing(choice.options, RATE_HZ, N)
    image = feature(torch.from_numpy(tone(600.0))[None, None])[0]
    assert feature.to_wave(image).shape == (50 * 512,)


def test_every_descriptor_has_a_meaning_of_its_own() -> None:
    assert len({meaning_of(name) for name in DESCRIPTORS}) == len(DESCRIPTORS)
    assert unit_of("spectral_centroid_mean") == "Hz"
    assert unit_of("spectral_centroid_var") == "Hz²"
    assert unit_of("zero_crossing_rate_var") == ""


def test_a_waveform_grows_with_its_peak_and_marks_beats() -> None:
    wave = np.zeros(1001, dtype=np.float32)
    wave[500] = -1.7
    chart = waveform(wave, 1000, beats_s=[0.25, 0.75])
    assert chart.figure.layout.yaxis.range[0] < -1.7
    assert [line.x0 for line in chart.figure.layout.shapes] == [0.25, 0.75]
    assert "2 beats" in chart.alt


def test_the_figure_of_the_mel_scale_says_where_a_tone_falls() -> None:
    bank = MelBank(40, 0.0, 8_000.0, "slaney")
    hz = np.linspace(0, 8_000, 161)
    chart = mel_plots.bands_below(hz, {"Slaney": bank.below(hz)}, 1000.0, 40)
    assert f"{bank.below(np.array([1000.0]))[0]:.1f}" in chart.alt
    answering = bank.answering(1000.0)
    shares = bank.weights(np.array([1000.0]))[:, 0]
    assert shares[answering].sum() == pytest.approx(1.0)  # neighbouring triangles add up to one
    assert not bank.answering(9_000.0)


class Octaves(nn.Module):
    """A feature from outside: five octaves from 125 Hz, eleven columns."""

    def __init__(self, options: Options, sample_rate_hz: int, n_samples: int) -> None:
        super().__init__()
        self.output_shape = (1, 5, 11)
        self.duration_s = n_samples / sample_rate_hz

    def axes(self) -> tuple[Axes, ...]:
        middle_hz = 125.0 * 2.0 ** np.arange(5)
        rows = band_rows("octaves", middle_hz / 2**0.5, middle_hz, middle_hz * 2**0.5)
        return (Axes("Octaves", "level", rows, "columns", self.duration_s),)


def test_a_feature_from_outside_is_drawn_and_measured_by_its_own_axes() -> None:
    feature = Octaves(Options(), RATE_HZ, N)
    (chart, _), *others = charts(("image",), feature.axes(), (np.eye(5, 11),))
    assert not others
    assert chart.figure.layout.yaxis.title.text == "Frequency (Hz)"
    assert list(chart.figure.data[0].y)[3] == "1000.0 Hz"
    assert chart.figure.data[0].x[0] == pytest.approx(N / RATE_HZ / 22, abs=1e-3)
    assert (
        size_in_words(feature.axes()[0], feature.output_shape)
        == "5 octaves × 11 columns, 1 channel"
    )
    reaches = (Reach((0, 1), 3, 1, False), Reach((0, 2), 4, 1, False))
    (field,) = in_sound(reaches, feature, "image")
    assert field.seconds == pytest.approx(N / RATE_HZ * 4 / 11)
    assert (field.low_hz, field.high_hz) == pytest.approx((500 / 2**0.5, 2000 * 2**0.5))
    assert "3 of 5 octaves" in field.sentence
