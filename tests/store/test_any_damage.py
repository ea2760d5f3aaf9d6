"""Any file of any folder damaged in any way: lists, commands, pages and the queue go on.

Hypothesis chooses the files and what becomes of them; every example has a store of its own, a copy
of one with good runs, a plan, a search, a task, saved views and a bin.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import genrecore
from conftest import ROOT, TINY
from damaged_stores import fill
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from opened import again, open_page, words

from genrecore.config.run import RunConfig, with_values
from genrecore.evaluation.listing import run_rows, unreadable
from genrecore.experiments import plan as plans
from genrecore.experiments import search as searching
from genrecore.experiments.draft import draft
from genrecore.jobs import actions, runner
from genrecore.store.files import write_json
from genrecore.store.locks import take_lock
from genrecore.store.run import Run
from genrecore.store.runs import all_runs, create_run, unreadable_runs
from genrecore.store.views import SavedView, save

pytestmark = pytest.mark.xdist_group("any damage")  # one worker makes the store

# Does what the runner needs to see of a training, in 20 ms.
PROGRAM = """
import json, os, sys
path = sys.argv[-1] + "/status.json"
status = json.load(open(path))
json.dump(status | {"state": "done"}, open(path + ".new", "w"))
os.rename(path + ".new", path)
"""
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
COMMANDS = [
    "runs list", "runs list --json", "runs list --find demo", "runs show latest",
    "runs show BAD", "runs show BAD --json", "runs show BAD --log", "runs show GOOD --json",
    "runs show STOPPED", "runs alerts", "runs repair", "runs journal", "runs webhook",
    "compare GOOD SAME --json", "compare GOOD BAD", "compare GOOD FITTED --systems",
    "compare --view good", "errors BAD", "errors GOOD", "errors GOOD --against FITTED --json",
    "queue list", "queue list --json", "queue slots", "queue move WAITING first",
    "plans list", "plans list --json", "plans show PLAN", "plans show SEARCH",
    "plans show SEARCH --json", "papers list", "papers report hong", "views list --json",
    "cache list", "classify --help", "runs restore",
]  # fmt: skip
SLOW = [
    "doctor", "sweep --set seed=1,2 --dry-run", "export --bundle OUT BAD",
    "export --bundle OUT GOOD", "export --tensorboard OUT BAD",
    "compare GOOD SAME --report OUT.html", "compare GOOD BAD --report OUT.html",
]  # fmt: skip
CHANGES = [
    "runs rename BAD x", "runs note BAD x", "runs tag BAD x", "runs star BAD", "runs clone BAD",
    "runs continue BAD --epochs 9", "runs resume STOPPED", "runs stop BAD", "plans stop PLAN",
    "plans stop SEARCH", "plans resume PLAN --background", "views rename good better",
    "queue slots 2",
    "runs repair BAD", "runs repair STOPPED", "runs delete BAD", "runs restore BINNED",
    "runs empty-bin",
]  # fmt: skip
UNPLANNED = re.compile(r"^(\w+(Error|Exception)\b|.*Errno)|No such (option|command)", re.MULTILINE)


@dataclass(frozen=True)
class Ground:
    """A store and a cache with the names of what is in them."""

    base: Path
    names: dict[str, str]

    @property
    def store(self) -> Path:
        return self.base / "runs"

    def damageable(self) -> list[Path]:
        """All files but those of what has to go on, by their place."""
        spared = {self.names[name] for name in ("GOOD", "SAME", "WAITING")}
        paths = sorted(path for path in self.base.rglob("*"))
        return [
            path
            for path in paths
            if not spared & set(path.parts) and path.name != actions.RUNNER_LOCK
            and path not in (self.store, self.base / "cache", self.store / ".plans")
        ]  # fmt: skip


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    base = tmp_path_factory.mktemp("ground")
    store, cache = base / "runs", base / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_RUNS", str(store))
        patch.setenv("GENRECORE_CACHE", str(cache))
        good, _ = fill(store, [])
        binned = shutil.copytree(good[0].folder, store / "20260101-000006-demo-cnn-aaa6")
        lock = take_lock(store / actions.RUNNER_LOCK)
        assert lock is not None
        actions.delete(Run(binned))
        bad = shutil.copytree(good[0].folder, store / "20260101-000005-demo-cnn-aaa5")
        for name, values in {
            "song.json": {"clips": "none"},
            "origin.json": {"parent": good[0].run_id, "how": "cloned", "plan": ""},
            "process.json": {"pid": 7, "start_ticks": 7, "host": "x"},
            "ended.json": {"signal": 9, "at": 1.0},
            "job.json": {"on": "slurm:here", "id": "7", "generation": 1, "submitted_at": 1.0},
            "generation.json": {"generation": 2, "announced": 1, "starts": 1, "token": "a"},
            "about.json": {"name": "five", "note": "n", "tags": ["t"], "starred": True},
            "calibration.json": {"temperature": 1.0},
            "cost.json": {},
            "alerts.json": {},
        }.items():
            write_json(bad / name, values)
        (bad / "steps.f32").write_bytes(np.linspace(2, 1, 8, dtype="<f4").tobytes())
        base_config = with_values(RunConfig(), TINY)
        plan = plans.start(draft(base_config, [{"seed": [0, 1]}]))
        search = searching.create(
            base_config, {"training.lr": [1e-2, 1e-3]}, searching.Strategy("random", n_trials=2)
        )
        trial = {"number": 0, "params": {"training.lr": 1e-2}, "run": good[0].run_id}
        listed = [trial | {"state": "complete", "reason": ""}]
        write_json(search.folder / "trials.json", {"trials": listed})
        waiting = create_run(with_values(base_config, {"seed": 8}), store, priority=-1)
        ids = [good[0].run_id, good[1].run_id]
        save(store, SavedView("good", tuple(ids)))
        task = cache / "tasks" / "20260101-000000-abcdef"
        task.mkdir(parents=True)
        write_json(task / "status.json", {"state": "done", "title": "t", "arguments": ["x"]})
        (task / "log.txt").write_text("line\n")
        os.close(lock)
    names = {
        "GOOD": good[0].run_id, "SAME": good[1].run_id, "FITTED": good[2].run_id,
        "STOPPED": good[3].run_id, "BAD": bad.name, "BINNED": binned.name,
        "WAITING": waiting.run_id, "PLAN": plan.plan_id, "SEARCH": search.plan_id,
    }  # fmt: skip
    return Ground(base, names)


# What can become of a file

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from([10**400, -1, 2**63, "../..", "\0", "x" * 5000, 1e308, {}, []]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip
NESTED = st.integers(1, 40_000).map(lambda n: b"[" * n + b"]" * n)
COLUMNS: dict[str, Callable[[int], Any]] = {
    "whole numbers": lambda n: list(range(n)),
    "numbers": lambda n: np.linspace(-1, 2, n),
    "nan": lambda n: np.full(n, np.nan),
    "none": lambda n: [None] * n,
    "infinite": lambda n: np.full(n, np.inf),
    "text": lambda n: ["x"] * n,
    "bytes": lambda n: [b"\xff"] * n,
    "lists": lambda n: [[1, 2]] * n,
    "objects": lambda n: [{"a": 1}] * n,
    "times": lambda n: pd.date_range("2026", periods=n, tz="UTC"),
    "true": lambda n: [True] * n,
    "category": lambda n: pd.Categorical(["x"] * n),
    "complete": lambda n: ["test"] * n,
    "unhashable": lambda n: [np.arange(2)] * n,
}
KINDS = ["gone", "empty", "folder", "fifo", "socket", "zero", "kernel", "itself", "nowhere",
         "sparse", "closed", "foreign"]  # fmt: skip
WAYS = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 1)),
    st.tuples(st.just("flip"), st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)),
                                        min_size=1, max_size=8)),
    st.tuples(st.just("content"), st.binary(max_size=60) | NESTED),
    st.tuples(st.just("json"), JSON),
    st.tuples(st.just("value"), st.tuples(st.integers(0, 10**6), JSON)),
    st.tuples(st.just("value"), st.tuples(st.integers(0, 10**6), JSON)),
    st.tuples(st.just("column"), st.tuples(st.integers(0, 99), st.sampled_from([*COLUMNS]))),
    st.tuples(st.just("table"), st.sampled_from(["drop", "double", "none", "shuffle", "rename",
                                                 "index", "first"])),
    st.tuples(st.sampled_from(KINDS), st.just(0)),
)  # fmt: skip
FOREIGN = st.sampled_from(["config.json", "status.json", "x\ny", "\udcff\udcfe", "-x", "<b>.txt",
                           "ended.json", "stop", "lock", "paused.json", "z" * 255])  # fmt: skip
DAMAGES = st.lists(st.tuples(st.integers(0, 10**6), WAYS, FOREIGN), min_size=1, max_size=3)


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value in JSON."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (*here, key)
        yield from places(inner, (*here, key))


def with_value(values: Any, number: int, new: Any) -> Any:
    """JSON in which one value is another one."""
    ways = list(places(values))
    if not ways:
        return new
    *parents, last = ways[number % len(ways)]
    inner = values
    for key in parents:
        inner = inner[key]
    inner[last] = new
    return values


def damage(path: Path, way: str, value: Any, foreign: str) -> None:
    """Does it; where a way does not fit the file, the file becomes foreign bytes."""
    content = path.read_bytes() if path.is_file() else b""
    if way == "foreign":
        folder = path if path.is_dir() else path.parent
        with contextlib.suppress(OSError):
            os.makedirs(os.fsencode(folder / foreign))
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if way == "cut":
        path.write_bytes(content[: int(len(content) * value)])
    elif way == "flip":
        flipped = bytearray(content or b"x")
        for where, mask in value:
            flipped[min(len(flipped) - 1, int(where * len(flipped)))] ^= mask
        path.write_bytes(flipped)
    elif way == "content":
        path.write_bytes(value)
    elif way == "json":
        path.write_bytes(json.dumps(value).encode("utf-8", "surrogatepass"))
    elif way == "value":
        path.write_bytes(changed_json(path.suffix, content, *value))
    elif way in ("column", "table"):
        write_table(path, content, way, value)
    elif way == "folder":
        path.mkdir()
    elif way == "fifo":
        os.mkfifo(path)
    elif way == "socket":
        with (
            socket.socket(socket.AF_UNIX) as server,
            contextlib.chdir(path.parent),
            contextlib.suppress(OSError),
        ):
            server.bind(path.name)
    elif way in LINKS:
        path.symlink_to(LINKS[way] or path.name)
    elif way == "sparse":
        path.write_bytes(content)
        os.truncate(path, 2**40)
    elif way == "closed":
        path.write_bytes(content)
        path.chmod(0)
    elif way == "empty":
        path.touch()


LINKS = {"zero": "/dev/zero", "kernel": "/proc/kmsg", "itself": "", "nowhere": "/none/x"}


def changed_json(suffix: str, content: bytes, number: int, new: Any) -> bytes:
    lines = content.splitlines() if suffix == ".jsonl" else [content]
    chosen = number % len(lines) if lines else 0
    try:
        values = json.loads(lines[chosen])
    except (ValueError, IndexError):
        return json.dumps(new).encode("utf-8", "surrogatepass")
    lines[chosen] = json.dumps(with_value(values, number, new)).encode("utf-8", "surrogatepass")
    return b"\n".join(lines) + b"\n"


def write_table(path: Path, content: bytes, way: str, value: Any) -> None:
    if path.suffix != ".parquet" or not content:
        pd.DataFrame({"x": [1]}).to_parquet(path)
        return
    path.write_bytes(content)
    table = pd.read_parquet(path)
    if way == "column":
        name = table.columns[value[0] % len(table.columns)]
        table = table.assign(**{name: COLUMNS[value[1]](len(table))})
    else:
        table = {
            "drop": lambda: table[table.columns[1:]],
            "double": lambda: pd.concat([table, table]),
            "none": lambda: table.iloc[:0],
            "shuffle": lambda: table.sample(frac=1, random_state=0),
            "rename": lambda: table.rename(columns=lambda name: name[1:] or "x"),
            "index": lambda: table.set_index(list(table.columns[:2])),
            "first": lambda: table.iloc[:1],
        }[value]()
    table.to_parquet(path)


# What has to go on


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fails where something waits for ever."""

    def ring(*_: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def damaged(ground: Ground, damages: Any) -> Iterator[Ground]:
    """A copy of the ground with these damages, as the store and the cache of this process."""
    base = Path(tempfile.mkdtemp(prefix="genrecore-damage-"))
    copy = Ground(base, ground.names | {"OUT": str(base / "out")})
    try:
        shutil.copytree(ground.base, base, dirs_exist_ok=True)
        for number, (way, value), foreign in damages:
            paths = copy.damageable()
            damage(paths[number % len(paths)], way, value, foreign)
        with pytest.MonkeyPatch.context() as patch, within(300):
            patch.setenv("GENRECORE_RUNS", str(copy.store))
            patch.setenv("GENRECORE_CACHE", str(base / "cache"))
            # In `actions`, whom pages and commands ask to start a runner, and who must not here.
            patch.setattr(actions, "RUNNER", (sys.executable, "-S", "-c", ""))
            yield copy
    finally:
        shutil.rmtree(base, ignore_errors=True)


def check_lists(here: Ground) -> None:
    good = {here.names["GOOD"], here.names["SAME"]}
    assert good <= {run.run_id for run in all_runs()}
    rows = {row.run_id: row for row in run_rows()}
    assert all(rows[run_id].accuracy == 1.0 for run_id in good)
    listed = [error.name for error in unreadable()]
    assert listed == [error.name for error in unreadable_runs()]
    assert not {run.run_id for run in all_runs()} & set(listed)


def check_command(here: Ground, text: str) -> None:
    result = genrecore(*(here.names.get(word, word.replace("OUT", here.names["OUT"]))
                         for word in text.split()))  # fmt: skip
    assert result.returncode in (0, 1, 2), text
    printed = result.stdout + result.stderr
    assert "Traceback" not in printed, f"{text}: {printed}"
    assert not UNPLANNED.search(result.stderr), f"{text}: {result.stderr}"
    if not {"BAD", "STOPPED", "PLAN", "SEARCH", "FITTED", "BINNED", "--view", "views"} & set(
        text.split()
    ):
        assert result.returncode == 0 or text == "doctor" or "latest" in text, result.stderr


def check_page(here: Ground, name: str) -> None:
    names = here.names
    query = {
        "runs": {"run": names["BAD"], "over": "step"},
        "compare": {"runs": ",".join([names["GOOD"], names["BAD"], names["STOPPED"]])},
        "errors": {"run": names["GOOD"]},
        "plans": {"plan": names["SEARCH"]},
        "classify": {"run": names["BAD"]},
    }.get(name, {})
    app = open_page(name)
    if name in ("overview", "runs"):
        assert "aaa1" in str([table.value for table in (*app.dataframe, *app.table)]) + words(app)
    if query:
        again(app, **query)


def check_queue(here: Ground) -> None:
    runner.work(here.store, [sys.executable, "-S", "-c", PROGRAM])
    assert Run(here.store / here.names["WAITING"]).state == "done"


COMMON: dict[str, Any] = {
    "deadline": None,  # processes take what they take
    "database": None,
    "phases": [Phase.generate],  # an example is three damages at most: as small as it gets
    "print_blob": True,
    "report_multiple_bugs": False,
    "suppress_health_check": list(HealthCheck),
}


@pytest.mark.slow
@settings(max_examples=12, derandomize=True, **COMMON)
@given(damages=DAMAGES, chosen=st.integers(0, 10**6))
def test_no_damage_harms_what_is_not_damaged(ground: Ground, damages: Any, chosen: int) -> None:
    with damaged(ground, damages) as here:
        check_lists(here)
        for k in range(3):
            check_command(here, COMMANDS[(chosen + 11 * k) % len(COMMANDS)])
        if chosen % 3 == 0:
            check_page(here, ("overview", "runs", "compare")[chosen // 3 % 3])
        check_queue(here)
        check_command(here, CHANGES[chosen % len(CHANGES)])
        check_lists(here)


@pytest.mark.long
@settings(max_examples=int(os.environ.get("GENRECORE_EXAMPLES", "2000")), **COMMON)
@given(damages=DAMAGES, chosen=st.integers(0, 10**6))
def test_no_damage_harms_any_page_or_command(ground: Ground, damages: Any, chosen: int) -> None:
    with damaged(ground, damages) as here:
        check_lists(here)
        for text in [*COMMANDS, *SLOW][chosen % 4 :: 4]:
            check_command(here, text)
        for name in PAGES[chosen % 4 :: 4]:
            check_page(here, name)
        check_queue(here)
        for text in CHANGES[chosen % 4 :: 4]:
            check_command(here, text)
        check_lists(here)
