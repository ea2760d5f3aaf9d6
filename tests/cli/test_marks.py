"""Commands, report and files say what must be known of a run before its accuracy is read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from commands import command
from fake_runs import fake_run

from genrecore.evaluation import comparison
from genrecore.reporting import html
from genrecore.store.run import Run

LEAK = "Leak: 14 clips shared with training; its accuracy is too high."
UNKNOWN = "Artists unknown: 60 of 270 clips; its accuracy may be too high."


@pytest.fixture
def runs(store: Path) -> list[Run]:
    """A run that leaks, one whose artists are not all known, and one without a mark."""
    about = ({"n_shared": 14}, {"n_unknown": 60}, {})
    return [
        fake_run(store, np.arange(90) < 80 - 10 * k, np.arange(90), seed=k, **values)
        for k, values in enumerate(about)
    ]


def test_a_run_is_shown_with_its_answer(runs: list[Run]) -> None:
    texts = [command("runs", "show", run.run_id) for run in runs]
    assert LEAK in texts[0]
    assert "Split: crosses. The split leaks: 14 of 90 test clips" in texts[0]
    assert UNKNOWN in texts[1]
    assert "Split: cannot be known. 60 of 270 clips have no artist: nobody can tell" in texts[1]
    assert "its accuracy" not in texts[2]
    assert "Split: kept apart. No artist, album or copy of a training clip is in" in texts[2]
    facts = json.loads(command("runs", "show", runs[1].run_id, "--json"))
    assert facts["separation"]["answer"] == "cannot be known"
    listed = {row["run"]: row["warning"] for row in json.loads(command("runs", "list", "--json"))}
    assert [listed[run.run_id] for run in runs] == [run.badge for run in runs]


def test_a_comparison_names_the_marks_in_every_sentence_and_table(runs: list[Run]) -> None:
    text = command("compare", *(run.run_id for run in runs))
    assert f"Note: {runs[0].title}: {LEAK}" in text
    assert f"Note: {runs[1].title}: {UNKNOWN}" in text
    assert f"{runs[0].title} is better" in text
    assert runs[0].title.endswith("(leak)")


@pytest.mark.slow
def test_report_and_tables_tell_leaks_from_what_cannot_be_known(runs: list[Run]) -> None:
    compared = comparison.compare(runs)
    page = html.html(compared)
    grave = re.findall(r'<p class="note grave">(.*?)</p>', page)
    mild = re.findall(r'<p class="note">(.*?)</p>', page)
    assert [note for note in grave if LEAK in note]
    assert not [note for note in grave if UNKNOWN in note]
    assert [note for note in mild if UNKNOWN in note]
    files = dict(html.table_files(compared))
    assert "Artists unknown: 60 of 270 clips" in files["scores.md"]
    assert "60 of 270 clips have no artist: nobody can tell" in files["protocol.csv"]
