"""Front end, standardiser and network as one module with one state dict.

Training and inference call the same `forward`, so no second preprocessing can drift.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from genrecore.models.fitted import Fitted
from genrecore.training.parts import ResolvedConfig

Features = Tensor | tuple[Tensor, ...]
"""What a front end makes: (batch, …), or a pair of them."""


def tensors_of(features: Features) -> tuple[Tensor, ...]:
    """The tensors of features: one, or both of a pair."""
    return features if isinstance(features, tuple) else (features,)


def each(change: Callable[[Tensor], Tensor], features: Features) -> Features:
    """Features with each of their tensors changed."""
    return tuple(map(change, features)) if isinstance(features, tuple) else change(features)


class Classifier(nn.Module):
    """wave (batch, 1, samples), or a dataset's own images (batch, 3, height, width) or rows
    (batch, rows, descriptors) → logits (batch, genres), genres sorted by name.

    Attributes:
        feature: The front end, wave → features.
        standardise: Fitted on the training split only; of a pair, one module each.
        network: features → logits; `Fitted` where scikit-learn makes them.
        given_shape: Of one image or row; empty for waves.
    """

    def __init__(
        self,
        resolved: ResolvedConfig,
        genres: list[str],
        shape: tuple[int, ...] = (),
        pretrained: bool = True,
    ) -> None:
        """Builds what a resolved configuration names.

        Args:
            resolved: The configuration.
            genres: Sorted names; their order is the order of the logits.
            shape: Of one image or row that the dataset gives; empty for waves.
            pretrained: Whether a model that asks for published weights gets them; not needed
                where trained weights are loaded right after.
        """
        super().__init__()
        self.resolved, self.config, self.genres = resolved, resolved.config, list(genres)
        self.given_shape = tuple(shape)
        self.feature: nn.Module = resolved.front_end(self.given_shape)
        made_shape: tuple[Any, ...] = tuple(self.feature.output_shape)
        is_pair = isinstance(made_shape[0], tuple)
        kinds, standardise = resolved.feature.facts.kinds, resolved.standardise
        modules = [
            standardise.thing(standardise.options, part, kind)
            for part, kind in zip(made_shape if is_pair else (made_shape,), kinds, strict=True)
        ]
        self.standardise: nn.Module = nn.ModuleList(modules) if is_pair else modules[0]
        model, options = resolved.model, resolved.model.options
        if not pretrained and hasattr(options, "without_weights"):
            options = options.without_weights()
        patches = resolved.patches
        seen_shape = patches.patch_shape(made_shape) if patches else made_shape
        self.network: nn.Module = (
            Fitted() if model.facts.classical else model.thing(seen_shape, len(genres), options)
        )
        if patches:
            self.network = patches.tested_on_patches(self.network, made_shape)

    @property
    def standardisers(self) -> list[nn.Module]:
        """The standardisation of each tensor of the features."""
        own = self.standardise
        return list(own) if isinstance(own, nn.ModuleList) else [own]

    def forward(self, examples: Tensor) -> Tensor:
        """Logits (batch, genres) of what the front end takes, e.g. waves (batch, 1, samples)."""
        return self.logits(self.feature(examples))

    def logits(self, features: Features) -> Tensor:
        """Logits (batch, genres) of features as the front end makes them."""
        return self._output(self.network(self.standardised(features)))

    def fit_standardisation(self, batches: Callable[[], Iterable[Features]]) -> None:
        """Fits the standardisation to features of the training split.

        Args:
            batches: Gives them anew each time it is called; a pair is read once for either part.
        """
        for k, module in enumerate(self.standardisers):
            module.fit(tensors_of(batch)[k] for batch in batches())  # type: ignore[operator]

    def standardised(self, features: Features) -> Features:
        """Features as the network sees them."""
        pairs = zip(self.standardisers, tensors_of(features), strict=True)
        standardised = tuple(module(tensor) for module, tensor in pairs)
        return standardised if isinstance(features, tuple) else standardised[0]

    def heads(self, standardised: Features) -> list[tuple[float, Tensor]]:
        """(weight, logits) pairs whose weighted losses are summed, the main one first; only that
        one unless the network has auxiliary heads."""
        own = getattr(self.network, "training_logits", None)
        if own is None:
            return [(1.0, self._output(self.network(standardised)))]
        return [(weight, self._output(logits)) for weight, logits in own(standardised)]

    def _output(self, logits: Tensor) -> Tensor:
        """What the loss and the softmax of the probabilities take for logits."""
        output = self.config.training.output
        if output == "logits" or isinstance(self.network, Fitted):
            return logits
        if output == "log_sigmoid":
            return functional.logsigmoid(logits.float())
        return logits.float().softmax(1)

    def n_parameters(self) -> int:
        """Trainable numbers."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)
