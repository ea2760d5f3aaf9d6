"""A trained run as one ONNX file: waveform in, calibrated probabilities out, nothing else needed.

torch exports the network with its front end for any number of segments of fixed length. The nodes
before and after it do what `LoadedRun` does: rounding to 16 bits, cutting into segments, pooling,
temperature. A file is kept only if onnxruntime computes with it what the run computes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genrecore import __version__
from genrecore.data.corpus import quantise
from genrecore.errors import GenrecoreError, describe, optional_package
from genrecore.evaluation.thresholds import Thresholds
from genrecore.inference.bundle import refuse_unshared
from genrecore.inference.loaded import FILES, Excerpt, LoadedRun
from genrecore.models.encoders import ENCODER_KINDS
from genrecore.store.progress import Phase, Report, silent

TOLERANCE = 1e-4
"""How far a probability may lie from the original's."""

_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class OnnxFile:
    """An exported file; `difference` is the largest in any probability of `n_checked` waves."""

    path: Path
    n_bytes: int
    difference: float
    n_checked: int


def to_onnx(
    loaded: LoadedRun, path: Path, report: Report = silent, precision: float | None = None
) -> OnnxFile:
    """Writes a run as ONNX and compares it with the original.

    The graph takes `waveform` (batch, samples) float32 in [-1, 1], mono, at the run's sample rate,
    of any length; it gives `proba` (batch, genres), calibrated, and `segment_proba` (batch,
    segments, genres), uncalibrated. Genres, rate and the rest stand in the metadata;
    where a `precision` is wanted, so do the `thresholds` of the genres, null for one that is never
    answered.

    Raises:
        GenrecoreError: A package is missing, the run classifies images, is a classical one or has a
            feature that no ONNX graph can hold or an encoder that may not be passed on, the file
            cannot be written, or it differs from the original by more than `TOLERANCE`; nothing is
            left then.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        optional_package(package, "onnx", "Writing ONNX")
    import onnx

    _check_exportable(loaded)
    thresholds = None if precision is None else loaded.thresholds(precision)
    report(Phase.EXPORTING, 0, 0)
    model = _export_network(loaded)
    _add_surroundings(model, loaded, thresholds)
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, temporary)
        report(Phase.COMPARING_EXPORT, 0, 0)
        difference, n_checked = _compare(loaded, temporary)
        if not difference <= TOLERANCE:
            raise GenrecoreError(
                f"The ONNX file of the run {loaded.run.run_id} differs from the original by "
                f"{difference:.2g} in a probability, more than {TOLERANCE:g}; it was not kept."
            )
        os.replace(temporary, path)
    except OSError as error:
        raise GenrecoreError(f"{path} cannot be written: {describe(error)}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return OnnxFile(path, path.stat().st_size, difference, n_checked)


def _check_exportable(loaded: LoadedRun) -> None:
    config, encoder = loaded.config, loaded.classifier.resolved.encoder
    reason = ""
    if loaded.medium != "wave":
        kind = FILES[loaded.medium].several
        reason = f"it classifies {kind}, and the graph starts from a waveform"
    elif loaded.classifier.resolved.model.facts.classical:
        reason = f"scikit-learn makes its predictions ({config.model.name})"
    elif config.feature.name.startswith("descriptor"):
        reason = f"its feature {config.feature.name} is computed by NumPy"
    elif encoder and not ENCODER_KINDS[encoder.kind].thing.in_torch:
        reason = f"torch does not compute all of its encoder {encoder.name}"
    if reason:
        raise GenrecoreError(
            f"The run {loaded.run.run_id} cannot be written as ONNX: {reason}; --bundle takes it."
        )
    if encoder:
        refuse_unshared(loaded.run.run_id, encoder)


def _export_network(loaded: LoadedRun) -> Any:
    """The network as an ONNX model: `waves` (segments, 1, n_samples) to `segment_rows` (segments,
    genres), probabilities."""
    net = nn.Sequential(loaded.classifier, nn.Softmax(dim=1)).eval()
    generator = torch.Generator().manual_seed(0)
    waves = 0.1 * torch.randn(3, 1, loaded.segmenter.n_samples, generator=generator)
    any_number = {0: torch.export.Dim("segments", min=1, max=2**20)}
    with torch.inference_mode():
        net(waves)  # an encoder is read with the first wave
    try:
        with _quiet():
            program = torch.export.export(net, (waves,), dynamic_shapes=(any_number,))
            program = program.run_decompositions(_DECOMPOSITIONS)
            exported = torch.onnx.export(
                program,
                dynamo=True,
                input_names=["waves"],
                output_names=["segment_rows"],
                verbose=False,
            )
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise GenrecoreError(
            f"The model {loaded.config.model.name} with the feature {loaded.config.feature.name} "
            f"cannot be written as ONNX by torch {torch.__version__}: "
            f"{describe(error.__cause__ or error)}"
        ) from error
    if exported is None:
        raise GenrecoreError(f"torch {torch.__version__} wrote no ONNX model.")
    return exported.model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on its own workings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _adaptive_max_pool2d(x: Tensor, output_size: list[int]) -> tuple[Tensor, Tensor]:
    """Maxima by slices, because torch's exporter does not know this pooling. The second result, the
    positions of the maxima, is used by no network."""
    for axis, n in ((-2, output_size[0]), (-1, output_size[1])):
        size = x.shape[axis]
        edges = [(k * size // n, -(-(k + 1) * size // n)) for k in range(n)]
        maxima = [
            x.narrow(axis, begin, end - begin).amax(dim=axis, keepdim=True) for begin, end in edges
        ]
        x = torch.cat(maxima, dim=axis)
    return x, torch.empty_like(x, dtype=torch.int64)


_DECOMPOSITIONS: dict[Any, Any] = {torch.ops.aten.adaptive_max_pool2d.default: _adaptive_max_pool2d}


def _add_surroundings(model: Any, loaded: LoadedRun, thresholds: Thresholds | None) -> None:
    """Puts the nodes before and after the network, inputs, outputs and metadata into its model."""
    from onnx import TensorProto, helper

    graph, config, n_genres = model.graph, loaded.config, len(loaded.genres)
    nodes = _Nodes()
    _add_before(nodes, loaded)
    nodes.nodes += graph.node
    _add_after(nodes, loaded)
    del graph.node[:]
    graph.node.extend(nodes.nodes)
    graph.initializer.extend(nodes.constants)
    for values in (graph.input, graph.output, graph.value_info):  # shapes follow from the nodes
        del values[:]
    tensor, number = helper.make_tensor_value_info, TensorProto.FLOAT
    graph.input.append(tensor("waveform", number, ["batch", "samples"]))
    graph.output.append(tensor("proba", number, ["batch", n_genres]))
    graph.output.append(tensor("segment_proba", number, ["batch", "segments", n_genres]))
    graph.name = "genrecore"
    model.producer_name, model.producer_version = "genrecore", __version__
    metadata = {
        "genres": json.dumps(loaded.genres, ensure_ascii=False),
        "sample_rate_hz": str(config.audio.sample_rate_hz),
        "clip_s": str(config.audio.clip_s),
        "segment_s": str(config.segments.segment_s),
        "overlap": str(config.segments.overlap),
        "pooling": config.segments.pooling,
        "temperature": str(loaded.calibration.temperature),
        "run": loaded.run.run_id,
        "caveats": " ".join(loaded.run.caveats),
        "config": config.model_dump_json(),
    }
    if encoder := loaded.classifier.resolved.encoder:
        metadata |= {"encoder": encoder.name, "encoder_licence": encoder.licence_note}
    if thresholds is not None:
        metadata |= {name: json.dumps(value) for name, value in thresholds.as_json().items()}
    helper.set_model_props(model, metadata)


class _Nodes:
    """Nodes and constants of a graph that is being built."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, *inputs: Any, to: str = "", **attributes: Any) -> str:
        """The name of the output of a new node; inputs are names, or numbers to be constants."""
        from onnx import helper

        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        output = to or f"clip_{len(self.nodes)}_{kind.lower()}"
        self.nodes.append(helper.make_node(kind, names, [output], f"node_{output}", **attributes))
        return output

    def constant(self, value: Any) -> str:
        """The name of a constant: whole numbers are int64, others float32."""
        from onnx import numpy_helper

        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        name = f"clip_constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def _add_before(nodes: _Nodes, loaded: LoadedRun) -> None:
    """`waveform` (batch, samples) to `waves` (batch · segments, 1, n_segment), as
    `corpus.quantise` and `Segmenter` do."""
    n_segment, add = loaded.segmenter.n_samples, nodes.add
    step = max(1, round(n_segment * (1.0 - loaded.config.segments.overlap)))
    rounded = add("Round", add("Mul", "waveform", 32768.0))
    wave = add("Div", add("Clip", rounded, -32768.0, 32767.0), 32768.0)
    n_samples = add("Gather", add("Shape", "waveform"), 1)
    spare = add("Max", add("Sub", n_samples, n_segment), 0)
    # 1 + int(spare / step + 0.5), in whole numbers
    twice = add("Add", add("Mul", spare, 2), step)
    count = add("Add", add("Div", twice, 2 * step), 1)
    starts = add("Min", add("Mul", add("Range", 0, count, 1), step), spare)
    index = add("Add", add("Unsqueeze", starts, [1]), add("Range", 0, n_segment, 1))
    padded = add("Pad", wave, [0, 0, 0, n_segment])
    segments = add("Gather", padded, index, axis=1)
    add("Reshape", segments, [-1, 1, n_segment], to="waves")


def _add_after(nodes: _Nodes, loaded: LoadedRun) -> None:
    """`segment_rows` (batch · segments, genres) to `segment_proba` and `proba`, as
    `pooling.pool_segments` and `calibration.tempered` do."""
    n_genres, add = len(loaded.genres), nodes.add
    batch = add("Slice", add("Shape", "waveform"), [0], [1])
    shape = add("Concat", batch, [-1, n_genres], axis=0)
    rows = add("Reshape", "segment_rows", shape, to="segment_proba")
    pooling = loaded.config.segments.pooling
    if pooling == "logits":
        logits = add("ReduceMean", add("Log", add("Max", rows, _TINY)), [1], keepdims=0)
        clips = add("Softmax", logits, axis=1)
    else:
        if pooling == "majority":
            best = add("ArgMax", rows, axis=2, keepdims=0)
            votes = add("OneHot", best, n_genres, [0.0, 1.0])
            rows = add("Add", add("Mul", rows, 1e-6), add("Mul", votes, 1.0 - 1e-6))
        clips = add("ReduceMean", rows, [1], keepdims=0)
    logits = add("Div", add("Log", add("Max", clips, _TINY)), loaded.calibration.temperature)
    add("Softmax", logits, to="proba", axis=1)


def _compare(loaded: LoadedRun, path: Path) -> tuple[float, int]:
    """The largest difference between the file's probabilities and the run's, and the number of
    waves that were compared."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    columns = [f"p_{genre}" for genre in loaded.genres]
    worst, n_checked = 0.0, 0
    # Shorter than a segment, one exactly, two that overlap, many; alone and together.
    for n_waves, length in ((1, 0.7), (1, 1.0), (3, 1.6), (2, 4.3)):
        n = max(1, round(length * loaded.segmenter.n_samples))
        level = 10.0 ** generator.uniform(-2, 0, (n_waves, 1))
        tone = np.sin(np.arange(n) * generator.uniform(0.01, 0.5, (n_waves, 1)))
        waves = level * (tone + 0.3 * generator.standard_normal((n_waves, n)))
        waves = np.clip(waves, -1.0, 1.0).astype(np.float32)
        outputs = session.run(["proba", "segment_proba"], {"waveform": waves})
        predictions = loaded.predict([Excerpt("", quantise(wave), 0.0, 0.0) for wave in waves])
        for prediction, proba, segments in zip(predictions, *outputs, strict=True):
            expected = prediction.segments[columns].to_numpy()
            if segments.shape != expected.shape:
                return float("inf"), n_checked
            differences = (np.abs(proba - prediction.proba), np.abs(segments - expected))
            worst = max(worst, *(float(d.max()) for d in differences))
            n_checked += 1
    return worst, n_checked
