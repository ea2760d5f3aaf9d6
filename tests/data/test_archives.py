"""Archives of strangers: what is unpacked, and what is refused in one sentence leaving nothing."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sample_files import zipped

from genrecore.data.archives import SMALL, UPLOAD, ArchiveLimits, extract
from genrecore.errors import GenrecoreError
from genrecore.store.progress import Stopped

Packer = Callable[[Path, dict[str, bytes]], Path]
NAMES = {
    "top/rock/häßlich und lang.wav": b"\x01" * 3_001,
    "top/rock/zwei\nzeilen.wav": b"",
    "top/jazz/a.wav": bytes(range(251)) * 7,
}


def _tarred(mode: str) -> Packer:
    def pack(path: Path, files: dict[str, bytes]) -> Path:
        with tarfile.open(path, mode) as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o4777
                archive.addfile(entry, io.BytesIO(content))
        return path

    return pack


PACKERS = {"zip": zipped} | {
    f"tar:{kind}": _tarred(f"w:{kind}") for kind in ("", "gz", "bz2", "xz")
}


def _refused(archive: Path, message: str, limits: ArchiveLimits = UPLOAD) -> None:
    """Refused in one sentence; beside the archive nothing is left, above all not the target."""
    before = sorted(archive.parent.iterdir())
    with pytest.raises(GenrecoreError, match=message) as caught:
        extract(archive, archive.parent / "target", limits=limits)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    assert sorted(archive.parent.iterdir()) == before


@pytest.mark.parametrize("kind", PACKERS)
def test_files_come_out_as_they_went_in_without_the_archives_modes(
    kind: str, tmp_path: Path
) -> None:
    archive = PACKERS[kind](tmp_path / "any name at all", NAMES)
    target = extract(archive, tmp_path / "new" / "target")
    contents = {p.relative_to(target).as_posix(): p.read_bytes() for p in target.rglob("*.wav")}
    assert contents == NAMES
    modes = {stat.S_IMODE(p.stat().st_mode) for p in target.rglob("*.wav")}
    umask = os.umask(0)
    os.umask(umask)
    assert modes == {0o666 & ~umask}
    assert list(target.parent.iterdir()) == [target]


def test_a_single_folder_inside_becomes_the_target_when_asked(tmp_path: Path) -> None:
    target = extract(zipped(tmp_path / "a.zip", NAMES), tmp_path / "target", unwrap=True)
    assert sorted(p.name for p in target.iterdir()) == ["jazz", "rock"]
    loose = zipped(tmp_path / "b.zip", NAMES | {"readme.txt": b"x"})
    again = extract(loose, tmp_path / "again", unwrap=True)
    assert sorted(p.name for p in again.iterdir()) == ["readme.txt", "top"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "again", "b.zip", "target"]


@pytest.mark.parametrize("kind", ["zip", "tar:gz"])
@pytest.mark.parametrize(
    "name",
    ["../out.wav", "a/../../out.wav", "/etc/out.wav", "C:\\out.wav", "a\\..\\..\\out.wav", "\\x"],
)
def test_a_path_that_leads_out_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    files = {"good.wav": b"good", name: b"bad"}
    _refused(PACKERS[kind](folder / "a", files), "leads out of its folder")
    assert list(tmp_path.iterdir()) == [folder]


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        link = zipfile.ZipInfo("rock")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc")
        archive.writestr("rock/passwd", "through the link")
    _refused(tmp_path / "link.zip", "'rock', which is a link")
    for kind, message in (
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "neither a file nor a folder"),
        (tarfile.FIFOTYPE, "neither a file nor a folder"),
    ):
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            entry = tarfile.TarInfo("rock")
            entry.type, entry.linkname = kind, "../../etc"
            tar.addfile(entry)
        _refused(tmp_path / "a.tar", message)


@pytest.mark.parametrize("kind", ["zip", "tar:gz", "tar:xz"])
def test_a_bomb_is_refused_by_what_it_unpacks_to(kind: str, tmp_path: Path) -> None:
    archive = PACKERS[kind](tmp_path / "bomb", {"zeros.wav": bytes(SMALL + 1)})
    _refused(archive, "more than 100 times its own size")


def test_a_tar_header_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("pax")
    entry.type, entry.size = tarfile.XHDTYPE, 2**33
    before = tarfile.TarInfo("a.wav").tobuf()
    (tmp_path / "a.tar").write_bytes(before + entry.tobuf(tarfile.GNU_FORMAT) + bytes(1_024))
    _refused(tmp_path / "a.tar", "larger than any name")


def test_a_zip_that_lies_about_sizes_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.wav": bytes(50_001)})
    content = bytearray(archive.read_bytes())
    offset = content.rindex(b"PK\x01\x02") + 24  # the size in the central directory
    content[offset : offset + 4] = (51).to_bytes(4, "little")
    archive.write_bytes(content)
    _refused(archive, "is damaged")


def test_amounts_beyond_the_limits_are_refused(tmp_path: Path) -> None:
    for kind, pack in PACKERS.items():
        archive = pack(tmp_path / kind, {f"{n}.wav": bytes([n]) * 211 for n in range(7)})
        _refused(archive, "more than 6 files", ArchiveLimits(6, 2**30, 100.0))
        _refused(archive, "unpacks to more than 1.5 kB", ArchiveLimits(7, 1_476, 100.0))
        archive.unlink()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither a zip nor a tar"),
        (b"RIFF" + bytes(2_000), "neither a zip nor a tar"),
        (b"PK\x03\x04" + bytes(99), "is damaged"),
        (b"\x1f\x8b\x08\x00" + bytes(99), "neither a zip nor a tar"),
        (b"PK\x05\x06" + bytes(18), "holds no files"),
    ],
)
def test_what_is_no_archive_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    _refused(tmp_path / "a.zip", message)


@pytest.mark.parametrize("kind", ["zip", "tar:", "tar:gz", "tar:xz"])
def test_a_truncated_archive_leaves_nothing(kind: str, tmp_path: Path) -> None:
    archive = PACKERS[kind](tmp_path / "a", {"a.wav": os.urandom(70_001), "b.wav": b"b"})
    archive.write_bytes(archive.read_bytes()[:40_001])
    _refused(archive, "is damaged")


def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    _refused(_tarred("w")(tmp_path / "a", {"a/b": b"1", "a/./b": b"2"}), "'a/b' twice")
    _refused(_tarred("w")(tmp_path / "b", {"a": b"1", "a/b": b"2"}), "as a file and as a folder")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.wav": b"secret"})
    content = bytearray(archive.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    content[content.index(b"PK\x03\x04") + 6] |= 1
    archive.write_bytes(content)
    _refused(archive, "is encrypted")


def test_a_stop_while_unpacking_leaves_nothing(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {f"{n}.wav": b"1" for n in range(7)})
    progress: list[tuple[int, int]] = []

    def stop_at_three(phase: str, done: int, total: int) -> None:
        progress.append((done, total))
        if done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        extract(archive, tmp_path / "target", stop_at_three)
    assert progress[-1] == (3, 7)
    assert list(tmp_path.iterdir()) == [archive]


def test_a_target_that_is_there_is_not_touched(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.wav": b"new"})
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "a.wav").write_bytes(b"old")
    with pytest.raises(GenrecoreError, match="already"):
        extract(archive, tmp_path / "target")
    assert (tmp_path / "target" / "a.wav").read_bytes() == b"old"
    with pytest.raises(GenrecoreError, match="There is no file"):
        extract(tmp_path / "nothing.zip", tmp_path / "other")
