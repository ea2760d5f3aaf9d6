"""Tests are skipped for known reasons only; without a network, those of fetched encoders alone, and
without Slurm those that need a cluster."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("source")  # one worker reads it
TESTS = Path(__file__).parent
SKIP = {"skip", "skipif", "importorskip"}
MAY_SKIP = {
    "conftest.py",  # no real data, no browser, no network for encoders
    "sounds.py",  # no espeak-ng
    "audio/test_audio.py",  # root may read everything
    "audio/test_formats.py",  # no FFmpeg
    "data/test_loaders.py",  # no /proc
    "evaluation/test_metrics.py",  # no statsmodels
    "experiments/test_papers.py",  # no studies' texts
    "features/test_presets.py",  # no model takes a preset's kind
    "inference/test_onnx.py",  # no network of descriptors alone
    "jobs/slurm_cluster.py",  # no Slurm, munge, sshd or MariaDB
    "reporting/test_trackers.py",  # no MLflow
    "training/test_training.py",  # no CUDA
    "ui/test_nginx.py",  # no nginx
}
NEED_ENCODERS = {
    "conftest.py",
    "docs/test_blocks.py",
    "features/test_encoder.py",
    "inference/test_clip_embeddings.py",
    "inference/test_label_doubts.py",
    "inference/test_passed_on_encoders.py",
    "inference/test_similar.py",
    "inference/test_tagging.py",
    "models/test_musicnn.py",
    "training/test_linear_probes.py",
    "ui/test_browser_first_minute.py",
    "ui/test_browser_similar.py",
    "ui/test_page_audits.py",
    "ui/test_page_classify.py",
    "ui/test_page_errors.py",
    "ui/test_page_train.py",
}
NEED_SLURM = {
    "jobs/test_profile_checks.py",
    "jobs/test_cluster_doctor.py",
    "jobs/test_slurm.py",
    "jobs/test_slurm_chaos.py",
    "jobs/test_slurm_cluster.py",
    "jobs/test_slurm_plans.py",
    "ui/test_browser_slurm.py",
}


def calls(tree: ast.Module) -> set[str]:
    """The names of all that is called or named behind a dot in a module."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def names(tree: ast.Module) -> set[str]:
    """Fixtures that functions take or marks name, as far as they are words of the module."""
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return arguments | texts


@cache
def modules() -> dict[str, ast.Module]:
    return {
        path.relative_to(TESTS).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in TESTS.rglob("*.py")
        if path != Path(__file__)
    }


@pytest.mark.slow
def test_tests_are_skipped_for_known_reasons_only() -> None:
    assert {name for name, tree in modules().items() if calls(tree) & SKIP} == MAY_SKIP


@pytest.mark.slow
def test_without_a_network_only_the_tests_of_encoders_are_skipped() -> None:
    fixtures = {"musicnn", "fetched_encoders"}
    found = {name for name, tree in modules().items() if names(tree) & fixtures}
    assert {name for name in found if name != "features/test_presets.py"} == NEED_ENCODERS


def test_without_slurm_only_the_tests_of_clusters_are_skipped() -> None:
    fixtures = {"slurm", "slurm_cluster", "idle_cluster", "login_node", "accounted_slurm"}
    arguments = {
        name: {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        for name, tree in modules().items()
    }
    found = {name for name, taken in arguments.items() if taken & fixtures}
    assert found - {"jobs/slurm_cluster.py"} == NEED_SLURM
