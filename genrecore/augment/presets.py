"""Sets of augmentations, named after the studies that used them together."""

from __future__ import annotations

from genrecore.config.run import Part

PRESETS: dict[str, tuple[Part, ...]] = {
    # Belton, section 4.3.5: each with a probability of 0.25, the percussive component last.
    "belton": tuple(
        Part(name=name, options={"p": 0.25})
        for name in ("noise", "shift", "pitch", "speed", "percussive")
    ),
    # Liu, Vetshchaizer & Yip, section 3.2.2: with the originals five times as many examples.
    "liu": (Part(name="pitch_variants"), Part(name="tempo_variants")),
    # Hong, section 2.3, without numbers of its own.
    "hong": tuple(
        Part(name=name)
        for name in ("flip", "rotation", "crop", "scaling", "translation", "colour_pca")
    ),
    # Park et al. (2019), their policy LB: one mask in time and one in frequency, always.
    "specaugment": tuple(
        Part(name=name, options={"p": 1.0}) for name in ("time_mask", "frequency_mask")
    ),
}
