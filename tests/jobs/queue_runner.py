"""The real runner, for runs that `queue_program.py` carries out; arguments: store, words for it."""

from __future__ import annotations

import sys
from pathlib import Path

from genrecore.jobs import runner
from genrecore.store.locks import inherited_locks

if __name__ == "__main__":
    runner._KILL_AFTER_S = 0.5  # so that a test need not wait ten seconds
    runner._AGAIN_AFTER_S = 0.3
    program = Path(__file__).with_name("queue_program.py")
    *options, store = sys.argv[1:]
    lock = next(iter(inherited_locks()), None)
    runner.work(Path(store), [sys.executable, str(program), *options], lock)
