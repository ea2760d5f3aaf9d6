"""Augmentations of waves (batch, 1, n_samples): Belton's five, and gain, equaliser and roll.

Belton, COMP47650 Deep Learning Project (music genre classification on GTZAN), section 4.3.5, gives
each a probability of 0.25 and says no more than what stands beside each class here. Where that
leaves something open, ours does what a widely copied notebook of the time does, whose numbers are
Belton's (uniform from 0.9 to 1.1, the percussive part of librosa.effects.hpss).
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from genrecore.audio import effects
from genrecore.augment.registered import AUGMENTATIONS, AugmentOptions, Configured

_BELTON = "Belton, section 4.3.5"


class NoiseOptions(AugmentOptions):
    """The amount of noise."""

    amount: float = Field(
        0.005,
        title="Amount",
        description="Standard deviation of the noise, where 1 is the loudest that a file can hold",
        ge=0.0,
        le=1.0,
    )


@AUGMENTATIONS.register("noise", title="Noise", source=_BELTON, options=NoiseOptions, on="wave")
class Noise(Configured[NoiseOptions]):
    """Standard-normal noise times the amount added.

    As the source, but that the noise is not drawn anew: every example gets a stretch of one fixed
    recording of two million normal numbers, from a random place and with a random sign. Adding it
    costs about a tenth of drawing it.
    """

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.rand(n, 2, generator=generator)

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        bank = _normal_numbers(x.device)
        noisy = x.float().clone()
        for wave, (share, sign) in zip(noisy[:, 0], parameters.tolist(), strict=True):
            amount = self.options.amount * (1.0 if sign < 0.5 else -1.0)
            position = int(share * len(bank))
            for part in _around(wave, position, len(bank)):
                part.add_(bank[position : position + len(part)], alpha=amount)
                position = (position + len(part)) % len(bank)
        return noisy


@lru_cache(maxsize=8)
def _normal_numbers(device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2**21, generator=generator, device="cpu").to(device)


def _around(wave: Tensor, position: int, length: int) -> tuple[Tensor, ...]:
    """The wave in pieces, so that none runs over the end of a circle of `length`."""
    return (wave[: length - position], *wave[length - position :].split(length))


class ShiftOptions(AugmentOptions):
    """The length of the shift."""

    n_samples: int = Field(
        1600,
        title="Samples",
        description="How far to the left; what leaves on the left comes back on the right",
        ge=-10_000_000,
        le=10_000_000,
    )


@AUGMENTATIONS.register("shift", title="Shift", source=_BELTON, options=ShiftOptions, on="wave")
class Shift(Configured[ShiftOptions]):
    """The wave moved to the left by a fixed number of samples, its beginning put at its end.

    As the source: always by 1600 samples, 73 ms at 22 050 Hz. `roll` moves by a random amount.
    """

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.empty(n, 0)

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        return x.float().roll(-self.options.n_samples, -1)


class PitchOptions(AugmentOptions):
    """The range of semitones."""

    range_semitones: float = Field(
        4.0,
        title="Range (semitones)",
        description="Pitch is raised or lowered by up to so much, any amount alike",
        gt=0.0,
        le=24.0,
    )


@AUGMENTATIONS.register("pitch", title="Pitch", source=_BELTON, options=PitchOptions, on="wave")
class Pitch(Configured[PitchOptions]):
    """Pitch raised or lowered by a random number of semitones at the same tempo.

    The source says "by a random amount of steps" and gives no range: 4 semitones up or down, whole
    or not, is our choice. Phase vocoder and resampling, as librosa.effects.pitch_shift.
    """

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return _between(-self.options.range_semitones, self.options.range_semitones, n, generator)

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """`parameters` holds semitones."""
        return effects.pitch_shift(x[:, 0], parameters[:, 0].tolist())[:, None]


class SpeedOptions(AugmentOptions):
    """The range of factors."""

    slowest: float = Field(
        0.9, title="Slowest", description="1 is the speed of the original", ge=0.25, le=4.0
    )
    fastest: float = Field(
        1.1, title="Fastest", description="1 is the speed of the original", ge=0.25, le=4.0
    )

    @field_validator("fastest")
    @classmethod
    def _in_order(cls, value: float, info: ValidationInfo) -> float:
        return _not_below(value, info, "slowest")


@AUGMENTATIONS.register("speed", title="Speed", source=_BELTON, options=SpeedOptions, on="wave")
class Speed(Configured[SpeedOptions]):
    """Tempo times a random factor at the same pitch; the length stays.

    The source says "change the speed by a random value between 0.9 and 1.1", which could mean
    playing faster and higher. Ours stretches time (librosa.effects.time_stretch), as the code of
    the time did under that very name and with these numbers. Faster music is followed by zeros,
    slower music is cut at the end.
    """

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return _between(self.options.slowest, self.options.fastest, n, generator)

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """`parameters` holds factors."""
        stretched = effects.time_stretch(x[:, 0], parameters[:, 0].tolist())
        return torch.stack([effects.fitted(wave, x.shape[-1]) for wave in stretched])[:, None]


@AUGMENTATIONS.register(
    "percussive",
    title="Percussive component",
    source=f"{_BELTON}; Fitzgerald (2010), Harmonic/percussive separation using median filtering",
    options=AugmentOptions,
    on="wave",
    last=True,
)
class Percussive(Configured[AugmentOptions]):
    """The percussive component alone: the blows without the tones.

    As the source, always after all other augmentations of waves. Which separation it took is not
    said; ours is librosa.effects.percussive's (medians of 31, soft masks of power 2).
    """

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.empty(n, 0)

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        return effects.percussive(x[:, 0])[:, None]


class GainOptions(AugmentOptions):
    """The range of gains."""

    range_db: float = Field(
        6.0,
        title="Range (dB)",
        description="Louder or quieter by up to so much; nothing is cut off at full scale",
        gt=0.0,
        le=60.0,
    )


@AUGMENTATIONS.register(
    "gain", title="Gain", source="usual practice", options=GainOptions, on="wave"
)
class Gain(Configured[GainOptions]):
    """Louder or quieter by a random number of dB.

    A feature in dB is raised or lowered as a whole by it, as far as its dynamic range lets it.
    """

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return _between(-self.options.range_db, self.options.range_db, n, generator)

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """`parameters` holds dB."""
        return x.float() * (10.0 ** (parameters / 20.0)).to(x.device)[:, :, None]


class EqualiserOptions(AugmentOptions):
    """The band's frequencies, gains and quality."""

    range_db: float = Field(
        12.0, title="Range (dB)", description="Raised or lowered by up to so much", gt=0.0, le=24.0
    )
    lowest_hz: float = Field(
        100.0,
        title="Lowest frequency (Hz)",
        description="The middle of the band lies above this",
        ge=50.0,
        le=5000.0,
    )
    highest_hz: float = Field(
        6000.0,
        title="Highest frequency (Hz)",
        description="The middle of the band lies below this, and below 0.45 of the sample rate",
        ge=50.0,
        le=20_000.0,
    )
    quality: float = Field(
        1.0,
        title="Quality (Q)",
        description="Middle frequency over bandwidth: at 1 the band is about 1.4 octaves wide",
        ge=0.1,
        le=5.0,
    )

    @field_validator("highest_hz")
    @classmethod
    def _in_order(cls, value: float, info: ValidationInfo) -> float:
        return _not_below(value, info, "lowest_hz")


@AUGMENTATIONS.register(
    "equaliser",
    title="Equaliser",
    source="Bristow-Johnson, Cookbook formulae for audio equaliser biquad filter coefficients",
    options=EqualiserOptions,
    on="wave",
)
class Equaliser(Configured[EqualiserOptions]):
    """One random band raised or lowered by a random number of dB, as another room or player would.

    The peaking filter of torchaudio.functional.equalizer_biquad. Ours cuts nothing off at full
    scale. Low and high octaves are equally likely.
    """

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        highest_hz = min(self.options.highest_hz, 0.45 * self.sample_rate_hz)
        octaves = math.log2(highest_hz / self.options.lowest_hz)
        middle_hz = self.options.lowest_hz * 2.0 ** _between(0.0, octaves, n, generator)
        gain_db = _between(-self.options.range_db, self.options.range_db, n, generator)
        return torch.cat([middle_hz, gain_db], dim=1)

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """`parameters` holds middle frequencies in Hz and gains in dB."""
        middle_hz, gain_db = parameters.unbind(1)
        quality = self.options.quality
        return effects.peaking(x[:, 0], self.sample_rate_hz, middle_hz, gain_db, quality)[:, None]


@AUGMENTATIONS.register(
    "roll",
    title="Roll",
    source="usual practice",
    options=AugmentOptions,
    on="wave",
)
class Roll(Configured[AugmentOptions]):
    """The wave begins at a random place; what stood before it is put at the end."""

    def draw(self, n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.rand(n, 1, generator=generator)

    def apply(self, x: Tensor, parameters: Tensor) -> Tensor:
        """`parameters` holds shares of the length."""
        shifts = (parameters[:, 0].double() * x.shape[-1]).long().tolist()
        return torch.stack(
            [wave.roll(-shift, -1) for wave, shift in zip(x.float(), shifts, strict=True)]
        )


def _between(lowest: float, highest: float, n: int, generator: torch.Generator) -> Tensor:
    """Random numbers (n, 1), any between the two alike."""
    return lowest + (highest - lowest) * torch.rand(n, 1, generator=generator)


def _not_below(value: float, info: ValidationInfo, field: str) -> float:
    if value < info.data.get(field, value):
        raise ValueError(f"must not lie below {field}, {info.data[field]:g}")
    return value
