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
