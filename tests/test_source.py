"""The source keeps its words: one class name for one thing, no function called `of`, no asserts."""

from __future__ import annotations

import ast
from collections import defaultdict

import pytest
from conftest import ROOT

FILES = sorted((ROOT / "genrecore").rglob("*.py"))
NODES = [
    (path.relative_to(ROOT), node)
    for path in FILES
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
]


def test_no_class_name_stands_twice() -> None:
    places = defaultdict(list)
    for path, node in NODES:
        if isinstance(node, ast.ClassDef):
            places[node.name].append(str(path))
    twice = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert not twice


@pytest.mark.parametrize("name", ["of", "made", "told"])
def test_no_function_has_a_bare_word_for_a_name(name: str) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    places = [
        f"{path}:{node.lineno}"
        for path, node in NODES
        if isinstance(node, functions) and node.name.lstrip("_") == name
    ]
    assert not places


def test_the_package_asserts_nothing() -> None:
    assert not [f"{path}:{node.lineno}" for path, node in NODES if isinstance(node, ast.Assert)]
