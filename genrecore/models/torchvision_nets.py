"""Networks of torchvision, with the input and output layers that spectrograms need.

All of them take images of one or three channels. For one channel the first convolution has the
weights of the other, summed over red, green and blue, which equals feeding the same image to all
three. The last layer is new: one output a genre, started as torch starts its linear layers.

torchvision itself is imported when a network is built: it takes seconds.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn

from genrecore.models.registered import MODELS, Published
from genrecore.models.transfer import (
    TorchvisionOptions,
    check_input,
    dropout_field,
    fitted,
    pretrained_field,
)

_BELTON = "Belton, COMP47650 Deep Learning Project, University College Dublin"
_IMAGE = frozenset({"image"})

_BELTON_RECIPE = {
    "training.optimiser": "adam",
    "training.lr": 1e-5,
    "training.batch_size": 32,
    "training.epochs": 50,
    "training.watch": "accuracy",
    "training.patience": 8,
    "training.schedule": "plateau",
    "training.plateau_patience": 3,
}
_BELTON_NOTES = (
    "Belton starts from ImageNet weights and trains all of them further; turn those weights on for "
    "the study's system.",
    "It stops eight epochs after the best validation accuracy and prints no largest number of "
    "epochs; 50 are chosen here, and its best ones came within 22.",
    "It lowers the learning rate after three epochs without a lower validation loss and does not "
    "say how far; a tenth is chosen here.",
)
_SIZES = (
    "Hong's Table 1 has ResNet-18 smaller than AlexNet and GoogLeNet; with 1 000 outputs it has "
    "11.7 million parameters, AlexNet 61.1 million and GoogLeNet 6.6 million, or 13.0 million with "
    "the auxiliary heads of training, so that as a classifier GoogLeNet is the smallest."
)


class ResNet18Options(TorchvisionOptions):
    """What can be chosen about a ResNet-18."""

    pretrained: bool = pretrained_field("45 MB")
    initial: Literal["torchvision", "torch"] = Field(
        "torchvision",
        title="Random weights",
        description="Without published weights: as torchvision draws those of a ResNet (normal, by "
        "the outputs; He 2015), or as torch draws those of any layer (uniform, by the inputs; "
        "Belton)",
    )


@MODELS.register(
    "resnet18",
    title="ResNet-18",
    source="He, Zhang, Ren & Sun (2016), Deep Residual Learning for Image Recognition; "
    "torchvision's network",
    options=ResNet18Options,
    accepts=_IMAGE,
    least=(1, 1, 1),
    year=2015,
    idea="Residual connections, against the gradients that vanish in deep networks.",
    preset="belton_mel",
    recipe=_BELTON_RECIPE,
    published=(Published(f"{_BELTON}, Table 1", 11_500_000, (3, 256, 1320), 1000),),
    notes=(
        *_BELTON_NOTES,
        "On augmented clips Belton found a learning rate of 0.001 to be best.",
        "Hong trains it for 50 epochs, on the input hong_mel, and prints nothing else of how.",
        _SIZES,
    ),
)
def resnet18(shape: tuple[int, ...], n_genres: int, options: ResNet18Options) -> nn.Module:
    """ResNet-18 from images (batch, 1 or 3, bins, frames) to logits (batch, n_genres).

    Eighteen layers with weights, batch normalisation throughout; any image fits, for the last maps
    are averaged over bins and frames. 11.2 million parameters for 10 genres; with the 1000 outputs
    of the published network 11.7 million, which meets Belton's ≈ 11.5. Hong's Table 1 calls it
    smaller than AlexNet, which is right, and than GoogLeNet, which is not (see `googlenet`).

    Images of 32 × 32 or less end as a single point: such a network cannot be trained with batches
    of one.

    Raises:
        GenrecoreError: An image of neither 1 nor 3 channels, or published weights that cannot be
            had or are another network's.
    """
    check_input("resnet18", shape)
    from torchvision import models

    network = models.resnet18()
    if options.initial == "torch":
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
    published = models.ResNet18_Weights.IMAGENET1K_V1
    return fitted("resnet18", network, published, shape, n_genres, options, "conv1", "fc")


def local_response_field(where: str) -> Any:
    """The switch for local response normalisation in these places."""
    return Field(
        False,
        title="Local response normalisation",
        description=f"Divides each value by what five neighbouring filters give at its place, "
        f"{where}, as published in 2012 and 2014; torchvision's networks leave it out",
    )


def _local_response() -> nn.Module:
    """b = a / (2 + 10⁻⁴ · sum of a² over five filters)^0.75, AlexNet's section 3.3. torch divides
    the sum by the five, so its alpha is five times the paper's."""
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


class AlexNetOptions(TorchvisionOptions):
    """What can be chosen about an AlexNet."""

    pretrained: bool = pretrained_field("233 MB")
    dropout: float = dropout_field(0.5, "each of the first two dense layers")
    local_response: bool = local_response_field("after the first two convolutions")


@MODELS.register(
    "alexnet",
    title="AlexNet",
    source="Krizhevsky, Sutskever & Hinton (2012), ImageNet Classification with Deep Convolutional "
    "Neural Networks; torchvision's network, after Krizhevsky (2014), One Weird Trick",
    options=AlexNetOptions,
    accepts=_IMAGE,
    least=(1, 63, 63),
    year=2012,
    idea="Showed what deep learning can do in recognising images.",
    preset="belton_mel",
    recipe=_BELTON_RECIPE,
    published=(Published(f"{_BELTON}, Table 1", 62_000_000, (3, 256, 1320), 1000),),
    notes=(
        *_BELTON_NOTES,
        "Hong trains it for 50 epochs, on the input hong_mel, and prints nothing else of how.",
        _SIZES,
    ),
)
def alexnet(shape: tuple[int, ...], n_genres: int, options: AlexNetOptions) -> nn.Module:
    """AlexNet from images (batch, 1 or 3, bins, frames) to logits (batch, n_genres).

    Five convolutions, and three dense layers of 4096, 4096 and n_genres. torchvision's network is
    the one-column variant of 2014: fewer filters (64, 192, 384, 256, 256), no convolutions
    in two groups, and no local response normalisation, which Hong names as part of it, unless it is
    turned on: after the first two convolutions, with the paper's constants. The last maps
    are averaged to 6 × 6, so that any image of 63 × 63 or more fits; Belton calls that global
    average pooling.

    57.0 million parameters for 10 genres; with the 1000 outputs of the published network 61.1
    million, which meets Belton's ≈ 62.

    Raises:
        GenrecoreError: An image below 63 × 63 or of neither 1 nor 3 channels, or published weights
            that cannot be had or are another network's.
    """
    check_input("alexnet", shape)
    from torchvision import models

    network = models.alexnet(dropout=options.dropout)
    if options.local_response:
        for k in (1, 4):  # within the ReLU, so that published weights keep their names
            network.features[k] = nn.Sequential(network.features[k], _local_response())
    published = models.AlexNet_Weights.IMAGENET1K_V1
    layers = ("features.0", "classifier.6")
    return fitted("alexnet", network, published, shape, n_genres, options, *layers)


class Vgg16Options(TorchvisionOptions):
    """What can be chosen about a VGG16."""

    pretrained: bool = pretrained_field("528 MB")
    dropout: float = dropout_field(0.5, "each of the last two dense layers")


@MODELS.register(
    "vgg16",
    title="VGG16",
    source="Simonyan & Zisserman (2014), Very Deep Convolutional Networks for Large-Scale Image "
    "Recognition, configuration D; torchvision's network",
    options=Vgg16Options,
    accepts=_IMAGE,
    least=(1, 32, 32),
    year=2014,
    idea="Depth from many small convolutions of 3 × 3 instead of few large ones.",
    preset="belton_mel",
    recipe=_BELTON_RECIPE,
    published=(Published(f"{_BELTON}, Table 1", 138_500_000, (3, 256, 1320), 1000),),
    notes=(
        *_BELTON_NOTES,
        "Belton reports a validation accuracy of 81.5 % and no more, for the network is large.",
    ),
)
def vgg16(shape: tuple[int, ...], n_genres: int, options: Vgg16Options) -> nn.Module:
    """VGG16 from images (batch, 1 or 3, bins, frames) to logits (batch, n_genres).

    Thirteen convolutions, and three dense layers of 4096, 4096 and n_genres. The last maps are
    averaged to 7 × 7, so that any image of 32 × 32 or more fits. 134.3 million parameters for 10
    genres; with the 1000 outputs of the published network 138.4 million, which meets Belton's
    ≈ 138.5.

    Raises:
        GenrecoreError: An image below 32 × 32 or of neither 1 nor 3 channels, or published weights
            that cannot be had or are another network's.
    """
    check_input("vgg16", shape)
    from torchvision import models

    network = models.vgg16(dropout=options.dropout)
    published = models.VGG16_Weights.IMAGENET1K_V1
    layers = ("features.0", "classifier.6")
    return fitted("vgg16", network, published, shape, n_genres, options, *layers)


class GoogLeNetOptions(TorchvisionOptions):
    """What can be chosen about a GoogLeNet."""

    pretrained: bool = pretrained_field("50 MB")
    dropout: float = dropout_field(0.2, "the last layer (the published network: 0.4)")
    auxiliary: bool = Field(
        True,
        title="Auxiliary heads",
        description="Two more classifiers on layers half-way up, whose losses count 0.3 each while "
        "training; left out where only the head is trained",
    )
    local_response: bool = local_response_field(
        "after the first pooling and before the second, beside batch normalisation"
    )


@MODELS.register(
    "googlenet",
    title="GoogLeNet",
    source="Szegedy et al. (2014), Going Deeper with Convolutions; torchvision's network",
    options=GoogLeNetOptions,
    accepts=_IMAGE,
    least=(1, 15, 15),
    year=2014,
    idea="The Inception module, for more accuracy from less computation.",
    preset="hong_mel",
    recipe={"training.epochs": 50},
    published=(
        Published(
            "torchvision, documentation of its GoogLeNet weights",
            6_624_904,
            (3, 224, 224),
            1000,
            "torchvision leaves the auxiliary heads out of its count; without them ours has as "
            "many.",
        ),
    ),
    notes=(
        "Hong trains for 50 epochs; optimiser, learning rate and batch size are not printed.",
        _SIZES,
    ),
)
def googlenet(shape: tuple[int, ...], n_genres: int, options: GoogLeNetOptions) -> nn.Module:
    """GoogLeNet from images (batch, 1 or 3, bins, frames) to logits (batch, n_genres).

    Nine Inception modules, of which the first and the fourth of the middle five carry auxiliary
    heads in training, as in the paper. torchvision's network differs from the paper: batch
    normalisation after every convolution instead of two local response normalisations (an option
    adds these in the paper's places, with AlexNet's constants, for the paper prints none), 3 × 3
    instead of 5 × 5 kernels in each module's third branch (an old mistake, which the published
    weights have as well), and dropout of 0.2 instead of 0.4. The auxiliary heads pool to 4 × 4
    whatever the image, so that any of 15 × 15 or more fits. The rescaling of the input that
    torchvision adds beside the published weights is left out: what comes in is standardised
    already, by the run's own standardisation.

    With 1000 outputs it has 6.6 million parameters, or 13.0 million with the auxiliary heads;
    ResNet-18 has 11.7 million. Hong's Table 1 calls ResNet-18 smaller than GoogLeNet, which holds
    only where heads are counted that are of use in training alone.

    Published weights hold no trained auxiliary heads, so that these always start anew.

    Raises:
        GenrecoreError: An image below 15 × 15 or of neither 1 nor 3 channels, or published weights
            that cannot be had or are another network's.
    """
    check_input("googlenet", shape)
    from torchvision import models

    # Above frozen layers they would teach nobody anything.
    auxiliary = options.auxiliary and options.trained == "all"
    network = models.googlenet(aux_logits=auxiliary, init_weights=True, dropout=options.dropout)
    if options.local_response:
        network.maxpool1 = nn.Sequential(network.maxpool1, _local_response())
        network.maxpool2 = nn.Sequential(_local_response(), network.maxpool2)
    published = models.GoogLeNet_Weights.IMAGENET1K_V1
    layers = ("conv1.conv", "fc", "aux1", "aux2")
    return GoogLeNet(fitted("googlenet", network, published, shape, n_genres, options, *layers))


class GoogLeNet(nn.Module):
    """torchvision's GoogLeNet with the output of every other network: logits alone.

    Attributes:
        network: torchvision's, which in training gives several logits at once.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, n_genres) of images (batch, channels, bins, frames)."""
        return self.training_logits(image)[0][1]

    def training_logits(self, image: Tensor) -> list[tuple[float, Tensor]]:
        """(weight, logits) of the last layer and, in training mode, of the auxiliary heads."""
        outputs = self.network(image)
        if isinstance(outputs, Tensor):
            return [(1.0, outputs)]
        return [(1.0, outputs.logits), (0.3, outputs.aux_logits2), (0.3, outputs.aux_logits1)]


class EfficientNetOptions(TorchvisionOptions):
    """What can be chosen about an EfficientNet-B0."""

    pretrained: bool = pretrained_field("21 MB")
    dropout: float = dropout_field(0.2, "the last layer")


@MODELS.register(
    "efficientnet_b0",
    title="EfficientNet-B0",
    source="Tan & Le (2019), EfficientNet: Rethinking Model Scaling for Convolutional Neural "
    "Networks; torchvision's network",
    options=EfficientNetOptions,
    accepts=_IMAGE,
    least=(1, 1, 1),
    year=2019,
    idea="A small network found by search, whose depth, width and resolution scale together.",
    recipe={},
    published=(Published("Tan & Le (2019), Table 2", 5_300_000, (3, 224, 224), 1000),),
)
def efficientnet_b0(
    shape: tuple[int, ...], n_genres: int, options: EfficientNetOptions
) -> nn.Module:
    """EfficientNet-B0 from images (batch, 1 or 3, bins, frames) to logits (batch, n_genres).

    Sixteen blocks of depthwise convolutions with squeeze-and-excitation, left out at random in
    training with a probability that grows to 0.2 (stochastic depth). 4.0 million parameters for 10
    genres; with the 1000 outputs of the published network 5.3 million, as Tan & Le print. Any image
    fits; those of 32 × 32 or less end as a single point, which cannot be trained with batches of
    one.

    Raises:
        GenrecoreError: An image of neither 1 nor 3 channels, or published weights that cannot be
            had or are another network's.
    """
    check_input("efficientnet_b0", shape)
    from torchvision import models

    network = models.efficientnet_b0(dropout=options.dropout)
    published = models.EfficientNet_B0_Weights.IMAGENET1K_V1
    layers = ("features.0.0", "classifier.1")
    return fitted("efficientnet_b0", network, published, shape, n_genres, options, *layers)
