"""Presets: the inputs that studies gave their networks, as values of a configuration.

An entry's thing is a dict of dotted fields (`config.with_values` takes it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genrecore.config.registry import Registry


@dataclass(frozen=True)
class PresetFacts:
    """Facts about a study's input.

    Attributes:
        shape: What the network then sees, without the batch; of a pair, both shapes.
        notes: A sentence on each thing that the study leaves open or prints otherwise, and on what
            is chosen here.
    """

    shape: tuple[Any, ...]
    notes: tuple[str, ...]


PRESETS = Registry("preset", PresetFacts)

_BELTON = "Belton, COMP47650 Deep Learning Project, University College Dublin"
_LIU = "Liu, Vetshchaizer & Yip, Music Genre Classification using CNN-Hybrid Architectures"
_HONG = (
    "Hong, Comparison Among AlexNet, GoogLeNet and ResNet-18 in Automatic Music Genre "
    "Classification"
)
_WON = (
    "Won, Ferraro, Bogdanov & Serra, Evaluation of CNN-based Automatic Music Tagging Models, and "
    "the code published with it"
)
_QIN = "Qin, Zhuo & Ren, Research of RNNs: LSTM, CNNs: ResNet-18, and MNNs, UMass Amherst"
_BENITO = "Benito Calvino & Pacheco Garcia, Data Input Approaches for CNNs, University of Padova"

N_BENITO = 10**6
"""Samples to which Benito cuts every clip."""
N_WON = 59_049
"""Samples at 16 kHz in one of Won's chunks, 3.69 s."""


def _audio(
    sample_rate_hz: int, clip_s: float, segment_s: float = 0.0, overlap: float = 0.0
) -> dict[str, Any]:
    """Fields for segments of a clip; one segment of all of it by default."""
    return {
        "audio.sample_rate_hz": sample_rate_hz,
        "audio.clip_s": clip_s,
        "segments.segment_s": segment_s or clip_s,
        "segments.overlap": overlap,
    }


def _gtzan(form: str) -> dict[str, Any]:
    return {"dataset": "gtzan", "dataset.form": form}


PRESETS.register(
    "belton_mel",
    title="Belton: mel spectrograms made by the study",
    source=f"{_BELTON}, section 4.3.4",
    shape=(3, 256, 1320),
    notes=(
        "The study pads images with zeros, which in decibels is a loud sound; here they are "
        "padded with silence.",
        "Its longest clips have 1 320 columns, so a segment of 30.65 s holds every clip of GTZAN "
        "from end to end.",
        "It prints (3, 256, 1230) once and 1320 twice; 1320 is taken.",
        "It says nothing of the reference of its decibels or of their range; here a power of 1 is "
        "0 dB, and an image reaches 80 dB down from its loudest point, librosa's default.",
        "Minimum and maximum are the training data's, as in the study.",
    ),
)(
    {
        **_audio(22_050, 30.65),
        "feature": "log_mel",
        "feature.n_fft": 1024,
        "feature.hop_length": 512,
        "feature.n_mels": 256,
        "feature.frames": 1320,
        "feature.fit": "pad",
        "feature.channels": 3,
        "standardise": "min_max",
    }
)

PRESETS.register(
    "belton_images",
    title="Belton: the images that come with GTZAN",
    source=f"{_BELTON}, section 4.3.3",
    shape=(3, 288, 432),
    notes=(
        "The study drops the fourth channel, which is the same everywhere, and divides by 255; so "
        "is done here.",
        "It hands the colours to the network as blue, green, red, the order of OpenCV; here they "
        "are red, green, blue, as the published weights expect; the option order turns them round.",
    ),
)({**_gtzan("images"), "feature": "image", "standardise": "none"})

PRESETS.register(
    "belton_table",
    title="Belton: 57 descriptors of a clip",
    source=f"{_BELTON}, section 4.2",
    shape=(57,),
    notes=(
        "The study does not say which of the two tables it reads; 57 numbers about each audio "
        "signal are taken for the one with a row a clip.",
    ),
)({**_gtzan("table_30s"), "feature": "descriptors", "standardise": "z_score"})

PRESETS.register(
    "liu_mel",
    title="Liu: mel spectrograms at 16 kHz",
    source=f"{_LIU}, sections 3.2.1 and 5",
    shape=(1, 128, 128),
    notes=(
        "The study prints the sample rate and the size of the images; window, hop and bands are "
        "librosa's defaults here (2048, 512, 128).",
        "Its images were drawn in colour; here they are decibels in one channel.",
        "It says nothing of a common scale; here every image is standardised with the training "
        "data's mean and standard deviation.",
    ),
)(
    {
        **_audio(16_000, 30.0),
        "feature": "log_mel",
        "feature.frames": 128,
        "standardise": "z_score",
    }
)

PRESETS.register(
    "liu_rgb",
    title="Liu: coloured mel spectrograms at 16 kHz",
    source=f"{_LIU}, sections 3.2.1 and 5.1, and Figure 1",
    shape=(3, 128, 128),
    notes=(
        "The study prints the sample rate and the size of the images; window, hop and bands are "
        "librosa's defaults here (2048, 512, 128).",
        "Its Figure 1 has three channels, red, green and blue. It does not name its colour map; a "
        "picture of loud static is completely yellow, as in viridis, which is taken here.",
        "The code that it links to divides colours by 255; they lie between 0 and 1 here, too.",
    ),
)(
    {
        **_audio(16_000, 30.0),
        "feature": "log_mel",
        "feature.frames": 128,
        "feature.colours": "viridis",
        "standardise": "none",
    }
)

PRESETS.register(
    "hong_mel",
    title="Hong: mel spectrograms of 224 × 224",
    source=f"{_HONG}, sections 2.1, 3 and 4.2",
    shape=(3, 224, 224),
    notes=(
        "The study resizes to the appropriate input size of three networks for images of three "
        "channels; 224 × 224 is theirs.",
        "Its formula of the mel scale is lost in its text; sample rate, window, hop, bands and mel "
        "scale are librosa's defaults here (22 050 Hz, 2048, 512, 128, Slaney's).",
        "It says red, green and blue, and no colour map; here it is magma, librosa's for decibels.",
        "It names zero mean normalisation; here mean and standard deviation are the training "
        "data's.",
    ),
)(
    {
        **_audio(22_050, 30.0),
        "feature": "log_mel",
        "feature.frames": 224,
        "feature.bins": 224,
        "feature.colours": "magma",
        "standardise": "z_score",
    }
)

PRESETS.register(
    "qin_table",
    title="Qin: 57 descriptors of a clip",
    source=f"{_QIN}, section 3.3.2",
    shape=(57,),
    notes=(
        "The study computes mean and standard deviation over the entire data set; here they are "
        "the training data's, so that nothing is learned from test clips.",
    ),
)({**_gtzan("table_30s"), "feature": "descriptors", "standardise": "z_score"})

PRESETS.register(
    "qin_sequence",
    title="Qin: 57 descriptors, nine steps",
    source=f"{_QIN}, section 3.3.3",
    shape=(9, 57),
    notes=(
        "The published table has ten rows for most clips and nine for a few; the study has nine "
        "for all and does not say which, so the first nine are taken.",
        "Mean and standard deviation are the training data's, not the entire data set's.",
    ),
)(
    {
        **_gtzan("table_3s"),
        "feature": "descriptor_sequence",
        "feature.n_steps": 9,
        "standardise": "z_score",
    }
)

PRESETS.register(
    "qin_images",
    title="Qin: the images that come with GTZAN",
    source=f"{_QIN}, section 3.3.1",
    shape=(3, 288, 432),
    notes=(
        "The study standardises each of the three channels; here mean and standard deviation are "
        "the training data's.",
        "It drops the fourth channel, which is the same everywhere, and so is done here.",
    ),
)({**_gtzan("images"), "feature": "image", "standardise": "z_score"})

_CUT = "The study cuts all clips to 10⁶ samples and does not say where; here it is the middle."
_SCALE = "It names no standardisation, and none is done here."
_WINDOW = (
    "It prints a window of 4048 samples, half overlapping, and images of 1025 × 977; those come "
    "from 2048 samples every 1024, which is done here."
)
_SEGMENTS = (
    "Its segments last approximately 3 s and overlap by half; here exactly 3 s, fourteen of them, "
    "and what is left at the end of a clip is not used."
)


def _benito(name: str, title: str, feature: str, shapes: tuple[Any, Any]) -> None:
    """Registers an input of the study, of whole clips and of their segments."""
    clip_s = N_BENITO / 44_100
    window = () if feature == "waveform" else (_WINDOW,)
    common = {"feature": feature, "standardise": "none"}
    source = f"{_BENITO}, section IV"
    PRESETS.register(
        name, title=title, source=source, shape=shapes[0], notes=(_CUT, *window, _SCALE)
    )({**_audio(44_100, clip_s), **common})
    PRESETS.register(
        f"{name}_segmented",
        title=f"{title}, in segments",
        source=source,
        shape=shapes[1],
        notes=(_CUT, _SEGMENTS, *window, _SCALE),
    )({**_audio(44_100, clip_s, 3.0, 0.5), **common})


_WAVES = ((1, N_BENITO), (1, 132_300))
_IMAGES = ((1, 1025, 977), (1, 1025, 130))
_benito("benito_1d", "Benito: raw audio", "waveform", _WAVES)
_benito("benito_2d", "Benito: spectrograms", "stft", _IMAGES)
_benito(
    "benito_1d2d",
    "Benito: raw audio and spectrograms",
    "waveform+stft",
    ((_WAVES[0], _IMAGES[0]), (_WAVES[1], _IMAGES[1])),
)

PRESETS.register(
    "won_mel",
    title="Won: mel spectrograms of 3.69 s",
    source=_WON,
    shape=(1, 128, 231),
    notes=(
        "The study's mel scale is the one of HTK; with its window of 512 samples one of the 128 "
        "bands is empty then, so the scale is Slaney's here, which leaves none empty.",
        "Its filters have equal height; here they have equal area, which adds a constant to the "
        "decibels of each band.",
        "It normalises batches of decibels in the network; here mean and standard deviation are "
        "the training data's.",
        "It tests a clip on sixteen chunks spread over it; here they follow one another.",
    ),
)(
    {
        **_audio(16_000, 30.0, N_WON / 16_000),
        "feature": "log_mel",
        "feature.n_fft": 512,
        "feature.hop_length": 256,
        "feature.top_db": 0.0,
        "standardise": "z_score",
    }
)

PRESETS.register(
    "musicnn_waves",
    title="Waves for musicnn, 3 s each",
    source="Pons & Serra, musicnn, 2019",
    shape=(1, 48_000),
    notes=("A segment of 3 s holds one patch of the encoder.",),
)({**_audio(16_000, 30.0, 3.0), "feature": "waveform", "standardise": "none"})

PRESETS.register(
    "musicnn",
    title="Embeddings of musicnn, one vector a clip",
    source="Pons & Serra, musicnn, 2019",
    shape=(200,),
    notes=(
        "The encoder was trained by others on 200,000 songs; its weights are fetched once.",
        "A clip's vector is the mean of its patches of 3 s.",
    ),
)({**_audio(16_000, 30.0), "feature": "encoder", "standardise": "z_score"})
