"""Adding a thing takes one place: toys registered outside the package are used everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

pytestmark = pytest.mark.xdist_group("additions")  # one worker tries them all

# Looks at what is imported before anything else is, and then runs the program of the toys.
PROGRAM = """
import importlib, pkgutil, runpy, sys
import genrecore.training.classifier
for family in ("augment", "data.datasets", "data.splits", "features", "models"):
    package = importlib.import_module(f"genrecore.{family}")
    for module in pkgutil.iter_modules(package.__path__):
        if f"genrecore.{family}.{module.name}" not in sys.modules:
            print(family, module.name)
if "sklearn" in sys.modules:
    print("scikit-learn, whose import takes long")
runpy.run_path("tests/toys.py", run_name="__main__")
"""
TOYS = ("toy_tones", "toy_halves", "toy_octaves", "toy_flip", "toy_linear")


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the product says after `toys.py` has added its things."""
    folder = tmp_path_factory.mktemp("toys")
    environment = os.environ | {
        "GENRECORE_RUNS": str(folder / "runs"),
        "GENRECORE_CACHE": str(folder / "cache"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads((Path(folder) / "facts.json").read_text(encoding="utf-8"))
    return {**facts, "printed": done.stdout}


@pytest.mark.slow
def test_the_command_lists_them(facts: dict[str, Any]) -> None:
    listed = json.dumps(facts["list"])
    assert all(f'"{name}"' in listed for name in TOYS)


@pytest.mark.slow
def test_a_run_made_of_them_trains_and_classifies(facts: dict[str, Any]) -> None:
    assert facts["states"] == ["done", "done"]
    assert json.loads(facts["classified"])


@pytest.mark.slow
def test_the_form_offers_them(facts: dict[str, Any]) -> None:
    for title in ("Toy tones", "Toy halves", "Toy octaves", "Toy linear", "Toy flip"):
        assert title in facts["train_page"], title


@pytest.mark.slow
def test_the_model_has_a_card(facts: dict[str, Any]) -> None:
    assert json.loads(facts["card"])["title"] == "Toy linear"
    assert "Toy linear" in facts["models_page"]


@pytest.mark.slow
def test_the_metric_shows_for_runs_that_were_there_before_it(facts: dict[str, Any]) -> None:
    assert "toy_hits" not in facts["compared_before"]
    assert "toy_hits" in facts["compared"]
    assert "toy_hits" in facts["compare_page"]
    assert "Toy hits" in facts["report"]


@pytest.mark.slow
def test_the_page_opens(facts: dict[str, Any]) -> None:
    assert "It was added by one script." in facts["toy_page"]


@pytest.mark.slow
def test_every_file_of_a_family_is_imported_without_a_list_and_not_scikit_learn_with_them(
    facts: dict[str, Any],
) -> None:
    assert facts["printed"] == ""
