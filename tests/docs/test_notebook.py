"""The notebook runs from its first cell to its last, and what it stores comes from such a run."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

NOTEBOOK = ROOT / "docs" / "notebooks" / "compare.ipynb"
PICTURE = "image/png"


def read() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: nbformat.NotebookNode) -> list[tuple[str, ...]]:
    """What a cell shows: of each output its kind, and the forms of what it shows."""
    return [(output.output_type, *sorted(output.get("data", ()))) for output in cell.outputs]


def test_what_is_stored_comes_from_one_run_without_an_error() -> None:
    cells = code_cells(read())
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    shown = [kind for cell in cells for kind in kinds(cell)]
    assert all(kind[0] != "error" for kind in shown)
    assert sum(PICTURE in kind for kind in shown) == 3


def test_whatever_it_imports_is_there() -> None:
    for cell in code_cells(read()):
        imports = [node for node in ast.parse(cell.source).body
                   if isinstance(node, ast.Import | ast.ImportFrom)]  # fmt: skip
        exec(compile(ast.Module(imports, []), NOTEBOOK.name, "exec"), {})


@pytest.mark.long
@pytest.mark.usefixtures("chromium")
def test_it_runs_and_shows_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    stored, notebook = read(), read()
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    for before, now in zip(code_cells(stored), code_cells(notebook), strict=True):
        assert kinds(now) == kinds(before), now.source
