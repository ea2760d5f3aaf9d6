"""Every page for everybody: axe-core, names, headings, targets and widths, in both themes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from browsing import AWAIT_RUN, IN_A_SECOND_BROWSER, WINDOW, Dashboard, go
from conftest import ROOT, TINY, trained
from playwright.sync_api import Browser, Page
from sounds import falling_tone

from genrecore.config.run import RunConfig, with_values
from genrecore.data.datasets.remembered import remember
from genrecore.training.resolve import resolve

pytestmark = IN_A_SECOND_BROWSER

QUERIES = {"datasets": "dataset=demo&view=listen", "sound": "dataset=demo", "papers": "view=recipe",
           "settings": "profile=new"}  # fmt: skip
"""What an address needs for its page to show all it has."""

# Themes and widths; 640 pixels are what a window of 1280 shows at 200 %.
ALL_VIEWS = (("light", 1280), ("light", 640), ("light", 390), ("dark", 1280), ("dark", 390))
VIEWS = (("light", 1280), ("light", 390))
DARK = {"compare", "classify", "overview"}
"""Pages whose dark view is looked at every time: charts, a verdict and a timeline, a start."""

# Streamlit draws its menu as lists with headings between their items.
STREAMLITS_OWN = {
    "list": '[data-testid="stSidebarNavItems"]',
    "listitem": '[data-testid="stSidebarNavItems"] li',
}
AXE = """async ([own, rules]) => {
  const results = await axe.run(
    {exclude: ['.js-plotly-plot svg']},  // thousands of marks; charts have names, tested below
    {resultTypes: ['violations'], iframes: false, preload: false,
      ...(rules.length && {runOnly: rules})});
  return results.violations
    .filter(({impact}) => impact === 'serious' || impact === 'critical')
    .flatMap(({id, nodes}) => nodes.map(({target, html, any}) => ({
      id, html, why: any[0]?.message ?? '', target: target.flat().join(' ')})))
    .filter(({id, target}) => !(id in own && document.querySelector(target)?.matches(own[id])));
}"""
# What axe-core does not look at.
OTHERS = """() => {
  const shown = (element) => element.checkVisibility() && element.getBoundingClientRect().width > 1;
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
  const levels = all('h1, h2, h3, h4, h5, h6').map((heading) => [
    Number(heading.tagName[1]), heading.innerText]);
  const main = document.querySelector('[data-testid="stMain"]');
  return {
    jumps: levels.filter(([level], k) => level > (k ? levels[k - 1][0] : 0) + 1),
    unnamed: all('.js-plotly-plot').filter(
      (chart) => !chart.closest('[role="figure"][aria-label]')).length,
    small: all('[data-testid="stMain"] :is(button, [role="slider"], [role="tab"], summary)')
      .map((target) => [target.getBoundingClientRect(), target])
      .filter(([{width, height}]) => Math.min(width, height) < 23.5)  // half a pixel is rounding
      .map(([{width, height}, target]) =>
        `${width} x ${height}: ${target.getAttribute('aria-label') ?? target.innerText}`),
    cut: all('label, h1, h2, h3, h4, button, summary, [role="tab"], [data-testid="stMetric"]')
      .flatMap((element) => [element, ...element.querySelectorAll('*')])
      .filter((element) => element.innerText?.trim() && element.clientWidth > 1
        && getComputedStyle(element).overflowX !== 'visible'
        && element.scrollWidth > element.clientWidth + 1)
      .map((element) => element.innerText),
    outside: all('[data-testid="stMain"] :is(button, [data-testid="stWidgetLabel"])')
      .filter((element) => element.innerText.trim() && element.getBoundingClientRect().right
        > (element.closest('[data-testid="stElementContainer"]') ?? document.body)
          .getBoundingClientRect().right + 1)
      .map((element) => element.innerText),
    longer: all('.js-plotly-plot :is(.gtitle, .xtitle)')
      .filter((title) => title.getBoundingClientRect().right
        > title.closest('.js-plotly-plot').getBoundingClientRect().right + 1)
      .map((title) => title.textContent),
    // What shows itself only under the mouse is not met by it; of a slider the thumb is grasped.
    covered: all('[data-testid="stMain"] :is(button, input, textarea, a[href])')
      .filter((target) => target.checkVisibility({opacityProperty: true})
        && !target.closest('[data-testid="stElementToolbar"], [data-testid="stCode"]')
        && !target.closest('[data-testid="stSlider"]'))
      .filter((target) => {
        target.scrollIntoView({block: 'center'});
        const {x, y, width, height} = target.getBoundingClientRect();
        const top = document.elementFromPoint(x + width / 2, y + height / 2);
        return top && !(target.closest('label') ?? target).contains(top) && !top.contains(target);
      }).map((target) => target.getAttribute('aria-label') || target.innerText),
    wider: Math.max(
      main.scrollWidth - main.clientWidth, document.scrollingElement.scrollWidth - innerWidth, 0),
  };
}"""
# Texts of charts that stand out too little from the page; those on a matrix's cells are tested
# without a browser.
FAINT = """() => {
  const light = (colour) => colour.match(/[0-9.]+/g).slice(0, 3)
    .map((part) => part / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0.05);
  const app = document.querySelector('[data-testid="stApp"]');
  const page = light(getComputedStyle(app).backgroundColor);
  return [...document.querySelectorAll('.js-plotly-plot svg text')]
    .filter((text) => text.textContent.trim() && text.checkVisibility()
      && !(text.closest('.scatterlayer') && text.closest('svg').querySelector('.heatmaplayer .hm')))
    .map((text) => [text.textContent, light(getComputedStyle(text).fill)])
    .filter(([, ink]) => Math.max(ink, page) / Math.min(ink, page) < 4.5)
    .map(([words]) => words);
}"""
NAME = "(element.getAttribute('aria-label') || element.innerText || '').trim()"
# What the page offers to a mouse, from top to bottom.
REACHABLE = f"""() => [...document.querySelectorAll('a[href], button:enabled')]
  .filter((element) => element.tabIndex >= 0
    && element.checkVisibility({{visibilityProperty: true}}))
  .map((element) => {NAME})"""
# What has the focus, and whether it can be seen.
FOCUSED = f"""() => {{
  const element = document.activeElement, style = getComputedStyle(element);
  return [{NAME}, style.outlineStyle !== 'none' || style.boxShadow !== 'none'];
}}"""
# Nothing has changed for a while since this view was asked for.
QUIET = """([view, most]) => {
  const app = document.querySelector('[data-testid="stApp"]');
  const main = document.querySelector('[data-testid="stMain"]');
  const ready = app?.dataset.testScriptState !== 'running' && document.querySelector('h1')
    && !window.awaited
    && !document.querySelector('[data-testid="stSpinner"], [data-testid="stSkeleton"]');
  const now = [view, document.body.innerHTML.length, main?.scrollWidth].join();
  const since = window.quiet?.now === now ? window.quiet.since : performance.now();
  window.quiet = {now, since};
  return ready && performance.now() - since > most;
}"""


def settle(page: Page, view: str, quiet_ms: int = 200) -> None:
    """Waits until nothing on the page has changed for a while."""
    page.wait_for_function(QUIET, arg=[view, quiet_ms], polling=100)


@pytest.fixture(scope="module")
def store(home: Path) -> Path:
    """Runs to show: two of one system, and one whose split shares artists."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(home / "cache"))
        for values in (
            {"seed": 0},
            {"seed": 1},
            {"split.name": "stratified", "allow_leaks": True},
        ):
            config = resolve(with_values(RunConfig(), TINY | values)).config
            trained(config, home / "runs")
        remember("demo", config.dataset.options)
    return home / "runs"


@pytest.fixture(scope="module")
def song(store: Path) -> Path:
    """A clip to classify, longer than the runs take at once."""
    path = store.parent / "a song of seven seconds.wav"
    path.write_bytes(falling_tone(7.0))
    return path


@pytest.fixture(scope="module")
def visitor(browser: Browser, dashboard: Dashboard, store: Path) -> Iterator[Page]:
    """One visitor for all pages."""
    context = browser.new_context(viewport=WINDOW, reduced_motion="reduce")
    context.add_init_script(AXE_SCRIPT)
    yield context.new_page()
    context.close()


every_page = pytest.mark.parametrize(
    "name", sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
)


@every_page
def test_a_page_can_be_used_by_everybody(
    visitor: Page, dashboard: Dashboard, song: Path, name: str
) -> None:
    """Another theme changes colours alone and another width the layout: what does not depend on
    them is looked at once."""
    opened(visitor, dashboard, song, name, is_new=False)
    views = (*VIEWS, ("dark", 1280)) if name in DARK else VIEWS
    assert faults_on(visitor, views, every_rule=False) == {}


@pytest.mark.long
@every_page
def test_a_page_obeys_every_rule_in_both_themes(
    visitor: Page, dashboard: Dashboard, song: Path, name: str
) -> None:
    opened(visitor, dashboard, song, name, is_new=True)
    assert faults_on(visitor, ALL_VIEWS, every_rule=True) == {}


def test_an_open_menu_s_button_can_be_read_in_the_dark(visitor: Page, dashboard: Dashboard) -> None:
    visitor.emulate_media(color_scheme="dark")
    visitor.goto(f"{dashboard.address}/runs")
    button = visitor.get_by_role("button", name="Import a run")
    button.click()
    visitor.get_by_text("Shared run", exact=True).wait_for()
    assert visitor.evaluate(AXE, [STREAMLITS_OWN, ["color-contrast"]]) == []


def opened(visitor: Page, dashboard: Dashboard, song: Path, name: str, is_new: bool) -> None:
    """Goes to a page and waits until all of it is there; as a new visitor, or from another page."""
    visitor.emulate_media(color_scheme="light")
    visitor.set_viewport_size({"width": 1280, "height": 900})
    path = "" if name == "overview" else name
    address = f"{path}?{QUERIES.get(name, '')}"
    if is_new:
        visitor.goto(f"{dashboard.address}/{address}")
    else:
        if visitor.url.startswith(dashboard.address):
            settle(visitor, "light again")  # charts are drawn in the theme that is on by then
        go(visitor, dashboard, address)
    if name == "classify":  # with a verdict
        visitor.set_input_files("input[type=file]", song)
        visitor.get_by_text("were classified").wait_for()
    settle(visitor, "opened", 400)


def faults_on(
    visitor: Page, views: tuple[tuple[str, int], ...], every_rule: bool
) -> dict[str, Any]:
    """What is wrong with the page in these views, the light ones first."""
    faults: dict[str, Any] = {}
    was = "light"
    for theme, width in views:
        visitor.emulate_media(color_scheme=theme)
        visitor.set_viewport_size({"width": width, "height": 900})
        settle(visitor, f"{theme} {width}")
        if theme != was:  # charts take the theme when the page is drawn anew
            was = theme
            visitor.evaluate(AWAIT_RUN)
            visitor.keyboard.press("r")
            settle(visitor, "drawn anew")
        if width != 640 and (every_rule or width == 1280):
            rules = [] if theme == "light" or every_rule else ["color-contrast"]
            for violation in visitor.evaluate(AXE, [STREAMLITS_OWN, rules]):
                faults[f"{theme}, {width}, {violation['id']}, {violation['target']}"] = violation
            if faint := visitor.evaluate(FAINT):
                faults[f"{theme}, {width}, texts of charts"] = faint
        for kind, value in visitor.evaluate(OTHERS).items() if theme == "light" else ():
            if value:
                faults[f"{width}, {kind}"] = value
    players = visitor.locator("audio")  # also inside shadow roots
    if players.evaluate_all("(all) => all.some((audio) => !audio.closest('[aria-label]'))"):
        faults["players"] = "one has no name"
    return faults


def test_the_keyboard_reaches_everything_in_its_order_and_shows_where_it_is(
    visitor: Page,
    dashboard: Dashboard,
) -> None:
    visitor.goto(dashboard.address)
    settle(visitor, "keyboard", 400)
    waiting = visitor.evaluate(REACHABLE)
    assert len(waiting) > 15
    reached = []
    for _ in range(2 * len(waiting)):
        visitor.keyboard.press("Tab")
        name, is_marked = visitor.evaluate(FOCUSED)
        reached.append(name)
        assert is_marked or name not in waiting, name
        if name == waiting[-1]:
            break
    assert [name for name in reached if name in waiting] == waiting
