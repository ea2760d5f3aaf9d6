"""The demo music as GTZAN is published: images and tables of the very same clips."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from commands import genrecore
from conftest import trained
from PIL import Image

from genrecore.audio.descriptors import descriptors
from genrecore.config.run import RunConfig
from genrecore.data import datasets
from genrecore.data.datasets import DATASETS
from genrecore.data.datasets.tables import read_table

SMALL = {"n_genres": 2, "n_clips": 5, "n_artists": 5, "clip_s": 2.0}


@pytest.mark.parametrize(
    ("form", "medium"), [("images", "image"), ("table_30s", "table"), ("table_3s", "table")]
)
def test_every_form_has_the_same_clips_artists_and_albums(form: str, medium: str) -> None:
    audio = datasets.load("demo", SMALL)
    table = datasets.load("demo", SMALL | {"form": form})
    assert set(table["medium"]) == {medium}
    same = ["clip_id", "genre", "artist", "album"]
    pd.testing.assert_frame_equal(audio[same], table[same])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["audio", "images", "table_30s", "table_3s"])
def test_what_is_expected_before_it_is_made_is_what_comes(form: str, own_cache: Path) -> None:
    facts, options = DATASETS["demo"].facts, DATASETS.choose("demo", SMALL | {"form": form}).options
    assert facts.expected is not None
    assert facts.is_made is not None
    expected = facts.expected(options)
    datasets.load("demo", SMALL)  # the music alone is not yet the form
    assert facts.is_made(options) == (form == "audio")
    table = datasets.load("demo", SMALL | {"form": form})
    assert facts.is_made(options)
    columns = ["clip_id", "path", "medium", "genre", "artist", "album"]
    pd.testing.assert_frame_equal(expected[columns], table[columns])


@pytest.mark.slow
def test_the_tables_hold_the_descriptors_of_the_clips_and_of_their_tenths() -> None:
    clip = datasets.load("demo", SMALL).iloc[6]
    wave, rate_hz = soundfile.read(clip["path"], dtype="float32")
    tenth = len(wave) // 10
    for form, part, some in (("table_30s", 0, wave), ("table_3s", 4, wave[4 * tenth : 5 * tenth])):
        table = read_table(Path(datasets.load("demo", SMALL | {"form": form})["path"].iloc[0]))
        assert len(table) == 10 * (1 if form == "table_30s" else 10)
        row = table[(table["clip_id"] == clip["clip_id"]) & (table["part"] == part)]
        # Read back from text, which holds every digit of float64.
        np.testing.assert_allclose(
            row.iloc[0, 2:].to_numpy(float), descriptors(some, rate_hz), rtol=1e-12
        )


def test_an_image_shows_a_high_tone_above_a_low_one(tmp_path: Path) -> None:
    from genrecore.data.datasets import demo_forms
    from genrecore.store.progress import silent

    rows = []
    for number, tone_hz in enumerate((200.0, 6000.0)):
        time_s = np.arange(22_050) / 22_050
        path = tmp_path / f"x.0000{number}.wav"
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * tone_hz * time_s), 22_050)
        rows.append({"clip_id": path.stem, "path": str(path), "genre": "x"})
    demo_forms.write(pd.DataFrame(rows), "images", tmp_path, silent)
    brightest = []
    for number in (0, 1):
        with Image.open(tmp_path / "images_original" / "x" / f"x0000{number}.png") as image:
            assert (image.size, image.mode) == ((432, 288), "RGBA")
            brightest.append(np.asarray(image.convert("L"), float).mean(axis=1).argmax())
    low, high = brightest
    assert high < 144 < low  # the first row is the top


@pytest.mark.slow
def test_the_written_folder_is_read_as_gtzan_in_every_form(tmp_path: Path) -> None:
    settings = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    answer = json.loads(
        genrecore("datasets", "write", str(tmp_path / "as gtzan"), *settings, "--json").stdout
    )
    expected = datasets.load("demo", SMALL)["clip_id"].tolist()
    for form in ("audio", "images", "table_30s", "table_3s"):
        table = datasets.load("gtzan", {"folder": answer["folder"], "form": form})
        assert table["clip_id"].tolist() == expected
    assert genrecore("datasets", "write", "/proc/nothing").returncode == 1


@pytest.mark.parametrize(
    ("form", "feature", "model"),
    [("table_30s", "descriptors", "mlp"), ("table_3s", "descriptors", "mlp"),
     ("images", "image", "cnn")],
)  # fmt: skip
def test_a_run_learns_from_every_form(
    store: Path, tiny: Callable[..., RunConfig], form: str, feature: str, model: str
) -> None:
    music = {f"dataset__{name}": value for name, value in SMALL.items()}
    config = tiny(**music, dataset__form=form, feature=feature, model=model, training__epochs=1)
    run = trained(config, store)
    assert run.state == "done", run.reason
    assert run.config.feature.name == feature
    assert len(run.predictions) == 4  # one of five artists each for validation and test
