"""A program that starts others and lets nothing outlive it: whatever they leave behind becomes its
child. It reads a command in JSON per line, and answers with the process id. When its input ends,
also because whoever started it died, it kills all of its descendants and ends."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import psutil

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Keeper:
    """Starts processes, of which nothing is left when it stops or dies."""

    def __init__(self) -> None:
        words = [sys.executable, __file__]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
        )

    def start(self, *words: str | Path) -> psutil.Process:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(word) for word in words]) + "\n")
        self.process.stdin.flush()
        return psutil.Process(int(self.process.stdout.readline()))

    def children(self) -> list[psutil.Process]:
        """What it started or adopted, and lives."""
        return psutil.Process(self.process.pid).children()

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)


def reap(*_: int | FrameType | None) -> None:
    """Takes leave of all children that have ended, so that none stays as a zombie."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        sys.exit("orphans are adopted on Linux alone")
    signal.signal(signal.SIGCHLD, reap)
    kept = []
    for line in sys.stdin:
        kept.append(
            subprocess.Popen(
                json.loads(line),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
        sys.stdout.write(f"{kept[-1].pid}\n")
        sys.stdout.flush()
    while descendants := psutil.Process().children(recursive=True):
        for process in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.02)
