"""The architecture holds: imports point down, and what must open at once imports no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "genrecore"

LAYERS = (
    {"registry", "config", "audio", "spectral", "significance", "errors", "progress", "jobfolder",
     "hardware", "memory", "containers", "fingerprint", "archives", "download", "hpss", "effects",
     "descriptors", "descriptor_names", "descriptor_meanings", "resynthesis",
     "mel_scale", "beats", "receptive", "anatomy", "resampling", "aac", "verdicts", "ranks",
     "sound_kinds", "training_config", "cores"},
    {"clips", "runs", "metrics", "caches"},
    {"datasets", "splits", "features", "augment", "models", "relabel"},
    {"answers", "corpus", "feature_cache", "examples", "classifier", "estimators",
     "estimator_checks", "provided", "audit"},
    {"advice", "alerts", "preparation", "trainer", "baselines", "recipe", "distributed", "epochs",
     "feed",
     "heads", "checkpoint", "lifecycle", "inference", "panel", "comparison",
     "systems", "pairs", "contrasts",
     "caveats", "costs", "export", "onnx_export", "bundle", "report", "mistakes", "plots",
     "jobs", "judgements",
     "queueing", "settings", "slots", "spawning", "tasks", "runner", "leaklab",
     "pooling", "uploads", "depiction", "cards", "latency", "reaches", "model_inputs",
     "plans", "plan_values", "plan_results", "plan_drafts", "plan_presets", "estimates",
     "calibration", "step_times", "search", "search_ranges", "papers",
     "embedding", "embedding_store", "projection", "probes", "probe_effects", "kin",
     "familiarity", "recognition", "doubt", "doubter", "recordings", "explain", "masking"},
    {"service", "service_description"},  # started by the command line, which imports it
    {"cli", "ui", "__main__"},
)  # fmt: skip
LAYER = {module: level for level, modules in enumerate(LAYERS) for module in modules}
# In these layers modules stand side by side and know nothing of one another.
SEPARATE = {2}
WITHOUT_TORCH = (
    "systems", "contrasts", "costs",
    "plots", "comparison", "report", "runs", "metrics", "significance", "jobs", "queueing",
    "tasks", "runner", "ui", "cli",
    "datasets", "splits", "config", "audio", "corpus", "preparation", "clips", "relabel",
    "pooling", "leaklab", "answers", "audit", "provided", "fingerprint", "archives", "download",
    "plans", "estimates", "search", "calibration", "papers", "embedding_store",
    "projection", "probes", "kin",
    "sound_kinds", "familiarity", "recognition", "doubt", "recordings",
)  # fmt: skip


def _modules() -> list[tuple[str, Path]]:
    files = sorted(PACKAGE.rglob("*.py"))
    named = [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in files]
    return [(name, path) for name, path in named if name != "__init__"]


def _imports(path: Path) -> set[str]:
    """First-level genrecore modules that a file imports anywhere, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "genrecore" and len(parts) > 1:
                found.add(parts[1])
    return {
        name for name in found if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()
    }


def test_every_module_has_a_layer() -> None:
    assert {name for name, _ in _modules()} == set(LAYER)


@pytest.mark.parametrize(("name", "path"), _modules(), ids=lambda value: str(value))
def test_imports_point_down(name: str, path: Path) -> None:
    for imported in _imports(path) - {name}:
        assert LAYER[imported] <= LAYER[name], f"{path.name} imports {imported} from above"
        if LAYER[name] in SEPARATE:
            assert LAYER[imported] < LAYER[name], f"{path.name} imports its neighbour {imported}"
        if LAYER[name] == len(LAYERS) - 1 and name != "__main__":
            assert LAYER[imported] < LAYER[name], f"the face {name} imports the face {imported}"


def test_only_the_faces_import_streamlit() -> None:
    for name, path in _modules():
        if name != "ui":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            imported = {
                alias.name.split(".")[0]
                for node in ast.walk(tree)
                if isinstance(node, ast.Import)
                for alias in node.names
            } | {
                (node.module or "").split(".")[0]
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom)
            }
            assert "streamlit" not in imported, f"{path} imports streamlit"


def test_what_must_open_at_once_imports_no_torch() -> None:
    code = "import sys, " + ", ".join(f"genrecore.{name}" for name in WITHOUT_TORCH)
    code += "; sys.exit('torch' in sys.modules or 'librosa' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_no_file_grew_beyond_reading() -> None:
    for _, path in _modules():
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= 450, f"{path.name} has {lines} lines and asks to be two"


def test_torch_is_the_tested_triple() -> None:
    import torch
    import torchaudio
    import torchvision

    found = [module.__version__.split("+")[0] for module in (torch, torchvision, torchaudio)]
    assert [version.rsplit(".", 1)[0] for version in found] == ["2.11", "0.26", "2.11"]
