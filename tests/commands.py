"""Commands carried out in the tests' own process, from the entry point to the exit code."""

from __future__ import annotations

import contextlib
import io
import sys

import pytest


def command(*words: str) -> str:
    """Standard output of a genrecore command that ends well."""
    from genrecore.cli import main

    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["genrecore", *words]
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as left,
        ):
            main()
    finally:
        sys.argv = argv
    assert left.value.code == 0, err.getvalue()
    return out.getvalue()
