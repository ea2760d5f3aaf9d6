"""What people open in spreadsheets holds no formulas, whatever genres and clips are called."""

from __future__ import annotations

import ast
import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from commands import command
from conftest import ROOT
from fake_runs import draw_right, fake_run
from hypothesis import given
from hypothesis import strategies as st
from opened import open_page
from untrained_runs import untrained_run

from genrecore.evaluation import comparison, label_reviews
from genrecore.jobs import actions as jobs
from genrecore.reporting import html as report
from genrecore.words import from_sheet_text, sheet_text

FORMULAS = ["=cmd|' -C calc'!A0", "@SUM(1,1)", "+1+cmd|' '!A0", "-2+3", "\t=1", "\r=1"]
_DANGER = re.compile(r"[=+\-@\t\r\n]")


def cells(text: str) -> list[str]:
    """All cells of a CSV."""
    return [cell for row in csv.reader(io.StringIO(text)) for cell in row]


def harmless(cell: str) -> bool:
    """Whether a spreadsheet shows the cell as text or as a number."""
    if not _DANGER.match(cell):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


@given(st.text() | st.text("'=+-@\t\r\n1a"))
def test_a_name_comes_back_from_its_cell(name: str) -> None:
    assert from_sheet_text(sheet_text(name)) == name


@pytest.mark.parametrize("name", FORMULAS)
def test_what_a_spreadsheet_would_carry_out_is_text(name: str) -> None:
    assert sheet_text(name) == f"'{name}"


@pytest.mark.parametrize("name", ["rock", "-5", "+1.25", "+10.8 points", "-3 dB", "a=b", ""])
def test_other_names_and_numbers_stay_as_they_are(name: str) -> None:
    assert sheet_text(name) == name


def test_tables_of_a_report_hold_no_formula(store: Path, tmp_path: Path) -> None:
    genres = FORMULAS[:3]
    runs = [fake_run(store, draw_right(0.7, 60, k), genres=genres, seed=k) for k in range(2)]
    jobs.annotate(runs[0], name="=HYPERLINK(1)")
    compared = comparison.compare(runs)
    texts = [path.read_text() for path in report.write_tables(compared, tmp_path, ("csv",))]
    assert f"'{genres[0]}" in "".join(texts)
    assert not [cell for text in texts for cell in cells(text) if not harmless(cell)]
    app = open_page("compare", runs=",".join(run.run_id for run in runs))
    shown = [str(cell) for table in app.dataframe for cell in table.value.to_numpy().ravel()]
    assert any("HYPERLINK" in cell for cell in shown)
    assert not [cell for cell in shown if not harmless(cell)]


def test_predictions_printed_as_csv_hold_no_formula(store: Path, tmp_path: Path) -> None:
    run = untrained_run(store, genres=sorted(FORMULAS[:3]))
    soundfile.write(tmp_path / "=a.wav", np.random.default_rng(3).normal(0, 0.1, 66_150), 22_050)
    text = command("classify", str(tmp_path / "=a.wav"), "--run", run.run_id, "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [from_sheet_text(row["genre"]) in FORMULAS for row in rows] == [True]
    assert not [cell for cell in cells(text) if not harmless(cell)]
    library = tmp_path / "library.csv"
    command("classify", str(tmp_path / "=a.wav"), "--run", run.run_id, "--out", str(library))
    assert len(cells(library.read_text())) > len(FORMULAS)
    assert not [cell for cell in cells(library.read_text()) if not harmless(cell)]


def test_judgements_are_kept_harmless_and_read_as_they_were(store: Path, tmp_path: Path) -> None:
    label_reviews.add("demo", "=clip", "@genre", "wrong", "-2+3")
    label_reviews.add("demo", "'=clip", "rock", "right", "=1\n=2")
    kept = label_reviews.read()
    assert kept[["clip_id", "genre", "note"]].to_numpy().tolist() == [
        ["=clip", "@genre", "-2+3"],
        ["'=clip", "rock", "=1 =2"],
    ]
    command("annotate", "list", "--out", str(tmp_path / "out.csv"))
    for path in (store / label_reviews.FILE, tmp_path / "out.csv"):
        assert not [cell for cell in cells(path.read_text()) if not harmless(cell)]
    label_reviews.add("demo", "=clip", "@genre", "")  # withdrawn
    assert label_reviews.read()["clip_id"].tolist() == ["'=clip"]


@pytest.mark.slow
def test_csv_for_people_is_written_by_the_functions_that_escape() -> None:
    writers = []
    for path in (ROOT / "genrecore").rglob("*.py"):
        name = path.relative_to(ROOT / "genrecore").as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_call and ast.unparse(node.func).endswith(("to_csv", "csv.writer")):
                writers.append(name)
    by_hand = [
        "cli/classify.py",
        "evaluation/label_reviews.py",
        "inference/library_results.py",
    ]  # above
    of_the_cache = ["data/datasets/demo.py", "data/datasets/demo_forms.py"]
    assert sorted(writers) == sorted([*by_hand, *of_the_cache, "reporting/columns.py"])


def test_an_empty_table_is_its_heads(tmp_path: Path) -> None:
    from genrecore.reporting.columns import csv_text

    assert csv_text(pd.DataFrame(columns=["=a", "b"])) == "'=a,b\n"
