"""A form adds an encoder from uploaded files or from where it lies, or says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from opened import again, open_page, words
from streamlit.testing.v1 import AppTest
from test_huggingface import write
from test_onnx_encoders import CARD, exported, network

from genrecore import ui  # noqa: F401  (it names who is served; the tests here replace that)
from genrecore.jobs import access, journal
from genrecore.jobs.access import Visitor
from genrecore.models.encoders import PUBLISHED
from genrecore.models.encoders.files import installed
from genrecore.store import settings

pytestmark = pytest.mark.xdist_group("pages")
__all__ = ["exported", "network"]

PROBE = {"model": "linear_probe", "feature": "encoder"}
CARD_FILE = json.dumps(CARD).encode()


def add(files: dict[str, bytes], path: str = "", name: str = "") -> AppTest:
    """The page Train after a person has filled in the form and pressed its button."""
    app = open_page("train", **PROBE)
    app.file_uploader(key="encoder_files_0").set_value(
        [(file, content, "application/octet-stream") for file, content in files.items()]
    )
    app.text_input(key="encoder_path_0").set_value(path)
    app.text_input(key="encoder_name_0").set_value(name)
    app.button(key="encoder_add").click().run()
    assert not app.exception, app.exception[0].message
    return app


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def hub_folder(tmp_path: Path) -> Path:
    """A tiny random network in the form of the Hugging Face Hub."""
    folder = tmp_path / "Tiny AST"
    write(folder, "audio-spectrogram-transformer")
    return folder


@pytest.mark.slow
def test_an_uploaded_encoder_is_taken_by_the_run(
    store: Path, own_cache: Path, exported: bytes
) -> None:
    app = add({"Seven filters.onnx": exported, "Seven filters.json": CARD_FILE})
    assert list(installed()) == ["seven_filters"]
    assert app.selectbox(key="field_encoder.encoder").value == "seven_filters"
    assert "Seven filters, by unknown. Licence: CC-BY-NC-4.0." in words(app)
    assert "Added: Seven filters." in [toast.value.replace("\\", "") for toast in app.toast]
    assert not list((own_cache / "uploads").iterdir())
    assert [entry["action"] for entry in journal.entries(store)] == ["add an encoder"]
    app.button(key="encoder_rate").click().run()
    assert not app.error


@pytest.mark.slow
def test_a_folder_of_the_hub_is_added_from_its_path_or_its_files(
    store: Path, own_cache: Path, hub_folder: Path
) -> None:
    app = add({}, str(hub_folder))
    assert app.selectbox(key="field_encoder.encoder").value == "tiny_ast"
    app = add(contents(hub_folder), name="uploaded")
    assert set(installed()) == {"tiny_ast", "uploaded"}
    assert installed()["uploaded"].sha256 == installed()["tiny_ast"].sha256
    offered = again(app).selectbox(key="field_encoder.encoder").options
    assert offered == [*sorted(PUBLISHED), "tiny_ast", "uploaded"]


NOTHING: dict[str, bytes] = {}
REFUSED: dict[str, tuple[dict[str, bytes], str, str]] = {
    "nothing given": (NOTHING, "", "Give either the encoder's files, or where it lies."),
    "files and a path": ({"a.onnx": b"x"}, "/a.onnx", "Give either the encoder's files"),
    "nothing there": (NOTHING, "/no/such/folder", "There is nothing at /no/such/folder."),
    "no encoder": ({"notes.txt": b"x"}, "", "The upload is no encoder that can be added; expected"),
    "two encoders": ({"a.onnx": b"", "b.onnx": b""}, "", "a.onnx and b.onnx are several encoders"),
    "no card": ({"a.onnx": b"x"}, "", "There is no a.json beside a.onnx; expected a JSON file"),
    "no graph": ({"a.onnx": b"x", "a.json": CARD_FILE}, "", "a.onnx is no ONNX file"),
    "half a wheel": ({"musicnn-0.1.0-py3-none-any.whl": b"PK"}, "", "is not the published file"),
    "no name": ({"config.json": b"{}"}, "", "no name together; say what to call the encoder."),
    "no name of the Hub": (NOTHING, "hf:gtzan", "is no name of the Hugging Face Hub; expected"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_encoder_is_one_sentence_and_nothing_is_kept(
    case: str, store: Path, own_cache: Path
) -> None:
    files, path, sentence = REFUSED[case]
    app = add(files, path)
    errors = [error.value.replace("\\", "") for error in app.error]
    assert [sentence in error and error.count("\n") == 0 for error in errors].count(True) == 1
    assert not installed()
    assert not list(own_cache.glob("uploads/*"))
    assert not journal.entries(store)


@pytest.mark.slow
def test_pickled_weights_and_a_name_that_is_none_are_refused(
    store: Path, own_cache: Path, hub_folder: Path
) -> None:
    files = contents(hub_folder)
    app = add(files, name="../up")
    assert "is no name for an encoder" in app.error[0].value.replace("\\", "")
    weights = files.pop("model.safetensors")
    app = add({**files, "pytorch_model.bin": weights}, name="mine")
    assert "mine holds its weights as a pickle" in app.error[0].value.replace("\\", "")
    assert not installed()
    assert not list((own_cache / "uploads").iterdir())


@pytest.mark.slow
def test_a_visitor_from_outside_uploads_but_names_only_folders_that_are_open(
    store: Path,
    own_cache: Path,
    hub_folder: Path,
    exported: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access, "_source", lambda: Visitor("ann", is_from_outside=True))
    for path in (str(hub_folder), str(hub_folder.parent / "absent"), "hf:a/b"):
        app = add({}, path)
        assert "can be opened over a network" in app.error[0].value
    assert not installed()
    settings.change(store, "ann", folders=[str(hub_folder.parent)])
    add({}, str(hub_folder))
    add({"a.onnx": exported, "a.json": CARD_FILE})
    assert set(installed()) == {"tiny_ast", "a"}
    reader = Visitor("bob", may_work=False, is_from_outside=True)
    monkeypatch.setattr(access, "_source", lambda: reader)
    assert open_page("train", **PROBE).button(key="encoder_add").disabled
