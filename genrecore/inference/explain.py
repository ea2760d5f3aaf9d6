"""Why a run says what it says: which places of a clip speak for a genre, and which against it.

Three views of the same question, each with its weakness. Grad-CAM (Selvaraju et al. 2017) asks the
last layer that still knows places: quick and coarse. Integrated gradients (Sundararajan, Taly &
Yan 2017) add up the gradient on the way from a floor to the picture: fine and noisy. Occlusion
(Zeiler & Fergus 2014) covers a patch and looks what changes: slow and literal. The last two are
captum's.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from genrecore.audio.axes import Rows
from genrecore.data.corpus import quantise
from genrecore.errors import GenrecoreError, UsageError
from genrecore.inference.loaded import LoadedRun
from genrecore.models.fitted import Fitted
from genrecore.store.progress import Phase, Report, silent

METHODS = {
    "gradcam": "Grad-CAM",
    "gradients": "Integrated gradients",
    "occlusion": "Occlusion",
}
"""Names of the methods, and what people call them."""

_N_STEPS = 24  # of integrated gradients; 48 change the places' order hardly
_AT_ONCE = 12
_PATCH_S, _PATCHES = 0.25, 8  # how wide a patch is, and how many make the picture's height
_WAVE_COLUMNS_S = 0.05


@dataclass(frozen=True)
class Explanation:
    """What speaks for a genre in a part of a clip.

    Attributes:
        method: A key of `METHODS`.
        genre: The genre.
        relevance: (rows, columns) float64, the first row lowest; one row where only the time is
            known. Positive speaks for the genre; Grad-CAM shows nothing else.
        times_s: The middle of each column, from the wave's beginning.
        begin_s: Where in the wave the part begins.
        end_s: Where it ends.
        picture: (rows, columns) that the network was given, its first channel; None without one.
        rows: What the rows are; None without a picture.
        unit: Of the picture's values.
        centres_hz: The middle of each row; None where rows are no frequencies.
    """

    method: str
    genre: str
    relevance: np.ndarray
    times_s: np.ndarray
    begin_s: float
    end_s: float
    picture: np.ndarray | None
    rows: Rows | None
    unit: str
    centres_hz: np.ndarray | None


class Explainer:
    """Explains a run's verdicts with a copy of its network of its own.

    Hooks would otherwise see what other visitors' clips do in the same network at the same moment;
    so only one explanation is computed at a time as well.

    Attributes:
        kind: Of the run's feature: `image`, `wave`, `vector`, `sequence`, `wave+image`.
        methods: The keys of `METHODS` that its network allows.
    """

    def __init__(self, loaded: LoadedRun) -> None:
        """
        Raises:
            GenrecoreError: The run judges pictures that came with its dataset.
        """
        if loaded.medium != "wave":
            raise GenrecoreError(
                f"The run {loaded.run.run_id} judges pictures that came with its dataset; only "
                "verdicts on sound are explained."
            )
        self.genres, self.config = loaded.genres, loaded.config
        self._classifier = copy.deepcopy(loaded.classifier).eval()
        for module in self._classifier.modules():
            if hasattr(module, "inplace"):  # would overwrite what a hook has kept
                module.inplace = False  # type: ignore[assignment]
        for parameter in self._classifier.parameters():
            parameter.requires_grad_(False)
        self._lock = threading.Lock()
        feature: Any = self._classifier.feature
        self._axes = feature.axes()[0]
        self.kind = loaded.classifier.resolved.feature.facts.kind
        self._rate = self.config.audio.sample_rate_hz
        self._segmenter = loaded.segmenter
        gradients = not isinstance(self._classifier.network, Fitted)
        self._layer = self._last_with_places() if gradients else None
        self.methods = [
            name
            for name in METHODS
            if name == "occlusion"
            or (name == "gradcam" and self._layer is not None)
            or (name == "gradients" and gradients and self.kind in ("image", "wave"))
        ]

    def pieces(self, wave: np.ndarray) -> list[tuple[float, float]]:
        """(begin, end) in s of the pieces in which the network is shown a wave (n_samples,)."""
        n_samples = self._segmenter.n_samples
        return [
            (float(start) / self._rate, min(start + n_samples, len(wave)) / self._rate)
            for start in self._segmenter.starts(len(wave))
        ]

    def explain(
        self, wave: np.ndarray, genre: str, method: str, piece: int, report: Report = silent
    ) -> Explanation:
        """What speaks for a genre in one piece of a wave.

        Args:
            wave: The judged excerpt as `Verdict.wave` holds it: (n_samples,) at the run's rate.
            genre: One of the run's genres.
            method: One of `methods`.
            piece: Its place in `pieces(wave)`.
            report: Told how many passes through the network are done; it may raise `Stopped`.

        Raises:
            UsageError: The run knows no such genre, or its network allows no such method.
        """
        if genre not in self.genres:
            raise UsageError(
                f"The run tells apart {', '.join(self.genres)}; {genre} is none of them."
            )
        if method not in self.methods:
            raise UsageError(
                f"This network can be explained by {', '.join(self.methods)}, not by {method}."
            )
        begin_s, end_s = self.pieces(wave)[piece]
        samples = torch.from_numpy(quantise(wave))
        start = torch.tensor([round(begin_s * self._rate)])
        length = (len(samples) - start).clamp(max=self._segmenter.n_samples)
        given = self._segmenter.cut(samples, start, length)
        target = self.genres.index(genre)
        with self._lock:
            with torch.no_grad():
                features = self._classifier.feature(given)
            relevance = self._relevance(given, features, target, method, report)
        rows, unit, centres_hz, picture = None, "", None, None
        if self.kind == "image":
            picture = features[0, 0].numpy().astype(np.float64)
            rows, unit = self._axes.rows, self._axes.unit
            centres_hz = rows.centre_hz if rows else None
            times_s = self._axes.column_times_s(picture.shape[1])
        else:
            n_columns = relevance.shape[1]
            times_s = (
                (np.arange(n_columns) + 0.5) * self._segmenter.n_samples / self._rate / n_columns
            )
        inside = times_s <= end_s - begin_s + 1e-6  # a short clip is filled up with zeros
        return Explanation(
            method,
            genre,
            relevance[:, inside],
            times_s[inside] + begin_s,
            begin_s,
            end_s,
            None if picture is None else picture[:, inside],
            rows,
            unit,
            centres_hz,
        )

    def _relevance(
        self, given: Tensor, features: Any, target: int, method: str, report: Report
    ) -> np.ndarray:
        if self.kind not in ("image", "wave"):
            return self._occluded_in_time(given, target, report)
        if method == "gradcam":
            made = self._gradcam(features, target)
        elif method == "gradients":
            made = self._gradients(features, target, report)
        elif self.kind == "image":
            return self._occluded(features, target, report)
        else:
            return self._occluded_in_time(given, target, report)
        if self.kind == "wave":
            n = max(1, round(_WAVE_COLUMNS_S * self._rate))
            n_columns = -(-made.shape[-1] // n)
            padded = functional.pad(made, (0, n_columns * n - made.shape[-1]))
            made = padded.reshape(1, n_columns, n).sum(dim=2)
        return made.double().numpy()

    def _logits(self, features: Tensor) -> Tensor:
        return self._classifier.network(self._classifier.standardised(features))

    def _gradcam(self, features: Tensor, target: int) -> Tensor:
        """(rows, columns) of a picture, (1, n_samples) of a wave: the layer's maps, each weighted
        by the mean of its gradient, of their sum what is positive, brought to the input's size."""
        if self._layer is None:
            raise GenrecoreError("Grad-CAM needs a convolution, and this network has none.")
        maps: list[Tensor] = []
        hook = self._layer.register_forward_hook(lambda layer, given, made: maps.append(made))
        try:
            with torch.enable_grad():
                given = features.detach().clone().requires_grad_()
                score = self._logits(given)[0, target]
                (gradient,) = torch.autograd.grad(score, maps[-1])
        finally:
            hook.remove()
        places = tuple(range(2, maps[-1].ndim))
        weights = gradient.mean(dim=places, keepdim=True)
        cam = (weights * maps[-1].detach()).sum(dim=1, keepdim=True).relu()
        mode = "bilinear" if cam.ndim == 4 else "linear"
        made = functional.interpolate(cam, features.shape[2:], mode=mode, align_corners=False)
        return made[0, 0] if cam.ndim == 4 else made[0]

    def _gradients(self, features: Tensor, target: int, report: Report) -> Tensor:
        from captum.attr import IntegratedGradients

        done = _Counted(self._logits, -(-_N_STEPS // _AT_ONCE), report)
        with torch.enable_grad():
            made = IntegratedGradients(done).attribute(
                features.detach().clone(),
                baselines=self._floor(features),
                target=target,
                n_steps=_N_STEPS,
                internal_batch_size=_AT_ONCE,
            )
        return made.detach()[0].sum(dim=0) if made.ndim == 4 else made.detach()[0]

    def _occluded(self, features: Tensor, target: int, report: Report) -> np.ndarray:
        from captum.attr import Occlusion

        _, channels, rows, columns = features.shape
        piece_s = self._segmenter.n_samples / self._rate
        high = max(1, -(-rows // _PATCHES))
        wide = max(1, min(columns, round(_PATCH_S * columns / piece_s)))
        n_passes = -(-(-(-rows // high) * -(-columns // wide)) // _AT_ONCE) + 1
        done = _Counted(self._logits, n_passes, report)
        with torch.no_grad():
            made = Occlusion(done).attribute(
                features.contiguous(),
                sliding_window_shapes=(channels, high, wide),
                strides=(channels, high, wide),
                baselines=self._floor(features),
                target=target,
                perturbations_per_eval=_AT_ONCE,
            )
        return made[0, 0].double().numpy()

    def _occluded_in_time(self, given: Tensor, target: int, report: Report) -> np.ndarray:
        """(1, columns): how much lower the genre's logit is when a stretch of sound is silent."""
        n = max(1, round(_PATCH_S * self._rate))
        starts = list(range(0, given.shape[-1], n))
        made = []
        with torch.no_grad():
            whole = float(self._classifier(given)[0, target])
            for n_done, at in enumerate(starts):
                report(Phase.OCCLUDING, n_done, len(starts))
                covered = given.clone()
                covered[..., at : at + n] = 0.0
                made.append(whole - float(self._classifier(covered)[0, target]))
        report(Phase.OCCLUDING, len(starts), len(starts))
        return np.array([made])

    def _floor(self, features: Tensor) -> Tensor:
        """What stands for nothing: of decibels and magnitudes the quietest point, else each row's
        mean over time, of a wave silence."""
        if self.kind == "wave":
            return torch.zeros_like(features)
        if self._axes.silence == "row_mean":
            return features.mean(dim=3, keepdim=True).expand_as(features).contiguous()
        return features.amin(dim=(1, 2, 3), keepdim=True).expand_as(features).contiguous()

    def _last_with_places(self) -> nn.Module | None:
        """The last layer, or block of layers, whose output still has places; None without one.

        Of a block with side branches that is their sum, not one of them.
        """
        if self.kind not in ("image", "wave"):
            return None
        wanted = 4 if self.kind == "image" else 3
        found: list[nn.Module] = []

        def note(layer: nn.Module, given: Any, made: Any) -> None:
            if isinstance(layer, (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)):
                return  # blurs the places of the layer before it
            if isinstance(made, Tensor) and made.ndim == wanted and made.shape[2:].numel() > 1:
                found.append(layer)

        network = self._classifier.network
        hooks = [layer.register_forward_hook(note) for layer in network.modules()]
        try:
            with torch.no_grad():
                shape = self._classifier.feature.output_shape
                self._logits(torch.zeros(1, *shape))  # type: ignore[misc]
        finally:
            for hook in hooks:
                hook.remove()
        return found[-1] if found else None


class _Counted:
    """A forward function that tells how many of its calls are done."""

    def __init__(self, forward: Callable[[Tensor], Tensor], n_calls: int, report: Report) -> None:
        self._forward, self._n_calls, self._report = forward, n_calls, report
        self._n_done = 0

    def __call__(self, features: Tensor) -> Tensor:
        self._report(Phase.ATTRIBUTING, min(self._n_done, self._n_calls), self._n_calls)
        self._n_done += 1
        return self._forward(features)
