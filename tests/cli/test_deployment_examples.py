"""The examples of servers: a unit of systemd, a container, an app of Open OnDemand."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml
from commands import genrecore
from conftest import ROOT, wait_for

pytestmark = pytest.mark.xdist_group("processes")  # one at a time: they share two cores
EXAMPLES = ROOT / "docs" / "examples"


def text(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = text("genrecore.service")
    # A comment after a value would be part of it.
    assert not [line for line in unit.splitlines() if "#" in line.lstrip("#")]
    options = re.search(r"^ExecStart=\S+/genrecore (.*)$", unit, re.MULTILINE)
    assert options is not None
    assert genrecore(*options[1].split(), "--help").returncode == 0
    if shutil.which("systemd-analyze"):
        file = tmp_path / "genrecore.service"
        file.write_text(unit.replace("/srv/genrecore/venv/bin/genrecore", sys.executable))
        verified = subprocess.run(
            ["systemd-analyze", "--man=no", "verify", file], capture_output=True, text=True
        )
        assert (verified.returncode, verified.stderr) == (0, "")


def test_containers_are_started_with_commands_that_there_are() -> None:
    (service,) = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values()
    (command,) = re.findall(r"^CMD (\[.+\])$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    for words in (service["command"], yaml.safe_load(command)):
        assert genrecore(*words, "--help").returncode == 0


def test_the_build_of_a_container_gets_what_the_package_is_built_of_and_no_secrets() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (only,) = re.findall(r"^only-include = \[(.+)\]$", project, re.MULTILINE)
    let_in = (ROOT / ".dockerignore").read_text().split("\n*\n")[1].split()
    assert {name.strip('" ') for name in only.split(",")} <= {name[1:] for name in let_in}
    assert all((ROOT / name.removeprefix("!")).exists() for name in let_in)


@pytest.mark.slow
def test_the_app_of_open_ondemand_opens_the_dashboard_with_its_token(store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    session = {"host": "node-1", "port": port, "password": "a password"}
    script = text("ondemand/template/script.sh.erb").replace("<%= context.runs %>", str(store))
    script = re.sub("^source .*$", "", script, flags=re.MULTILINE)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    job = subprocess.Popen(["bash", "-c", script], env=os.environ | session | {"PATH": path})
    try:
        view = re.sub("<%= (.+?) %>", lambda name: session[name[1]], text("ondemand/view.html.erb"))
        (action,) = re.findall('action="(.+?)"', view)
        form = dict(re.findall('name="(.+?)" value="(.+?)"', view))
        address = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert job.poll() is None
            try:
                return requests.get(f"{address}{action}_stcore/health", timeout=10).ok
            except OSError:
                return False

        wait_for(answers, most_s=90)  # a server begins in 5 s on a quiet machine
        assert requests.get(f"{address}{action}", timeout=10).status_code == 401
        opened = requests.post(f"{address}{action}", data=form, timeout=10)
        assert opened.status_code == 200
        assert "Streamlit" in opened.text
    finally:
        job.kill()
        job.wait()


def test_the_files_of_the_app_of_open_ondemand_fit_together() -> None:
    form = yaml.safe_load(text("ondemand/form.yml"))
    own = {name for name in form["form"] if not name.startswith("bc_")}
    assert own <= set(form["attributes"])
    used = set(re.findall(r"(\w+)\.to_i", text("ondemand/submit.yml.erb")))
    used |= set(re.findall(r"context\.(\w+)", text("ondemand/template/script.sh.erb")))
    assert used == own
    assert yaml.safe_load(text("ondemand/manifest.yml"))["role"] == "batch_connect"
    variables = set(re.findall(r"\$(\w+)", text("ondemand/template/script.sh.erb")))
    (exported,) = re.findall("^export (.+)$", text("ondemand/template/before.sh.erb"), re.MULTILINE)
    assert variables <= set(shlex.split(exported))
