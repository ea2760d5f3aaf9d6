"""The first minute: an empty store, a song, a tagger fetched by a click, its tags under the player;
then a small classifier above its embeddings, trained from the form."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from browsing import IN_A_SECOND_BROWSER, Dashboard
from playwright.sync_api import Page, expect
from test_browser_first_hour import music

from genrecore.store import runs

pytestmark = IN_A_SECOND_BROWSER
__all__ = ["music"]


def noise(folder: Path) -> Path:
    """A song of eight seconds."""
    song = folder / "my song.wav"
    wave = 0.1 * np.random.default_rng(7).standard_normal(16_000 * 8)
    soundfile.write(song, wave, 16_000)
    return song


def test_a_song_is_tagged_before_anything_was_trained(
    page: Page, dashboard: Dashboard, home: Path, fetched_encoders: Path, tmp_path: Path
) -> None:
    shutil.rmtree(home / "cache" / "encoders", ignore_errors=True)
    song = noise(tmp_path)
    page.goto(dashboard.address)
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(str(song))
    expect(page.get_by_text("my song.wav is here.")).to_be_visible()
    page.get_by_role("button", name=re.compile(r"Fetch musicnn \(29 MB, ISC licence\)")).click()
    expect(page.get_by_text("Genre tags over time")).to_be_visible(timeout=120_000)
    expect(page.get_by_role("heading", name=re.compile(r"\d %, then .* and .* %"))).to_be_visible()
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    expect(page.get_by_text("several may hold at once")).to_be_visible()
    expect(
        page.get_by_role("button", name="Train on the demo music and classify it")
    ).to_be_visible()
    # The page Classify takes another song without a run.
    page.goto(f"{dashboard.address}/classify")
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(str(song))
    expect(page.get_by_text("Genre tags over time")).to_be_visible()


def test_the_tagger_is_added_from_its_file_where_there_is_no_network(
    page: Page, dashboard: Dashboard, home: Path, fetched_encoders: Path, tmp_path: Path
) -> None:
    shutil.rmtree(home / "cache" / "encoders", ignore_errors=True)
    download = ["download", "--quiet", "--no-deps", "--dest", str(tmp_path), "musicnn==0.1.0"]
    subprocess.run([sys.executable, "-m", "pip", *download], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    page.goto(f"{dashboard.address}/classify")
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(str(noise(tmp_path)))
    page.get_by_role("button", name="Add an encoder").click()
    form = page.get_by_test_id("stForm")
    form.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(
        str(tmp_path / "my song.wav")
    )
    expect(form.get_by_text("my song.wav")).to_be_visible()
    form.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("is no encoder that can be added; expected")).to_be_visible()
    form.get_by_role("button", name="Remove my song.wav").click()
    form.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(str(wheel))
    expect(form.get_by_role("button", name=f"Remove {wheel.name}")).to_be_visible()
    form.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("Genre tags over time")).to_be_visible(timeout=60_000)


def test_a_head_is_trained_from_the_form(
    page: Page, dashboard: Dashboard, home: Path, musicnn: None, music: Path
) -> None:
    form = f"dataset=folder&folder.folder={music}&model=linear_probe&feature=encoder"
    page.goto(f"{dashboard.address}/train?{form}&audio.sample_rate_hz=16000")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text("Test accuracy", exact=True)).to_be_visible(timeout=90_000)
    expect(page.get_by_text("Music that musicnn learned from: unknown").first).to_be_visible()
    page.get_by_role("main").get_by_text("Settings", exact=True).click()
    expect(page.get_by_text(re.compile("has the lowest loss of the"))).to_be_visible()
    (run,) = runs.all_runs(home / "runs")
    assert run.weights.stat().st_size < 100_000  # bytes: the encoder is not in it
