"""The house holds: imports point strictly to lower floors, and no package has a cycle of files."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.xdist_group("source")  # one worker reads it
PACKAGE = ROOT / "genrecore"
FLOORS = (
    {"errors", "words"},
    {"config", "audio"},
    {"store"},
    {"data", "models"},
    {"features", "augment", "evaluation"},
    {"training"},
    {"inference", "jobs"},
    {"experiments"},
    {"reporting"},
    {"cli", "ui"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE) + sorted(
    path for path in PACKAGE.glob("*.py") if not path.name.startswith("__")
)


@cache
def statements(path: Path) -> list[ast.AST]:
    """A file's statements and their branches at any depth; nothing inside expressions."""
    nodes: list[ast.AST] = [*ast.parse(path.read_text(encoding="utf-8")).body]
    for node in nodes:  # which grows meanwhile
        for part in ("body", "orelse", "handlers", "finalbody", "cases"):
            nodes += getattr(node, part, [])
    return nodes


@cache
def _imported(path: Path) -> set[Path]:
    """The package's files that a file imports anywhere, also inside functions."""
    names = set()
    for node in statements(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {file for name in names if (file := _file(name)) is not None} - {path}


@cache
def _file(dotted: str) -> Path | None:
    """The file of a dotted name: of a module, or of the module that holds a function."""
    parts = dotted.split(".")
    while len(parts) > 1 and parts[0] == "genrecore":
        base = ROOT.joinpath(*parts)
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.exists():
                return file
        parts.pop()
    return None


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_the_package_has_these_rooms_and_no_others() -> None:
    entries = {path for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert {_room(path) for path in entries} - {"__init__", "__main__", "py.typed"} == set(FLOOR)


@pytest.mark.parametrize("room", sorted(FLOOR))
def test_imports_point_to_lower_floors(room: str) -> None:
    above = {
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path in FILES
        if _room(path) == room
        for other in {_room(file) for file in _imported(path)} - {room}
        if FLOOR[other] >= FLOOR[room]
    }
    assert not above


@pytest.mark.parametrize("room", sorted(FLOOR))
def test_no_package_has_a_cycle_of_files(room: str) -> None:
    graph = {path: _imported(path) for path in FILES if _room(path) == room}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(str(path.relative_to(PACKAGE)) for path in error.args[1]))


def test_only_pages_import_streamlit() -> None:
    for path in FILES:
        if _room(path) != "ui":
            text = path.read_text(encoding="utf-8")
            assert "import streamlit" not in text, f"{path} imports streamlit"
            assert "from streamlit" not in text, f"{path} imports streamlit"


# What must answer at once, or runs beside a training, loads neither torch nor librosa.
@pytest.mark.slow
def test_these_packages_import_no_torch() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in FILES
        if _room(path) in ("store", "evaluation", "jobs", "reporting", "cli")
    ]
    code = f"""
import importlib, sys
for name in {modules}:
    importlib.import_module(name)
    if heavy := sys.modules.keys() & {{"torch", "librosa"}}:
        sys.exit(f"{{name}} imports {{', '.join(heavy)}}")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
