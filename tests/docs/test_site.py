"""The site of documentation: no warning, no link that leads nowhere, nothing from another host, and
it opens from a folder of files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from conftest import ROOT
from mkdocs.commands.build import build
from mkdocs.config import load_config
from playwright.sync_api import Browser, expect
from test_browser_accessibility import AXE
from typer.core import TyperGroup
from typer.main import get_command

from genrecore.cli.app import app
from genrecore.cli.models import registries
from genrecore.config.run import RunConfig, flat

pytestmark = pytest.mark.xdist_group("docs")  # one worker builds it
LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}
"""What a browser fetches by itself, and the attribute that names it."""
THEMES_OWN = {"aria-dialog-name": ".md-search"}
COLOURS = (
    "(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))"
)


class _Page(HTMLParser):
    """The names, links and loaded files of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {name for name in (values.get("id"), values.get("name")) if name}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        if address := values.get(LOADED.get(tag, "")):
            self.loaded.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built as CI would: a warning fails."""
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, _Page]:
    """Every page but the one for addresses that are not there, which only a server shows."""
    return {path: _Page(path) for path in site.rglob("*.html") if path.name != "404.html"}


def _targets(pages: dict[Path, _Page]) -> Iterator[tuple[Path, str, Path, str]]:
    """Links within the site: the page, the link, the file and the anchor that it names."""
    for path, page in pages.items():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if not parts.scheme and not parts.netloc:
                file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                yield path, link, file, unquote(parts.fragment)


@pytest.mark.slow
def test_links_and_anchors_lead_to_what_is_there(pages: dict[Path, _Page], site: Path) -> None:
    images = (".png", ".svg")  # theirs say in which theme they are shown
    lost = [
        f"{path.relative_to(site)}: {link}"
        for path, link, file, anchor in _targets(pages)
        if not file.is_file()
        or (anchor and file.suffix not in images and anchor not in pages[file].ids)
    ]
    assert not lost
    assert len(pages) > 5


@pytest.mark.slow
def test_nothing_is_fetched_from_another_host(pages: dict[Path, _Page], site: Path) -> None:
    for path, page in pages.items():
        away = [address for address in page.loaded if urlsplit(address).netloc]
        assert not away, path
        assert 'class="mermaid"' not in page.text, path  # the theme would fetch what draws it
    for path in site.rglob("*.css"):
        addresses = re.findall(r"url\(['\"]?([^)'\"]*)|@import\s+['\"]([^'\"]*)", path.read_text())
        away = [address for pair in addresses for address in pair if urlsplit(address).netloc]
        assert not away, path


@pytest.mark.slow
def test_the_reference_holds_every_command_field_and_part(site: Path) -> None:
    folder = site / "reference"
    text = {name: (folder / f"{name}.html").read_text() for name in ("command", "configuration")}
    root = get_command(app)
    for name in root.list_commands(None):
        command = root.get_command(None, name)
        words = command.list_commands(None) if isinstance(command, TyperGroup) else [""]
        for word in words:
            assert f"<code>{f'genrecore {name} {word}'.strip()}</code>" in text["command"]
    for field in flat(RunConfig()):
        assert f"<code>{field.removesuffix('.name')}</code>" in text["configuration"], field
    for what, registry in registries().items():
        pages = {path.stem for path in (folder / what).glob("*.html")}
        assert pages == {"index", *registry}


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_can_be_read_by_everybody(
    browser: Browser, site: Path, theme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(color_scheme=theme, reduced_motion="reduce")
    context.add_init_script(AXE_SCRIPT)
    page = context.new_page()
    for name in ("index", "keyboard", "guides/cluster", "reference/models/cnn"):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate(AXE, [THEMES_OWN, []]) == [], name
    context.close()


@pytest.mark.slow
@pytest.mark.browser
def test_a_page_opens_from_a_file_with_style_and_search(browser: Browser, site: Path) -> None:
    context = browser.new_context(offline=True, color_scheme="dark")
    page = context.new_page()
    requests: list[str] = []
    problems: list[object] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.on("pageerror", lambda error: problems.append(error))
    page.goto((site / "guides" / "cluster.html").as_uri())
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    dark = page.evaluate(COLOURS)
    page.get_by_title("Switch to the light theme").click()
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "default")
    assert not set(dark) & set(page.evaluate(COLOURS))
    page.locator(".md-search__input").fill("preempted")
    expect(page.locator(".md-search-result__meta")).to_contain_text("matching document")
    expect(page.locator(".md-search-result__link").first).to_be_visible()
    context.close()
    assert not problems
    assert all(urlsplit(url).scheme in ("file", "data", "blob") for url in requests)
