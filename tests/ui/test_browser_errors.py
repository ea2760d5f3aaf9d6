"""The page Errors in a real browser: a cell is clicked, and its clips can be heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from browsing import IN_A_SECOND_BROWSER, Dashboard, go
from conftest import TINY, trained, wait_for
from playwright.sync_api import Page, expect

from genrecore.config.run import RunConfig, with_values
from genrecore.evaluation import embeddings, metrics
from genrecore.store.run import Run
from genrecore.training.resolve import resolve

pytestmark = IN_A_SECOND_BROWSER

# Where a cell of the confusion matrix is on the screen.
PLACE = """([row, column]) => {
  const plot = document.querySelector('[role="figure"][aria-label^="Confusion"] .js-plotly-plot');
  const drag = plot.querySelector('.nsewdrag').getBoundingClientRect();
  const {xaxis, yaxis} = plot._fullLayout;
  return [drag.x + xaxis.d2p(column), drag.y + yaxis.d2p(row)];
}"""


# Where a clip's point is on the map.
POINT = """(clip) => {
  const plot = document.querySelector('[role="figure"][aria-label^="Map of"] .js-plotly-plot');
  const drag = plot.querySelector('.nsewdrag').getBoundingClientRect();
  const {xaxis, yaxis} = plot._fullLayout;
  for (const trace of plot._fullData) {
    for (const [k, data] of (trace.customdata || []).entries()) {
      if (data[0] === clip) {
        return [drag.x + xaxis.d2p(trace.x[k]), drag.y + yaxis.d2p(trace.y[k])];
      }
    }
  }
}"""


@pytest.fixture(scope="module")
def run(home: Path) -> Run:
    """A run of one epoch in the server's store, its features in the server's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(home / "cache"))
        patch.setenv("GENRECORE_RUNS", str(home / "runs"))
        values = with_values(with_values(RunConfig(), TINY), {"training.epochs": 1})
        return trained(resolve(values).config, home / "runs")


@pytest.fixture
def page(visitor: Page) -> Page:
    """The same visitor for all tests of this file."""
    return visitor


def test_a_click_on_a_cell_lists_its_clips_and_one_plays(
    page: Page,
    dashboard: Dashboard,
    run: Run,
) -> None:
    table = run.predictions
    assert table is not None
    test = table[table["split"] == "test"]
    matrix = metrics.confusion(test, metrics.genres_in(test))
    cells = [
        (labelled, predicted, int(matrix.loc[labelled, predicted]))
        for labelled in matrix.index
        for predicted in matrix.columns
    ]
    go(page, dashboard, f"errors?run={run.run_id}")
    expect(page.get_by_role("heading", name="Hear it")).to_be_visible()
    page.wait_for_selector('[role="figure"][aria-label^="Confusion"] .js-plotly-plot .nsewdrag')
    for labelled, predicted, n in [cell for cell in cells if cell[2]][-2:]:
        x, y = page.evaluate(PLACE, [str(labelled), str(predicted)])
        page.mouse.move(x - 3, y - 3)
        page.mouse.click(x, y)
        sentence = page.get_by_text(f"{n} of {int(matrix.loc[labelled].sum())} {labelled} clips")
        expect(sentence).to_be_visible()
        page.wait_for_url(f"**labelled={labelled}**")
    # Nobody presses play: the first clip of the cell is heard at once.
    audio = page.locator(".st-key-player_mistake audio").first
    wait_for(lambda: audio.evaluate("audio => audio.currentTime > 0"))
    page.get_by_role("button", name="Pause").click()
    assert audio.evaluate("audio => audio.paused")

    # By keyboard: the boxes beside the matrix lead to the same lists.
    box = page.get_by_role("combobox", name="Labelled")
    box.focus()
    box.press("ArrowDown")
    box.press("Home")
    page.keyboard.press("Enter")
    first = str(matrix.index[0])
    expect(page.get_by_role("heading", name="Clips", exact=True)).to_be_visible()
    expect(page.get_by_text(f"{int(matrix.loc[first].sum())} {first} clips")).to_be_visible()


def test_a_cell_on_a_run_s_page_opens_its_clips(
    page: Page,
    dashboard: Dashboard,
    run: Run,
) -> None:
    genres = metrics.genres_in(run.predictions)
    go(page, dashboard, f"runs?run={run.run_id}")
    page.wait_for_selector('[role="figure"][aria-label^="Confusion"] .js-plotly-plot .nsewdrag')
    page.locator('[role="figure"][aria-label^="Confusion"]').scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # until nothing moves under the pointer
    x, y = page.evaluate(PLACE, [genres[0], genres[1]])
    page.mouse.move(x - 3, y - 3)
    page.mouse.click(x, y)
    page.wait_for_url(f"**/errors?**labelled={genres[0]}**")
    expect(page.get_by_role("heading", name="Errors")).to_be_visible()
    assert f"predicted={genres[1]}" in page.url
    assert f"run={run.run_id}" in page.url


def test_a_click_on_the_map_plays_the_clip(
    page: Page,
    dashboard: Dashboard,
    home: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GENRECORE_CACHE", str(home / "cache"))  # the server's own
    go(page, dashboard, f"errors?run={run.run_id}&view=map")
    page.get_by_role("button", name="Draw the map").click()
    page.wait_for_selector(
        '[role="figure"][aria-label^="Map of"] .js-plotly-plot .nsewdrag', timeout=90_000
    )
    projection = embeddings.read_map(run)
    assert projection is not None
    test = projection.points[projection.points["split"] == "test"]
    # The clip that lies farthest from the others, so that nothing covers it.
    places = test[["tsne_x", "tsne_y"]].to_numpy()
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(len(places))
    clip = str(test["clip_id"].iloc[int(apart.min(axis=1).argmax())])
    page.locator('[role="figure"][aria-label^="Map of"]').scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # until nothing moves under the pointer
    x, y = page.evaluate(POINT, clip)
    page.mouse.move(x - 2, y - 2)
    page.mouse.click(x, y)
    page.wait_for_url(f"**clip={clip}**")
    expect(page.get_by_text(clip, exact=True).first).to_be_visible()
    # Nobody presses play.
    player = page.get_by_role("group", name=f"Player: {clip}", exact=True)
    expect(player.get_by_role("button", name="Pause")).to_be_visible()
