"""A stranger's clock, with a real browser: seconds and clicks.

From an empty store to the first prediction for an uploaded song (drop it, one click, the demo music
is made, the first run is trained, the prediction appears by itself), and from pressing *Train* on
the form to the first point of the curve, with the data prepared. Caches are empty at the beginning.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import soundfile
from playwright.sync_api import Page, expect, sync_playwright

_MOST_S = 1800
_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu"]


class Clock:
    """Counts clicks and seconds of one way through the pages."""

    def __init__(self, title: str) -> None:
        """Starts it; `title` is printed with the result."""
        self._title, self._began, self._n_clicks = title, time.perf_counter(), 0

    def click(self, page: Page, role: str, name: str) -> None:
        """Clicks once."""
        page.get_by_role(role, name=name, exact=True).click()  # type: ignore[arg-type]
        self._n_clicks += 1

    def stop(self) -> None:
        """Prints what it took."""
        took_s = time.perf_counter() - self._began
        print(f"{self._title:48s} {self._n_clicks} clicks, {took_s:.0f} s")


def main() -> None:
    """Prints clicks and seconds of both ways."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    expect.set_options(timeout=1000 * _MOST_S)
    with tempfile.TemporaryDirectory(prefix="genrecore-first-hour-") as folder:
        server = _serve(Path(folder))
        try:
            with sync_playwright() as playwright:
                path = shutil.which("chromium")
                browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                address = _address(server)
                _first_prediction(page, address, _song(Path(folder)))
                _first_curve(page, address)
                browser.close()
        finally:
            _end(server)


def _serve(folder: Path) -> subprocess.Popen[str]:
    """The dashboard over an empty store and an empty cache; its next line names the address."""
    own = {"GENRECORE_RUNS": str(folder / "runs"), "GENRECORE_CACHE": str(folder / "cache")}
    server = subprocess.Popen(
        [sys.executable, "-m", "genrecore", "dashboard", "--port", "0"],
        env=os.environ | own,
        stdout=subprocess.PIPE,
        text=True,
    )
    server.stdout.readline()  # type: ignore[union-attr]  # an empty line
    return server


def _address(server: subprocess.Popen[str]) -> str:
    """The address in the server's next line, once it answers there."""
    address = str(server.stdout.readline()).split()[1]  # type: ignore[union-attr]
    while True:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return address


def _end(server: subprocess.Popen[str]) -> None:
    """Ends the server, the runner and the run that is still at work."""
    children = psutil.Process(server.pid).children(recursive=True)
    server.terminate()
    server.wait(timeout=30)
    for child in children:
        if child.is_running():
            child.kill()


def _song(folder: Path) -> Path:
    """Twenty seconds of a chord with a beat."""
    time_s = np.arange(20 * 22_050) / 22_050
    wave = sum(0.1 * np.sin(2 * np.pi * hz * time_s) for hz in (220.0, 277.2, 329.6))
    soundfile.write(folder / "song.wav", wave * (0.4 + 0.6 * (time_s % 0.5 < 0.1)), 22_050)
    return folder / "song.wav"


def _first_prediction(page: Page, address: str, song: Path) -> None:
    clock = Clock("empty store to the first prediction for a song")
    page.goto(address)
    page.locator("input[type=file]").set_input_files(song)
    clock.click(page, "button", "Train on the demo music and classify it")
    expect(page.get_by_role("heading", name=re.compile("^Your song: "))).to_be_visible()
    clock.stop()


def _first_curve(page: Page, address: str) -> None:
    page.goto(f"{address}/train")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_visible()
    clock = Clock("Train, pressed on the form, to the first curve")
    clock.click(page, "button", "Train")
    curve = page.locator('[role="figure"][aria-label^="Line chart of accuracy"]')
    expect(curve.first).to_be_visible()
    clock.stop()


if __name__ == "__main__":
    main()
