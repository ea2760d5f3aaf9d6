"""The nginx recipe of docs/guides/class-server.md, carried out: TLS, a path, a token, a browser."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browsing import FLAGS, folders
from conftest import ROOT, trained, wait_for
from playwright.sync_api import Browser, Error, sync_playwright

from genrecore.config.run import RunConfig

NAME, TOKEN = "music.example.org", "a token"
pytestmark = [pytest.mark.browser, pytest.mark.long]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def site(tmp_path: Path, tiny: Callable[..., RunConfig]) -> Iterator[int]:
    """The port at which nginx serves dashboard and service as the documentation sets it up."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no nginx: 'apt-get install nginx-light' lets this test run")
    run = trained(tiny(), tmp_path / "runs")
    text = (ROOT / "docs" / "guides" / "class-server.md").read_text(encoding="utf-8")
    part = text[text.index("## Behind nginx") :]
    bash = re.findall(r"```bash\n(.*?)```", part, re.DOTALL)[0]
    server = re.findall(r"```nginx\n(.*?)```", part, re.DOTALL)[0]
    ports = {port: free_port() for port in ("443", "8501", "8600")}
    server = server.replace("listen 443 ssl", f"listen 127.0.0.1:{ports['443']} ssl")
    server = server.replace("/etc/ssl", str(tmp_path))
    for port in ("8501", "8600"):
        server = server.replace(f"127.0.0.1:{port}", f"127.0.0.1:{ports[port]}")
        bash = bash.replace(f"--port {port}", f"--port {ports[port]}")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         f"/CN={NAME}", "-keyout", f"{tmp_path}/{NAME}.key", "-out", f"{tmp_path}/{NAME}.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off;\nerror_log {tmp_path}/error.log;\npid {tmp_path}/nginx.pid;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{server}\n}}\n"
    )
    environment = os.environ | folders(tmp_path) | {"GENRECORE_TOKEN": TOKEN}
    commands = [[sys.executable, "-m", *line.split()] for line in bash.strip().splitlines()]
    commands.append([program, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")])
    started = [
        subprocess.Popen(
            [argument.replace("latest", run.run_id) for argument in command],
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for command in commands
    ]  # fmt: skip
    try:
        yield ports["443"]
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=30)


@pytest.fixture
def visitor(site: int, chromium: str) -> Iterator[Browser]:
    """A browser for which the name of the documentation is this machine."""
    rules = f"--host-resolver-rules=MAP {NAME}:443 127.0.0.1:{site}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, rules])
        yield browser
        browser.close()


def test_nginx_with_tls_and_a_path_serves_dashboard_and_service(
    site: int, visitor: Browser, tmp_path: Path
) -> None:
    page = visitor.new_context(ignore_https_errors=True).new_page()
    page.set_default_timeout(60_000)

    def answers(path: str) -> bool:
        url = f"https://127.0.0.1:{site}{path}"
        try:
            answer = page.request.get(url, headers={"Host": NAME})
        except Error:  # nginx does not listen yet
            return False
        return answer.status in (200, 401)

    wait_for(lambda: answers("/genres/_stcore/health") and answers("/classify-api/healthz"), 60)
    page.goto(f"https://{NAME}/genres/models")
    page.get_by_label("Token of this dashboard").fill(TOKEN)
    page.get_by_role("button", name="Open").click()
    page.get_by_role("heading", name="Models", exact=True).wait_for()
    (cookie,) = [c for c in page.context.cookies() if c["path"] == "/genres" and c["httpOnly"]]
    assert cookie["secure"]  # the proxy says that the visitor came by https
    page.get_by_role("link", name="Runs", exact=True).click()
    page.wait_for_url(f"https://{NAME}/genres/runs*")
    page.get_by_role("heading", name="Runs", exact=True).wait_for()
    service = f"https://127.0.0.1:{site}/classify-api"
    said = {"Host": NAME, "Authorization": f"Bearer {TOKEN}"}
    refused = page.request.get(f"{service}/openapi.json", headers={"Host": NAME})
    assert refused.status == 401
    description = page.request.get(f"{service}/openapi.json", headers=said)
    assert description.status == 200
