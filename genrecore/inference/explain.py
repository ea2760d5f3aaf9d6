"""Why a run predicts a genre: the parts of a clip that support the genre or speak against it.

Three methods, each with its weakness. Grad-CAM (Selvaraju et al. 2017) weights the maps of the last
layer that has positions: quick and coarse. Integrated gradients (Sundararajan, Taly & Yan 2017) add
up the gradient on the way from silence to the clip: fine and noisy. Occlusion (Zeiler & Fergus
2014) covers one patch after the other and measures the change: slow and literal. The last two are
captum's.

An explanation is judged by deleting what it highlights (`delete`): where the rest of the sound
keeps the prediction, it explains nothing, however plausible it looks.
"""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from genrecore.audio import resynthesis
from genrecore.audio.axes import Rows
from genrecore.data.corpus import quantise
from genrecore.errors import GenrecoreError, UsageError
from genrecore.inference.loaded import FILES, Excerpt, LoadedRun
from genrecore.models.fitted import Fitted
from genrecore.store.progress import Phase, Report, silent
from genrecore.words import moved, percent

METHODS = {
    "gradcam": "Grad-CAM",
    "gradients": "Integrated gradients",
    "occlusion": "Occlusion",
}
"""Names of the methods, the quickest first, and what people call them."""

_N_STEPS = 24  # of integrated gradients; 48 hardly change the order of the positions
_AT_ONCE = 12
_PATCH_S, _PATCHES = 0.25, 8  # the width of a patch, and how many fill an image's height
_WAVE_COLUMNS_S = 0.05


@dataclass(frozen=True)
class Explanation:
    """How much each part of a segment supports a genre.

    Attributes:
        method: A key of `METHODS`.
        genre: The genre.
        relevance: (rows, columns) float64, the first row lowest; one row where only the time is
            known. Positive supports the genre; Grad-CAM shows nothing else.
        times_s: The middle of each column, from the wave's beginning.
        begin_s: Where in the wave the segment begins.
        end_s: Where it ends.
        image: (rows, columns), the network's input in its first channel, or before it was coloured;
            None without an image.
        rows: What the rows are; None without an image.
        unit: Of the image's values.
        centres_hz: The middle of each row; None where rows are no frequencies.
    """

    method: str
    genre: str
    relevance: np.ndarray
    times_s: np.ndarray
    begin_s: float
    end_s: float
    image: np.ndarray | None = None
    rows: Rows | None = None
    unit: str = ""
    centres_hz: np.ndarray | None = None


@dataclass(frozen=True)
class Deletion:
    """What a run predicts of a segment once what an explanation highlights is deleted.

    Attributes:
        genre: The explained genre.
        genres: All genres of the run.
        segment: The segment, (n_samples,) float32.
        highlighted: What the explanation highlights in it.
        rest: The rest of the segment, deleted in whichever way leaves the genre less.
        is_cut_out: Whether the rest is silent where something is highlighted, so that the two add
            up to the segment; else each frequency has there what it usually has.
        proba: Uncalibrated probabilities (3, genres): of the highlighted sound alone, of the rest,
            and of the whole segment.
    """

    genre: str
    genres: list[str]
    segment: np.ndarray
    highlighted: np.ndarray
    rest: np.ndarray
    is_cut_out: bool
    proba: np.ndarray

    @property
    def of_genre(self) -> tuple[float, float, float]:
        """The genre's probability: highlighted alone, the rest, the whole segment."""
        highlighted, rest, whole = self.proba[:, self.genres.index(self.genre)].tolist()
        return highlighted, rest, whole

    @property
    def explains(self) -> bool:
        """Whether the rest loses the prediction; of a genre that is not predicted, whether the rest
        has less than half of its probability."""
        predictions = [self.genres[k] for k in self.proba.argmax(axis=1)]
        if predictions[2] == self.genre:
            return predictions[1] != self.genre
        _, rest, whole = self.of_genre
        return rest < whole / 2

    @property
    def sentence(self) -> str:
        """The outcome, for people."""
        _, rest, whole = self.of_genre
        *_, predicted_of_rest, predicted = (self.genres[k] for k in self.proba.argmax(axis=1))
        is_predicted = predicted == self.genre
        numbers = f"{self.genre} {moved(whole, rest, percent)}"
        without = "without what it highlights"
        if self.explains and is_predicted:
            return f"Without what this map highlights, {predicted_of_rest} is predicted; {numbers}."
        if self.explains:
            return f"Without what this map highlights, {numbers}."
        if is_predicted:
            return (
                f"This map does not explain the prediction: {without}, {self.genre} is still "
                f"predicted; it {numbers.removeprefix(self.genre).strip()}."
            )
        return f"This map does not explain the support for {self.genre}: {without}, {numbers}."


def delete(
    loaded: LoadedRun, wave: np.ndarray, explanation: Explanation, share: float
) -> Deletion | None:
    """Deletes what an explanation highlights; None where nothing supports the genre.

    In two ways (`resynthesis.kept_and_rest`), because a network may stumble over a hole: only where
    the prediction outlives both it does not depend on what is highlighted.

    Args:
        loaded: The explained run.
        wave: As in `Prediction.wave`, which the explanation is about.
        explanation: Of one of its segments.
        share: Of the map that counts as highlighted, 0 … 1.
    """
    if explanation.relevance.max() <= 0:
        return None
    rate, begin_s = loaded.config.audio.sample_rate_hz, explanation.begin_s
    segment = wave[round(begin_s * rate) : round(explanation.end_s * rate)]
    mask = resynthesis.strongest(explanation.relevance, share)
    times_s = explanation.times_s - begin_s
    highlighted, *rests = resynthesis.kept_and_rest(
        segment, rate, mask, times_s, explanation.centres_hz
    )
    excerpts = [
        Excerpt("part", quantise(part), 0.0, len(part) / rate)
        for part in (highlighted, segment, *rests)
    ]
    alone, whole, *without = [prediction.uncalibrated for prediction in loaded.predict(excerpts)]
    target = loaded.genres.index(explanation.genre)
    k = min(range(2), key=lambda k: (without[k].argmax() == target, without[k][target]))
    proba = np.stack([alone, without[k], whole])
    sounds = (segment, highlighted, rests[k])
    return Deletion(explanation.genre, loaded.genres, *sounds, k == 0, proba)


class Explainer:
    """Explains a run's predictions with a copy of its network, one at a time: hooks would otherwise
    see what other threads do in the same network.

    Attributes:
        kind: Of the run's feature: `image`, `wave`, `vector`, `sequence`, `wave+image`.
        methods: The keys of `METHODS` that its network allows.
    """

    def __init__(self, loaded: LoadedRun) -> None:
        """
        Raises:
            GenrecoreError: The run classifies something else than recordings.
        """
        if loaded.medium != "wave":
            raise GenrecoreError(
                f"The run {loaded.run.run_id} classifies {FILES[loaded.medium].several} that came "
                "with its dataset; only predictions for recordings can be explained."
            )
        self.genres = loaded.genres
        self.kind = loaded.classifier.resolved.feature.facts.kind
        self._classifier = copy.deepcopy(loaded.classifier).eval().requires_grad_(False)
        for module in self._classifier.modules():
            if hasattr(module, "inplace"):  # would overwrite what a hook has kept
                module.inplace = False  # type: ignore[assignment]
        self._lock = threading.Lock()
        feature: Any = self._classifier.feature
        self._axes = feature.axes()[0]
        self._rate = loaded.config.audio.sample_rate_hz
        self._segmenter = loaded.segmenter
        has_gradients = self.kind in ("image", "wave") and not isinstance(
            self._classifier.network, Fitted
        )
        self._layer = self._last_layer_with_positions() if has_gradients else None
        allowed = {"gradcam": self._layer is not None, "gradients": has_gradients}
        self.methods = [name for name in METHODS if allowed.get(name, True)]

    def segments(self, wave: np.ndarray) -> list[tuple[float, float]]:
        """(begin, end) in s of the segments of a wave (n_samples,)."""
        n_samples = self._segmenter.n_samples
        return [
            (float(start) / self._rate, min(start + n_samples, len(wave)) / self._rate)
            for start in self._segmenter.starts(len(wave))
        ]

    def explain(
        self, wave: np.ndarray, genre: str, method: str, segment: int, report: Report = silent
    ) -> Explanation:
        """The parts of one segment of a wave that support a genre.

        Args:
            wave: As in `Prediction.wave`: (n_samples,) at the run's rate.
            genre: One of the run's genres.
            method: One of `methods`.
            segment: Its position in `segments(wave)`.
            report: Called with the number of passes through the network; it may raise `Stopped`.

        Raises:
            UsageError: The run has no such genre, or its network allows no such method.
        """
        if genre not in self.genres:
            raise UsageError(
                f"The run tells apart {', '.join(self.genres)}; {genre} is none of them."
            )
        if method not in self.methods:
            raise UsageError(
                f"This network can be explained by {', '.join(self.methods)}, not by {method}."
            )
        begin_s, end_s = self.segments(wave)[segment]
        samples = torch.from_numpy(quantise(wave))
        start = torch.tensor([round(begin_s * self._rate)])
        length = (len(samples) - start).clamp(max=self._segmenter.n_samples)
        segment_wave = self._segmenter.cut(samples, start, length)
        target = self.genres.index(genre)
        with self._lock:
            with torch.no_grad():
                features = self._classifier.feature(segment_wave)
            if method == "gradcam":
                relevance = self._grad_cam(features, target)
            elif method == "gradients":
                relevance = self._integrated_gradients(features, target, report)
            elif self.kind == "image":
                relevance = self._occlusion(features, target, report)
            else:
                relevance = self._occlusion_in_time(segment_wave, target, report)
        if self.kind == "image":
            times_s = self._axes.column_times_s(relevance.shape[1])
        else:
            n_columns = relevance.shape[1]
            segment_s = self._segmenter.n_samples / self._rate
            times_s = (np.arange(n_columns) + 0.5) * segment_s / n_columns
        inside = times_s <= end_s - begin_s + 1e-6  # a short clip is filled up with zeros
        explanation = Explanation(
            method, genre, relevance[:, inside], times_s[inside] + begin_s, begin_s, end_s
        )
        if self.kind != "image":
            return explanation
        rows = self._axes.rows
        return replace(
            explanation,
            image=self._shown(segment_wave).numpy().astype(np.float64)[:, inside],
            rows=rows,
            unit=self._axes.unit,
            centres_hz=rows.centre_hz if rows else None,
        )

    def _shown(self, wave: Tensor) -> Tensor:
        """The image of a segment (1, 1, n_samples) as a chart shows it, (rows, columns)."""
        feature: Any = self._classifier.feature
        with torch.no_grad():
            return getattr(feature, "values", feature)(wave)[0, 0]

    def _logits(self, features: Tensor) -> Tensor:
        return self._classifier.network(self._classifier.standardised(features))

    def _grad_cam(self, features: Tensor, target: int) -> np.ndarray:
        """The layer's maps, each weighted by the mean of its gradient; the positive part of their
        sum, brought to the input's size."""
        if self._layer is None:
            raise GenrecoreError("Grad-CAM needs a convolution, and this network has none.")
        maps: list[Tensor] = []
        hook = self._layer.register_forward_hook(lambda layer, inputs, output: maps.append(output))
        try:
            with torch.enable_grad():
                score = self._logits(features.detach().clone().requires_grad_())[0, target]
                (gradient,) = torch.autograd.grad(score, maps[-1])
        finally:
            hook.remove()
        weights = gradient.mean(dim=tuple(range(2, gradient.ndim)), keepdim=True)
        cam = (weights * maps[-1].detach()).sum(dim=1, keepdim=True).relu()
        mode = "bilinear" if cam.ndim == 4 else "linear"
        cam = functional.interpolate(cam, features.shape[2:], mode=mode, align_corners=False)
        return self._in_columns(cam[0])

    def _integrated_gradients(self, features: Tensor, target: int, report: Report) -> np.ndarray:
        from captum.attr import IntegratedGradients

        forward = self._counted(-(-_N_STEPS // _AT_ONCE), report)
        with torch.enable_grad():
            attributions = IntegratedGradients(forward).attribute(
                features.detach().clone(),
                baselines=self._silence(features),
                target=target,
                n_steps=_N_STEPS,
                internal_batch_size=_AT_ONCE,
            )
        return self._in_columns(attributions.detach()[0])

    def _in_columns(self, relevance: Tensor) -> np.ndarray:
        """Relevance (channels, …) as (rows, columns): summed over channels, and of a wave over
        stretches of 0.05 s."""
        if self.kind == "image":
            return relevance.sum(dim=0).double().numpy()
        n = max(1, round(_WAVE_COLUMNS_S * self._rate))
        padded = functional.pad(relevance, (0, -relevance.shape[-1] % n))
        return padded.reshape(1, -1, n).sum(dim=2).double().numpy()

    def _occlusion(self, features: Tensor, target: int, report: Report) -> np.ndarray:
        from captum.attr import Occlusion

        _, channels, n_rows, n_columns = features.shape
        segment_s = self._segmenter.n_samples / self._rate
        high = max(1, -(-n_rows // _PATCHES))
        wide = max(1, min(n_columns, round(_PATCH_S * n_columns / segment_s)))
        n_patches = -(-n_rows // high) * -(-n_columns // wide)
        forward = self._counted(-(-n_patches // _AT_ONCE) + 1, report)
        with torch.no_grad():
            attributions = Occlusion(forward).attribute(
                features.contiguous(),
                sliding_window_shapes=(channels, high, wide),
                strides=(channels, high, wide),
                baselines=self._silence(features),
                target=target,
                perturbations_per_eval=_AT_ONCE,
            )
        return attributions[0, 0].double().numpy()

    def _occlusion_in_time(self, wave: Tensor, target: int, report: Report) -> np.ndarray:
        """(1, columns): how much lower the genre's logit is when a stretch of sound is silent."""
        n = max(1, round(_PATCH_S * self._rate))
        starts = range(0, wave.shape[-1], n)
        drops = []
        with torch.no_grad():
            whole = float(self._classifier(wave)[0, target])
            for n_done, start in enumerate(starts):
                report(Phase.OCCLUDING, n_done, len(starts))
                covered = wave.clone()
                covered[..., start : start + n] = 0.0
                drops.append(whole - float(self._classifier(covered)[0, target]))
        report(Phase.OCCLUDING, len(starts), len(starts))
        return np.array([drops])

    def _silence(self, features: Tensor) -> Tensor:
        """The input that stands for silence: the lowest value, or each row's mean over time where
        no value means silence; of a coloured image the first colour, of a wave zeros."""
        if self.kind == "wave":
            return torch.zeros_like(features)
        if self._axes.colours is not None and self._axes.silence == "lowest":
            colour = torch.from_numpy(self._axes.colours[0])[:, None, None]
            return colour.expand_as(features).contiguous()
        if self._axes.silence == "row_mean":
            return features.mean(dim=3, keepdim=True).expand_as(features).contiguous()
        return features.amin(dim=(1, 2, 3), keepdim=True).expand_as(features).contiguous()

    def _counted(self, n_calls: int, report: Report) -> Callable[[Tensor], Tensor]:
        """The network's logits, with a report of the calls that are done."""
        n_done = itertools.count()

        def forward(features: Tensor) -> Tensor:
            report(Phase.ATTRIBUTING, min(next(n_done), n_calls), n_calls)
            return self._logits(features)

        return forward

    def _last_layer_with_positions(self) -> nn.Module | None:
        """The last layer, or block of layers, whose output still has positions: of a block with
        side branches their sum, not one of them."""
        if self._classifier.resolved.patches:
            return None  # its positions are of a patch, not of the image
        n_axes = 4 if self.kind == "image" else 3
        layers: list[nn.Module] = []

        def note(layer: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(layer, (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)):
                return  # blurs the positions of the layer before it
            if isinstance(output, Tensor) and output.ndim == n_axes and output[0, 0].numel() > 1:
                layers.append(layer)

        hooks = [layer.register_forward_hook(note) for layer in self._classifier.network.modules()]
        try:
            with torch.no_grad():
                shape = self._classifier.feature.output_shape
                self._logits(torch.zeros(1, *shape))  # type: ignore[misc]
        finally:
            for hook in hooks:
                hook.remove()
        return layers[-1] if layers else None
