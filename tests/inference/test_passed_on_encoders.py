"""A run that stands on an encoder, passed on: what is carried, and what a licence forbids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_huggingface
import test_onnx_encoders
from commands import genrecore, refused
from test_audio import noise, wav_bytes
from test_onnx_encoders import exported, network  # noqa: F401
from untrained_runs import untrained_run

from genrecore.errors import GenrecoreError, UsageError
from genrecore.inference import bundle
from genrecore.inference.loaded import load as load_run
from genrecore.models.encoders import files
from genrecore.store.files import cache_dir
from genrecore.store.run import Run

SEGMENTS = {"audio__sample_rate_hz": 16_000, "segments__segment_s": 3.0}
FROZEN = {"feature": "encoder", "model": "mlp", "feature__encoder": "mine"}
TUNED = {"feature": "waveform", "model": "tuned_encoder", "model__encoder": "mine"}
CLIP = wav_bytes(noise(2.9, 16_000))


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bundle was loaded before."""
    monkeypatch.setattr(files, "_carried", {})


def add(folder: Path, licence: str = "cc-by-nc-4.0") -> None:
    """A tiny random transformer under this licence becomes the encoder `mine`."""
    test_huggingface.write(folder / "model", "audio-spectrogram-transformer")
    readme = folder / "model/README.md"
    readme.write_text(readme.read_text().replace("cc-by-nc-4.0", licence))
    files.add(folder / "model", "mine")


def add_onnx(folder: Path, content: bytes) -> None:
    """An ONNX file becomes the encoder `mine`."""
    (folder / "model.onnx").write_bytes(content)
    (folder / "model.json").write_text(json.dumps(test_onnx_encoders.CARD))
    files.add(folder / "model.onnx", "mine")


def proba(run: Run | bundle.LoadedRun) -> np.ndarray:
    return (load_run(run) if isinstance(run, Run) else run).classify(CLIP).proba


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["huggingface", "tuned", "onnx"])
def test_a_bundle_gives_the_same_numbers_where_its_encoder_is_not_known(
    kind: str,
    request: pytest.FixtureRequest,
    store: Path,
    own_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind == "onnx":
        add_onnx(tmp_path, request.getfixturevalue("exported"))
    else:
        add(tmp_path)
    run = untrained_run(store, **SEGMENTS, **(TUNED if kind == "tuned" else FROZEN))
    expected = proba(run)
    assert expected.max() > 1.1 / len(expected)
    folder = bundle.to_bundle(load_run(run), tmp_path / "bundle")
    readme = (folder / "README.md").read_text()
    assert "**For non-commercial use only.** Licence: " in readme
    place = "says how it is built" if kind == "tuned" else "lies in the folder `encoder`"
    assert place in readme
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "another"))
    with pytest.raises(GenrecoreError, match="no encoder called 'mine'"):
        proba(run)
    np.testing.assert_array_equal(proba(bundle.load(folder)), expected)
    assert not files.installed()
    # One of the same name that is another
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "third"))
    (tmp_path / "other").mkdir()
    if kind == "onnx":
        add(tmp_path / "other")
    else:
        add_onnx(tmp_path / "other", request.getfixturevalue("exported"))
    np.testing.assert_array_equal(proba(bundle.load(folder)), expected)


def test_weights_that_were_trained_on_are_in_a_bundle_once_and_serve_no_frozen_run(
    store: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path)
    tuned, frozen = (untrained_run(store, **SEGMENTS, **values) for values in (TUNED, FROZEN))
    expected = {run.run_id: proba(run) for run in (tuned, frozen)}
    folder = bundle.to_bundle(load_run(tuned), tmp_path / "tuned")
    whole = bundle.to_bundle(load_run(frozen), tmp_path / "frozen")
    assert (whole / "encoder/model.safetensors").exists()
    assert [file.name for file in folder.rglob("*.safetensors")] == ["model.safetensors"]
    n_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert n_bytes < 1.5 * tuned.weights.stat().st_size
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "another"))
    np.testing.assert_array_equal(proba(bundle.load(folder)), expected[tuned.run_id])
    with pytest.raises(UsageError, match=r"mine are not here yet; add it with: genrecore"):
        proba(frozen)
    # Beside a bundle that has the weights, whichever was loaded last
    for each in (whole, folder):
        bundle.load(each)
        np.testing.assert_array_equal(proba(frozen), expected[frozen.run_id])


def test_a_carried_encoder_that_was_changed_is_refused(
    store: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path)
    run = untrained_run(store, **SEGMENTS, **FROZEN)
    folder = bundle.to_bundle(load_run(run), tmp_path / "bundle")
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "another"))
    test_huggingface.change(folder / "encoder/preprocessor_config.json", do_normalize=False)
    with pytest.raises(GenrecoreError, match="weights of the encoder mine have changed"):
        proba(bundle.load(folder))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("licence", "sentence"),
    [("gemma", "licence (gemma) is none that is known"), ("unknown", "its licence is unknown")],
)
def test_a_licence_that_forbids_it_keeps_the_encoder_out(
    licence: str,
    sentence: str,
    store: Path,
    own_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(tmp_path, licence)
    run = untrained_run(store, **SEGMENTS, **FROZEN)
    expected = proba(run)
    folder = bundle.to_bundle(load_run(run), tmp_path / "bundle")
    assert not (folder / "encoder").exists()
    readme = (folder / "README.md").read_text()
    assert sentence in readme
    assert "genrecore encoders add FOLDER --name mine" in readme
    np.testing.assert_array_equal(proba(bundle.load(folder)), expected)
    tuned = untrained_run(store, **SEGMENTS, **TUNED)
    for option in ("--bundle", "--onnx"):
        path = tmp_path / f"out{option}"
        answer = genrecore("export", tuned.run_id, option, str(path))
        parts = (sentence,) if option == "--bundle" else ("torch does not compute all of",)
        refused(answer, 1, *parts)
        assert not path.exists()
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "another"))
    with pytest.raises(GenrecoreError, match=r"needs the encoder mine .* add it with: genrecore"):
        bundle.load(folder)


def test_a_bundle_of_musicnn_says_whose_it_is(
    store: Path, musicnn: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: dict[str, Any] = {"feature": "encoder", "model": "mlp"}
    run = untrained_run(store, **SEGMENTS, **values)
    expected = proba(run)
    folder = bundle.to_bundle(load_run(run), tmp_path / "bundle")
    readme = (folder / "README.md").read_text()
    assert "Licence: ISC. It lies in the folder `encoder`." in readme
    assert "Million Song Dataset" in readme
    assert "non-commercial" not in readme
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "another"))
    np.testing.assert_array_equal(proba(bundle.load(folder)), expected)
    assert not (cache_dir() / "encoders").exists()


def test_weights_that_may_not_be_passed_on_are_in_no_graph(
    store: Path, musicnn: None, tmp_path: Path
) -> None:
    values: dict[str, Any] = {"feature": "encoder", "model": "mlp"}
    run = untrained_run(store, **SEGMENTS, **values)
    card = cache_dir() / "encoders/musicnn/card.json"
    before = card.read_text()
    test_huggingface.change(card, licence="all rights reserved", may_be_shared=False)
    try:
        answer = genrecore("export", run.run_id, "--onnx", str(tmp_path / "m.onnx"))
    finally:
        card.write_text(before)  # the cache is shared
    refused(answer, 1, "would hold weights of the encoder musicnn", "(all rights reserved)")
    assert not list(tmp_path.glob("*.onnx"))
