"""One server for a chain of browser tests; each file of them begins with an empty store."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT, TINY, trained, wait_for

from genrecore.config.run import RunConfig, with_values
from genrecore.jobs import actions as jobs
from genrecore.store import runs
from genrecore.store.locks import take_lock
from genrecore.store.processes import is_same_process
from genrecore.store.run import Run
from genrecore.store.status import ask_to_stop

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

_BROWSER = [pytest.mark.browser, pytest.mark.slow, pytest.mark.usefixtures("same_folders")]
# Two chains of about the same length, each with a worker and a server of its own.
IN_THE_BROWSER = [*_BROWSER, pytest.mark.xdist_group("browser")]
IN_A_SECOND_BROWSER = [*_BROWSER, pytest.mark.xdist_group("second browser")]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WINDOW = {"width": 1280, "height": 900}
# Goes to another address of the dashboard as the browser's button Back does: the scripts of the
# page, which cost seconds, are not loaded anew.
GO_BACK_TO = """(address) => {
  history.pushState({}, '', address);
  dispatchEvent(new PopStateEvent('popstate'));
}"""
# Nothing is quiet before the page has begun to run once more; a part of it may run already.
AWAIT_RUN = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  window.awaited = true;
  setTimeout(() => { window.awaited = false; }, 1500);
  new MutationObserver((_, observer) => {
    if (app.dataset.testScriptState !== 'running') return;
    window.awaited = false;
    observer.disconnect();
  }).observe(app, {attributes: true});
}"""
DRAWN = """() => !window.awaited
  && document.querySelector('[data-testid="stApp"]').dataset.testScriptState === 'notRunning'"""


class Dashboard:
    """The real server over folders of its own; it can be killed and started anew."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.start()

    def start(self) -> None:
        """Starts a server on a free port and returns when it answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
        with open(self.home / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [*command, "--server.port", str(port)],
                cwd=ROOT,
                env=os.environ | folders(self.home) | {"OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(self._answers, most_s=90)

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.home / "server.log").read_text()
        try:
            urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL: the server has no time for any last word."""
        self.process.kill()
        self.process.wait()


def folders(home: Path) -> dict[str, str]:
    """The environment that names a store and a cache below the folder."""
    return {"GENRECORE_RUNS": str(home / "runs"), "GENRECORE_CACHE": str(home / "cache")}


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server has its store and its cache."""
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def home(server_folder: Path) -> Iterator[Path]:
    """The server's folder without runs and uploads; runs still at work end with the module."""
    store = server_folder / "runs"
    shutil.rmtree(store, ignore_errors=True)
    shutil.rmtree(server_folder / "cache" / "uploads", ignore_errors=True)
    store.mkdir()
    yield server_folder
    for run in runs.all_runs(store):
        if run.alive:
            ask_to_stop(run.folder)
            until = time.monotonic() + 10
            while Run(run.folder).alive and time.monotonic() < until:
                time.sleep(0.1)
            last = Run(run.folder)
            if last.alive and is_same_process(last.status):
                os.kill(int(last.status["pid"]), signal.SIGKILL)
    runner = take_lock(store / jobs.RUNNER_LOCK, patience_s=20)  # the runner has ended
    assert runner is not None
    os.close(runner)


@pytest.fixture
def same_folders(_own_folders: None, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test does in its own process happens in the server's folders as well."""
    for name, folder in folders(home).items():
        monkeypatch.setenv(name, folder)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One chromium for all tests of a file; its loop would stand in the way of other files'."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(server_folder: Path, chromium: str) -> Iterator[Dashboard]:
    """One server for all tests."""
    (server_folder / "runs").mkdir(exist_ok=True)
    served = Dashboard(server_folder)
    yield served
    served.process.terminate()
    served.process.wait(timeout=20)


@pytest.fixture(scope="module")
def dashboard(home: Path, server: Dashboard) -> Dashboard:
    """The server over this file's store; it is started anew where a test left none."""
    if server.process.poll() is not None:
        server.start()
    return server


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A new visitor."""
    with new_visitor(browser) as page:
        yield page


@pytest.fixture(scope="module")
def visitor(browser: Browser, dashboard: Dashboard) -> Iterator[Page]:
    """One visitor for all tests of a file, who loads the pages' scripts once."""
    with new_visitor(browser) as page:
        yield page


@contextmanager
def new_visitor(browser: Browser) -> Iterator[Page]:
    """A new visitor, for whom nothing may be fetched from another machine."""
    context = browser.new_context(viewport=WINDOW, reduced_motion="reduce")
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    yield context.new_page()
    context.close()
    assert [
        url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))
    ] == []


@pytest.fixture
def done(home: Path) -> Run:
    """A run that is done; an earlier test's where there is one."""
    finished = [run for run in runs.all_runs(home / "runs") if run.state == "done"]
    if finished:
        return finished[0]
    return trained(resolved_tiny(), home / "runs")


def resolved_tiny() -> RunConfig:
    """The small configuration, resolved."""
    from genrecore.training.resolve import resolve

    return resolve(with_values(RunConfig(), TINY)).config


def go(page: Page, dashboard: Dashboard, address: str) -> None:
    """Goes to an address of the dashboard and waits until its page has been drawn; by Back where
    the visitor is there already."""
    if not page.url.startswith(dashboard.address):
        page.goto(f"{dashboard.address}/{address}")
        return
    page.evaluate(AWAIT_RUN)
    page.evaluate(GO_BACK_TO, f"{dashboard.address}/{address}")
    page.wait_for_function(DRAWN, polling=100)


def choose(page: Page, name: str, wanted: Locator) -> None:
    """Picks an option of the box of this name; a page that is drawn anew may close its list, which
    is then opened once more."""
    from playwright.sync_api import TimeoutError as TookTooLong

    def picked() -> bool:
        page.get_by_role("combobox", name=name, exact=True).click()
        try:
            wanted.click(timeout=3000)
        except TookTooLong:
            page.keyboard.press("Escape")
            return False
        return True

    wait_for(picked)
