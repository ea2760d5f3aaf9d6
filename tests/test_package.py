"""What is passed on: the wheel is the whole product, and the source distribution gives it too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT, wait_for
from test_dashboard import answers

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.xdist_group("package")  # one worker builds and installs it once


def build(source: Path, target: Path) -> Path:
    """The wheel of a folder with pyproject.toml, beside which its source distribution is made."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def library(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the wheel, without what it needs: that is here."""
    folder = tmp_path_factory.mktemp("lib")
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    return folder


@pytest.fixture
def start(library: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """`start("runs", "list")`: the installed command, by a new user in a folder of theirs."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    ours = ("GENRECORE_", "XDG_")
    environment = {name: v for name, v in os.environ.items() if not name.startswith(ours)}
    environment |= {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(library)}
    command = str(library / "bin" / "genrecore")

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [command, *words],
            cwd=tmp_path / "work", env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def output(process: subprocess.Popen[str]) -> str:
    """What a process prints that ends well."""
    text, _ = process.communicate(timeout=600)
    assert process.returncode == 0, text
    return text


@pytest.mark.slow
def test_the_source_distribution_gives_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    (archive,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    again = build(tmp_path / archive.name.removesuffix(".tar.gz"), tmp_path / "dist")
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_the_wheel_holds_all_files_of_the_package_and_the_dashboard(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"genrecore"}
    files = {path for path in (ROOT / "genrecore").rglob("*.*") if path.is_file()}
    expected = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
    pages = {f"genrecore/dashboard/pages/{path.name}" for path in (ROOT / "pages").glob("*.py")}
    expected |= {"genrecore/dashboard/app.py", "genrecore/dashboard/.streamlit/config.toml"}
    assert {name for name in names if ".dist-info/" not in name} == expected | pages


@pytest.mark.slow
@pytest.mark.browser
def test_installed_it_serves_the_dashboard_and_leaves_the_folder_as_it_is(
    start: Callable[..., subprocess.Popen[str]], page: Page, tmp_path: Path
) -> None:
    dashboard = start("dashboard", "--port", "0")
    try:
        assert dashboard.stdout is not None
        assert f"Runs are kept in {tmp_path / 'home'}" in dashboard.stdout.readline()
        dashboard.stdout.readline()
        url = dashboard.stdout.readline().split()[1]
        wait_for(lambda: answers(int(url.rpartition(":")[2])), most_s=90)  # compiles at first
        page.goto(f"{url}/models")
        page.get_by_role("heading", name="Models", exact=True).wait_for()
        colour = page.locator("h1").evaluate("heading => getComputedStyle(heading).color")
        with open(ROOT / ".streamlit" / "config.toml", "rb") as stream:
            (red, green, blue) = bytes.fromhex(
                tomllib.load(stream)["theme"]["light"]["textColor"][1:]
            )
        assert colour == f"rgb({red}, {green}, {blue})"
    finally:
        dashboard.kill()
        dashboard.communicate()
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.slow
def test_installed_it_finds_runs_of_the_working_folder_and_else_those_of_the_user(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    here = tmp_path / "work" / "checkpoints"
    (here / "another_program").mkdir(parents=True)
    (here / "another_program" / "config.json").write_text("{}")
    assert f"No runs in {tmp_path / 'home'}" in output(start("runs", "list"))
    shutil.copytree(ROOT / "tests" / "store" / "old_runs", here, dirs_exist_ok=True)
    listed = json.loads(output(start("runs", "list", "--json")))
    assert {run["run"] for run in listed} == {
        path.name for path in (ROOT / "tests" / "store" / "old_runs").iterdir()
    }


@pytest.mark.slow
@pytest.mark.long
def test_installed_it_carries_out_the_demo(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    assert "95 %" in output(start("demo", "--no-serve"))
    listed = json.loads(output(start("runs", "list", "--json")))
    assert [run["state"] for run in listed] == ["done", "done"]
    assert list((tmp_path / "work").iterdir()) == []
