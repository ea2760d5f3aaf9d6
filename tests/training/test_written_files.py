"""What a run writes is what its readers expect: each key is one that a record names."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import TINY, trained

from genrecore.config.run import RunConfig, with_values
from genrecore.jobs.repair import first_fault
from genrecore.store.files import read_json
from genrecore.store.records import RECORDS, read_history


@pytest.mark.parametrize("model", ["cnn", "svm"])
def test_readers_accept_what_a_run_writes(model: str, store: Path) -> None:
    values = {**TINY, "training.epochs": 2}
    if model == "svm":
        values = {key: item for key, item in values.items() if key[:5] not in ("model", "featu")}
        values |= {"model": "svm", "feature": "descriptors"}
    run = trained(with_values(RunConfig(), values), store)
    assert run.state == "done", run.reason
    assert first_fault(run) is None
    written = [name for name in RECORDS if (run.folder / name).exists()]
    assert {"status.json", "queue.json", "environment.json", "audit.json"} <= {*written}
    for name in written:
        unnamed = read_json(run.folder / name).keys() - RECORDS[name].model_fields.keys()
        assert not unnamed, f"{name}: {unnamed}"
    rows = read_history(run.folder / "history.jsonl")
    assert rows[-1]["epoch"] == run.status["epoch"]
