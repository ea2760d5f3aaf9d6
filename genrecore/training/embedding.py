"""A run's embedding of clips: the input of the last linear layer of its network.

One row a clip, the mean over its segments, float32. Clips that are near to one another look alike
to the run. The embedding of a run's own clips is computed once, at the end of its training or when
it is asked for, in batches from the feature cache, and kept in the cache folder, keyed by the run
and its weights; a fresh recording is embedded by `LoadedRun.embed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from genrecore.data import prepare
from genrecore.data.corpus import Corpus
from genrecore.errors import GenrecoreError
from genrecore.evaluation import embeddings
from genrecore.evaluation.embeddings import Embedding
from genrecore.models.fitted import Fitted
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.run import Run
from genrecore.training.classifier import Classifier, Features
from genrecore.training.examples import Examples
from genrecore.training.hardware import choose
from genrecore.training.parts import ResolvedConfig
from genrecore.training.weights import load_classifier

_BATCH = 64
_LINEAR = (nn.Linear,)
_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)


def embed(run: Run, report: Report = silent) -> Embedding:
    """The embedding of a run's training, validation and test clips, from the cache or computed now.

    Args:
        run: A run with weights.
        report: Called as `report(phase, done, total)`; it may raise `Stopped`.

    Raises:
        GenrecoreError: The run has no weights or no table of clips yet, or its dataset is gone.
    """
    cached = embeddings.read(run)
    return cached if cached is not None else _compute_anew(run, report)


def compute(
    run: Run, classifier: Classifier, examples: Examples, corpus: Corpus, report: Report = silent
) -> Embedding:
    """Computes a run's embedding from what is in memory, and caches it.

    Args:
        run: The run, with the weights of the classifier.
        classifier: In evaluation mode, on the device.
        examples: Its segments; segments of clips without a split are left out.
        corpus: Of the examples.
        report: As of `embed`.
    """
    has_split = examples.segments["split"].notna().to_numpy(bool)
    index = torch.from_numpy(np.flatnonzero(has_split))
    segments = examples.segments.iloc[index.numpy()]
    clip_of, names = pd.factorize(segments["clip_id"])
    values, n_done = np.zeros((len(names), 0)), 0
    # Batch by batch: the embeddings of all segments may take gigabytes.
    for rows in _in_batches(classifier, examples, index, report):
        if not n_done:
            values = np.zeros((len(names), rows.shape[1]))
        np.add.at(values, clip_of[n_done : n_done + len(rows)], rows)
        n_done += len(rows)
    values /= np.bincount(clip_of)[:, None]
    clips = segments.drop_duplicates("clip_id").set_index("clip_id")
    table = clips.loc[names, ["genre", "split"]].rename_axis("clip_id").reset_index()
    return embeddings.keep(run, Embedding(table, values.astype(np.float32)), corpus.key)


@torch.inference_mode()
def embed_features(classifier: Classifier, features: Features) -> Tensor:
    """Embeddings (batch, n) float32 of features as the front end makes them.

    What stands before a network's last linear layer; of a classical model, and of a network without
    layers, the standardised features.
    """
    standardised = classifier.standardised(features)
    if not isinstance(classifier.network, Fitted):
        embedding = last_layer_input(classifier.network, standardised)
        if embedding is not None:
            return embedding
    parts = standardised if isinstance(standardised, tuple) else (standardised,)
    return torch.cat([part.float().flatten(1) for part in parts], dim=1)


def last_layer_input(network: nn.Module, standardised: Features) -> Tensor | None:
    """(batch, n) float32: the input of the last linear layer that a network in evaluation calls.

    Where none is linear it is the last layer with weights; inputs with steps or positions
    are averaged over them. None where a network has no layers.
    """
    with _layers_called(network) as called:
        network(standardised)
    for kinds in (_LINEAR, _WEIGHTED):
        inputs = [tensor for layer, tensor in called if isinstance(layer, kinds)]
        if inputs:
            return _flat(inputs[-1], kinds is _LINEAR)
    return None


@contextmanager
def _layers_called(network: nn.Module) -> Iterator[list[tuple[nn.Module, Tensor]]]:
    """Collects (layer, input) of every layer with weights, in the order in which they are called.

    A network need not hold its layers in that order.
    """
    called: list[tuple[nn.Module, Tensor]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        called.append((layer, inputs[0]))

    hooks = [
        layer.register_forward_pre_hook(note)
        for layer in network.modules()
        if isinstance(layer, _WEIGHTED)
    ]
    try:
        yield called
    finally:
        for hook in hooks:
            hook.remove()


def _flat(tensor: Tensor, linear: bool) -> Tensor:
    """(batch, n) of a layer's input: (batch, …, n) of a linear one, else (batch, n, …)."""
    tensor = tensor.float()
    if tensor.ndim < 3:
        return tensor
    return tensor.flatten(1, -2).mean(dim=1) if linear else tensor.flatten(2).mean(dim=2)


def _compute_anew(run: Run, report: Report) -> Embedding:
    clips = run.clips
    if clips is None or not run.weights.exists():
        raise GenrecoreError(
            f"The run {run.run_id} has no weights yet (it is {run.state}), so it has no embedding."
        )
    classifier = load_classifier(run.weights)
    hardware = choose("auto", "float32")
    hardware.prepare(classifier)
    # Clips as they are: no changed copies, no excerpts drawn at random.
    config = run.config.model_copy(
        update={
            "augment": (),
            "segments": run.config.segments.model_copy(update={"excerpts": "all"}),
        }
    )
    prepared = prepare.decode(config, report)
    prepare.refuse_other_content(clips, prepared, config.audio.clip_s, report)
    left = clips[clips["split"].notna() & clips["clip_id"].isin(prepared.corpus.index["clip_id"])]
    if left.empty:
        raise GenrecoreError(f"None of the clips of the run {run.run_id} are there any more.")
    examples = Examples(
        prepared.corpus,
        ResolvedConfig(config),
        classifier.feature,
        left,
        classifier.genres,
        hardware,
        report,
    )
    return compute(run, classifier, examples, prepared.corpus, report)


def _in_batches(
    classifier: Classifier, examples: Examples, index: Tensor, report: Report
) -> Iterator[np.ndarray]:
    """Embeddings (batch, n) of those segments, batch by batch."""
    size = min(_BATCH, examples.most)
    for n_done, batch in enumerate(index.split(size)):
        report(Phase.EMBEDDING, n_done * size, len(index))
        with torch.inference_mode():
            yield embed_features(classifier, examples.features(batch)).cpu().numpy()
    report(Phase.EMBEDDING, len(index), len(index))
