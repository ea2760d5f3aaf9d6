"""What makes a network of torchvision one for spectrograms: weights, channels, the last layer."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator
from torch import nn

from genrecore.config.registry import Options
from genrecore.errors import GenrecoreError
from genrecore.models import imagenet
from genrecore.models.registered import MODELS, check_image
from genrecore.store import allowed
from genrecore.store.allowed import expanded


def pretrained_field(size: str) -> Any:
    """The switch for ImageNet weights of a network, whose download has this size."""
    return Field(
        False,
        title="ImageNet weights",
        description=f"Start from weights learned on photographs (a download of {size}) "
        "instead of random ones",
    )


def dropout_field(share: float, where: str) -> Any:
    """The dropout of a network, by default this share before these layers."""
    return Field(
        share,
        title="Dropout",
        description=f"Share of values left out before {where} while training",
        ge=0,
        le=0.9,
    )


class TorchvisionOptions(Options):
    """What can be chosen about any network of torchvision."""

    pretrained: bool = pretrained_field("20 to 530 MB")
    weights_file: str = Field(
        "",
        title="Weights from a file",
        description="A .pth or .safetensors file of torchvision's network, instead of the download",
        max_length=4000,
    )
    weights_sha256: str = Field(
        "",
        title="SHA-256 checksum of that file",
        description="64 hexadecimal digits; compared before the file is read",
    )
    trained: Literal["all", "head"] = Field(
        "all",
        title="Weights that are trained",
        description="all of them, or only the head: the new last layer above published weights",
    )

    @field_validator("weights_sha256")
    @classmethod
    def _is_checksum(cls, text: str, info: ValidationInfo) -> str:
        text = text.strip().lower()
        if text and (len(text) != 64 or set(text) - set("0123456789abcdef")):
            raise ValueError("expected 64 hexadecimal digits")
        if text and not info.data.get("weights_file"):
            raise ValueError("there is no weights_file whose checksum it could be")
        return text

    @field_validator("trained")
    @classmethod
    def _has_something_to_stand_on(cls, which: str, info: ValidationInfo) -> str:
        if which == "head" and not (info.data.get("pretrained") or info.data.get("weights_file")):
            raise ValueError(
                "above random weights the last layer alone learns nothing; turn pretrained on, or "
                "name a weights_file"
            )
        return which

    def without_weights(self) -> Self:
        """The same network, with nothing read from elsewhere: trained weights follow."""
        nothing = {"pretrained": False, "weights_file": "", "weights_sha256": ""}
        return self.model_copy(update=nothing)


def check_input(name: str, shape: tuple[int, ...]) -> None:
    """Refuses images of neither 1 nor 3 channels and those below the model's smallest.

    Raises:
        GenrecoreError: With what the model takes and what the feature makes.
    """
    check_image(name, shape, MODELS[name].facts.least[1])
    if shape[0] not in (1, 3):
        raise GenrecoreError(
            f"The model {name} takes 1 or 3 channels, but the feature makes {shape[0]}."
        )


def fitted(
    name: str,
    network: nn.Module,
    published: Any,
    shape: tuple[int, ...],
    n_genres: int,
    options: TorchvisionOptions,
    first: str,
    last: str,
    *auxiliary: str,
) -> nn.Module:
    """A network of torchvision made for a feature's channels and a dataset's genres.

    Args:
        name: In the registry.
        network: As torchvision builds it for three channels and 1000 outputs.
        published: torchvision's enum of its weights.
        shape: Of the images, (channels, bins, frames).
        n_genres: Outputs.
        options: Which weights, and which of them are trained.
        first: Where in the network its first convolution is.
        last: Where its last layer is.
        auxiliary: Where heads for training are, if they are there at all.

    Raises:
        GenrecoreError: Published weights that cannot be had or are another network's.
    """
    # On the meta device there are shapes only, nothing to load (and nothing to download for).
    on_meta = next(network.parameters()).is_meta
    if (options.pretrained or options.weights_file) and not on_meta:
        if options.weights_file:
            allowed.refuse_outside(options.weights_file)
            file, source = expanded(options.weights_file).absolute(), ""
        else:
            file, source = imagenet.fetched(published), published.url
        tensors = imagenet.read(file, options.weights_sha256, source)
        imagenet.fill(network, tensors, (last, *auxiliary), MODELS[name].title, file)
    if shape[0] == 1:
        convolution = network.get_submodule(first)
        of_rgb = convolution.get_parameter("weight").detach()
        convolution.weight = nn.Parameter(of_rgb.sum(dim=1, keepdim=True))
        convolution.in_channels = 1  # type: ignore[assignment]
    built = {label for label, _ in network.named_modules()}
    for label in (last, *(f"{head}.fc2" for head in auxiliary if head in built)):
        n_in: Any = network.get_submodule(label).in_features
        network.set_submodule(label, nn.Linear(n_in, n_genres))
    if options.trained == "head":
        _freeze(network)
        network.get_submodule(last).requires_grad_(True)
    return network


def _freeze(network: nn.Module) -> None:
    """Keeps all weights as they are, and the statistics of batch normalisation with them.

    Dropout and stochastic depth go on in training: they keep nothing.
    """
    network.requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = _FrozenBatchNorm2d
            module.eval()


class _FrozenBatchNorm2d(nn.BatchNorm2d):
    """Normalises by the statistics that it has, in training mode, too."""

    def train(self, mode: bool = True) -> Self:
        return super().train(False)
