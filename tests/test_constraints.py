"""The constraints with checksums pin what those without pin, and name no place to fetch it from."""

from __future__ import annotations

import re

from conftest import ROOT


def pins(name: str) -> list[str]:
    """The lines of a file of constraints that pin a version, without markers and checksums."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line.split(" ")[0] for line in lines if re.match(r"[A-Za-z]", line)]


def test_each_constraint_has_the_checksums_of_its_wheels() -> None:
    assert pins("constraints-hashes.txt") == pins("constraints.txt")
    text = (ROOT / "constraints-hashes.txt").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[A-Za-z])", text)[1:]
    assert len(entries) == len(pins("constraints.txt"))
    condition = r'(sys_platform == "\w+"|python_version >= "3\.\d+")'
    for entry in entries:
        head, *rest = entry.rstrip("\n").split(" \\\n")
        assert re.fullmatch(rf"[\w.-]+==[\w.+!]+( ; {condition})?", head), head
        assert rest, head
        assert len(set(rest)) == len(rest), head
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line) for line in rest), head
    assert "://" not in text
    assert "--index" not in text
