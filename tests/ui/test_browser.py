"""The dashboard as a person meets it: a real server, a real browser, real training."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from browsing import IN_THE_BROWSER, Dashboard
from conftest import wait_for, wait_for_epoch
from playwright.sync_api import Locator, Page, expect

from genrecore.store import runs
from genrecore.store.run import Run

pytestmark = IN_THE_BROWSER

EPOCHS = 5000  # more than anybody waits for: the run is stopped
FORM = {
    "Genres": 3,
    "Clips a genre": 10,
    "Clip length (s)": 3,
    "Artists a genre": 5,
    "Segment length (s)": 1,
    "Epochs": EPOCHS,
}
# How many epochs the curve of validation accuracy shows; 0 while there is none.
POINTS = """() => {
  const plot = document.querySelector(
    '[role="figure"][aria-label^="Line chart of accuracy"] .js-plotly-plot');
  const curve = plot?.data?.find(trace => trace.name === "Validation");
  return curve ? curve.x.length : 0;
}"""


def test_from_an_empty_store_to_a_run_that_outlives_the_server_and_stops_when_asked(
    page: Page, dashboard: Dashboard, home: Path
) -> None:
    page.goto(dashboard.address)
    expect(page.get_by_role("heading", name="Drop a song here")).to_be_visible()
    page.get_by_role("link", name="Open Train").click()

    run = train_with_the_form(page, home / "runs")
    watch_it_learn(page, run)
    outlive_the_server(page, dashboard, run)
    stop_on_the_page(page, run)


def train_with_the_form(page: Page, store: Path) -> Run:
    """Fills the form in, presses Train and goes to the run."""
    expect(page.get_by_role("heading", name="Train", exact=True)).to_be_visible()
    expect(page).to_have_title("cnn, demo · Train · genrecore")
    page.get_by_text("Expert: data").click()
    page.get_by_text("Expert: feature and model").click()
    for name, value in FORM.items():
        field = page.get_by_role("spinbutton", name=name, exact=True)
        field.fill(str(value))
        field.press("Enter")
    train = page.get_by_role("button", name="Train", exact=True)
    for width in (390, 800, 1280):  # the button stays in view when the form is scrolled
        page.set_viewport_size({"width": width, "height": 900})
        page.get_by_text("Expert: augmentation").scroll_into_view_if_needed()
        expect(train).to_be_in_viewport(ratio=0.95)
    command = page.get_by_test_id("stCode").filter(has_text="genrecore train")
    expect(command).to_contain_text(f"--epochs {EPOCHS}")
    expect(command).to_contain_text("dataset.n_genres=3")
    expect(command).to_contain_text("--segment-s 1")  # the page has taken in every field
    train.click()
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    (run,) = runs.all_runs(store)
    assert run.config.dataset.options["n_clips"] == FORM["Clips a genre"]
    assert run.config.segments.segment_s == FORM["Segment length (s)"]
    return run


def watch_it_learn(page: Page, run: Run) -> None:
    """Sees the first part of the curve while the run works."""
    page.wait_for_function(f"({POINTS})() >= 1", timeout=60_000, polling=100)
    assert Run(run.folder).state == "running"
    assert page.evaluate(POINTS) < EPOCHS


def outlive_the_server(page: Page, dashboard: Dashboard, run: Run) -> None:
    """The server is killed: the run goes on, and the very first visit to the next shows it live.

    That visit comes by a deep link, for which Streamlit skips `app.py`: the frame is there.
    """
    dashboard.kill()
    wait_for_epoch(run, len(Run(run.folder).history) + 2)
    trainer = int(Run(run.folder).status["pid"])
    os.kill(trainer, signal.SIGSTOP)  # it would take a core from the server that starts
    dashboard.start()
    page.goto(f"{dashboard.address}/runs?run={run.run_id}")
    first_epochs = epoch_on_the_page(page)
    os.kill(trainer, signal.SIGCONT)
    expect(page.get_by_text(run.title, exact=True)).to_be_visible()
    expect(page).to_have_title(f"{run.title} · Runs · genrecore")
    expect(page.get_by_role("link", name="Overview")).to_be_visible()
    assert page.url.endswith(run.run_id)
    # A new server loads torch in the background meanwhile.
    wait_for(lambda: epoch_on_the_page(page) > first_epochs, most_s=120)
    assert Run(run.folder).state == "running"


def stop_on_the_page(page: Page, run: Run) -> None:
    """Presses Stop: stopped within ten seconds, with a checkpoint, and the page says so."""
    page.get_by_role("button", name="Stop", exact=True).click()
    wait_for(lambda: Run(run.folder).state == "stopped", most_s=10)
    assert (run.folder / "resume.pt").exists()
    expect(page.get_by_text("Stopped on request.")).to_be_visible()


def click_row(page: Page, n: int) -> None:
    """Clicks a row of the page's first table, which picks it."""
    table = page.get_by_test_id("stDataFrame").first
    table.scroll_into_view_if_needed()
    table.click(position={"x": 60, "y": 35 * (n + 1) + 17})  # rows and head are 35 px high


def prediction_on(page: Page, text: str = r"with \d+\.\d %") -> Locator:
    """The headline that names the genre. While a page is drawn anew, the one of the clip before may
    still stand beside it."""
    return page.get_by_role("heading", level=2, name=re.compile(text)).first


def test_a_bad_upload_is_one_sentence_and_names_with_markup_are_only_names(
    page: Page, dashboard: Dashboard, done: Run, home: Path
) -> None:
    bad, good = "<img src=x onerror=window.hit=1>.wav", "<b>*bold* $x$ :red[song].wav"
    clip = sorted((home / "cache" / "datasets").rglob("*.wav"))[-1].read_bytes()
    page.goto(f"{dashboard.address}/classify?run={done.run_id}")
    page.locator("input[type=file]").set_input_files(
        [
            {"name": bad, "mimeType": "audio/wav", "buffer": b"this is no sound at all"},
            {"name": good, "mimeType": "audio/wav", "buffer": clip},
        ]
    )
    expect(prediction_on(page)).to_be_visible()
    expect(page.get_by_test_id("stMarkdown").get_by_text(good, exact=True)).to_be_visible()
    problem = page.get_by_role("alert").filter(has_text="<img")
    expect(problem).to_have_count(1)
    expect(problem).to_contain_text(bad)
    sentence = problem.get_by_role("paragraph").inner_text()  # beside it stands the icon's name
    assert re.fullmatch(re.escape(bad) + r" is not an audio file: [^\n]+\.", sentence)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    assert "Traceback" not in page.inner_text("body")
    assert page.evaluate("window.hit") is None
    expect(page.locator('img[src="x"]')).to_have_count(0)


def epoch_on_the_page(page: Page) -> int:
    """The epoch that the run's page shows."""
    text = page.get_by_test_id("stMetric").filter(has_text="Epochs").inner_text()
    match = re.search(r"(\d+) of \d+", text)
    assert match, text
    return int(match[1])
