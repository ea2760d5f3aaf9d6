"""Mel-frequency cepstral coefficients."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from genrecore.audio.axes import Axes, Rows
from genrecore.audio.spectra import cosines, full_precision, power_to_db
from genrecore.errors import GenrecoreError
from genrecore.features.image import ImageOptions, SpectralImage
from genrecore.features.log_mel import MelOptions, mel_bank
from genrecore.features.registered import FEATURES


class MfccOptions(ImageOptions, MelOptions):
    """How cepstral coefficients are made."""

    n_mfcc: int = Field(
        40,
        title="Coefficients",
        description="Rows of the image, from the loudness to ever finer shapes of the spectrum; "
        "networks for images need 32 rows or more (librosa's default is 20)",
        ge=1,
        le=512,
    )


@FEATURES.register(
    "mfcc",
    title="Mel-frequency cepstral coefficients (MFCC)",
    source="Davis & Mermelstein 1980; as librosa.feature.mfcc, version 0.11 (DCT-II, orthonormal)",
    options=MfccOptions,
    kind="image",
    needs=("wave",),
)
class Mfcc(SpectralImage):
    """Coefficients, shape (batch, channels, bins, frames), of wave (batch, 1, n_samples): the
    cosine transform along the bands of what `log_mel` makes; bins is n_mfcc.

    Raises:
        GenrecoreError: More coefficients than mel bands; else as `LogMel`.
    """

    cosines: Tensor

    def __init__(self, options: MfccOptions, sample_rate_hz: int, n_samples: int) -> None:
        if options.n_mfcc > options.n_mels:
            raise GenrecoreError(
                f"{options.n_mels} mel bands have {options.n_mels} cepstral coefficients, not "
                f"{options.n_mfcc}; take a smaller n_mfcc or a larger n_mels."
            )
        super().__init__(options, sample_rate_hz, n_samples, options.n_mfcc)
        self.options = options
        self.bank = mel_bank(options, sample_rate_hz, n_samples)
        # It follows from the options, so it stays out of the saved weights.
        self.register_buffer("cosines", cosines(options.n_mfcc, options.n_mels), persistent=False)

    def axes(self) -> tuple[Axes, ...]:
        """Coefficients over time."""
        n = self.options.n_mfcc
        names = [f"coefficient {row}" for row in range(n)]
        ticks = {str(row): float(row) for row in range(0, n, max(1, n // 8))}
        return self.described(
            Axes(
                "Cepstral coefficients",
                "dB",
                Rows("Coefficient", names, ticks, "coefficients"),
                is_level=False,
                silence="row_mean",
                shown_percent=(2.0, 98.0),
                note="The colours leave 2 % out at either end, coefficient 0, the loudness, among "
                "them.",
            )
        )

    def values(self, wave: Tensor) -> Tensor:
        power = self.with_silence(self.bank(wave.squeeze(1)))
        with full_precision(power):
            return self.resized(self.cosines @ power_to_db(power, self.options.top_db))
