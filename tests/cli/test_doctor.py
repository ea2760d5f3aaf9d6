"""What doctor sees before people do: disks without locks, room or a clock; and what it lists."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from commands import command, genrecore, refused
from packaging.utils import canonicalize_name
from test_odd_ground import ODD_SYSTEM, odd, take_locks_away
from test_odd_ground import command as in_a_process

from genrecore.store import disks, packages


def test_a_sound_disk_has_locks_that_two_processes_obey(tmp_path: Path) -> None:
    disk = disks.examine(tmp_path / "not" / "there" / "yet")
    assert disk.folder == tmp_path
    assert (disk.locks, disk.problems, disk.remarks) == (True, [], [])
    assert abs(disk.clock_ahead_s) < 1
    assert list(tmp_path.iterdir()) == []


def test_a_store_without_locks_is_seen(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_locks_away(monkeypatch)
    result = genrecore("doctor", "--json")
    assert result.returncode == 1
    facts = json.loads(result.stdout)
    assert facts["disk"]["runs"]["locks"] is False
    assert f"Files in {store} cannot be locked" in facts["missing"][0]
    refused(genrecore("doctor"), 1, "cannot be locked", "GENRECORE_RUNS")


def test_locks_that_only_seem_to_work_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is shared without a lock service: each machine locks for itself. The
    second process here has other locks than this one."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "sitecustomize.py").write_text(
        "import fcntl\nfcntl.flock = lambda descriptor, operation: None\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'other'}{os.pathsep}{ODD_SYSTEM}")
    assert disks.examine(tmp_path).locks is False


def test_a_full_and_a_read_only_disk_are_seen(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRECORE_RUNS", str(small_disk))
    refused(genrecore("doctor"), 1, f"The disk of {small_disk} has only 0.0 GB left.")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(genrecore("doctor"), 1, f"{small_disk} cannot be written: Read-only file system.")


@pytest.mark.slow
def test_a_clock_that_disagrees_with_the_disks_and_what_was_left_are_remarks(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store / ".new-run-1-2").mkdir()
    os.utime(store / ".new-run-1-2", (time.time() - 4_000,) * 2)
    odd(monkeypatch, clock_s=-86_400)
    result = in_a_process("doctor", "--json")
    facts = json.loads(result.stdout)
    assert facts["disk"]["runs"]["clock_ahead_s"] == pytest.approx(86_400, abs=5)
    assert facts["disk"]["runs"]["leftovers"] == 1
    ahead, left = facts["disk"]["runs"]["remarks"]
    assert "ahead of this machine's" in ahead
    assert "1 hidden folder (.new-…) of processes that were killed is left" in left
    assert facts["missing"] == []
    assert facts["boot_id"]


# Licences and the bill of materials


@pytest.mark.slow
def test_every_package_that_is_needed_has_a_licence_that_is_allowed() -> None:
    needed = packages.needed()
    assert len(needed) > 60
    refused_ones = {
        package.name: package.licence
        for package in needed
        if not set(package.licences) <= packages.ALLOWED
    }
    assert not refused_ones
    copyleft = [p.name for p in needed if any("LGPL" in licence for licence in p.licences)]
    assert copyleft == ["soxr"]


@pytest.mark.slow
def test_everything_that_is_asked_for_is_listed_with_what_it_needs_in_turn() -> None:
    listed = {canonicalize_name(package.name): package for package in packages.needed()}
    own = listed["genrecore"]
    assert {"torch", "streamlit", "skops", "soxr", "pydantic"} <= set(own.needs) <= set(listed)
    assert "altair" in listed["streamlit"].needs
    assert {"altair", "llvmlite"} <= set(listed)  # needed by what is needed
    assert "pytest" not in listed


@pytest.mark.slow
def test_licences_and_an_sbom_come_by_command(tmp_path: Path) -> None:
    rows = json.loads(command("doctor", "--licences", "--json"))
    licences = {row["package"]: row["licence"] for row in rows}
    assert licences["streamlit"] == "Apache-2.0"
    assert licences["soxr"] == "LGPL-2.1-or-later"
    assert "Apache-2.0" in command("doctor", "--licences")
    command("doctor", "--sbom", str(tmp_path / "a.json"))
    command("doctor", "--sbom", str(tmp_path / "b.json"))
    bill = json.loads((tmp_path / "a.json").read_text())
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert bill["metadata"]["component"]["name"] == "genrecore"
    references = [part["bom-ref"] for part in bill["components"]]
    references.append(bill["metadata"]["component"]["bom-ref"])
    assert len(references) == len(set(references)) == len(rows)
    assert all(reference.startswith("pkg:pypi/") for reference in references)
    assert {entry["ref"] for entry in bill["dependencies"]} == set(references)
    assert {other for entry in bill["dependencies"] for other in entry["dependsOn"]} <= set(
        references
    )
    streamlit = next(part for part in bill["components"] if part["name"] == "streamlit")
    assert streamlit["licenses"] == [{"expression": "Apache-2.0"}]
    refused(genrecore("doctor", "--sbom", str(tmp_path / "no" / "folder")), 1, "cannot be written")
