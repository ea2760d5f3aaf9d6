"""How datasets get to the page Datasets: a zip in the browser, a download as a task."""

from __future__ import annotations

import io
import pkgutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import command
from conftest import wait_for
from opened import metrics, open_page, players, words
from PIL import Image
from streamlit.testing.v1 import AppTest
from test_uploads import MUSIC, tone

from genrecore.data.datasets.remembered import remembered_options
from genrecore.jobs import actions as jobs
from genrecore.store.run import LIVE

pytestmark = pytest.mark.xdist_group("page_datasets")

OWN = {"dataset": "folder"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own, and no network: nothing is fetched in earnest."""
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    return tmp_path / "cache"


def packed(files: dict[str, bytes]) -> bytes:
    """A zip; the same bytes for the same files, whenever it is made."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def after_upload(content: bytes, name: str = "my songs.zip") -> AppTest:
    """The page after an upload, when there is nothing more to wait for."""
    app = open_page("datasets", **OWN)
    app.file_uploader[0].upload(name, content).run()
    assert not app.exception
    wait_for(lambda: jobs.tasks()[0].state not in LIVE, 60)
    app.run()
    assert not app.exception
    return app


@pytest.mark.slow
def test_an_uploaded_zip_becomes_the_dataset(cache: Path) -> None:
    app = after_upload(packed(MUSIC))
    folder = Path(app.query_params["folder.folder"])
    assert folder.parent == cache / "uploads"
    assert "upload" not in app.query_params
    assert metrics(app)["Clips"] == "6"
    assert "6 clips of 2 genres were found." in words(app)
    assert sorted(path.name for path in folder.parent.iterdir() if path.is_dir()) == [folder.name]
    app.button(key="remember").click().run()
    assert remembered_options()["folder"] == {"folder": str(folder)}
    listened = open_page("datasets", view="listen", **OWN)
    assert len(players(listened)) == 1


@pytest.mark.slow
def test_an_uploaded_zip_of_pictures_becomes_the_dataset() -> None:
    rng = np.random.default_rng(11)
    pictures = {}
    for name in ("dub/0.png", "dub/1.png", "dub/2.png", "ska/0.png", "ska/1.png", "ska/2.png"):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (21, 33, 3), dtype=np.uint8)).save(stream, "PNG")
        pictures[name] = stream.getvalue()
    app = after_upload(packed(pictures))
    assert metrics(app)["Clips"] == "6"


@pytest.mark.slow
def test_the_same_zip_is_not_unpacked_twice() -> None:
    first = after_upload(packed(MUSIC)).query_params["folder.folder"]
    app = open_page("datasets", **OWN)
    app.file_uploader[0].upload("the same again.zip", packed(MUSIC)).run()
    assert app.query_params["folder.folder"] == first
    assert metrics(app)["Clips"] == "6"
    assert len(jobs.tasks()) == 1
    another = after_upload(packed(MUSIC | {"my music/ska/4.wav": tone(777)}))
    assert another.query_params["folder.folder"] != first
    assert metrics(another)["Clips"] == "7"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(
            b"this is no zip at all",
            "is neither a zip nor a tar archive",
            marks=pytest.mark.long,
            id="no zip",
        ),
        pytest.param(
            packed(MUSIC | {"../up.wav": b""}),
            "which leads out of its folder",
            marks=pytest.mark.long,
            id="escaping",
        ),
        pytest.param(packed({"zeros.wav": bytes(40 * 2**20)}), "times its own size", id="bomb"),
    ],
)
def test_a_bad_archive_is_one_sentence_and_nothing_is_registered(
    content: bytes, reason: str, cache: Path
) -> None:
    app = after_upload(content)
    assert len(app.error) == 1
    assert reason in app.error[0].value.replace("\\", "")
    assert "folder.folder" not in app.query_params
    assert not app.metric
    assert remembered_options() == {}
    names = [path.name for path in (cache / "uploads").iterdir()]
    assert [name for name in names if not name.endswith(".lock")] == []


@pytest.mark.slow
def test_after_a_bad_archive_a_good_one_is_taken() -> None:
    app = after_upload(packed({"dub/notes.txt": b""}))
    assert "there are no clips in my songs.zip" in app.error[0].value.replace("\\", "")
    app.file_uploader[0].upload("good.zip", packed(MUSIC)).run()
    wait_for(lambda: jobs.tasks()[0].state == "done", 60)
    app.run()
    assert metrics(app)["Clips"] == "6"
    assert not app.error


@pytest.mark.slow
def test_an_upload_goes_on_without_its_page_and_is_found_by_the_address() -> None:
    app = open_page("datasets", **OWN)
    app.file_uploader[0].upload("my songs.zip", packed(MUSIC)).run()
    (task,) = jobs.tasks()
    assert app.query_params["upload"] == task.task_id
    assert task.title == "Unpacking my songs.zip"
    wait_for(lambda: jobs.Task(task.folder).state == "done", 60)
    assert metrics(open_page("datasets", upload=task.task_id, **OWN))["Clips"] == "6"


@pytest.mark.parametrize("upload", ["..", "no-such-task", "20260101-000000-abcdef"])
def test_an_upload_in_the_address_that_is_none_is_passed_over(upload: str) -> None:
    app = open_page("datasets", upload=upload, **OWN)
    assert not app.error
    assert "needs to know where its files lie" in words(app)


@pytest.mark.slow
def test_a_task_of_another_kind_is_no_upload(tmp_path: Path) -> None:
    task = jobs.start_task(["datasets", "list", "--json"], "Listing")
    wait_for(lambda: jobs.Task(task.folder).state == "done", 60)
    assert "folder.folder" not in open_page("datasets", upload=task.task_id, **OWN).query_params


def fma(folder: Path) -> Path:
    """A folder in which fma_small lies, as far as three tracks of one genre and four of another."""
    table = pd.read_csv(
        io.BytesIO(pkgutil.get_data("genrecore.data", "tables/fma_small_tracks.csv") or b"")
    )
    of_genre = table.groupby("genre_top")["track_id"]
    for number in (*of_genre.get_group("Rock")[:3], *of_genre.get_group("Folk")[:4]):
        track = f"{number:06}"
        path = folder / "fma_small" / track[:3] / f"{track}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"its sound is of no interest here")
    return folder


def field(app: AppTest, label: str) -> object:
    return next(widget for widget in app.text_input if widget.label == label)


def test_the_size_of_a_download_is_said_before_it_starts() -> None:
    for name, size in (("fma_small", "7.2 GiB"), ("fma_full", "879.3 GiB")):
        app = open_page("datasets", dataset=name)
        assert f"Download {size}" in words(app)
        assert not app.button(key="download").disabled
    text = words(open_page("datasets", dataset="gtzan"))
    assert "no licence" in text
    assert "kaggle.com" in text
    for name in ("gtzan", "folder", "manifest"):
        assert not [b for b in open_page("datasets", dataset=name).button if b.key == "download"]


@pytest.mark.parametrize(
    ("folder", "reason"), [("", "nothing was given"), ("music", "found music")]
)
def test_a_download_needs_a_full_path(folder: str, reason: str) -> None:
    app = open_page("datasets", dataset="fma_small", into=folder)
    app.button(key="download").click().run()
    assert reason in app.error[0].value.replace("\\", "")
    assert jobs.tasks() == []


@pytest.mark.slow
def test_a_download_that_is_complete_fills_the_folder_in(tmp_path: Path) -> None:
    app = open_page("datasets", dataset="fma_small")
    field(app, "Into this folder").set_value(str(fma(tmp_path / "music"))).run()  # type: ignore[attr-defined]
    assert "GiB are free there" in words(app)
    app.button(key="download").click().run()
    assert not app.exception
    (task,) = jobs.tasks()
    assert task.title == "Downloading FMA small (8 genres, 30 s)"
    wait_for(lambda: jobs.Task(task.folder).state == "done", 60)
    app = open_page("datasets", dataset="fma_small")
    assert field(app, "Folder").value == str(tmp_path / "music")  # type: ignore[attr-defined]
    assert metrics(app)["Clips"] == "7"
    assert not [button for button in app.button if button.key == "download"]


@pytest.mark.slow
def test_a_download_is_stopped_on_the_page_and_goes_on_from_there(tmp_path: Path) -> None:
    app = open_page("datasets", dataset="fma_small", into=str(tmp_path / "music"))
    app.button(key="download").click().run()
    (task,) = jobs.tasks()
    wait_for(lambda: jobs.Task(task.folder).status.get("phase"), 60)
    app.run()
    assert app.button(key="download").disabled
    assert "Fetching fma_small.zip" in str(app.get("progress")[0].proto).replace("\\", "")
    app.button(key=f"stop_task_{task.task_id}").click().run()
    wait_for(lambda: jobs.Task(task.folder).state == "stopped", 60)
    # Whoever comes later finds the folder filled in and the button that goes on.
    app = open_page("datasets", dataset="fma_small")
    button = app.button(key="download")
    assert button.label == "Continue the download"
    fma(tmp_path / "music")
    button.click().run()
    again = jobs.tasks()[0]
    assert again.status["arguments"] == task.status["arguments"]
    wait_for(lambda: jobs.Task(again.folder).state == "done", 60)


def test_a_folder_without_the_dataset_is_offered_as_a_place_for_it(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    app = open_page(
        "datasets", dataset="fma_small", **{"fma_small.folder": str(tmp_path / "music")}
    )
    assert "holds none of the" in app.error[0].value
    assert field(app, "Into this folder").value == str(tmp_path / "music")  # type: ignore[attr-defined]


def test_a_shells_download_counts_as_well(tmp_path: Path) -> None:
    command("datasets", "download", "fma_small", "--folder", str(fma(tmp_path / "music")))
    assert metrics(open_page("datasets", dataset="fma_small"))["Clips"] == "7"
