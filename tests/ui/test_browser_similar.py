"""Search by example in a real browser: clips nearest to an upload and to a mistake are heard."""

from __future__ import annotations

import re
from pathlib import Path

from browsing import IN_A_SECOND_BROWSER, Dashboard, choose
from playwright.sync_api import Page, expect
from test_browser_classify import settled

from genrecore.evaluation import mistakes
from genrecore.evaluation.related_clips import EXACT
from genrecore.store.run import Run

pytestmark = IN_A_SECOND_BROWSER


def search_by(page: Page, encoder: str) -> None:
    """Chooses an encoder in the box that says by what clips are compared."""
    choose(page, "By", page.get_by_role("option", name=f"{encoder}, all clips"))


def hear(page: Page, clip_id: str) -> None:
    """Plays the clip, and waits until some of it was heard."""
    player = page.get_by_role("group", name=f"Player: {clip_id}", exact=True)
    player.get_by_role("button", name="Play").click()
    audio = player.locator("audio").first
    page.wait_for_function(
        "audio => audio.currentTime > 0.3 && audio.duration > 1 && !audio.error",
        arg=audio.element_handle(),
        polling=100,
    )


def test_clips_like_an_upload_and_like_a_mistake_are_listed_and_one_is_played(
    page: Page, dashboard: Dashboard, done: Run, musicnn: None
) -> None:
    assert done.clips is not None
    clip = done.clips[done.clips["split"] == "train"].iloc[7]
    page.goto(f"{dashboard.address}/classify?run={done.run_id}&view=like")
    page.locator("input[type=file]").set_input_files(Path(clip["path"]))
    expect(page.get_by_text("among the nearest.")).to_be_visible()  # by the run
    settled(page)
    search_by(page, "musicnn (Million Song Dataset)")
    nearest = page.get_by_role("combobox", name="Clip", exact=True)
    first = f"{clip['clip_id']} · {clip['genre']} · distance 0.000 · {EXACT}"
    page.get_by_role("button", name="Embed the clips").click()
    expect(nearest).to_have_value(first, timeout=90_000)
    hear(page, clip["clip_id"])
    nearest.click()
    second = page.get_by_role("option").nth(1)
    clip_id = second.inner_text().partition(" · ")[0]
    second.click()
    hear(page, clip_id)

    # The same embeddings serve the page Errors.
    mistake = mistakes.sort_clips(mistakes.clip_predictions(done), "uncertain").iloc[0]["clip_id"]
    query = f"run={done.run_id}&view=mistakes&order=uncertain&clip={mistake}"
    page.goto(f"{dashboard.address}/errors?{query}")
    page.get_by_text("Sounds like", exact=True).click()
    settled(page)
    search_by(page, "musicnn (Million Song Dataset)")
    expect(
        page.get_by_text(re.compile(r"\d of the 5 nearest clips (is|are) labelled"))
    ).to_be_visible()
    near = page.locator(".st-key-nearest").get_by_role("combobox")
    hear(page, near.input_value())
