"""The page Errors in a real browser: a cell is clicked, and its clips can be heard."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import TINY, trained
from playwright.sync_api import Page, expect
from test_browser import (  # noqa: F401  (fixtures: the same server and browser)
    Dashboard,
    _same_folders,
    browser,
    dashboard,
    home,
    page,
)

from genrecore import classifier, metrics
from genrecore.config import RunConfig, with_values

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

# Where a cell of the confusion matrix is on the screen.
PLACE = """([row, column]) => {
  const plot = document.querySelector('[role="figure"][aria-label^="Confusion"] .js-plotly-plot');
  const drag = plot.querySelector('.nsewdrag').getBoundingClientRect();
  const {xaxis, yaxis} = plot._fullLayout;
  return [drag.x + xaxis.d2p(column), drag.y + yaxis.d2p(row)];
}"""


def test_a_click_on_a_cell_lists_its_clips_and_one_plays(
    page: Page,  # noqa: F811
    dashboard: Dashboard,  # noqa: F811
    home: Path,  # noqa: F811
) -> None:
    config = classifier.resolve(with_values(with_values(RunConfig(), TINY), {"training.epochs": 1}))
    run = trained(config, home / "runs")
    table = run.predictions
    assert table is not None
    test = table[table["split"] == "test"]
    matrix = metrics.confusion(test, metrics.genres_in(test))
    cells = [
        (labelled, predicted, int(matrix.loc[labelled, predicted]))
        for labelled in matrix.index
        for predicted in matrix.columns
    ]
    page.goto(f"{dashboard.address}/errors?run={run.run_id}")
    expect(page.get_by_role("heading", name="Hear it")).to_be_visible()
    page.wait_for_selector('[role="figure"][aria-label^="Confusion"] .js-plotly-plot .nsewdrag')
    for labelled, predicted, n in [cell for cell in cells if cell[2]][-2:]:
        x, y = page.evaluate(PLACE, [str(labelled), str(predicted)])
        page.mouse.move(x - 3, y - 3)
        page.mouse.click(x, y)
        said = page.get_by_text(f"{n} of {int(matrix.loc[labelled].sum())} {labelled} clips")
        expect(said).to_be_visible()
        page.wait_for_url(f"**labelled={labelled}**")
    player = page.locator("audio").first
    player.click(position={"x": 22, "y": 20})  # the button of the browser's own controls
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0.2")

    # By keyboard: the boxes beside the matrix lead to the same lists.
    box = page.get_by_role("combobox", name="Labelled")
    box.focus()
    box.press("ArrowDown")
    box.press("Home")
    page.keyboard.press("Enter")
    first = str(matrix.index[0])
    expect(page.get_by_role("heading", name="Clips")).to_be_visible()
    expect(page.get_by_text(f"{int(matrix.loc[first].sum())} {first} clips")).to_be_visible()
