"""What a run tells while it works: phase and progress, notes, its log; and whether to stop."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from genrecore.store import generations
from genrecore.store.progress import Phase, Report, Stopped, silent
from genrecore.store.run import Run
from genrecore.store.status import LOG, STOP, Status, stop_asked, stop_request

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
