"""Commands carried out in the tests' own process, from the entry point to the exit code."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys

import pytest


def genrecore(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in this process, from its entry point to its exit code."""
    from genrecore.cli import main

    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["genrecore", *arguments]
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as exit_info,
        ):
            main()
    finally:
        sys.argv = argv
    assert isinstance(exit_info.value.code, int)
    return subprocess.CompletedProcess(
        arguments, exit_info.value.code, out.getvalue(), err.getvalue()
    )


def command(*arguments: str) -> str:
    """Standard output of a genrecore command that ends well."""
    result = genrecore(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def refused(result: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """Checks that a command ended with this code and one sentence that holds these parts."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    for part in parts:
        assert part in result.stderr
