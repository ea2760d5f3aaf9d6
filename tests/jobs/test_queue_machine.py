"""The queue in any order of events: queued, moved, stopped and killed, with real processes."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import wait_for
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from test_queue import RUNNER, names, runners

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError
from genrecore.jobs import actions, queue, slots
from genrecore.store.locks import is_locked
from genrecore.store.processes import living_processes
from genrecore.store.run import Run
from genrecore.store.runs import all_runs

processes = pytest.mark.xdist_group("processes")  # one at a time: they share two cores


class Queue(RuleBasedStateMachine):
    """Runs, runners and kills in any order: no run is lost, none works twice, none too many."""

    n_slots = 1

    @initialize()
    def begin(self) -> None:
        self.store = Path(tempfile.mkdtemp(prefix="genrecore-queue-"))
        slots.share_cpu(self.n_slots, self.store)
        self.made: list[Run] = []
        self.before, actions.RUNNER = actions.RUNNER, RUNNER

    def a_run(self, data: st.DataObject, *allowed: str) -> Run | None:
        fitting = [run for run in self.made if Run(run.folder).state in allowed]
        return data.draw(st.sampled_from(fitting)) if fitting else None

    @rule(n=st.integers(1, 3))
    def submit(self, n: int) -> None:
        for _ in range(n):
            self.made.append(actions.submit(CONFIG, self.store))

    @rule(to=st.sampled_from(queue.WAYS), data=st.data())
    def move(self, to: str, data: st.DataObject) -> None:
        run = self.a_run(data, "queued")
        if run is not None:
            self.unless_it_began(lambda: actions.move(Run(run.folder), to))

    @rule(now=st.booleans())
    def pause(self, now: bool) -> None:
        actions.pause(self.store, now)

    @rule()
    def unpause(self) -> None:
        actions.unpause(self.store)

    @rule(data=st.data())
    def stop_or_cancel(self, data: st.DataObject) -> None:
        run = self.a_run(data, "queued", "running")
        if run is not None:
            self.unless_it_began(lambda: actions.stop(Run(run.folder)))

    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        run = self.a_run(data, "stopped", "lost")
        if run is not None:
            self.unless_it_began(lambda: actions.resume(Run(run.folder)))

    @rule(data=st.data())
    def throw_away_and_restore(self, data: st.DataObject) -> None:
        run = self.a_run(data, "stopped", "lost", "queued", "done")
        if run is not None:
            self.unless_it_began(
                lambda: (actions.delete(Run(run.folder)), actions.restore(run.run_id, self.store))
            )

    def unless_it_began(self, act: Callable[[], object]) -> None:
        with contextlib.suppress(GenrecoreError):  # it began or ended between the look and the act
            act()

    @rule()
    def kill_the_runner(self) -> None:
        for process in runners(self.store):
            process.kill()

    @rule(data=st.data())
    def kill_a_run(self, data: st.DataObject) -> None:
        run = self.a_run(data, "running")
        if run is not None:
            for process in living_processes(run.folder):
                process.kill()

    @precondition(lambda self: self.made)
    @rule(most_s=st.sampled_from([0.05, 0.3]))
    def time_passes(self, most_s: float) -> None:
        time.sleep(most_s)

    @rule()
    def a_dashboard_opens(self) -> None:
        actions.ensure_runner(self.store)

    def teardown(self) -> None:
        try:
            actions.unpause(self.store)

            def settled() -> bool:
                now = [Run(run.folder).state for run in self.made]
                actions.ensure_runner(self.store)
                return not set(now) - {"done", "stopped", "lost"}

            wait_for(settled, most_s=30 + 5 * len(self.made))  # one after the other, beside others
            assert {run.run_id for run in all_runs(self.store)} == set(names(self.made))
            for run in self.made:
                assert not (run.folder / "twice").exists(), (run.folder / "twice").read_text()
                states = [entry["state"] for entry in Run(run.folder).status["states"]]
                assert states.count("done") <= 1
            wait_for(lambda: not is_locked(self.store / actions.RUNNER_LOCK))
        finally:
            actions.RUNNER = self.before
            for process in runners(self.store):
                process.kill()
            shutil.rmtree(self.store, ignore_errors=True)


CONFIG = with_values(RunConfig(), {"device": "cpu"})
_COMMON = {
    "deadline": None,  # real processes take what they take
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    "print_blob": True,
}


@processes
class TestQueue(Queue.TestCase):  # type: ignore[misc,name-defined]
    settings = settings(max_examples=4, stateful_step_count=12, derandomize=True, **_COMMON)  # type: ignore[arg-type]


@pytest.mark.long
@processes
class TestQueueForLong(Queue.TestCase):  # type: ignore[misc,name-defined]
    settings = settings(max_examples=50, stateful_step_count=25, **_COMMON)  # type: ignore[arg-type]


class TwoSlots(Queue):
    """The same where two runs work at a time."""

    n_slots = 2


@pytest.mark.long
@processes
class TestQueueOfTwoSlots(TwoSlots.TestCase):  # type: ignore[misc,name-defined]
    settings = settings(max_examples=15, stateful_step_count=25, **_COMMON)  # type: ignore[arg-type]
