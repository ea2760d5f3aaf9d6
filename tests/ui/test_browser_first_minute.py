"""The first minute: an empty store, a song, a tagger fetched by a click, its tags under the player;
then a small classifier above its embeddings, trained from the form."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import soundfile
from browsing import IN_A_SECOND_BROWSER, Dashboard
from playwright.sync_api import Page, expect

pytestmark = IN_A_SECOND_BROWSER


def test_a_song_is_tagged_before_anything_was_trained(
    page: Page, dashboard: Dashboard, home: Path, fetched_encoders: Path, tmp_path: Path
) -> None:
    shutil.rmtree(home / "cache" / "encoders", ignore_errors=True)
    song = tmp_path / "my song.wav"
    noise = 0.1 * np.random.default_rng(7).standard_normal(16_000 * 8)
    soundfile.write(song, noise, 16_000)
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
