"""`genrecore records` prints what the page shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from commands import command, genrecore, refused
from fake_runs import fake_run

from genrecore.evaluation.published import published_results


def test_without_runs_the_published_tables_stand_alone(store: Path) -> None:
    text = command("records", "--dataset", "gtzan")
    assert "gtzan: GTZAN, fault-filtered" in text
    assert "gtzan: Random splits" in text
    assert text.index("MATPAC++") < text.index("Random splits") < text.index("Qwen2-Audio-7B")
    assert text.count("None of your runs was tested on this split.") == 2
    assert "the test is unpaired" in text
    tables = json.loads(command("records", "--json"))
    assert sum(len(table["published"]) for table in tables) == len(published_results())
    assert [table["own"] for table in tables] == [[]] * len(tables)


def test_a_run_stands_among_the_results_of_its_split(store: Path) -> None:
    genres = [f"genre {k}" for k in range(8)]
    run = fake_run(
        store, np.arange(800) < 600, dataset="fma_small", split="official", genres=genres
    )
    text = command("records", "--dataset", "fma_small")
    assert "Suspicious: cnn · fma_small, 75.0 %" in text
    (table,) = json.loads(command("records", "--dataset", "fma_small", "--json"))
    (own,) = table["own"]
    assert own["runs"] == [run.run_id]
    assert own["verdict"] == "suspicious"
    assert own["against"][0]["system"] == table["published"][0]["title"]
    assert own["against"][0]["difference"] == own["accuracy"] - table["published"][0]["accuracy"]


def test_a_dataset_without_records_is_one_sentence() -> None:
    refused(genrecore("records", "--dataset", "demo"), 2, "There are no published results")
