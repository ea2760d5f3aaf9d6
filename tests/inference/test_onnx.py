"""ONNX files and bundles: what they say is what the run says, in Python, by command and by HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import requests
import torch
import yaml
from commands import command, genrecore, refused
from conftest import trained
from safetensors import safe_open
from test_audio import noise, wav_bytes
from test_ensemble import image_run
from test_service import served
from untrained_runs import GENRES, untrained_run

from genrecore import __version__
from genrecore.audio import decode
from genrecore.config.run import RunConfig
from genrecore.data.corpus import dequantise, quantise
from genrecore.errors import GenrecoreError
from genrecore.features import FEATURES
from genrecore.inference import bundle
from genrecore.inference.ensemble import load as load_ensemble
from genrecore.inference.loaded import Excerpt, LoadedRun
from genrecore.inference.loaded import load as load_run
from genrecore.inference.onnx import TOLERANCE, _compare, to_onnx
from genrecore.inference.service import ServiceLimits
from genrecore.models import MODELS
from genrecore.store.files import write_json
from genrecore.store.run import Run
from genrecore.training.parts import fits

Tiny = Callable[..., RunConfig]

pytestmark = pytest.mark.xdist_group("onnx")  # one worker exports the file that the tests ask


WANTED = ("--precision", "0.8")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A calibrated run whose segments overlap, and its ONNX file, exported by the command."""
    folder = tmp_path_factory.mktemp("onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_RUNS", str(folder / "runs"))
        run = untrained_run(folder / "runs", temperature=2.0, segments__overlap=0.4)
        data = json.loads(
            command("export", run.run_id, "--onnx", f"{folder}/m.onnx", "--json", *WANTED)
        )
        assert data["onnx"]["difference"] <= TOLERANCE
        assert data["onnx"]["n_checked"] == 7
    return run, folder / "m.onnx"


def session_proba(path: Path, waves: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["proba", "segment_proba"], {"waveform": waves.astype(np.float32)})


@pytest.mark.slow
def test_command_python_http_bundle_and_onnx_agree(
    written: tuple[Run, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, path = written
    monkeypatch.setenv("GENRECORE_RUNS", str(run.folder.parent))
    clip = tmp_path / "clip.wav"
    clip.write_bytes(wav_bytes(noise(2.73, 22_050)))
    expected = load_run(run).classify(clip)
    assert expected.temperature != 1.0
    answers = {}
    data = json.loads(command("classify", str(clip), "--run", run.run_id, "--json"))
    answers["command"] = data["clips"][0]["proba"]
    with served(load_ensemble([run]), ServiceLimits()) as server:
        answer = requests.post(f"{server.address}/classify", data=clip.read_bytes(), timeout=30)
        answers["http"] = answer.json()["proba"]
    command("export", run.run_id, "--bundle", str(tmp_path / "bundle"))
    prediction = bundle.load(tmp_path / "bundle").classify(clip)
    answers["bundle"] = dict(zip(prediction.genres, prediction.proba, strict=True))
    wave = decode.decode(clip, expected.sample_rate_hz, middle_s=3.0).wave
    proba, parts = session_proba(path, wave[None])
    answers["onnx"] = dict(zip(GENRES, proba[0], strict=True))
    for name, share in answers.items():
        assert [*share] == GENRES, name
        # float32 in another program; the others do the very same arithmetic.
        atol = 1e-5 if name == "onnx" else 1e-12
        np.testing.assert_allclose([*share.values()], expected.proba, atol=atol, err_msg=name)
    timeline = expected.segments[[f"p_{genre}" for genre in GENRES]].to_numpy()
    np.testing.assert_allclose(parts[0], timeline, atol=1e-5)  # float32


@pytest.mark.slow
def test_any_number_of_waves_of_any_length(written: tuple[Run, Path]) -> None:
    run, path = written
    loaded = load_run(run)
    for n_waves, n in ((1, 1), (1, 999), (1, 22_050), (5, 22_051), (2, 47_777), (1, 300_001)):
        waves = 0.1 * np.random.default_rng(n).standard_normal((n_waves, n))
        proba, parts = session_proba(path, waves)
        samples = [quantise(wave.astype(np.float32)) for wave in waves]
        predictions = loaded.predict([Excerpt("", wave, 0.0, 0.0) for wave in samples])
        # float32 in another program
        np.testing.assert_allclose(
            proba, [prediction.proba for prediction in predictions], atol=1e-5
        )
        assert parts.shape == (n_waves, len(predictions[0].segments), len(GENRES))
        again = session_proba(path, np.stack([dequantise(wave) for wave in samples]))[0]
        np.testing.assert_array_equal(again, proba)  # rounding to 16 bits is part of it


@pytest.mark.slow
def test_the_file_says_what_it_takes_and_gives(written: tuple[Run, Path]) -> None:
    run, path = written
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (model_input,) = session.get_inputs()
    assert (model_input.name, model_input.shape) == ("waveform", ["batch", "samples"])
    assert [output.name for output in session.get_outputs()] == ["proba", "segment_proba"]
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["genres"]) == GENRES
    assert facts["sample_rate_hz"] == str(run.config.audio.sample_rate_hz)
    assert facts["run"] == run.run_id
    assert float(facts["temperature"]) == load_run(run).calibration.temperature
    thresholds = load_run(run).thresholds(0.8)
    assert any(thresholds.of_genre.values())
    assert json.loads(facts["thresholds"]) == thresholds.of_genre
    assert json.loads(facts["precision"]) == 0.8


@pytest.mark.slow
def test_a_file_that_differs_is_not_kept(written: tuple[Run, Path], tmp_path: Path) -> None:
    loaded = load_run(written[0])
    model = onnx.load(written[1])
    (bias,) = [tensor for tensor in model.graph.initializer if list(tensor.dims) == [len(GENRES)]]
    values = onnx.numpy_helper.to_array(bias).copy()
    values[0] += 0.01  # as of an exporter with a bug
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(model, tmp_path / "wrong.onnx")
    difference, _ = _compare(loaded, tmp_path / "wrong.onnx")
    assert difference > TOLERANCE


def test_what_cannot_be_exported_says_why(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = image_run(store)
    path = str(tmp_path / "m.onnx")
    refused(genrecore("export", images.run_id, "--onnx", path), 1, "classifies images", "--bundle")
    numpy_made = untrained_run(store, model="mlp", feature="descriptors")
    refused(genrecore("export", numpy_made.run_id, "--onnx", path), 1, "computed by NumPy")
    plain = untrained_run(store)
    refused(
        genrecore("export", plain.run_id, images.run_id, "--onnx", path), 2, "take one run, but 2"
    )
    refused(genrecore("export", plain.run_id), 2, "--onnx FILE")
    without(monkeypatch, "onnxruntime")
    refused(genrecore("export", plain.run_id, "--onnx", path), 1, "needs the package onnxruntime")
    assert not list(tmp_path.glob("*.onnx*"))


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """As on a machine where the package is not installed."""
    monkeypatch.setitem(sys.modules, package, None)


ENCODED: dict[str, Any] = {"audio__sample_rate_hz": 16_000, "segments__segment_s": 3.0}
WAVES = [n for n in FEATURES if "wave" in FEATURES[n].facts.needs and "descr" not in n]


@pytest.mark.long
@pytest.mark.parametrize(
    ("feature", "pooling", "colours"),
    [(name, "probabilities", "none") for name in WAVES]
    + [("log_mel", pooling, "none") for pooling in ("logits", "majority")]
    + [("log_mel", "probabilities", "gray")],
)
def test_every_feature_and_pooling_is_exported(
    store: Path, tmp_path: Path, feature: str, pooling: str, colours: str
) -> None:
    networks = ("cnn", "rescnn_1d", "rescnn_1d2d", "mlp", "lstm")
    able = next(name for name in networks if not fits(feature, name))
    values: dict[str, object] = {"feature__hop_length": 512} if feature == "stft" else {}
    if feature.startswith("encoder"):
        values = {**ENCODED, "feature__hop_s": 0.016}  # two patches in a segment
    if colours != "none":
        values["feature__colours"] = colours
    run = untrained_run(
        store, temperature=2.0, feature=feature, model=able, segments__pooling=pooling, **values
    )
    exported = to_onnx(load_run(run), tmp_path / "m.onnx")
    assert exported.difference <= TOLERANCE
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    is_encoder = feature.startswith("encoder")
    assert metadata.get("encoder_licence") == ("ISC" if is_encoder else None)


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in MODELS if not MODELS[n].facts.classical])
def test_every_network_is_exported(store: Path, tmp_path: Path, name: str) -> None:
    if not fits("log_mel", name):
        values: dict[str, Any] = {
            "feature": "log_mel", "feature__n_mels": 128, "feature__hop_length": 128,
        }  # fmt: skip
    elif not fits("waveform", name):
        values = {"feature": "waveform", **(ENCODED if name == "tuned_encoder" else {})}
    elif not fits("waveform+stft", name):
        values = {"feature": "waveform+stft"}
    else:
        pytest.skip("takes descriptors alone, which NumPy computes")
    run = untrained_run(store, temperature=2.0, model=name, **values)
    exported = to_onnx(load_run(run), tmp_path / "m.onnx")
    assert exported.difference <= TOLERANCE


def same_weights(a: LoadedRun, b: LoadedRun) -> bool:
    weights, expected = a.classifier.state_dict(), b.classifier.state_dict()
    return weights.keys() == expected.keys() and all(
        torch.equal(weights[k], expected[k]) for k in weights
    )


def test_a_bundle_has_the_forms_of_a_hub_and_is_loaded_again(store: Path, tmp_path: Path) -> None:
    run = untrained_run(store, temperature=2.0)
    write_json(run.folder / "environment.json", {"versions": {"genrecore": "0.0.7"}})
    loaded = load_run(Run(run.folder))
    folder = bundle.to_bundle(loaded, tmp_path / "mine")
    names = ["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {str(k): genre for k, genre in enumerate(GENRES)}
    assert config["architectures"] == ["cnn"]
    rate = json.loads((folder / "preprocessor_config.json").read_text())["sampling_rate"]
    assert rate == run.config.audio.sample_rate_hz
    with safe_open(folder / "model.safetensors", "pt") as stream:
        assert json.loads(stream.metadata()["genres"]) == GENRES
    again = bundle.load(folder)
    assert same_weights(loaded, again)
    assert again.calibration == loaded.calibration
    card = (folder / "README.md").read_text()
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["library_name"] == "genrecore"
    assert header["pipeline_tag"] == "audio-classification"
    assert f"trained by\ngenrecore 0.0.7 as run `{run.run_id}`" in card
    assert f"written by genrecore {__version__}." in card
    assert "It was not tested" in card
    assert "less sure of its predictions" in card


def test_a_bundle_replaces_a_bundle_and_nothing_else(store: Path, tmp_path: Path) -> None:
    loaded = load_run(untrained_run(store))
    folder = bundle.to_bundle(loaded, tmp_path / "mine")
    (folder / "old").write_text("of an older version")
    bundle.to_bundle(loaded, folder)
    assert not (folder / "old").exists()
    again = bundle.load(folder).calibration  # with numbers that were not measured
    assert again.temperature == 1.0
    assert np.isnan(again.log_loss_before)
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.mp3").write_bytes(b"precious")
    with pytest.raises(GenrecoreError, match="holds something that is no bundle"):
        bundle.to_bundle(loaded, tmp_path / "music")
    with pytest.raises(GenrecoreError, match="is a file"):
        bundle.to_bundle(loaded, tmp_path / "music" / "song.mp3")
    with pytest.raises(GenrecoreError, match="is no bundle"):
        bundle.load(tmp_path / "music")
    (folder / "model.safetensors").unlink()
    with pytest.raises(GenrecoreError, match="holds no model"):
        bundle.load(folder)


def test_a_bundle_of_a_run_on_images(store: Path, tmp_path: Path) -> None:
    folder = bundle.to_bundle(load_run(image_run(store)), tmp_path / "others")
    assert not (folder / "preprocessor_config.json").exists()
    assert "image-classification" in (folder / "README.md").read_text()


@pytest.mark.slow
def test_a_bundle_of_a_classical_model(store: Path, tiny: Tiny, tmp_path: Path) -> None:
    run = trained(tiny(feature="descriptors", model="logistic_regression"), store)
    assert run.state == "done", run.reason
    loaded = load_run(run)
    folder = bundle.to_bundle(loaded, tmp_path / "mine")
    assert (folder / "model.skops").exists()
    assert not (folder / "model.safetensors").exists()
    wave = wav_bytes(noise(3.3, 22_050))
    expected, prediction = loaded.classify(wave), bundle.load(folder).classify(wave)
    assert np.array_equal(prediction.proba, expected.proba)
    refused(
        genrecore("export", str(run.folder), "--onnx", str(tmp_path / "m.onnx")), 1, "scikit-learn"
    )
