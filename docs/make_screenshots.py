"""Screenshots of every page, in both themes, from the real server and a real browser.

    python docs/make_screenshots.py checkpoints            # 1280 pixels wide
    python docs/make_screenshots.py checkpoints --width 800
    python docs/make_screenshots.py /tmp/tutorial/runs --pages runs errors compare --run RUN \
        --most 1000 --prefix tutorial-                     # the pictures of the tutorial

Datasets and Sound show the demo music, which must have been made before
(`genrecore datasets prepare demo`).
Needs Debian's chromium (or another one, named by `--chromium`) and the `[test]` extra. The images
are in `docs/screenshots/` as `<page>-<theme>.png`.
"""

from __future__ import annotations

import argparse
import io
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))


def main() -> None:
    """Takes the screenshots."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("store", type=Path, help="folder of runs to show")
    parser.add_argument("--width", type=int, default=1280, help="of the window, in pixels")
    parser.add_argument("--most", type=int, default=6000, help="height of an image, in pixels")
    parser.add_argument("--prefix", default="", help="what the names of the images begin with")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots")
    parser.add_argument("--pages", nargs="*", default=PAGES, choices=PAGES)
    parser.add_argument("--themes", nargs="*", default=["light", "dark"])
    parser.add_argument("--run", default="", help="run that Runs and Errors show")
    parser.add_argument("--ask", default="", help="runs that Classify uses, with commas")
    parser.add_argument("--clip", type=Path, help="file to classify; by default a chord")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    queries = {
        "datasets": "dataset=demo&view=listen",
        "sound": "dataset=demo&genre=techno",
        "models": "model=resnet18",
        "papers": "study=qin",
        "runs": f"run={arguments.run}" if arguments.run else "",
        "errors": f"run={arguments.run}" if arguments.run else "",
        "classify": f"runs={arguments.ask}" if arguments.ask else "",
    }
    port = free_port()
    server = serve(arguments.store, port)
    try:
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
            clip = arguments.clip or chord(Path(folder) / "chord.wav")
            browser = playwright.chromium.launch(executable_path=arguments.chromium, args=FLAGS)
            for theme in arguments.themes:
                context = browser.new_context(
                    color_scheme=theme, viewport={"width": arguments.width, "height": 900}
                )
                for name in arguments.pages:
                    page = context.new_page()
                    address = "" if name == "overview" else name
                    page.goto(f"http://127.0.0.1:{port}/{address}?{queries.get(name, '')}")
                    settle(page)
                    if name == "classify" and page.locator("input[type=file]").count():
                        page.set_input_files("input[type=file]", str(clip))
                        page.get_by_text("were classified").wait_for(timeout=90_000)
                        settle(page)
                    suffix = "" if arguments.width == 1280 else f"-{arguments.width}"
                    path = arguments.out / f"{arguments.prefix}{name}-{theme}{suffix}.png"
                    shoot(page, path, arguments.width, arguments.most)
                    page.close()
                context.close()
            browser.close()
    finally:
        server.terminate()
        server.wait(timeout=20)


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(store: Path, port: int) -> subprocess.Popen[bytes]:
    """The dashboard's server, ready to answer."""
    server = subprocess.Popen(
        [
            sys.executable,
            *("-m", "streamlit", "run", "app.py"),
            *("--server.port", str(port), "--server.headless", "true"),
        ],
        cwd=ROOT,
        env=os.environ | {"GENRECORE_RUNS": str(store.absolute())},
        stdout=subprocess.DEVNULL,
    )
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).close()
            return server
        except OSError:
            time.sleep(0.1)
    server.terminate()
    raise SystemExit("The server did not start within 30 s.")


def settle(page: Page) -> None:
    """Waits until the page has run, its charts are drawn and nothing moves any more."""
    page.get_by_role("heading", level=1).wait_for(timeout=60_000)
    page.wait_for_function(
        "document.querySelector('[data-testid=\"stApp\"]').dataset.testScriptState !== 'running'"
        " && !document.querySelector('[data-testid=\"stSpinner\"]')",
        timeout=90_000,
    )
    page.wait_for_timeout(1500)


def shoot(page: Page, path: Path, width: int, most: int) -> None:
    """The page, or so many pixels from its top, as one image of 256 colours."""
    # The page scrolls inside its main section, so the window is made as high as that.
    for _ in range(2):  # a page without a scroll bar is laid out a little differently
        height = page.evaluate("document.querySelector('[data-testid=\"stMain\"]').scrollHeight")
        page.set_viewport_size({"width": width, "height": max(720, min(int(height), most))})
        page.wait_for_timeout(900)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def chord(path: Path, sample_rate_hz: int = 22_050) -> Path:
    """Twelve seconds of plucked broken chords, so that there is something to see."""
    seconds, beat_s = 12.0, 0.375
    wave = np.zeros(int(seconds * sample_rate_hz), dtype=np.float32)
    notes = [220.0, 277.2, 329.6, 440.0, 329.6, 277.2, 196.0, 246.9, 293.7, 392.0, 293.7, 246.9]
    for beat in range(int(seconds / beat_s)):
        start = int(beat * beat_s * sample_rate_hz)
        t = np.arange(min(len(wave) - start, int(0.9 * sample_rate_hz))) / sample_rate_hz
        tone = sum(np.sin(2 * np.pi * notes[beat % 12] * k * t) / k**1.5 for k in range(1, 9))
        wave[start : start + len(t)] += (0.16 * tone * np.exp(-4 * t)).astype(np.float32)
    soundfile.write(path, wave, sample_rate_hz)
    return path


if __name__ == "__main__":
    main()
