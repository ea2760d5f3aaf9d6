"""Residual CNNs over time: Benito's three networks, of the wave, its spectrogram, or both.

They differ in the first layer only. It brings either input to maps over time, 974 steps of 10⁶
samples, and everything after it is the same.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from genrecore.config.registry import Options
from genrecore.errors import GenrecoreError
from genrecore.models.registered import MODELS

_SOURCE = (
    "Benito Calvino & Pacheco Garcia, Data Input Approaches for CNNs towards Music Genre "
    "Recognition, sections III and V; after Zhang, Lei, Xu & Xing, Improved Music Genre "
    "Classification with Convolutional Neural Networks, Interspeech 2016"
)
_RECIPE = {
    "training.optimiser": "adam",
    "training.lr": 5e-4,
    "training.batch_size": 50,
    "training.epochs": 15,
}
_FRAMES = 4
"""Frames under the study's first convolution: 977 of them leave 974."""
_STEP = 1024
"""Samples from one frame of the study's spectrograms to the next."""
_NOTES = (
    "The study's figure with the kernels is not in its text; those here give the 974 steps that it "
    "prints, of 1 000 000 samples and of 977 frames.",
    "It prints three dense layers whose sizes decrease, but not the sizes; 300 and 150 are chosen "
    "here.",
    "It has batch normalisation and an exponential linear unit after each layer; the last dense "
    "layer gives plain logits here.",
    "It trains for around 15 epochs; 15 are taken.",
)


class _BlockOptions(Options):
    maps: int = Field(
        256,
        title="Maps",
        description="Filters of every convolution; of wave and spectrogram together, half of the "
        "first layer's belong to either",
        ge=2,
        le=1024,
    )
    depth: int = Field(
        3,
        title="Convolutions",
        description="Of the block; the first one's output is added to the last one's",
        ge=2,
        le=12,
    )
    residual: bool = Field(
        True,
        title="Residual",
        description="Whether the first convolution's output is added to the last one's; without it "
        "the network is the first of the two that the study's source compares (Zhang 2016)",
    )
    kernel: int = Field(
        4,
        title="Kernel (steps)",
        description="Steps that each convolution after the first looks at",
        ge=1,
        le=64,
    )
    dense_1: int = Field(300, title="First dense layer", description="Its neurons", ge=1, le=4096)
    dense_2: int = Field(150, title="Second dense layer", description="Its neurons", ge=1, le=4096)
    dropout: float = Field(
        0.0,
        title="Dropout",
        description="Share of values left out after each layer but the last while training; the "
        "study tried 0.2 and found it worse than none",
        ge=0,
        le=0.9,
    )


class ResCnn1dOptions(_BlockOptions):
    """What can be chosen about the network on waves."""

    first_kernel: int = Field(
        (_FRAMES - 1) * _STEP,
        title="First kernel (samples)",
        description="Samples that the first convolution looks at",
        ge=2,
        le=65_536,
    )
    stride: int = Field(
        _STEP,
        title="First stride (samples)",
        description="Samples from one step of the maps to the next",
        ge=1,
        le=65_536,
    )


class ResCnn2dOptions(_BlockOptions):
    """What can be chosen about the networks on spectrograms, with or without the wave."""

    first_kernel: int = Field(
        _FRAMES,
        title="First kernel (frames)",
        description="Frames that the first convolution looks at, with all bins of each",
        ge=2,
        le=64,
    )
    stride: int = Field(
        1,
        title="First stride (frames)",
        description="Frames from one step of the maps to the next",
        ge=1,
        le=64,
    )


@MODELS.register(
    "rescnn_1d",
    title="Residual CNN on raw audio (Benito)",
    source=_SOURCE,
    options=ResCnn1dOptions,
    accepts=frozenset({"wave"}),
    least=(1, (_FRAMES - 1) * _STEP),
    year=2016,
    idea="The same residual network as for spectrograms, with a first layer that learns its own "
    "filters from the samples of the wave.",
    preset="benito_1d_segmented",
    recipe=_RECIPE,
    published=(),
    notes=_NOTES,
)
def rescnn_1d(shape: tuple[int, ...], n_genres: int, options: ResCnn1dOptions) -> nn.Module:
    """From waves (batch, channels, samples) to logits (batch, n_genres); see `ResCnn`.

    The first convolution looks at 3 072 samples and moves by 1 024, the step of the study's
    spectrograms: 974 steps of 10⁶ samples, which the study prints, and 127 of a 3 s segment. Its
    own kernel stands in a figure that the text does not repeat.

    Training needs batches of two segments or more.

    Raises:
        GenrecoreError: Fewer samples than the first kernel has.
    """
    n_channels, n_samples = shape
    _refuse_short("rescnn_1d", n_samples, options.first_kernel, "samples", "segment has")
    first = _of_waves(n_channels, options.maps, options.first_kernel, options.stride)
    return ResCnn(_Layer(first, options.maps, options.dropout), n_genres, options)


@MODELS.register(
    "rescnn_2d",
    title="Residual CNN on spectrograms (Benito)",
    source=_SOURCE,
    options=ResCnn2dOptions,
    accepts=frozenset({"image"}),
    least=(1, 1, _FRAMES),
    year=2016,
    idea="A shortcut around the later convolutions, and the largest beside the mean value of every "
    "map over time.",
    preset="benito_2d_segmented",
    recipe=_RECIPE,
    published=(),
    notes=_NOTES,
)
def rescnn_2d(shape: tuple[int, ...], n_genres: int, options: ResCnn2dOptions) -> nn.Module:
    """From images (batch, channels, bins, frames) to logits (batch, n_genres); see `ResCnn`.

    The first convolution looks at four frames with all their bins: 977 frames become the 974 steps
    that the study prints, the 130 of a 3 s segment become 127.

    Training needs batches of two segments or more.

    Raises:
        GenrecoreError: Fewer frames than the first kernel has.
    """
    n_channels, n_bins, n_frames = shape
    _refuse_short("rescnn_2d", n_frames, options.first_kernel, "frames", "feature makes")
    first = _of_images(n_channels * n_bins, options.maps, options)
    return ResCnn(_Layer(first, options.maps, options.dropout), n_genres, options)


@MODELS.register(
    "rescnn_1d2d",
    title="Residual CNN on raw audio and spectrograms (Benito)",
    source=_SOURCE,
    options=ResCnn2dOptions,
    accepts=frozenset({"wave+image"}),
    least=((1, _FRAMES - 1), (1, 1, _FRAMES)),
    year=2016,
    idea="Wave and spectrogram together: half of the first layer's maps come from either, so that "
    "what one lacks the other may give.",
    preset="benito_1d2d_segmented",
    recipe=_RECIPE,
    published=(),
    notes=_NOTES,
)
def rescnn_1d2d(
    shape: tuple[tuple[int, ...], tuple[int, ...]], n_genres: int, options: ResCnn2dOptions
) -> nn.Module:
    """From pairs of waves (batch, channels, samples) and images (batch, channels, bins, frames) to
    logits (batch, n_genres); see `ResCnn`.

    The maps of the wave must have as many steps as those of the image. So its convolution follows
    the image's: with samples // (frames - 1) samples for a frame, which finds 1 024 for 10⁶ samples
    and 977 frames, it looks at `first_kernel` - 1 frames' worth of samples and moves by `stride`
    frames' worth. Of every spectrogram whose frames are centred on multiples of a hop, as all here
    are, that gives the same number of steps, whatever the hop. Where the image was resized in
    time, the steps that one has more at the end are left out.

    Training needs batches of two segments or more.

    Raises:
        GenrecoreError: Fewer frames than the first kernel has, or fewer samples than frames.
    """
    (wave_channels, n_samples), (image_channels, n_bins, n_frames) = shape
    _refuse_short("rescnn_1d2d", n_frames, options.first_kernel, "frames", "feature makes")
    _refuse_short("rescnn_1d2d", n_samples, n_frames - 1, "samples", "segment has")
    per_frame = n_samples // (n_frames - 1)
    kernel, stride = (options.first_kernel - 1) * per_frame, options.stride * per_frame
    half = options.maps // 2
    first = _Both(
        _Layer(_of_waves(wave_channels, half, kernel, stride), half, options.dropout),
        _Layer(
            _of_images(image_channels * n_bins, options.maps - half, options),
            options.maps - half,
            options.dropout,
        ),
    )
    return ResCnn(first, n_genres, options)


class ResCnn(nn.Module):
    """A residual block over time, its largest and mean values, and three dense layers.

    From the study: three convolutions of 256 maps, the first one's output added to the third's;
    512 numbers, the maximum and the average of every map over all its steps; dense layers whose
    sizes decrease to the number of genres; batch normalisation and an exponential linear unit (ELU)
    after every layer; dropout of 0.2 after every layer but the last, which "should not be used".
    Without the sum it is a plain network, such as the study's source has beside the residual one.

    Chosen here, where the study prints nothing: 300 and 150 neurons in the first two dense layers;
    four steps under the later convolutions, padded with zeros so that the sum fits; the sum is of
    what the activations give. Ours differs in the last dense layer, which gives logits: an ELU
    would keep every genre's evidence above -1. No parameters are printed to compare with.

    In training mode, torch's batch normalisation of the dense layers needs two examples or more.

    Args:
        first: The first layer, from the input to maps (batch, maps, steps).
        n_genres: Logits.
        options: Maps, depth, kernel, dropout and dense layers.
    """

    def __init__(self, first: nn.Module, n_genres: int, options: _BlockOptions) -> None:
        super().__init__()
        maps, dropout = options.maps, options.dropout
        self.first, self.residual = first, options.residual
        self.rest = nn.Sequential(
            *(
                _Layer(_of_maps(maps, options.kernel), maps, dropout)
                for _ in range(options.depth - 1)
            )
        )
        self.dense = nn.Sequential(
            _Layer(nn.Linear(2 * maps, options.dense_1, bias=False), options.dense_1, dropout),
            _Layer(
                nn.Linear(options.dense_1, options.dense_2, bias=False), options.dense_2, dropout
            ),
            nn.Linear(options.dense_2, n_genres),
        )

    def forward(self, inputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        first = self.first(inputs)
        maps = self.rest(first)
        maps = first + maps if self.residual else maps
        return self.dense(torch.cat([maps.amax(dim=2), maps.mean(dim=2)], dim=1))


class _Layer(nn.Sequential):
    """Weights, batch normalisation, ELU, and dropout if wanted, of (batch, n[, steps])."""

    def __init__(self, weights: nn.Module, n: int, dropout: float) -> None:
        # Batch normalisation takes the mean away, so no layer here has a bias.
        layers = [weights, nn.BatchNorm1d(n), nn.ELU(inplace=True)]
        super().__init__(*layers, *([nn.Dropout(dropout)] if dropout else []))


class _Windows(nn.Module):
    """Windows of waves: (batch, channels, samples) → (batch, steps, channels * kernel_size)."""

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, wave: Tensor) -> Tensor:
        return wave.unfold(2, self.kernel_size, self.stride).transpose(1, 2).flatten(2)


class _WindowWeights(nn.Linear):
    """The weights of a convolution, for windows that are cut out already; outlines show its kernel
    and step."""

    def __init__(self, n_channels: int, maps: int, kernel_size: int, stride: int) -> None:
        super().__init__(n_channels * kernel_size, maps, bias=False)
        self.kernel_size, self.stride = kernel_size, stride


class _Transpose(nn.Module):
    """(batch, a, b) → (batch, b, a)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def _of_waves(n_channels: int, maps: int, kernel: int, stride: int) -> nn.Module:
    """A convolution from waves to maps (batch, maps, steps).

    Windows times a matrix: the same sums as `nn.Conv1d(n_channels, maps, kernel, stride)`, and with
    such kernels five times as fast in bfloat16 on a CPU with matrix units.
    """
    weights = _WindowWeights(n_channels, maps, kernel, stride)
    return nn.Sequential(_Windows(kernel, stride), weights, _Transpose())


def _of_images(n_rows: int, maps: int, options: ResCnn2dOptions) -> nn.Module:
    """A convolution over all bins of images (batch, channels, bins, frames) at once, to maps
    (batch, maps, steps); n_rows is channels times bins.

    With the bins as channels: the same sums as `nn.Conv2d(channels, maps, (bins, first_kernel))`,
    which for 1025 bins asks for a terabyte on a CPU in bfloat16 or with channels last.
    """
    weights = nn.Conv1d(n_rows, maps, options.first_kernel, options.stride, bias=False)
    return nn.Sequential(nn.Flatten(1, 2), weights)


def _of_maps(maps: int, kernel: int) -> nn.Module:
    """A convolution that keeps the number of steps, whatever the kernel."""
    padding = nn.ConstantPad1d(((kernel - 1) // 2, kernel // 2), 0.0)
    return nn.Sequential(padding, nn.Conv1d(maps, maps, kernel, bias=False))


class _Both(nn.Module):
    """The maps of waves and of images, one after the other, over the steps that both have."""

    def __init__(self, wave: nn.Module, image: nn.Module) -> None:
        super().__init__()
        self.wave, self.image = wave, image

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        wave, image = self.wave(inputs[0]), self.image(inputs[1])
        n = min(wave.shape[2], image.shape[2])
        return torch.cat([wave[:, :, :n], image[:, :, :n]], dim=1)


def _refuse_short(name: str, n: int, least: int, unit: str, has: str) -> None:
    if n < least:
        raise GenrecoreError(
            f"The model {name} needs at least {least} {unit}, but a {has} {n}; take longer "
            "segments, or a smaller first kernel."
        )
