"""Where runs are carried out: what the runner needs of a machine or of a cluster.

Nothing is handed over but the run folder: whoever carries a run out calls
`genrecore train --run FOLDER`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from genrecore.store.run import Run

Force = Literal["ask", "terminate", "kill"]
"""How a run is stopped: told that it was asked to, ended by TERM, ended by KILL."""


class Executor(Protocol):
    """One place."""

    def states(self, runs: Sequence[Run]) -> None:
        """Learns in one call, at most, what became of all these runs, those of an earlier runner
        among them. It raises no error."""

    def settle(self, run: Run) -> None:
        """Notes in a run's folder what became of it, as far as that was learnt.

        Raises:
            GenrecoreError: The run cannot go on.
        """

    def lives(self, run: Run) -> bool:
        """Whether something there works on the run, or will without being told again."""

    def submit(self, run: Run) -> bool:
        """Starts or hands over a queued run; returns whether there was room for it.

        Raises:
            GenrecoreError: The run cannot be carried out there.
            OSError: The store or the machine has no room.
        """

    def stop(self, run: Run, force: Force) -> None:
        """Stops a run whose folder holds the request."""
