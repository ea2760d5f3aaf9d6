"""What tests share: folders of their own, the real data where it is, one small trained store."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError
from genrecore.jobs import actions as jobs
from genrecore.store import runs, settings
from genrecore.store.files import cache_dir, read_json, write_json
from genrecore.store.locks import held, take_lock
from genrecore.store.processes import is_same_process
from genrecore.store.run import Run
from genrecore.store.status import STATUS, ask_to_stop

ROOT = Path(__file__).resolve().parent.parent
# Tests borrow from one another across folders.
sys.path += [str(folder) for folder in (ROOT / "tests").iterdir() if folder.is_dir()]
pytest_plugins = ["browsing", "slurm_cluster"]  # the fixtures of browser tests and of clusters


def pytest_configure(config: pytest.Config) -> None:
    """One torch thread a worker: two workers on two cores, and the same numbers everywhere."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # What librosa compiles is used once here; making it fast would take a third longer.
    os.environ.setdefault("NUMBA_OPT", "0")
    # librosa's compiled functions: two processes that compile at once spoil a shared cache, and
    # whoever reads it then ends by a segmentation fault (numba's issue 10128). What the process
    # that started the workers has set is inherited, and so is no worker's own.
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        own = Path(tempfile.gettempdir()) / f"genrecore-numba-{os.getuid()}-{worker}"
        os.environ["NUMBA_CACHE_DIR"] = str(own)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported stays: the collector of garbage need not look through it again and again."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The chain of browser tests, which mostly waits, begins first; then come the other groups,
    and single tests fill what room is left at the end."""
    items.sort(
        key=lambda item: (
            item.get_closest_marker("browser") is None,
            item.get_closest_marker("xdist_group") is None,
        )
    )


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or touches the user's runs and caches."""
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("GENRECORE_CACHE", str(base / "cache"))
    monkeypatch.setenv("GENRECORE_RUNS", str(base / "runs"))
    (base / "runs" / settings.FILE).unlink(missing_ok=True)  # another test's last dataset
    monkeypatch.delenv("GENRECORE_DEVICE", raising=False)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own: nothing made, nothing remembered, no tasks; and a store
    that knows no last dataset, the same as `store` where a test has both."""
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GENRECORE_RUNS", str(tmp_path / "runs"))
    return tmp_path / "cache"


def _data_folder() -> Path:
    return Path(os.environ.get("GENRECORE_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real clips and tables, or a skip with one line."""
    folder = _data_folder()
    if not folder.is_dir():
        pytest.skip("no real data here; set GENRECORE_TEST_DATA to a folder that holds it")
    return folder


@pytest.fixture(scope="session")
def fetched_encoders() -> Path:
    """A folder with the two networks of musicnn, fetched once for all workers; or a skip with one
    line where pip reaches no package index."""
    from genrecore.models.encoders import files

    kept = Path(tempfile.gettempdir()) / f"genrecore-encoders-{os.getuid()}"
    kept.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, held(kept / "lock", patience_s=300.0):
        patch.setenv("GENRECORE_CACHE", str(kept))
        if set(files.installed()) < {"musicnn", "musicnn_mtt"}:
            try:
                files.fetch("musicnn")
            except GenrecoreError as error:
                pytest.skip(f"musicnn cannot be fetched: {error}")
    return kept / "encoders"


@pytest.fixture
def musicnn(_own_folders: None, fetched_encoders: Path) -> None:
    """The encoders musicnn and musicnn_mtt lie in the cache of this test."""
    for folder in fetched_encoders.iterdir():
        target = cache_dir() / "encoders" / folder.name
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                shutil.copytree(folder, target)


@pytest.fixture(autouse=True)
def _encoders_of_parts(_own_folders: None, request: pytest.FixtureRequest) -> None:
    """A test of every feature, model or preset finds the weights of those that are an encoder."""
    values = getattr(getattr(request.node, "callspec", None), "params", {}).values()
    if {"encoder", "encoder_sequence", "tuned_encoder", "musicnn"} & {
        value for value in values if isinstance(value, str)
    }:
        request.getfixturevalue("musicnn")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser, or a skip that says how to get it. CI must not skip."""
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing, and CI must not skip the browser tests")
        pytest.skip("no chromium: 'apt-get install chromium' lets the browser tests run")
    return path


TINY: dict[str, object] = {
    "dataset.n_genres": 3,
    "dataset.n_clips": 10,
    "dataset.n_artists": 5,
    "dataset.clip_s": 3.0,
    "audio.clip_s": 3.0,
    "segments.segment_s": 1.0,
    "feature.n_fft": 1024,
    "feature.n_mels": 33,
    "model.width": 3,
    "training.epochs": 2,
    "training.batch_size": 7,
    "training.precision": "float32",
    "device": "cpu",
}


@pytest.fixture
def tiny() -> Callable[..., RunConfig]:
    """`tiny(**{"seed": 3})`: a resolved configuration that trains in about a second."""

    def make(**values: object) -> RunConfig:
        from genrecore.training.resolve import resolve

        dotted = {key.replace("__", "."): value for key, value in values.items()}
        return resolve(with_values(with_values(RunConfig(), TINY), dotted)).config

    return make


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty store of this test's own; the cache stays shared. Nothing outlives the test."""
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv("GENRECORE_RUNS", str(folder))
    yield folder
    for run in runs.all_runs(folder):
        if run.alive and run.status.get("pid") != os.getpid():
            ask_to_stop(run.folder)
            if is_same_process(run.status):
                os.kill(int(run.status["pid"]), 15)


@pytest.fixture
def nobody_starts(store: Path) -> Iterator[Path]:
    """A store in which nobody starts what is queued: with the runner's lock held there is a runner
    already."""
    lock = take_lock(store / jobs.RUNNER_LOCK)
    assert lock is not None
    yield store
    os.close(lock)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small file system takes rights that this user does not have")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def silent_for(run: Run, seconds: float) -> None:
    """Makes the status of a run look as if it was written so long ago."""
    path = run.folder / STATUS
    values = read_json(path)
    values["heartbeat"] -= seconds
    values["clock"]["monotonic_s"] -= seconds
    write_json(path, values)
    past = path.stat().st_mtime - seconds
    os.utime(path, (past, past))


MEASURED = ["seconds", "samples_per_s", "memory_mb"]
"""Columns of a history that another run of the same configuration may have otherwise."""


def trained(config: RunConfig, store: Path) -> Run:
    """A run carried out in this process by the real life cycle."""
    from genrecore.training import lifecycle

    run, lock = runs.create_held_run(config, store)
    try:
        lifecycle.execute(run)
    finally:
        os.close(lock)
    return Run(run.folder)


def wait_for_epoch(run: Run, epoch: int = 1, most_s: float = 40.0) -> None:
    """Returns once a run has finished an epoch; fails at once when it ended some other way."""

    def reached() -> bool:
        now = Run(run.folder)
        assert now.state not in ("failed", "lost", "stopped"), f"{now.reason}\n{now.log()}"
        return int(now.status.get("epoch", 0)) >= epoch

    wait_for(reached, most_s)


def wait_for(condition: Callable[[], object], most_s: float = 30.0) -> None:
    """Returns once the condition holds; fails when it does not in time."""
    until = time.monotonic() + most_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)
