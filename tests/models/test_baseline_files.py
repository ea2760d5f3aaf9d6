"""The file of a classical model: what is not the run's own is refused in one sentence."""

# ruff: noqa: F811  (a fixture is imported and named again by who asks for it)
from __future__ import annotations

import io
import json
import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import trained
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from test_archives import many_entries
from test_baselines import (
    GENRES,
    NAMES,
    Tiny,
    on_table,
    tables,  # noqa: F401  (fixtures)
)

from genrecore.config.run import with_values
from genrecore.errors import GenrecoreError
from genrecore.inference import loaded as inference
from genrecore.models import fitted as estimators
from genrecore.store.run import Run
from genrecore.training.weights import load_classifier, save_classifier

pytestmark = pytest.mark.xdist_group("baselines")  # scikit-learn is imported by one worker


# The file


class Foreign:
    """A type that no model is made of; to build one would fail the test."""

    def __init__(self) -> None:
        self.value = 3

    def __setstate__(self, state: object) -> None:
        raise AssertionError("it was built")


def rewritten(path: Path, changes: dict[str, str]) -> None:
    """The same archive with other text beside the estimator."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(members["genrecore.json"]) | changes
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"genrecore.json": json.dumps(metadata).encode()}).items():
            archive.writestr(name, content)


def spoiled(run: Run, how: str) -> str:
    """Spoils a forest's file; returns what the message must say."""
    path = run.weights
    fitted = load_classifier(path)
    estimator = fitted.network.estimator

    def rewrite() -> None:
        save_classifier(fitted, path)

    if how == "cut off":
        path.write_bytes(path.read_bytes()[:-700])
        return "is not a readable skops file"
    if how == "pickle":
        path.write_bytes(pickle.dumps(estimator))
        return "is not a readable skops file"
    if how == "foreign skops":
        import skops.io

        skops.io.dump(LogisticRegression(), path)
        return "another program's file"
    if how == "foreign type":
        estimator.foreign = Foreign()
        rewrite()
        return "Foreign, which no model here is made of"
    if how == "another scikit-learn":
        rewritten(path, {"scikit-learn": "1.2.3"})
        return "written with scikit-learn 1.2.3"
    if how == "more genres":
        rewritten(path, {"genres": json.dumps([*GENRES, "rock"])})
        return "its genres are others"
    if how == "another model":
        config = with_values(run.config, {"model": "gradient_boosting"})
        rewritten(path, {"config": config.model_dump_json()})
        return "expected HistGradientBoostingClassifier"
    if how == "a network":
        config = with_values(run.config, {"model": "mlp"})
        rewritten(path, {"config": config.model_dump_json()})
        return "says it is of the model mlp"
    if how == "no configuration":
        rewritten(path, {"config": "{"})
        return "another program's file"
    assert how == "gone"
    path.unlink()
    return "There are no weights"


@pytest.mark.parametrize(
    "how",
    ["cut off", "pickle", "foreign skops", "foreign type", "another scikit-learn", "more genres",
     "another model", "a network", "no configuration", "gone"],
)  # fmt: skip
def test_a_file_that_is_not_the_runs_is_refused_in_one_sentence(
    store: Path, tiny: Tiny, tables: Path, how: str
) -> None:
    run = trained(on_table(tiny, tables, "random_forest", model__n_trees=3), store)
    path = run.weights
    message = spoiled(run, how)
    with pytest.raises(GenrecoreError) as caught:
        load_classifier(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_weights_of_other_genres_than_the_run_was_tested_on_are_refused(
    store: Path, tiny: Tiny
) -> None:
    small = {"dataset__n_clips": 5, "segments__segment_s": 1.5, "feature": "descriptors"}
    run = trained(tiny(model="knn", dataset__n_genres=2, **small), store)
    assert inference.load(run).genres == sorted(run.clips["genre"].unique())
    rewritten(run.weights, {"genres": json.dumps(["others", "than these"])})
    with pytest.raises(GenrecoreError, match="tells apart others, than these, but the run was"):
        inference.load(run)


def _left_children(estimator: Any) -> np.ndarray:
    """A tree's indices of left children; in the file, what a crafted one would hold."""
    if isinstance(estimator, RandomForestClassifier):
        return estimator.estimators_[0].tree_.children_left
    return estimator._predictors[0][0].nodes["left"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random_forest", "gradient_boosting"])
@pytest.mark.parametrize("value", [0, 2**20])
def test_trees_that_point_outside_themselves_are_refused(
    store: Path, tiny: Tiny, tables: Path, name: str, value: int
) -> None:
    run = trained(on_table(tiny, tables, name), store)
    fitted = load_classifier(run.weights)
    _left_children(fitted.network.estimator)[0] = value  # to itself, or far outside
    save_classifier(fitted, run.weights)
    with pytest.raises(GenrecoreError, match="nodes point outside it"):
        load_classifier(run.weights)


def _spoil_svm(machine: Any) -> None:
    machine._n_support = machine._n_support + np.int32(9)


def _spoil_knn(estimator: Any) -> None:
    estimator._y = estimator._y + 900


@pytest.mark.parametrize(
    ("name", "message"), [("svm", "do not add up"), ("knn", "genres are others")]
)
def test_counts_that_do_not_add_up_are_refused(
    store: Path, tiny: Tiny, tables: Path, name: str, message: str
) -> None:
    run = trained(on_table(tiny, tables, name), store)
    fitted = load_classifier(run.weights)
    estimator = fitted.network.estimator
    if name == "svm":
        _spoil_svm(estimator.calibrated_classifiers_[0].estimator)
    else:
        _spoil_knn(estimator)
    save_classifier(fitted, run.weights)
    with pytest.raises(GenrecoreError, match=message):
        load_classifier(run.weights)


@pytest.mark.slow
def test_types_beyond_scikit_learns_public_ones_are_those_listed(
    store: Path, tiny: Tiny, tables: Path
) -> None:
    import skops.io

    untrusted: set[str] = set()
    for name in NAMES:
        run = trained(on_table(tiny, tables, name), store)
        untrusted |= set(skops.io.get_untrusted_types(file=run.weights))
    assert untrusted <= set(estimators.TRUSTED)
    assert "sklearn.tree._tree.Tree" in untrusted


# Files that would take much memory


def forest(store: Path, tiny: Tiny, tables: Path) -> Path:
    """The file of a small forest."""
    return trained(on_table(tiny, tables, "random_forest", model__n_trees=3), store).weights


def members(path: Path) -> dict[str, bytes]:
    """The entries of a zip."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repacked(path: Path, contents: dict[str, bytes]) -> None:
    """A zip of these entries, packed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def grown(path: Path, how: str) -> str:
    """Makes a small file that would take gigabytes; returns what the message must say."""
    contents = members(path)
    schema = json.loads(contents["schema.json"])
    array = next(name for name in contents if name.endswith(".npy"))
    if how == "an array of zeros":
        contents[array] = npy((160_000_000 // 8,), bytes(160_000_000))
    elif how == "one array many times":
        contents[array] = npy((4_000_000 // 8,), bytes(4_000_000))
        schema["content"]["more"] = [{"file": array} for _ in range(600)]
    elif how == "a header that promises":
        contents[array] = npy((10**12,), bytes(800))
    elif how == "much text":
        contents["schema.json"] = b'{"a": "' + b"a" * 2**26 + b'"}'
    elif how == "much about it":
        contents["genrecore.json"] = b'{"a": "' + b"a" * 2**26 + b'"}'
    if how != "much text":
        contents["schema.json"] = json.dumps(schema).encode()
    repacked(path, contents)
    if how == "a size that lies":  # deflate unpacks all of it, whatever the directory says
        contents[array] = npy((160_000_000 // 8,), bytes(160_000_000))
        repacked(path, contents)
        content = bytearray(path.read_bytes())
        name = array.encode()
        at = content.rindex(name, content.index(b"PK\x01\x02")) - 46
        content[at + 24 : at + 28] = (1_000).to_bytes(4, "little")
        path.write_bytes(content)
    promises = {"a header that promises", "a size that lies"}
    if how in promises:
        return "is not a readable skops file"
    return "is larger than" if how.startswith("much") else "unpacks to more than"


def npy(shape: tuple[int, ...], content: bytes) -> bytes:
    """An array of float64 as NumPy saves it, whatever its header promises."""
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + content


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    ["an array of zeros", "one array many times", "a header that promises", "much text",
     "much about it", "a size that lies"],
)  # fmt: skip
def test_a_small_file_that_would_take_much_memory_is_refused_before_it_does(
    store: Path, tiny: Tiny, tables: Path, how: str
) -> None:
    path = forest(store, tiny, tables)
    message = grown(path, how)
    assert path.stat().st_size < 900_000
    tracemalloc.start()
    with pytest.raises(GenrecoreError, match=message):
        load_classifier(path)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 120e6  # the bound of the text, and its copies


def test_a_file_with_a_million_entries_is_refused_before_they_are_listed(tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(many_entries(300_000))
    with pytest.raises(GenrecoreError, match="lists more than 200,000 entries"):
        load_classifier(tmp_path / "model.skops")
