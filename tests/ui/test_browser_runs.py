"""The page Runs in a real browser: clicks in the table, a zoom that stays, several tabs, a log."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import IN_A_SECOND_BROWSER, Dashboard, go
from conftest import TINY, trained, wait_for
from playwright.sync_api import Page, expect

from genrecore.config.run import RunConfig, with_values
from genrecore.jobs import actions as jobs
from genrecore.store import runs
from genrecore.store.locks import take_lock
from genrecore.store.progress import Phase
from genrecore.store.run import Run
from genrecore.store.status import LOG, STOP, Status, ask_to_stop, stop_asked
from genrecore.training.resolve import resolve

pytestmark = IN_A_SECOND_BROWSER

# How many epochs the curve of validation accuracy holds, and the range of its epochs.
CURVE = """() => {
  const plot = document.querySelector(
    '[role="figure"][aria-label^="Line chart of accuracy"] .js-plotly-plot');
  const curve = plot?.data?.find(trace => trace.name === "Validation");
  return [curve ? curve.x.length : 0, ...(plot?.layout?.xaxis?.range ?? [0, 0])];
}"""


class Live:
    """A run that goes on as a process at work would leave it: the lock held, the files growing."""

    def __init__(self, template: Run, store: Path, n_epochs: int) -> None:
        config = with_values(template.config, {"training.epochs": n_epochs})
        self.run, self.lock = runs.create_held_run(config, store)
        shutil.copyfile(template.folder / "clips.parquet", self.run.folder / "clips.parquet")
        self.row = template.history.iloc[-1].to_dict()
        self.clips = (template.folder / "epochs.u8").read_bytes()
        self.n_clips = len(self.clips) // len(template.history)
        self.n_epochs, self.epoch, self.over = n_epochs, 0, threading.Event()
        self.is_long = False  # the epoch that it is in
        for _ in range(9):
            self.next()
        self.thread = threading.Thread(target=self._go_on)
        self.thread.start()

    def next(self) -> None:
        self.epoch += 1
        with open(self.run.folder / "epochs.u8", "ab") as raw:
            raw.write(self.clips[: self.n_clips])
        with open(self.run.folder / "history.jsonl", "a") as stream:
            stream.write(json.dumps(self.row | {"epoch": self.epoch}, default=float) + "\n")
        with open(self.run.folder / "log.txt", "a") as stream:
            stream.write(f"epoch {self.epoch} is over\n")
        status = Status(self.run.folder)
        if self.epoch == 1:
            status.move("running")
        values = {"epoch": self.epoch, "n_epochs": self.n_epochs, "done": self.epoch}
        status.update(
            total=self.n_epochs,
            best_epoch=1,
            best_valid_accuracy=0.5,
            phase=Phase.TRAINING,
            **values,
        )

    def _go_on(self) -> None:
        while not self.over.wait(1.0):
            if stop_asked(self.run.folder):
                Status(self.run.folder).update()
            elif not self.is_long:
                self.next()

    def end(self, state: str, reason: str = "") -> None:
        """The process writes its last word and lets go."""
        self.over.set()
        self.thread.join()
        if self.lock >= 0:
            if state:
                Status(self.run.folder).move(state, reason, finished_at=time.time())
            (self.run.folder / STOP).unlink(missing_ok=True)
            os.close(self.lock)
            self.lock = -1


@pytest.fixture(scope="module")
def template(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that is done, with a validation split."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(home / "cache"))
        config = resolve(with_values(RunConfig(), TINY)).config
        return trained(config, tmp_path_factory.mktemp("template"))


@pytest.fixture
def live(template: Run, home: Path) -> Iterator[Live]:
    """A run of 60 epochs at work, an epoch a second; nobody starts other runs."""
    runner = take_lock(home / "runs" / jobs.RUNNER_LOCK)
    live_run = Live(template, home / "runs", 60)
    yield live_run
    live_run.end("stopped")
    assert runner is not None
    os.close(runner)
    for run in runs.all_runs(home / "runs"):
        shutil.rmtree(run.folder)


@pytest.fixture
def page(visitor: Page) -> Page:
    """The same visitor for all tests of this file."""
    return visitor


def opened(page: Page, dashboard: Dashboard, run: Run, **query: str) -> None:
    """Goes to a run's page and waits until it is there."""
    more = "".join(f"&{name}={value}" for name, value in query.items())
    go(page, dashboard, f"runs?run={run.run_id}{more}")
    expect(page).to_have_title(f"{run.title} · Runs · genrecore")


def test_a_drag_over_a_chart_zooms_and_the_zoom_stays_over_new_epochs_and_a_reload(
    page: Page,
    dashboard: Dashboard,
    live: Live,
) -> None:
    opened(page, dashboard, live.run)
    page.wait_for_function(f"({CURVE})()[0] >= 9", polling=100)
    live.is_long = True  # nothing is drawn anew while the mouse moves
    time.sleep(1.5)  # an epoch that had ended is written
    page.wait_for_function(f"({CURVE})()[0] === {live.epoch}", polling=100)
    plot = page.get_by_role("figure", name="Line chart of accuracy").locator(".nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.3 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], y + 20, steps=6)
    page.mouse.up()
    page.wait_for_url("**epochs=*")
    page.wait_for_function(f"({CURVE})()[1] >= 1.5", polling=100)
    n, low, high = page.evaluate(CURVE)
    assert high - low < n - 1
    live.is_long = False
    page.wait_for_function(f"({CURVE})()[0] > {n}", polling=100)  # drawn anew
    assert page.evaluate(CURVE)[1:] == [low, high]
    page.reload()
    page.wait_for_function(f"({CURVE})()[0] > {n}", polling=100)
    assert page.evaluate(CURVE)[1:] == [low, high]


def test_nothing_is_drawn_anew_while_nothing_new_comes(
    page: Page,
    dashboard: Dashboard,
    live: Live,
) -> None:
    ask_to_stop(live.run.folder, within_s=600)  # from now on heartbeats only
    time.sleep(1.5)  # an epoch that had begun is over
    opened(page, dashboard, live.run)
    expect(page.get_by_text("it is ended by force in")).to_be_visible()
    page.wait_for_function(f"({CURVE})()[0] === {live.epoch}", polling=100)
    page.evaluate("document.querySelector('.js-plotly-plot').dataset.same = 'yes'")
    countdown = page.get_by_text("it is ended by force in").inner_text()
    time.sleep(7)  # charts are looked at every six seconds
    # The countdown moves on: there were ticks.
    assert page.get_by_text("it is ended by force in").inner_text() != countdown
    assert page.evaluate("document.querySelector('.js-plotly-plot').dataset.same") == "yes"


def test_two_tabs_follow_one_run_and_both_say_that_it_is_done(
    page: Page,
    dashboard: Dashboard,
    live: Live,
) -> None:
    second_tab = page.context.new_page()
    for tab, view in ((page, "learning"), (second_tab, "genres")):
        opened(tab, dashboard, live.run, view=view)
    expect(second_tab.get_by_text("validation clips are recognised")).to_be_visible()
    jobs.stop(live.run)
    for tab in (page, second_tab):
        expect(tab.get_by_text("it is ended by force in")).to_be_visible()
    live.end("done")
    for tab in (page, second_tab):
        toast = tab.get_by_test_id("stToast").filter(has_text="Done after")
        expect(toast).to_contain_text(live.run.title)
        expect(tab.get_by_text("It is trained and tested.")).to_be_visible()
    second_tab.close()


def test_clicks_in_the_list_mark_tick_delete_and_open_and_new_runs_appear_by_themselves(
    page: Page,
    dashboard: Dashboard,
    live: Live,
    template: Run,
    home: Path,
) -> None:
    live.end("stopped")  # nothing works: the page looks less often
    old_run = home / "runs" / "20200101-000000-demo-cnn-abcd"
    shutil.copytree(template.folder, old_run)

    def table_of(n: int) -> dict[str, float]:
        """Opens the list of so many runs; returns where its table stands."""
        go(page, dashboard, "runs")
        expect(page.get_by_text(f"{n} runs")).to_be_visible()
        expect(page.get_by_test_id("stDataFrame").locator("canvas").first).to_be_visible()
        box = page.get_by_test_id("stDataFrame").first.bounding_box()
        assert box is not None
        return dict(box)

    box = table_of(2)
    second_row = box["y"] + 35 + 35 + 17  # the head and the other run's row are above it
    for starred in (True, False):  # a second click counts, too
        page.mouse.click(box["x"] + 50, second_row)
        wait_for(lambda starred=starred: Run(old_run).starred is starred)  # type: ignore[misc]
        expect(page.locator("[data-test-script-state=notRunning]")).to_be_visible()
        page.wait_for_timeout(1000)  # the table is drawn anew, on a canvas that shows nothing else
    page.mouse.click(box["x"] + 16, second_row)  # its box
    expect(page.get_by_text("1 run ticked")).to_be_visible()
    page.locator(".st-key-rows_delete").get_by_role("button").click()
    expect(page.get_by_text("1 run moved to the bin.")).to_be_visible()
    assert not old_run.exists()
    page.get_by_role("button", name="Undo").click()
    wait_for(old_run.exists)
    expect(page.get_by_text("2 runs. Click on a run")).to_be_visible()
    runs.create_run(template.config, home / "runs")  # somewhere else
    expect(page.get_by_text("3 runs · 1 waiting. Click on a run")).to_be_visible(timeout=10_000)
    box = table_of(3)
    page.mouse.click(box["x"] + 150, box["y"] + 3 * 35 + 17)
    page.wait_for_url("**abcd*")
    expect(page).to_have_title(f"{Run(old_run).title} · Runs · genrecore")


def test_result_and_curves_are_in_the_first_window_and_no_toolbar_covers_a_field(
    page: Page,
    dashboard: Dashboard,
    live: Live,
    template: Run,
    home: Path,
) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    opened(page, dashboard, live.run)
    for name in ("accuracy", "loss"):
        plot = page.get_by_role("figure", name=f"Line chart of {name}")
        expect(plot).to_be_in_viewport(ratio=0.9)
    expect(page.get_by_role("progressbar").first).to_be_in_viewport()

    done = home / "runs" / "20200101-000000-demo-cnn-abcd"
    shutil.copytree(template.folder, done)
    opened(page, dashboard, Run(done))
    for width, height in ((1280, 900), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        for text in ("Test accuracy", "Hear its mistakes", "Classify with it"):
            expect(page.get_by_text(text, exact=True)).to_be_in_viewport()

    go(page, dashboard, "runs?state=done")  # with every button above the table
    table = page.get_by_test_id("stDataFrame").first
    table.hover()
    toolbar = page.get_by_test_id("stElementToolbar").first.bounding_box()
    assert toolbar is not None
    fields = page.locator(".st-key-run_filters").locator("button, input, [role=combobox]")
    for field in fields.all():
        box = field.bounding_box()
        assert box is None or box["y"] + box["height"] <= toolbar["y"]
    assert page.locator(".st-key-run_filters").bounding_box()["height"] < 230  # type: ignore[index]


def test_a_log_of_fifty_megabytes_is_searched_and_downloaded(
    page: Page,
    dashboard: Dashboard,
    live: Live,
    tmp_path: Path,
) -> None:
    live.end("stopped")
    line = "12:00:00 a line as a log has many of them, number {:9d}\n"
    text = "".join(line.format(k) for k in range(50 * 2**20 // len(line.format(0))))
    (live.run.folder / LOG).write_text(text)
    opened(page, dashboard, live.run, view="log")
    field = page.get_by_role("textbox", name="Search the log")
    field.fill("NUMBER    123456")
    field.press("Enter")
    expect(page.get_by_text("1 line contains")).to_be_visible()
    with page.expect_download() as loading:
        page.get_by_test_id("stDownloadButton").get_by_role("button").click()
    loading.value.save_as(tmp_path / "log.txt")
    assert (tmp_path / "log.txt").stat().st_size == len(text)
