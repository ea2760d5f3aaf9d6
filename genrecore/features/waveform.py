"""The wave itself, alone or together with its spectrogram."""

from __future__ import annotations

from torch import Tensor, nn

from genrecore.audio.axes import Axes
from genrecore.config.registry import Options
from genrecore.features.registered import FEATURES
from genrecore.features.stft import Stft, StftOptions

_BENITO = "Benito Calvino & Pacheco Garcia, section IV"


@FEATURES.register(
    "waveform", title="Waveform", source=_BENITO, kind="wave", needs=("wave",), cached=False
)
class Waveform(nn.Module):
    """The wave (batch, 1, n_samples) as it is, float32."""

    def __init__(self, options: Options, sample_rate_hz: int, n_samples: int) -> None:
        super().__init__()
        self.sample_rate_hz, self.n_samples = sample_rate_hz, n_samples
        self.output_shape = (1, n_samples)

    def axes(self) -> tuple[Axes, ...]:
        """Samples over time."""
        duration_s = self.n_samples / self.sample_rate_hz
        return (Axes("Waveform", columns="samples", duration_s=duration_s),)

    def forward(self, wave: Tensor) -> Tensor:
        return wave.float()


@FEATURES.register(
    "waveform+stft",
    title="Waveform and spectrogram",
    source=f"{_BENITO} (1D + 2D)",
    options=StftOptions,
    kind="wave+image",
    needs=("wave",),
    cached=False,
    cached_half="stft",
)
class WaveformAndStft(nn.Module):
    """A pair: the wave (batch, 1, n_samples) as it is, and its spectrogram (batch, channels, bins,
    frames) as `stft` makes it. `output_shape` is the pair of their shapes.

    Raises:
        GenrecoreError: As `Stft`.
    """

    def __init__(self, options: StftOptions, sample_rate_hz: int, n_samples: int) -> None:
        super().__init__()
        self.waveform = Waveform(Options(), sample_rate_hz, n_samples)
        self.stft = Stft(options, sample_rate_hz, n_samples)
        self.output_shape = (self.waveform.output_shape, self.stft.output_shape)

    def axes(self) -> tuple[Axes, ...]:
        """The axes of the wave, then those of the spectrogram."""
        return self.waveform.axes() + self.stft.axes()

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        return self.waveform(wave), self.stft(wave)
