"""The columns of the tables of descriptors that were published for GTZAN."""

N_MFCC = 20

_SERIES = (
    "chroma_stft",
    "rms",
    "spectral_centroid",
    "spectral_bandwidth",
    "rolloff",
    "zero_crossing_rate",
    "harmony",
    "perceptr",
)

DESCRIPTORS = (
    *(f"{name}_{what}" for name in _SERIES for what in ("mean", "var")),
    "tempo",
    *(f"mfcc{number}_{what}" for number in range(1, N_MFCC + 1) for what in ("mean", "var")),
)
"""The 57 descriptors of `features_30_sec.csv` and `features_3_sec.csv`, in the published order."""
