"""A good and a damaged store side by side, while runners, runs and servers are killed, halted and
started under other clocks and host names: no run is lost, none works twice, none is falsely
running."""

from __future__ import annotations

import contextlib
import logging
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import wait_for
from test_odd_ground import DAY_S, odd
from test_queue import RUNNER, runners
from test_queue_damaged import UNREADABLE

from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError
from genrecore.jobs import actions
from genrecore.store.locks import is_locked
from genrecore.store.processes import living_processes
from genrecore.store.run import LIVE, Run
from genrecore.store.runs import create_run

Tiny = Callable[..., RunConfig]
N_RUNS, N_STEPS, CHAOS_S = 10, 40, 60.0
# What a page does: it has a runner started, and stays open.
SERVER = """
import sys, time; from pathlib import Path; from genrecore.jobs import actions
actions.RUNNER = tuple(sys.argv[2:])
while True: actions.ensure_runner(Path(sys.argv[1])); time.sleep(0.5)
"""


class Chaos:
    """Two stores, their servers, and what was done to them."""

    def __init__(self, stores: list[Path], config: RunConfig, patch: pytest.MonkeyPatch) -> None:
        self.stores, self.patch, self.random = stores, patch, random.Random()
        self.runs: list[Run] = []
        for store in stores:
            store.mkdir()
            if store.name == "damaged":
                for damage in UNREADABLE:
                    bad = create_run(config, store, priority=5)
                    damage.damage(bad.folder / damage.file)
            for _ in range(N_RUNS):
                run = create_run(config, store)
                (run.folder / "steps").write_text(str(N_STEPS))
                self.runs.append(run)
        self.servers: dict[Path, subprocess.Popen[bytes]] = {}
        self.events: Counter[str] = Counter()
        self.killed: Counter[str] = Counter()
        self.halted: list[psutil.Process] = []

    def serve(self) -> None:
        """Each store has a server, under some clock and host name."""
        for store in self.stores:
            server = self.servers.get(store)
            if server is None or server.poll() is not None:
                shift_s = self.random.choice([0, DAY_S, -DAY_S])
                odd(self.patch, clock_s=shift_s, host=self.random.choice(["here", "there"]))
                words = [sys.executable, "-c", SERVER, str(store), *RUNNER]
                self.servers[store] = subprocess.Popen(words, start_new_session=True)

    def strike(self) -> None:
        """Something happens to a process of a store."""
        store = self.random.choice(self.stores)
        event = self.random.choice(["runner", "run", "run", "server", "halt", "go on", "go on"])
        if event == "server":
            self.kill(event, [psutil.Process(self.servers[store].pid)])
        elif event == "go on":
            self.go_on()
        else:
            own = {run.run_id: living_processes(run.folder) for run in self.runs
                   if run.folder.parent == store}  # fmt: skip
            at_work = [run_id for run_id, processes in own.items() if processes]
            run_id = self.random.choice(at_work) if at_work else ""
            chosen = own.get(run_id, []) if event == "run" or self.random.random() < 0.5 else []
            chosen = chosen or (runners(store) if event != "run" else [])
            if event == "halt":
                for process in chosen:
                    with contextlib.suppress(psutil.Error):
                        process.suspend()
                        self.halted.append(process)
                        self.events[event] += 1
            else:
                if any(process in own.get(run_id, []) for process in chosen):
                    self.killed[run_id] += 1
                self.kill(event, chosen)

    def kill(self, event: str, processes: list[psutil.Process]) -> None:
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
                self.events[event] += 1

    def go_on(self) -> None:
        for process in self.halted:
            with contextlib.suppress(psutil.Error):
                process.resume()
        self.halted.clear()

    def look(self) -> None:
        """No run says that it works without a process; those that were lost are resumed."""
        for run in self.runs:
            now = Run(run.folder)
            if now.state in LIVE - {"starting"} and not living_processes(run.folder):
                time.sleep(0.5)  # it may have ended in between
                now = Run(run.folder)
                assert now.state not in LIVE or living_processes(run.folder), run.run_id
            if now.state == "lost" and not is_locked(run.folder / "lock"):
                with contextlib.suppress(GenrecoreError):  # it was queued again meanwhile
                    actions.resume(now)

    def is_over(self) -> bool:
        self.look()
        self.serve()
        return all(Run(run.folder).state == "done" for run in self.runs)

    def end(self) -> None:
        self.go_on()
        for server in self.servers.values():
            server.kill()
            server.wait()
        for store in self.stores:
            for process in runners(store):
                process.kill()


@pytest.mark.long
@pytest.mark.xdist_group("processes")
def test_no_run_is_lost_twice_at_work_or_falsely_running(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "RUNNER", RUNNER)
    chaos = Chaos([tmp_path / "good", tmp_path / "damaged"], tiny(), monkeypatch)
    try:
        until = time.monotonic() + CHAOS_S
        while time.monotonic() < until:
            chaos.serve()
            time.sleep(chaos.random.uniform(0.05, 0.6))
            chaos.strike()
            chaos.look()
        chaos.go_on()
        wait_for(chaos.is_over, most_s=240)
        begun = [len((run.folder / "begun").read_text().split()) for run in chaos.runs]
        logging.getLogger(__name__).warning("%s, %d beginnings", dict(chaos.events), sum(begun))
        for run, n_begun in zip(chaos.runs, begun, strict=True):
            assert not (run.folder / "twice").exists(), (run.folder / "twice").read_text()
            # Another beginning than the first follows a kill.
            assert n_begun <= 1 + chaos.killed[run.run_id]
            assert (run.folder / "done-steps").read_text() == str(N_STEPS)
            states = [entry["state"] for entry in Run(run.folder).status["states"]]
            assert states.count("done") == 1
    finally:
        chaos.end()
