"""What a run tells while it works: phase and progress, notes, its log; and whether to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genrecore.store import generations
from genrecore.store.generations import JOB
from genrecore.store.progress import Ended, Phase, Report, Stopped, silent
from genrecore.store.run import Run
from genrecore.store.status import (
    LOG,
    STOP,
    TIME_OVER,
    Status,
    ask_to_stop,
    stop_asked,
    stop_request,
)

_ENDED_BY_CLUSTER = "The cluster ended its job; it goes on from its last checkpoint."
_LOOK_EVERY_S = 0.02  # for a request to stop: steps may be much shorter


class RunProgress:
    """The status file, the log and the stop request of one run.

    Attributes:
        folder: The run's.
        status: Its status file, written by this process only.
    """

    def __init__(self, run: Run, show: Report = silent) -> None:
        """
        Args:
            run: A run that this process works on.
            show: Also called at every step, as `show(phase, done, total)`.
        """
        self.folder, self.status = run.folder, Status(run.folder)
        self._show, self._looked_at = show, 0.0

    def report(self, phase: str, done: int, total: int) -> None:
        """Tells how far a phase is; cheap enough for every step.

        Raises:
            Stopped: A stop was asked for. While the best epoch is tested, a stop that asks for
                just that is fulfilled.
        """
        self.status.beat(phase=phase, done=done, total=total)
        self._show(phase, done, total)
        now = time.monotonic()
        if now - self._looked_at > _LOOK_EVERY_S:
            self._looked_at = now
            if stop_asked(self.folder):
                if phase != Phase.TESTING or not self.stop_keeps_best():
                    raise Stopped
                self.forget_stop()

    def report_phase(self, phase: str, *_: int) -> None:
        """Tells of a phase and leaves the counts at those of the training steps: pages read from
        them how many steps an epoch has."""
        self.report(phase, self.status.values.get("done", 0), self.status.values.get("total", 0))

    def show(self, **values: Any) -> None:
        """Puts values into the status, which is written with the next report."""
        self.status.values |= values

    def note(self, sentence: str) -> None:
        """Adds a sentence that the run's page shows."""
        self.status.update(notes=[*self.status.values.get("notes", []), sentence])

    def log(self, text: str) -> None:
        """Adds a line to the log."""
        generations.check(self.folder)
        with (
            contextlib.suppress(OSError),  # a full disk must not end the run from its log
            open(self.folder / LOG, "a", encoding="utf-8") as log,
        ):
            log.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def stop_keeps_best(self) -> bool:
        """Whether the stop that was asked for wants the best epoch so far to be tested."""
        return bool(stop_request(self.folder).get("keep_best"))

    def forget_stop(self) -> None:
        """Takes the request to stop as fulfilled."""
        (self.folder / STOP).unlink(missing_ok=True)

    def end(self, state: str, reason: str, **values: Any) -> None:
        """Enters the final state."""
        with contextlib.suppress(OSError):  # then the run is found lost, which is true as well
            self.status.move(state, reason, finished_at=time.time(), time_left_s=None, **values)
        self.log(f"{state}. {reason}".strip())

    def stop(self, forced: str = "") -> None:
        """Says why the run stopped; or, where it shall go on later, has it wait in the queue.

        Args:
            forced: Why its step could not be finished, if it could not.
        """
        request = stop_request(self.folder)
        if not request.get("requeue"):
            self.end("stopped", forced or str(request.get("reason") or "Stopped on request."))
            return
        reason = str(request.get("reason") or "Paused with the queue.")
        with contextlib.suppress(OSError):
            self.status.move("queued", reason, starts=0, time_left_s=None)
        self.log(f"queued. {reason}")


@contextlib.contextmanager
def signals_ask_to_stop(folder: Path) -> Iterator[None]:
    """Inside, TERM and INT become the request to stop: the step is finished, a checkpoint kept.

    Where a stop was asked for already, the process ends at once, with the last checkpoint. In a job
    of a cluster, USR1 says that the job's time is nearly over or that a stop was asked for, and
    TERM comes from the cluster: unless somebody asked for a stop, the run goes on later.
    """
    before = {}
    in_job = bool(os.environ.get(JOB))

    def ask(number: int, _frame: Any) -> None:
        if number == signal.SIGUSR1:
            if not stop_asked(folder):
                ask_to_stop(folder, requeue=True, reason=TIME_OVER)
            return
        signal.signal(number, signal.SIG_DFL)  # the next one is final
        if stop_asked(folder):
            raise Ended
        wishes = {"requeue": True, "reason": _ENDED_BY_CLUSTER} if in_job else {}
        ask_to_stop(folder, **wishes)

    numbers = [signal.SIGTERM, signal.SIGINT, *([signal.SIGUSR1] if in_job else ())]
    with contextlib.suppress(ValueError):  # only the main thread may
        for number in numbers:
            before[number] = signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
