"""Encoders in an ONNX file with a JSON file beside it: what they compute, and what is refused."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from commands import command
from torch import Tensor, nn

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError, UsageError
from genrecore.features import FEATURES
from genrecore.models.encoders import files
from genrecore.training.resolve import resolve

N_SAMPLES = 12_001
CARD = {
    "sample_rate_hz": 16_000,
    "patch_s": N_SAMPLES / 16_000,
    "hop_s": 0.5,
    "layers": {"mean": 7, "peak": 7},
    "licence": "CC-BY-NC-4.0",
    "trained_on": "nothing",
    "heard": ["gtzan"],
}


class Filters(nn.Module):
    """Patches (patches, n_samples) → means and maxima of seven filters."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv1d(1, 7, 400, 160)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        values = self.filters(patches[:, None]).relu()
        return values.mean(dim=2), values.amax(dim=2)


@pytest.fixture(scope="module")
def network() -> Filters:
    torch.manual_seed(3)
    return Filters().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def exported(network: Filters, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The network as torch writes it."""
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(2, N_SAMPLES),),
            path,
            input_names=["waves"],
            output_names=["mean", "peak"],
            dynamic_axes={"waves": {0: "patches"}},
            dynamo=False,  # the other takes ten seconds
        )
    return path.read_bytes()


@pytest.fixture
def file(exported: bytes, own_cache: Path, tmp_path: Path) -> Path:
    """An encoder in a file, with what is said of it beside it."""
    path = tmp_path / "Seven filters.onnx"
    path.write_bytes(exported)
    path.with_suffix(".json").write_text(json.dumps(CARD))
    return path


def test_its_embeddings_are_those_of_the_network_it_was_made_of(
    file: Path, network: Filters
) -> None:
    (card,) = files.add(file)
    assert (card.name, card.title, card.kind) == ("seven_filters", "Seven filters", "onnx")
    assert card.non_commercial
    assert card.may_be_shared
    assert card.has_heard("gtzan") == "yes"
    assert card.n_parameters == 7 * 401
    waves = torch.randn(3, 30_000, generator=torch.Generator().manual_seed(5))
    encoder = files.load("seven_filters", card.sha256)
    joined = encoder.embeddings(waves, ("peak", "mean"), card.hop_samples())
    for k, layer in enumerate(card.layers):
        made = encoder.embeddings(waves, (layer,), card.hop_samples())
        assert made.shape == (3, card.n_steps(30_000, card.hop_samples()), 7) == (3, 3, 7)
        torch.testing.assert_close(joined.chunk(2, dim=2)[1 - k], made)
        for step in range(3):
            patches = waves[:, step * 8000 : step * 8000 + N_SAMPLES]
            torch.testing.assert_close(made[:, step], network(patches)[k], rtol=1e-5, atol=1e-6)
            for one in range(3):
                alone = encoder.embeddings(patches[one : one + 1], (layer,), 1)
                torch.testing.assert_close(made[one, step], alone[0, 0], rtol=1e-5, atol=1e-6)


def test_it_is_a_feature_like_any_other_and_cannot_be_trained_on(file: Path) -> None:
    files.add(file, "mine")
    choice = FEATURES.choose("encoder", {"encoder": "mine", "layer": "peak"})
    feature = choice.thing(choice.options, 16_000, 40_000)
    assert feature(torch.ones(2, 1, 40_000)).shape == (2, 7)
    values = {"audio.sample_rate_hz": 16_000, "feature": "waveform", "model": "tuned_encoder"}
    with pytest.raises(UsageError, match="encoder mine cannot be trained on; take the feature"):
        resolve(with_values(RunConfig(), values | {"model.encoder": "mine"}))
    values |= {"feature": "encoder", "feature.encoder": "mine", "model": "mlp"}
    resolve(with_values(RunConfig(), values))
    with pytest.raises(UsageError, match="takes audio at 16,000 Hz, but the sample rate is 22,050"):
        resolve(with_values(RunConfig(), values | {"audio.sample_rate_hz": 22_050}))


def test_the_list_says_that_a_licence_is_non_commercial(file: Path) -> None:
    command("encoders", "add", str(file), "--name", "mine")
    assert "CC-BY-NC-4.0 (non-commercial)" in " ".join(command("encoders", "list").split())


# What is refused


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in CARD.items() if key not in keys}


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        (without("hop_s", "licence"), r"Seven filters\.json does not say hop_s and licence\."),
        (["a", "list"], "does not say hop_s, layers, licence"),
        (CARD | {"sample_rate_hz": "fast"}, "sample_rate_hz: input should be a valid integer"),
        (CARD | {"rate": 16_000}, "there is no field 'rate'; there are: name"),
        (CARD | {"layers": {"mean": 8}}, r"mean of .* has the shape \(1, 7\) .* says \(1, 8\)"),
        (CARD | {"layers": {"top": 7}}, "output top of .* its outputs are: mean and peak"),
        (CARD | {"patch_s": 0.5}, r"cannot be computed for waves of the shape \(1, 8000\)"),
    ],
)
def test_a_json_file_that_lacks_something_or_is_wrong_is_one_sentence(
    card: Any, sentence: str, file: Path
) -> None:
    file.with_suffix(".json").write_text(json.dumps(card))
    refused(file, sentence)


def refused(file: Path, sentence: str) -> None:
    """Adding it is refused in one sentence, and nothing of it is kept."""
    with pytest.raises(GenrecoreError, match=sentence) as caught:
        files.add(file)
    assert "\n" not in str(caught.value)
    assert not files.installed()


def test_without_a_json_file_the_sentence_says_what_belongs_into_it(file: Path) -> None:
    file.with_suffix(".json").unlink()
    refused(file, r"no Seven filters\.json beside .* says at least hop_s, layers, licence, patch_s")
    file.with_suffix(".json").write_text("{")
    refused(file, r"Seven filters\.json cannot be read: it is not JSON")


def test_data_in_another_file_is_refused_wherever_that_lies(file: Path, tmp_path: Path) -> None:
    model = onnx.load(file)
    for tensor in model.graph.initializer:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        tensor.external_data.add(key="location", value="../../etc/passwd")
    file.write_bytes(model.SerializeToString())
    refused(file, "has the values of .* in another file; save it as one file")


def test_half_a_file_another_file_and_nan_are_refused(file: Path, exported: bytes) -> None:
    for content in (exported[: len(exported) // 2], b"no graph at all", b""):
        file.write_bytes(content)
        refused(file, r"Seven filters\.onnx (is no ONNX file|cannot be run): ")
    model = onnx.load_from_string(exported)
    weight = next(each for each in model.graph.initializer if each.dims == [7, 1, 400])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[3, 0, 7] = float("nan")
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    file.write_bytes(model.SerializeToString())
    refused(file, f"hold NaN: {weight.name}")
