"""The first hour with music of one's own: from a folder to a classified song, without one error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import soundfile
from browsing import IN_THE_BROWSER, Dashboard, choose, go
from conftest import trained, wait_for
from playwright.sync_api import Page, expect
from test_browser import POINTS, prediction_on

from genrecore.config.run import with_values
from genrecore.data import datasets
from genrecore.store import runs
from genrecore.store.run import Run
from genrecore.training.resolve import resolve

pytestmark = IN_THE_BROWSER


@pytest.fixture
def music(home: Path) -> Path:
    """A folder of three genre folders, ten clips of 3 s each, without a word about artists."""
    folder = home / "music"
    table = datasets.load("demo", {"n_genres": 3, "n_clips": 10, "clip_s": 3.0})
    for clip in table.itertuples():
        wave, rate_hz = soundfile.read(clip.path)
        path = folder / clip.genre / f"{clip.clip_id.replace('/', ' ')}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave, rate_hz)
    return folder


def test_a_folder_without_artists_is_amber_all_the_way_and_never_a_dead_end(
    page: Page,
    dashboard: Dashboard,
    home: Path,
    music: Path,
) -> None:
    prepare(page, dashboard, "Your folder of genre folders", music, "30 usable clips")
    page.get_by_role("link", name="Train on it").click()
    amber = page.get_by_role("alert").filter(has_text="nobody can tell whether an artist")
    expect(amber).to_be_visible()
    page.get_by_role("spinbutton", name="Epochs", exact=True).fill("2")
    page.get_by_role("spinbutton", name="Epochs", exact=True).press("Enter")
    run = train(page, "Train", home / "runs")
    assert run.config.split.name == "stratified"
    watch_to_the_end(page, run)
    quick = {"model.name": "logistic_regression", "feature.name": "descriptors"}
    again = trained(resolve(with_values(run.config, quick)).config, home / "runs")
    for mark in (run, again):
        assert mark.unknown, mark.run_id
        assert not mark.leak
    compare_hear_and_classify(page, dashboard, run, again, music)


@pytest.mark.long
def test_gtzan_is_trained_with_the_red_badge_by_the_form_s_defaults(
    page: Page,
    dashboard: Dashboard,
    home: Path,
    real_data: Path,
) -> None:
    gtzan = real_data / "gtzan"
    prepare(page, dashboard, "GTZAN", gtzan, "usable clips")
    page.get_by_role("button", name="Audit it").click()
    page.get_by_role("button", name="Audit", exact=True).click()
    expect(page.get_by_text(re.compile("^Audited on"))).to_be_visible(timeout=120_000)
    page.get_by_role("link", name="Train", exact=True).click()
    run = train(page, "Train with the red badge", home / "runs")
    watch_to_the_end(page, run)
    assert run.leak
    again = train_once_more(page, dashboard, run, home / "runs")
    assert again.leak
    compare_hear_and_classify(page, dashboard, run, again, gtzan / "genres_original")


def prepare(page: Page, dashboard: Dashboard, title: str, folder: Path, told: str) -> None:
    """Chooses a dataset on Datasets, says where it lies, and prepares it."""
    page.goto(dashboard.address)
    page.get_by_role("link", name="Datasets", exact=True).click()
    choose(page, "Dataset", page.get_by_role("option", name=title, exact=True))
    field = page.get_by_role("textbox", name="Folder", exact=True)
    field.fill(str(folder))
    field.press("Enter")
    page.get_by_role("button", name="Prepare", exact=True).click()
    expect(page.get_by_text(told)).to_be_visible(timeout=120_000)
    no_error(page)


def train(page: Page, button: str, store: Path) -> Run:
    """Presses the button; the page of the run opens by itself."""
    before = {run.run_id for run in runs.all_runs(store)}
    page.get_by_role("button", name=button, exact=True).click()
    page.wait_for_url(re.compile(r"/runs\?.*run="))
    no_error(page)
    (run,) = (run for run in runs.all_runs(store) if run.run_id not in before)
    return run


def watch_to_the_end(page: Page, run: Run) -> None:
    """Sees the result appear by itself."""
    wait_for(lambda: not Run(run.folder).is_active, most_s=900)
    assert Run(run.folder).state == "done", Run(run.folder).reason
    expect(page.get_by_text("Test accuracy", exact=True).first).to_be_visible()
    if run.config.model.name == "cnn":
        page.wait_for_function(f"({POINTS})() === {run.config.training.epochs}", polling=100)
    no_error(page)


def train_once_more(page: Page, dashboard: Dashboard, run: Run, store: Path) -> Run:
    """The same settings with a quick model, from the form that the run opens."""
    page.goto(f"{dashboard.address}/train?from={run.run_id}&model=logistic_regression"
              "&feature=descriptors")  # fmt: skip
    label = re.compile("^(Train|Train with the red badge)$")
    name = page.get_by_role("button", name=label).inner_text().splitlines()[-1]
    again = train(page, name, store)
    watch_to_the_end(page, again)
    return again


def compare_hear_and_classify(
    page: Page, dashboard: Dashboard, run: Run, again: Run, music: Path
) -> None:
    """The three ways on from a tested run."""
    page.get_by_role("link", name="Compare", exact=True).click()
    expect(page.get_by_role("heading", name="Compare", exact=True)).to_be_visible()
    verdict = page.get_by_role("status").filter(has_text=re.compile(r"On \d+ clips"))
    expect(verdict).to_contain_text(re.compile("is better|cannot be told apart"))
    for title in (run.title, again.title):
        expect(verdict).to_contain_text(title)
    page.get_by_text("Confusions", exact=True).click()
    for title in (run.title, again.title):
        expect(page.get_by_role("figure", name=f"Confusion matrix, {title}")).to_be_visible()
    no_error(page)

    go(page, dashboard, f"runs?run={run.run_id}")
    page.get_by_role("link", name="Hear its mistakes").click()
    player = page.get_by_role("group", name=re.compile("^Player: ")).first
    player.get_by_role("button", name="Play").click()
    audio = player.locator("audio").first.element_handle()
    page.wait_for_function("audio => audio.currentTime > 0.1", arg=audio, polling=100)
    no_error(page)

    page.get_by_role("link", name="Classify", exact=True).click()
    page.locator("input[type=file]").set_input_files(sorted(music.rglob("*.wav"))[0])
    expect(prediction_on(page)).to_be_visible()
    no_error(page)


def no_error(page: Page) -> None:
    """Neither an exception nor a refusal stands on the page."""
    expect(page.get_by_test_id("stException")).to_have_count(0)
    assert "Traceback" not in page.inner_text("body")
