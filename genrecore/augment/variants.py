"""Changed copies of every training segment, made once: Liu's pitch and tempo."""

from __future__ import annotations

import math

import torch
from pydantic import Field, field_validator
from torch import Tensor

from genrecore.audio import effects
from genrecore.augment.registered import AUGMENTATIONS, Configured
from genrecore.config.registry import Options

_LIU = "Liu, Vetshchaizer & Yip, section 3.2.2"
_MOST = 16


class PitchVariantsOptions(Options):
    """The semitones of each copy."""

    semitones: str = Field(
        "-1, 1",
        title="Semitones",
        description="A copy each, with commas between: -1, 1 makes one lower and one higher",
        max_length=200,
        coerce_numbers_to_str=True,
    )

    @field_validator("semitones")
    @classmethod
    def _readable(cls, text: str) -> str:
        _numbers(text, -24.0, 24.0, 0.0)
        return text


@AUGMENTATIONS.register(
    "pitch_variants",
    title="Copies of other pitch",
    source=_LIU,
    options=PitchVariantsOptions,
    on="variants",
)
class PitchVariants(Configured[PitchVariantsOptions]):
    """Copies of every training segment, each so many semitones higher, at the same tempo.

    As the source: one semitone down and one up, which with `tempo_variants` makes the training set
    five times as large. The source changed whole files with a tool that it does not name; ours
    changes segments, as librosa.effects.pitch_shift does.
    """

    @property
    def labels(self) -> list[str]:
        return [f"pitch {value:+g}" for value in self._semitones]

    def n_samples(self, n_samples: int, k: int) -> int:
        return n_samples

    def apply(self, x: Tensor, k: int) -> Tensor:
        return effects.pitch_shift(x[:, 0], [self._semitones[k]] * len(x))[:, None]

    @property
    def _semitones(self) -> list[float]:
        return _numbers(self.options.semitones, -24.0, 24.0, 0.0)


class TempoVariantsOptions(Options):
    """The factor of each copy."""

    factors: str = Field(
        "0.93, 1.07",
        title="Factors",
        description="A copy each, with commas between: 0.93 is slower and 1.07 faster than 1",
        max_length=200,
        coerce_numbers_to_str=True,
    )
    whole: bool = Field(
        False,
        title="Whole",
        description="A copy is as long as it becomes, instead of as long as its segment; for "
        "features of one size, such as images with a fixed number of frames",
    )

    @field_validator("factors")
    @classmethod
    def _readable(cls, text: str) -> str:
        _numbers(text, 0.25, 4.0, 1.0)
        return text


@AUGMENTATIONS.register(
    "tempo_variants",
    title="Copies of other tempo",
    source=_LIU,
    options=TempoVariantsOptions,
    on="variants",
)
class TempoVariants(Configured[TempoVariantsOptions]):
    """Copies of every training segment, each so many times as fast, at the same pitch.

    As the source: 0.93 and 1.07. Ours changes segments, as librosa.effects.time_stretch does, and
    by default keeps their length: faster music is followed by zeros, slower music is cut at the
    end. With the option whole nothing is added and nothing is cut, and an image of a fixed number
    of frames shows all of the copy, as the source's images of whole files do.
    """

    @property
    def labels(self) -> list[str]:
        length = ", whole" if self.options.whole else ""
        return [f"tempo {value:g}{length}" for value in self._factors]

    def n_samples(self, n_samples: int, k: int) -> int:
        return round(n_samples / self._factors[k]) if self.options.whole else n_samples

    def apply(self, x: Tensor, k: int) -> Tensor:
        stretched = effects.time_stretch(x[:, 0], [self._factors[k]] * len(x))
        n_samples = self.n_samples(x.shape[-1], k)
        return torch.stack([effects.fitted(wave, n_samples) for wave in stretched])[:, None]

    @property
    def _factors(self) -> list[float]:
        return _numbers(self.options.factors, 0.25, 4.0, 1.0)


def _numbers(text: str, lowest: float, highest: float, unchanged: float) -> list[float]:
    """The numbers in a text with commas between; raises ValueError with a sentence."""
    expected = (
        f"expected 1 to {_MOST} different numbers from {lowest:g} to {highest:g} with commas "
        f"between, none of them {unchanged:g}, which changes nothing"
    )
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(expected) from None
    allowed = all(math.isfinite(v) and lowest <= v <= highest and v != unchanged for v in values)
    if not allowed or len(set(values)) < len(values) or len(values) > _MOST:
        raise ValueError(expected)
    return values
