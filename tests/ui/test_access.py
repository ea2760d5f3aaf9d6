"""Who comes in: host names, the token and addresses beyond this machine, at real servers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import pytest
from browsing import FLAGS
from commands import genrecore, refused
from conftest import ROOT, wait_for
from playwright.sync_api import expect, sync_playwright
from streamlit.testing.v1 import AppTest

from genrecore.config.run import RunConfig
from genrecore.jobs import journal
from genrecore.jobs.actions import pause
from genrecore.store import settings
from genrecore.store.runs import create_run

pytestmark = pytest.mark.xdist_group("browser")

TOKEN = "geheimà"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Served:
    """`genrecore dashboard` with a token, below a path."""

    def __init__(self, home: Path, *options: str, token: str = TOKEN, **environment: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        folders = {"GENRECORE_RUNS": str(home / "runs"), "GENRECORE_CACHE": str(home / "cache")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "genrecore", "dashboard", "--port", str(self.port), *options],
            cwd=ROOT, env=os.environ | folders | {"GENRECORE_TOKEN": token} | environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def answer(
        self, path: str, method: str = "GET", body: str | None = None, **headers: str | bytes
    ) -> tuple[int, str, dict[str, str]]:
        """Status, text and headers of an answer; 0 where nobody listens."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            text = "" if answer.status == 101 else answer.read().decode()
            return answer.status, text, {name.lower(): value for name, value in answer.getheaders()}
        except ConnectionRefusedError:
            return 0, "", {}
        finally:
            connection.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    dashboard = Served(tmp_path_factory.mktemp("access"), "--base-path", "/genres")
    try:
        wait_for(lambda: dashboard.answer("/genres/_stcore/health")[0] == 200)
        yield dashboard
    finally:
        dashboard.process.terminate()
        dashboard.process.wait(timeout=20)


def typed(token: str) -> dict[str, str]:
    kind = "application/x-www-form-urlencoded"
    return {"method": "POST", "body": f"token={quote(token)}", "Content_Type": kind}


@pytest.mark.slow
def test_pages_of_another_site_cannot_come_in_by_its_name(served: Served) -> None:
    cookie = served.answer("/genres/", **typed(TOKEN))[2]["set-cookie"].split(";")[0]
    stream, port = "/genres/_stcore/stream", served.port
    for name in (
        f"evil.example:{port}",
        "evil.example",
        "127.0.0.1.evil.example",
        "evil@localhost",
    ):
        site = {"Host": name, "Origin": f"http://{name}", "Cookie": cookie}
        assert served.answer("/genres/", **site)[0] == 403
        assert served.answer("/genres/_stcore/health", **site)[0] == 403
        assert served.answer(stream, **site, **UPGRADE)[0] == 403
    for name in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "localhost"):
        own = {"Host": name, "Origin": f"http://{name}", "Cookie": cookie}
        assert served.answer("/genres/", **own)[0] == 200
        assert served.answer(stream, **own, **UPGRADE)[0] == 101
    foreign = {"Host": f"127.0.0.1:{port}", "Origin": "http://evil.example", "Cookie": cookie}
    assert served.answer(stream, **foreign, **UPGRADE)[0] == 403


@pytest.mark.slow
def test_nothing_is_had_without_the_token(served: Served) -> None:
    for path in (
        "/genres/",
        "/genres/runs?run=x",
        "/genres/_stcore/host-config",
        "/genres/media/x",
    ):
        code, text, _ = served.answer(path)
        assert code == 401
        assert "Token of this dashboard" in text
    assert served.answer("/genres/_stcore/stream", **UPGRADE)[0] == 403
    assert served.answer("/genres/_stcore/stream", Cookie="genrecore=x", **UPGRADE)[0] == 403
    code, text, headers = served.answer("/genres/", **typed(TOKEN[:-1]))
    assert (code, "set-cookie" in headers) == (401, False)
    assert "That is not the token." in text
    code, _, headers = served.answer("/genres/runs?run=x", **typed(TOKEN))
    assert (code, headers["location"]) == (303, "/genres/runs?run=x")
    assert "HttpOnly; Path=/genres; SameSite=lax" in headers["set-cookie"]
    for spelling in (TOKEN.encode(), TOKEN.encode("latin-1")):
        assert served.answer("/genres/", Authorization=b"Bearer " + spelling)[0] == 200
    elsewhere = typed(TOKEN[1:]) | {"X_Forwarded_For": "192.0.2.9"}  # as a proxy here says
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda _: served.answer("/genres/", **elsewhere)[0], range(25)))
    assert served.answer("/genres/", **elsewhere)[0] == 429
    assert set(answers) <= {401, 429}
    assert served.answer("/genres/", **typed(TOKEN))[0] == 303  # others are let in


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_is_asked_once_and_not_let_in_by_another_name(
    served: Served, chromium: str
) -> None:
    rebinding = "--host-resolver-rules=MAP evil.example 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, rebinding])
        page = browser.new_page()
        answer = page.goto(f"http://evil.example:{served.port}/genres/")
        assert answer is not None
        assert answer.status == 403
        page.goto(f"http://localhost:{served.port}/genres/models")
        page.get_by_label("Token of this dashboard").fill(TOKEN)
        page.get_by_role("button", name="Open").click()
        heading = page.get_by_role("heading", name="Models", exact=True)
        heading.wait_for(timeout=30_000)
        assert page.url.split("?")[0] == f"http://localhost:{served.port}/genres/models"
        page.goto(f"http://localhost:{served.port}/genres/sound")
        page.get_by_role("heading", name="Sound", exact=True).wait_for(timeout=30_000)
        browser.close()


@pytest.mark.parametrize("options", [["--host", "0.0.0.0"], ["--allow-host", "music.example.org"]])
def test_beyond_this_machine_it_opens_with_a_token_alone(
    options: list[str], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GENRECORE_TOKEN", raising=False)
    for command in (["dashboard"], ["serve", "--run", "x"]):
        refused(genrecore(*command, *options), 2, "in the environment variable GENRECORE_TOKEN")
    refused(genrecore("dashboard", "--allow-host", "https://a.org"), 2, "is no host name")
    refused(genrecore("dashboard", "--base-path", "../x"), 2, "is no path")


@pytest.mark.slow
def test_streamlit_alone_does_not_open_it_either(store: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GENRECORE_TOKEN"}
    command = ["run", "app.py", "--server.headless", "true", "--server.port", "0"]
    address = ["--server.address", "0.0.0.0", "--browser.serverAddress", "localhost"]
    ended = subprocess.run(
        [sys.executable, "-m", "streamlit", *command, *address],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "it asks them for nothing. Set a token" in ended.stderr


@pytest.mark.parametrize("script", ["app.py", "pages/runs.py", "pages/train.py"])
def test_a_page_alone_says_why_it_shows_nothing(
    script: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamlit import config

    monkeypatch.delenv("GENRECORE_TOKEN", raising=False)
    address = config.get_option("server.address")
    config.set_option("server.address", "0.0.0.0")
    try:
        page = AppTest.from_file(str(ROOT / script), default_timeout=30).run()
    finally:
        config.set_option("server.address", address)
    (error,) = page.error
    assert "it asks them for nothing. Set a token" in error.value
    assert not page.title
    assert not page.button


@pytest.mark.browser
@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_who_logs_in_may_do_what_the_settings_say(
    chromium: str, tmp_path: Path, tiny: Callable[..., RunConfig]
) -> None:
    """The real login against a provider made for tests, on loopback."""
    from oidc_provider_mock import User, run_server_in_thread

    people = [
        User(sub=name, claims={"email": f"{name}@example.org", "email_verified": name != "eve"})
        for name in ("ann", "bob", "eve")
    ]
    run = create_run(tiny(), tmp_path / "runs")
    pause(tmp_path / "runs")
    settings.change(
        tmp_path / "runs",
        "x",
        read=["ann@example.org"],
        work=["bob@example.org", "eve@example.org"],
    )
    with run_server_in_thread(user_claims=people) as provider:
        secrets = tmp_path / ".streamlit" / "secrets.toml"
        secrets.parent.mkdir()
        secrets.write_text(
            f"""[auth]
redirect_uri = "http://localhost:{{port}}/oauth2callback"
cookie_secret = "a secret of forty letters, for tests alone"
client_id = "genrecore"
client_secret = "x"
server_metadata_url = "http://localhost:{provider.server_port}/.well-known/openid-configuration"
"""
        )
        dashboard = Served(tmp_path, HOME=str(tmp_path))
        try:
            wait_for(lambda: dashboard.answer("/_stcore/health")[0] == 200)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
                for name in ("ann", "bob", "eve"):
                    page = browser.new_context().new_page()
                    page.set_default_timeout(30_000)
                    page.goto(f"http://localhost:{dashboard.port}/runs?run={run.run_id}")
                    page.get_by_role("button", name="Log in").click()
                    page.locator("input[name=sub]").fill(name)
                    page.locator("button[type=submit], input[type=submit]").first.click()
                    page.wait_for_url(f"http://localhost:{dashboard.port}/**")
                    page.get_by_role("button", name="Log out").first.wait_for()
                    if name == "eve":  # nobody has verified that the address is hers
                        page.get_by_text("may not look here").wait_for()
                        assert page.get_by_role("link", name="Runs").count() == 0
                        continue
                    page.goto(f"http://localhost:{dashboard.port}/runs?run={run.run_id}")
                    button = page.get_by_role("button", name="Take out of the queue").first
                    expect(button).to_be_enabled(enabled=name == "bob", timeout=30_000)
                    if name == "bob":
                        button.click()
                        page.get_by_text("was waiting and is cancelled").wait_for()
                browser.close()
        finally:
            dashboard.process.terminate()
            dashboard.process.wait(timeout=20)
    (entry,) = [e for e in journal.entries(tmp_path / "runs") if e["action"] == "stop"]
    assert (entry["who"], entry["run"]) == ("bob@example.org", run.run_id)
