"""The page Records in a real browser: our run stands among the published results."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from browsing import IN_A_SECOND_BROWSER, Dashboard
from fake_runs import fake_run
from playwright.sync_api import Page, expect

from genrecore.reporting.plots.chart import GREY

pytestmark = IN_A_SECOND_BROWSER

GENRES = [f"genre {k}" for k in range(10)]
# Name and colour of what is drawn in a chart, and how many points it has.
TRACES = """(figure) => figure.querySelector('.js-plotly-plot')._fullData
  .filter(trace => trace.mode === 'markers')
  .map(trace => [trace.marker.color, trace.x.length, !!trace.error_x.visible])"""


def test_our_run_stands_among_the_published_results_and_random_splits_apart(
    page: Page, dashboard: Dashboard, home: Path
) -> None:
    clips, ours = np.arange(1000), {"dataset": "gtzan", "genres": GENRES}
    fake_run(home / "runs", clips[:290] < 250, clips[:290], split="fault_filtered", **ours)
    fake_run(home / "runs", clips < 800, n_shared=5, split="stratified", **ours)
    page.goto(dashboard.address)
    page.get_by_role("link", name="Records").click()
    headings = page.get_by_role("heading", level=2)
    expect(headings).to_have_text(["GTZAN, fault-filtered", "Random splits"])
    for sentence in (
        r"cnn · gtzan, 86\.2 % \(.* to .* %, 1 seed\), cannot be told apart from the record",
        r"cnn · gtzan \(leak\), 80\.0 % \(.* to .* %, 1 seed\), is .* below the record",
    ):
        expect(page.get_by_text(re.compile(sentence))).to_be_visible()
    figures = page.get_by_role("figure", name="Accuracies on gtzan")
    for number, accuracy in enumerate(("86.2 %", "80.0 %")):
        figure = figures.nth(number)
        figure.scroll_into_view_if_needed()
        figure.locator(".js-plotly-plot .nsewdrag").wait_for()
        *published, own = figure.evaluate(TRACES)
        assert own[1:] == [1, True]
        assert {trace[0] == GREY for trace in published} == {number == 1}
        assert sum(trace[1] for trace in published) > 3
        expect(figure).to_have_attribute("aria-label", re.compile(f"\\(yours\\) {accuracy}"))
