"""The source keeps its words: one class name for one thing, no function called `of`, no asserts."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

import pytest
from conftest import ROOT
from test_floors import statements

pytestmark = pytest.mark.xdist_group("source")  # one worker reads it


def _nodes() -> Iterator[tuple[str, ast.stmt]]:
    """The package's statements, each with its place."""
    for path in sorted((ROOT / "genrecore").rglob("*.py")):
        for node in statements(path):
            if isinstance(node, ast.stmt):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_no_class_name_stands_twice() -> None:
    places = defaultdict(list)
    for place, node in _nodes():
        if isinstance(node, ast.ClassDef):
            places[node.name].append(place)
    twice = {name: names for name, names in places.items() if len(names) > 1}
    assert not twice


@pytest.mark.parametrize("name", ["of", "made", "told"])
def test_no_function_has_a_bare_word_for_a_name(name: str) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert not [
        place
        for place, node in _nodes()
        if isinstance(node, functions) and node.name.lstrip("_") == name
    ]


def test_the_package_asserts_nothing() -> None:
    assert not [place for place, node in _nodes() if isinstance(node, ast.Assert)]


READERS = (".read_text", ".read_bytes", ".read_parquet", ".read_csv", "np.load", "json.load",
           "torch.load", "pickle.load", "np.memmap", "np.fromfile", "np.loadtxt")  # fmt: skip
OWN = ("_HERE", "_FOLDER", "__file__", "'/proc/")  # files of the package, and of the kernel
OTHERS = {
    "genrecore/ui/parts/frame.py": "path.read_text",  # the first lines of pages
    "genrecore/jobs/access.py": "path.read_text",  # Streamlit's secrets
    "genrecore/training/memory_need.py": "(folder / 'memory.",  # of a control group
}
HANDLE_RUNS = ("cli", "evaluation", "experiments", "inference", "jobs", "reporting", "training",
               "ui")  # fmt: skip


def _reads(node: ast.Call) -> bool:
    """Whether a call opens a file for reading."""
    name, source = ast.unparse(node.func), ast.unparse(node)
    if name == "os.open":
        return "WRONLY" not in source
    if name == "open" or name.endswith(".open"):
        at = 1 if name == "open" else 0
        mode = ast.unparse(node.args[at]) if len(node.args) > at else "'r'"
        return not set(mode) & set("wax") and "_NoRedirect" not in name
    return name.endswith(READERS)


@pytest.mark.slow
def test_only_the_store_reads_files_of_run_folders() -> None:
    """Above the store nobody opens a file for reading himself, but for a few others."""
    places = []
    for folder in HANDLE_RUNS:
        for path in sorted((ROOT / "genrecore" / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call) or not _reads(node):
                    continue
                source = ast.unparse(node)
                is_bounded = "stream" in source or "io.BytesIO(" in source
                is_other = source.startswith(OTHERS.get(name, "?"))
                if not is_bounded and not is_other and not any(own in source for own in OWN):
                    places.append(f"{name}:{node.lineno}: {source}")
    assert not places
