"""The page Classify in a real browser: every format, the microphone, player and timeline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from browsing import FLAGS, IN_THE_BROWSER, WINDOW, Dashboard
from playwright.sync_api import Browser, Locator, Page, expect
from test_browser import click_row, prediction_on

from genrecore.inference import loaded as inference
from genrecore.store.run import Run
from genrecore.words import percent

pytestmark = IN_THE_BROWSER

RATE_HZ = 44_100
FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "au", "aiff", "m4a")


def music(seconds: float) -> np.ndarray:
    """Broken chords, (n_samples,) float32 at `RATE_HZ`."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    note = 220 * 2 ** (np.floor(4 * t) % 5 / 4)
    wave = sum(np.sin(2 * np.pi * note * k * t) / k**1.5 for k in range(1, 7))
    return (0.2 * wave * np.exp(-6 * (t % 0.25))).astype(np.float32)


def write(path: Path, wave: np.ndarray) -> Path:
    """The wave as a file of the kind that its name ends with."""
    kind = path.suffix[1:]
    if kind == "m4a":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=RATE_HZ)
            frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            frame.sample_rate, frame.time_base = RATE_HZ, Fraction(1, RATE_HZ)
            for packet in (*stream.encode(frame), *stream.encode(None)):
                container.mux(packet)
    elif kind == "opus":
        soundfile.write(path, wave[::2], 24_000, "OPUS", format="OGG")
    else:
        soundfile.write(path, wave, RATE_HZ)
    return path


def settled(page: Page) -> None:
    """Waits until the page's script has run to its end, doubts and all."""
    page.wait_for_timeout(300)  # until what was just done has begun to be looked at
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]').dataset.testScriptState"
        " === 'notRunning'",
        polling=100,
    )


# Left and right edge of the plot of the explained image, on the screen.
EDGES = """() => {
  const plot = document.querySelector('[role="figure"][aria-label^="Highlighted"] .js-plotly-plot');
  const {l, w} = plot._fullLayout._size, x = plot.getBoundingClientRect().x;
  return [x + l, x + l + w];
}"""


def player_on(page: Page, key: str) -> tuple[Locator, Locator]:
    """The sounds of a player and its position."""
    player = page.locator(f".st-key-player_{key}")
    return player.locator("audio"), player.get_by_role("slider", name="Position in")


def until(page: Page, audio: Locator, condition: str) -> None:
    """Waits until this holds of an audio element."""
    page.wait_for_function(f"(audio) => {condition}", arg=audio.element_handle(), polling=100)


def test_every_format_is_heard_and_the_timeline_steers_the_player(
    page: Page,
    dashboard: Dashboard,
    done: Run,
    tmp_path: Path,
) -> None:
    files = [write(tmp_path / f"song.{kind}", music(3.2)) for kind in FORMATS]
    page.goto(f"{dashboard.address}/classify?run={done.run_id}")
    page.locator("input[type=file]").set_input_files(files)
    loaded = inference.load(done)
    expect(prediction_on(page)).to_be_visible()
    expect(page.get_by_text(f"{len(files)} uploaded clips")).to_be_visible()
    expect(page.get_by_role("alert").filter(has_text="song.")).to_have_count(0)
    for path in (files[-1], files[5]):  # m4a, and au, which chromium itself does not play
        settled(page)
        click_row(page, files.index(path))
        expected = loaded.classify(path)
        text = f"{expected.genre} with {percent(expected.proba.max())}"
        expect(prediction_on(page, re.escape(text))).to_be_visible()
    audio, slider = player_on(page, "prediction")
    box = slider.bounding_box()
    assert box is not None
    slider.click(position={"x": 0.5 * box["width"], "y": box["height"] / 2})
    first_s, last_s = (float(slider.get_attribute(f"aria-value{k}") or 0) for k in ("min", "max"))
    seconds = last_s - first_s
    assert audio.evaluate("audio => audio.currentTime") == pytest.approx(seconds / 2, abs=0.05)
    assert audio.evaluate("audio => audio.readyState") == 0  # nothing is fetched before it plays
    prediction = loaded.classify(files[5])
    middle = prediction.segments[
        prediction.segments["start_s"] - prediction.start_s <= seconds / 2
    ].iloc[-1]
    best = max(prediction.genres, key=lambda genre: float(middle[f"p_{genre}"]))
    expect(slider).to_have_attribute("aria-valuetext", re.compile(re.escape(best)))
    slider.press("Home")
    slider.press("ArrowUp")
    assert audio.evaluate("audio => audio.currentTime") == pytest.approx(1.0, abs=0.01)
    slider.press(" ")
    until(page, audio, "audio.currentTime > 1.2")
    slider.press(" ")
    assert audio.evaluate("audio => audio.paused")
    moved = float(slider.get_attribute("aria-valuenow") or 0)
    assert moved - first_s == pytest.approx(audio.evaluate("audio => audio.currentTime"), abs=0.1)
    assert audio.evaluate("audio => audio.duration") == pytest.approx(seconds, abs=0.01)

    # The second player of the page: the segment that is explained, what decided, and the rest.
    parts, position = player_on(page, "why")
    slider.press(" ")
    until(page, audio, "!audio.paused")
    start_s = float(position.get_attribute("aria-valuemin") or 0)
    position.press("Home")
    position.press("l")
    position.press(" ")
    until(page, parts.first, "audio.currentTime > 0.1")
    assert audio.evaluate("audio => audio.paused")  # one sounds at a time
    position.press("b")
    until(page, parts.nth(1), "!audio.paused && audio.currentTime > 0.1")
    assert parts.first.evaluate("audio => audio.paused")
    volumes = parts.evaluate_all("audios => audios.map((audio) => audio.volume)")
    assert 0 < min(volumes) < 1
    assert parts.nth(1).evaluate("audio => audio.loop")  # "l" repeats everything
    position.press(" ")
    position.press("Home")
    position.press("ArrowUp")
    at = parts.nth(1).evaluate("audio => audio.currentTime")
    position.press("a")
    assert parts.first.evaluate("audio => audio.currentTime") == pytest.approx(at, abs=0.01)
    shown = float(position.get_attribute("aria-valuenow") or 0)
    assert shown == pytest.approx(start_s + at, abs=0.06)  # in the time of the song
    page.get_by_role("button", name="Equally loud").click()
    expect(page.get_by_role("button", name="Equally loud")).to_have_attribute(
        "aria-pressed", "false"
    )
    assert parts.evaluate_all("audios => audios.map((audio) => audio.volume)") != volumes

    # A drag along the times chooses the part that is looped; the image stands at the same edges.
    ruler = page.locator(".st-key-player_why .ruler").bounding_box()
    assert ruler is not None
    page.mouse.move(ruler["x"] + 0.2 * ruler["width"], ruler["y"] + 8)
    page.mouse.down()
    page.mouse.move(ruler["x"] + 0.4 * ruler["width"], ruler["y"] + 8, steps=3)
    page.mouse.up()
    expect(position).to_have_attribute("aria-valuetext", re.compile("part .*looped"))
    edges = page.evaluate(EDGES)
    assert edges == pytest.approx([ruler["x"], ruler["x"] + ruler["width"]], abs=1)
    position.press("End")
    position.press(" ")
    until(page, parts.first, "!audio.paused && audio.currentTime < 0.45 * audio.duration")


def test_a_part_of_a_song_too_long_to_play_is_chosen_on_the_strip_of_the_whole(
    page: Page,
    dashboard: Dashboard,
    done: Run,
    tmp_path: Path,
) -> None:
    song = tmp_path / "long song.wav"
    soundfile.write(song, np.tile(music(10.0)[::8], 66), RATE_HZ // 8, subtype="PCM_U8")
    page.goto(f"{dashboard.address}/classify?run={done.run_id}")
    page.locator("input[type=file]").set_input_files(song)
    player = page.locator(".st-key-player_prediction")
    strip, slider = player.locator(".strip"), player.get_by_role("slider")
    expect(slider).to_have_attribute("aria-valuemin", re.compile("^32[89]"))  # its middle
    settled(page)
    box = strip.bounding_box()
    assert box is not None
    strip.hover(position={"x": 0.25 * box["width"], "y": 9})
    page.mouse.down()
    strip.hover(position={"x": 0.3 * box["width"], "y": 9})
    page.mouse.up()
    expect(slider).to_have_attribute("aria-valuemin", re.compile("^16[456]"))
    low, high = (float(slider.get_attribute(f"aria-value{end}") or 0) for end in ("min", "max"))
    assert high - low == pytest.approx(0.05 * 660, abs=2.0)  # a pixel is about a second
    expect(player.get_by_role("img")).to_have_attribute(
        "aria-label", re.compile(r"0:00 to 11:00; 2:4\d to 3:1\d was classified")
    )
    settled(page)
    strip.click(position={"x": box["width"] / 2, "y": 9})  # the same length, around the click
    expect(slider).to_have_attribute("aria-valuemin", re.compile("^31[234]"))
    moved = float(slider.get_attribute("aria-valuemax") or 0) - 313
    assert moved == pytest.approx(high - low, abs=2.0)
    assert "start=" in page.url

    # A click on a section of the whole recording leads to its beginning.
    settled(page)
    page.get_by_text("The whole recording", exact=True).click()
    sections = page.locator("[class*=st-key-sections_]").get_by_test_id("stDataFrame")
    more = page.get_by_role("button", name="Classify all of it")
    expect(sections.or_(more).first).to_be_visible()
    if more.is_visible():  # a slow machine is asked first
        more.click()
    expect(sections).to_be_visible()
    settled(page)
    sections.scroll_into_view_if_needed()
    sections.click(position={"x": 60, "y": 35 + 17})  # the first: rows and head are 35 px high
    expect(slider).to_have_attribute("aria-valuemin", re.compile(r"^0(\.0)?$"))
    assert "start=0" in page.url


@pytest.fixture
def microphone(chromium: str, browser: Browser) -> Iterator[Page]:
    """A visitor whose browser has a microphone: chromium's own, which beeps."""
    more = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    # The same playwright as the other browser's: there is one a thread.
    alone = browser.browser_type.launch(executable_path=chromium, args=[*FLAGS, *more])
    context = alone.new_context(viewport=WINDOW, reduced_motion="reduce")
    yield context.new_page()
    alone.close()


def test_a_recording_of_the_microphone_is_classified(
    microphone: Page,
    dashboard: Dashboard,
    done: Run,
    home: Path,
) -> None:
    page = microphone
    page.goto(f"{dashboard.address}/classify?run={done.run_id}&from=microphone")
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(2500)
    page.get_by_role("button", name="Stop recording", exact=True).click()
    expect(prediction_on(page)).to_be_visible()
    (recording,) = [
        path
        for path in (home / "cache" / "uploads").glob("*.clip")
        if path.read_bytes()[:4] == b"RIFF" and soundfile.info(path).samplerate == RATE_HZ
        and 1.5 < soundfile.info(path).duration < 3.1
    ]  # fmt: skip
    assert soundfile.info(recording).channels >= 1
