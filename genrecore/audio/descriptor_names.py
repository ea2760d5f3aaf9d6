"""The 57 descriptors that were published for GTZAN: their names, units and meanings."""

from __future__ import annotations

N_MFCC = 20

_SERIES = {
    "chroma_stft": ("", "how evenly the twelve pitch classes sound; one note alone gives little"),
    "rms": ("", "how loud a frame is, 1 being full scale"),
    "spectral_centroid": ("Hz", "the middle of the spectrum: high is bright"),
    "spectral_bandwidth": ("Hz", "how widely the spectrum spreads around its middle"),
    "rolloff": ("Hz", "the frequency below which 85 % of the spectrum lies"),
    "zero_crossing_rate": ("", "share of samples where the wave changes its sign: noise has many"),
    "harmony": ("", "samples of the steady tones alone"),
    "perceptr": ("", "samples of the percussion alone"),
}

DESCRIPTORS = (
    *(f"{name}_{statistic}" for name in _SERIES for statistic in ("mean", "var")),
    "tempo",
    *(f"mfcc{k}_{statistic}" for k in range(1, N_MFCC + 1) for statistic in ("mean", "var")),
)
"""The columns of `features_30_sec.csv` and `features_3_sec.csv`, in the published order."""

_MFCC = {
    1: "the loudness of all bands together",
    2: "how much more low than high sounds",
    3: "whether the middle or the ends are stronger",
}


def unit_of(name: str) -> str:
    """The unit of a descriptor; empty where it is a plain number."""
    if name == "tempo":
        return "beats/min"
    series, _, statistic = name.rpartition("_")
    unit = "dB" if series.startswith("mfcc") else _SERIES[series][0]
    return f"{unit}²" if unit and statistic == "var" else unit


def meaning_of(name: str) -> str:
    """What a descriptor measures: mean or variance of something over the clip's frames."""
    if name == "tempo":
        return "Beats per minute, estimated from the onsets"
    series, _, statistic = name.rpartition("_")
    if series.startswith("mfcc"):
        number = int(series.removeprefix("mfcc"))
        meaning = _MFCC.get(number, f"ripples of {number - 1} half waves along the spectrum")
    else:
        meaning = _SERIES[series][1]
        if series in ("harmony", "perceptr"):
            meaning += ", noise around zero" if statistic == "mean" else ", which is their loudness"
    return f"{'Mean' if statistic == 'mean' else 'Variance'}: {meaning}"
