"""The pages for contributors say what is so: paths, floors, the example, versions, forms."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from test_floors import FLOORS

import genrecore

PAGES = ("CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_links_to_is_there(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text(name))
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "ARCHITECTURE.md"])
def test_every_file_that_a_page_names_is_there(name: str) -> None:
    names = re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.[a-z]+)?)`", text(name))
    assert len(names) > 10
    folders = (ROOT, ROOT / "genrecore")
    assert [path for path in names if not any((at / path).exists() for at in folders)] == []


def test_the_floors_are_those_of_the_test() -> None:
    rows = re.findall(r"^\| (\d) \| (.+?) \|", text("ARCHITECTURE.md"), re.MULTILINE)
    floors: dict[int, set[str]] = {}
    for floor, packages in rows:
        floors.setdefault(int(floor), set()).update(re.findall(r"`(\w+)(?:/|\.py)`", packages))
    assert list(floors.values()) == [set(rooms) for rooms in FLOORS]


@pytest.mark.slow
def test_the_example_of_a_metric_counts_right() -> None:
    (example,) = re.findall(r"```python\n(.+?)```", text("CONTRIBUTING.md"), re.DOTALL)
    check = (
        "\nproba = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])"
        "\nassert METRICS['top_3'].thing(np.array([2, 0]), proba) == 0.5"
        "\nassert METRICS['top_3'].thing(np.array([0]), np.full((1, 4), np.nan)) == 0.0"
    )
    done = subprocess.run([sys.executable, "-c", example + check], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["version"] == genrecore.__version__
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()


def test_a_commit_is_checked_by_the_tools_of_the_test_command() -> None:
    (hooks,) = (repo["hooks"] for repo in yaml.safe_load(text(".pre-commit-config.yaml"))["repos"])
    for hook in hooks:
        words = hook["entry"].split()
        assert " ".join(words[:2]) in text("README.md"), hook["entry"]


@pytest.mark.parametrize("form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")))
def test_forms_for_issues_are_complete(form: Path) -> None:
    values = yaml.safe_load(form.read_text(encoding="utf-8"))
    if form.stem == "config":
        return
    assert {"name", "description", "body"} <= values.keys()
    ids = [field["id"] for field in values["body"]]
    assert len(ids) == len(set(ids))
    assert any(field.get("validations", {}).get("required") for field in values["body"])
    assert all(field["attributes"]["label"] for field in values["body"])
