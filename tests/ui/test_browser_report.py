"""Reports in a real browser: without network, in both themes, on paper; and how one gets them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from browsing import IN_A_SECOND_BROWSER, Dashboard
from fake_runs import draw_right, fake_run
from playwright.sync_api import Browser, Page, expect
from test_report import NASTY, nasty_runs

from genrecore.evaluation import comparison, metrics
from genrecore.evaluation.scores import run_scores
from genrecore.reporting import html as report
from genrecore.words import percent

pytestmark = IN_A_SECOND_BROWSER

ROWS = """id => [...document.querySelectorAll(`#${CSS.escape(id)} tbody tr`)].map(
  row => [...row.cells].map(cell => cell.textContent))"""
DRAWN = "html[data-drawn=yes]"


@pytest.fixture
def offline(browser: Browser) -> Iterator[Page]:
    """A visitor without network; nothing may be asked for, and nothing may go wrong in scripts."""
    context = browser.new_context(
        offline=True, color_scheme="light", viewport={"width": 1280, "height": 900}
    )
    requests: list[str] = []
    wrong: list[str] = []
    context.on("request", lambda request: requests.append(request.url))
    opened = context.new_page()
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    yield opened
    context.close()
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert wrong == []


def test_a_report_opens_offline_and_its_numbers_are_the_stores(
    offline: Page,
    home: Path,
    tmp_path: Path,
) -> None:
    runs = nasty_runs(home / "runs")
    path = report.write(runs, tmp_path / "out.html", title="<b>A</b> & B")
    offline.goto(path.as_uri())
    offline.wait_for_selector(DRAWN)
    assert offline.evaluate("window.stolen") is None
    assert offline.locator("h1").text_content() == "<b>A</b> & B"

    compared = comparison.compare(runs)
    sentences = offline.locator("#verdicts .verdicts li").all_text_contents()
    assert sentences == compared.pairs["sentence"].tolist()
    rows = offline.evaluate(ROWS, "table-scores")
    for run, row in zip(runs, rows, strict=True):
        scores = run_scores(run)
        low, high = percent(scores["accuracy_low"]), percent(scores["accuracy_high"])
        assert row[:4] == [run.title, "120", percent(scores["accuracy"]), f"{low} to {high}"]
        counts = metrics.confusion(run.predictions, list(NASTY.values()))
        cells = offline.evaluate(ROWS, f"table-confusion-{run.run_id}")
        assert [row[0] for row in cells] == list(NASTY.values())
        assert [[int(n) for n in row[1:]] for row in cells] == counts.to_numpy().tolist()
        counts_in_figure = offline.evaluate(
            "name => document.querySelector(`[data-figure='${name}']`).data[0].customdata",
            f"confusion-{run.run_id}",
        )
        assert counts_in_figure == counts.to_numpy().tolist()
    genres = offline.evaluate(ROWS, "table-genres")
    assert [row[1] for row in genres] == list(NASTY.values()) * 2
    assert [row[3] for row in genres] == [percent(v) for v in compared.per_genre["recall"]]
    (protocol, _) = offline.evaluate(ROWS, "table-protocol")
    assert protocol[-1] == "It <b>leaks</b> & how."

    # Every figure is drawn, and its names are text there, too.
    n_figures = len(report.figures(compared))
    assert offline.locator(".plot .main-svg").first.is_visible()
    assert offline.locator(".plot[data-theme=light]").count() == n_figures
    ticks = offline.locator("[data-figure=genres] .xtick text").all_text_contents()
    assert [" ".join(text.split()) for text in ticks] == sorted(NASTY.values())

    # The theme follows the reader's, and paper is white.
    ink = "document.querySelector('[data-figure=scores]')._fullLayout.font.color"
    light = offline.evaluate(ink)
    offline.emulate_media(color_scheme="dark")
    expect(offline.locator(".plot[data-theme=dark]")).to_have_count(n_figures)
    assert offline.evaluate(ink) != light
    offline.emulate_media(color_scheme="dark", media="print")
    expect(offline.locator(".plot[data-theme=light]")).to_have_count(n_figures)
    assert offline.evaluate(ink) == light
    ground = offline.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    offline.emulate_media(color_scheme="light", media="screen")

    # A figure saves itself.
    offline.locator("[data-figure=scores]").hover()
    for format_, begins in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with offline.expect_download() as awaited:
            offline.locator(f"[data-figure=scores] [data-title='Save as {format_}']").click()
        assert awaited.value.suggested_filename == f"genrecore-scores.{format_.lower()}"
        assert Path(awaited.value.path()).read_bytes().startswith(begins)


@pytest.mark.long
def test_the_page_compare_hands_out_report_tables_and_figures(
    page: Page,
    dashboard: Dashboard,
    home: Path,
    tmp_path: Path,
) -> None:
    a, b = (fake_run(home / "runs", draw_right(0.7, 90, k), seed=k) for k in range(2))
    page.goto(f"{dashboard.address}/compare?runs={a.run_id},{b.run_id}&view=scores")
    with page.expect_download() as awaited:
        page.get_by_role("button", name="Report").click()
    assert awaited.value.suggested_filename.endswith("-report.html")
    text = Path(awaited.value.path()).read_text(encoding="utf-8")
    assert comparison.compare([a, b]).pairs["sentence"].item() in text
    with page.expect_download() as awaited:
        page.get_by_role("button", name="Tables").click()
    with zipfile.ZipFile(awaited.value.path()) as archive:
        scores = pd.read_csv(io.BytesIO(archive.read("scores.csv")))
    assert scores["accuracy"].tolist() == [run_scores(run)["accuracy"] for run in (a, b)]

    # The figure's own button.
    figure = page.locator('[role="figure"][aria-label^="Test accuracy"]')
    figure.hover()
    with page.expect_download() as awaited:
        figure.locator(".modebar-btn").first.click()
    assert awaited.value.suggested_filename.startswith("genrecore-")
    assert awaited.value.suggested_filename.endswith(".svg")
    assert "<svg" in Path(awaited.value.path()).read_text(encoding="utf-8")[:200]


@pytest.mark.long
def test_figures_are_drawn_by_command(home: Path, tmp_path: Path, chromium: str) -> None:
    runs = [fake_run(home / "runs", draw_right(0.7, 90, k), seed=k) for k in range(2)]
    compared = comparison.compare(runs)
    paths = report.write_figures(compared, tmp_path / "figures")
    names = [figure.name for figure in report.figures(compared)]
    assert sorted(path.name for path in paths) == sorted(
        f"{name}.{ending}" for name in names for ending in ("svg", "png")
    )
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {p.name for p in paths}
    for path in paths:
        begins = path.read_bytes()[:4]
        assert begins in (b"<svg", b"\x89PNG")
    scores = (tmp_path / "figures" / "scores.svg").read_text(encoding="utf-8")
    for run in runs:
        assert run.title in scores
        assert percent(run_scores(run)["accuracy"]) in scores
