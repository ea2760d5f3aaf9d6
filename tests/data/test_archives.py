"""Archives of strangers: what is unpacked, and what is refused in one sentence leaving nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib
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


# Archives that are small and would make much


def _refused_soon(archive: Path, message: str, limits: ArchiveLimits = UPLOAD) -> None:
    """Refused within a second of the processor and with little memory, before anything is made."""
    began = time.process_time()
    with pytest.raises(GenrecoreError, match=message):
        extract(archive, archive.parent / "far" / "target", limits=limits)
    assert time.process_time() - began < 1.0  # s
    tracemalloc.start()
    with pytest.raises(GenrecoreError, match=message):
        extract(archive, archive.parent / "far" / "target", limits=limits)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 60e6  # one copy of the largest list of files, and objects of the limits
    assert not (archive.parent / "far").exists()


def many_entries(n: int, claimed: int | None = None) -> bytes:
    """A zip whose directory lists n empty files; its end record claims another number of them."""
    head = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 33, 0, 0, 0, 7, 0)
    local = head + b"0000000"
    pack = struct.Struct("<4s6H3L5H2L").pack
    entry = pack(b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0)
    directory = b"".join(entry + b"%07d" % k for k in range(n))
    count = min(n if claimed is None else claimed, 0xFFFE)
    end = (b"PK\x05\x06", 0, 0, count, count, len(directory), len(local), 0)
    return local + directory + struct.pack("<4s4H2LH", *end)


@pytest.mark.parametrize("kind", ["zip", "tar:gz"])
def test_folders_inside_one_another_are_bounded(kind: str, tmp_path: Path) -> None:
    """200 empty files under 490 folders each: 98 200 folders of 408 790 bytes."""
    names = {f"{n}/" + "a/" * 489 + "f": b"" for n in range(200)}
    _refused_soon(PACKERS[kind](tmp_path / "a", names), "a path of 491 names")


@pytest.mark.parametrize("kind", ["zip", "tar:gz"])
def test_folders_that_only_stand_in_paths_count(kind: str, tmp_path: Path) -> None:
    names = {f"{n}/" + "a/" * 30 + "f": b"" for n in range(700)}
    _refused_soon(PACKERS[kind](tmp_path / "a", names), "more than 20,000 files and folders")
    few = {f"{n}/" + "a/" * 30 + "f": b"" for n in range(7)}
    archive = PACKERS[kind](tmp_path / "b", few)
    _refused(archive, "more than 223 files", ArchiveLimits(7 * 32 - 1, 2**30, 100.0))
    extract(archive, tmp_path / "target", limits=ArchiveLimits(7 * 32, 2**30, 100.0))


@pytest.mark.parametrize(("n", "claimed"), [(1_000_000, None), (150_000, None), (150_000, 1)])
def test_a_zip_of_a_million_entries_is_refused_before_it_is_listed(
    n: int, claimed: int | None, tmp_path: Path
) -> None:
    (tmp_path / "a.zip").write_bytes(many_entries(n, claimed))
    _refused_soon(tmp_path / "a.zip", "more than 20,000 files and folders")


def test_a_zip_with_an_honest_list_of_entries_is_no_other(tmp_path: Path) -> None:
    """The same builder, so that the tests above refuse for the number and nothing else."""
    (tmp_path / "a.zip").write_bytes(many_entries(1))
    extract(tmp_path / "a.zip", tmp_path / "target")
    assert (tmp_path / "target" / "0000000").read_bytes() == b""


@pytest.mark.parametrize("folders", [True, False])
def test_a_tar_of_many_entries_is_refused_also_where_they_repeat(
    folders: bool, tmp_path: Path
) -> None:
    entry = tarfile.TarInfo("a")
    entry.type = tarfile.DIRTYPE if folders else tarfile.REGTYPE
    content = entry.tobuf() * 2_500
    if not folders:
        names = (tarfile.TarInfo(str(n)).tobuf() for n in range(2_500))
        content = b"".join(names)
    packed = zlib.compressobj(1, wbits=31)
    (tmp_path / "a.tgz").write_bytes(packed.compress(content) + packed.flush())
    _refused_soon(tmp_path / "a.tgz", "more than 2,000 files", ArchiveLimits(2_000, 2**30, 100.0))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_headers_that_belong_to_headers_without_end_are_refused(
    kind: bytes, tmp_path: Path
) -> None:
    entry = tarfile.TarInfo("a")
    entry.type, entry.size = kind, 512
    link = entry.tobuf(tarfile.GNU_FORMAT) + b"x".ljust(512, b"\0")
    start = tarfile.TarInfo("a.wav").tobuf()
    (tmp_path / "a.tar").write_bytes(start + link * 5_000 + bytes(1_024))
    _refused_soon(tmp_path / "a.tar", "is damaged")


@pytest.mark.parametrize(
    ("between", "problem"),
    [
        (b"\x55" * 512, "is damaged"),
        (tarfile.TarInfo("b").tobuf()[:-100] + b"x" * 100, "is damaged"),
        (bytes(512), "something follows its end"),
        (bytes(10_240), "something follows its end"),  # a hole of a download
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_tar_that_is_damaged_between_its_files_is_refused(
    between: bytes, problem: str, packed: bool, tmp_path: Path
) -> None:
    content = tarfile.TarInfo("a.wav").tobuf() + between + tarfile.TarInfo("b.wav").tobuf()
    content += bytes(1_024)
    path = tmp_path / "a.tar"
    path.write_bytes(gzip.compress(content) if packed else content)
    _refused(path, problem)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_what_is_damaged_behind_its_beginning_is_said_to_be_damaged(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    content = tarfile.TarInfo("a.wav").tobuf() + bytes(1_024)
    (tmp_path / "a.tar").write_bytes(pack(content) + b"of another file" * 20)
    _refused(tmp_path / "a.tar", "is damaged")


@pytest.mark.parametrize("n_zeros", [512, 1_024, 20_480])
def test_a_tar_ends_with_any_number_of_empty_blocks(n_zeros: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tarfile.TarInfo("a.wav").tobuf() + bytes(n_zeros))
    extract(path, tmp_path / "music", unwrap=False)
    assert [file.name for file in (tmp_path / "music").iterdir()] == ["a.wav"]
    path.write_bytes(tarfile.TarInfo("a.wav").tobuf())  # one that was cut off
    _refused(path, "is damaged")


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    """Its list of pieces takes more memory than its bytes; nobody packs music so."""
    entry = tarfile.TarInfo("a.wav")
    entry.type, entry.size = tarfile.GNUTYPE_SPARSE, 0
    (tmp_path / "a.tar").write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1_024))
    _refused(tmp_path / "a.tar", "neither a file nor a folder")


def test_a_gzip_header_with_an_endless_name_takes_no_time(tmp_path: Path) -> None:
    content = b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 2**25
    (tmp_path / "a.tgz").write_bytes(content)
    _refused_soon(tmp_path / "a.tgz", "neither a zip nor a tar")


def test_an_xz_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    archive = PACKERS["tar:xz"](tmp_path / "a.xz", {"a.wav": b"1" * 3_001})
    content = bytearray(archive.read_bytes())
    n_header = 4 * (content[12] + 1)
    content[16] = 36  # the dictionary: 1 GiB
    content[12 + n_header - 4 : 12 + n_header] = zlib.crc32(
        content[12 : 12 + n_header - 4]
    ).to_bytes(4, "little")
    archive.write_bytes(content)
    _refused(archive, "takes more than 134 MB of memory")


def test_a_zip_packed_so_that_unpacking_takes_much_memory_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.wav", b"1" * 3_001)
    _refused(tmp_path / "a.zip", "use deflate")


@pytest.mark.parametrize("name", ["a" * 256, "ä" * 128, "a/" * 10 + "b" * 990])
def test_names_that_no_file_system_takes_are_refused_before_anything_is_written(
    name: str, tmp_path: Path
) -> None:
    _refused(zipped(tmp_path / "a.zip", {"good.wav": b"1", name: b"2"}), "no file can have")


def test_an_archive_in_parts_is_read_to_its_end(tmp_path: Path) -> None:
    """As pigz, xz with threads and `cat` write them; zeros may follow."""
    for kind in ("gz", "bz2", "xz"):
        whole = _tarred("w")(tmp_path / "whole", NAMES).read_bytes()
        pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind]
        parts = [pack(whole[k : k + 4_000]) for k in range(0, len(whole), 4_000)]
        (tmp_path / kind).write_bytes(b"".join(parts) + bytes(512))
        target = extract(tmp_path / kind, tmp_path / f"target-{kind}")
        contents = {p.relative_to(target).as_posix(): p.read_bytes() for p in target.rglob("*.wav")}
        assert contents == NAMES


@pytest.mark.parametrize("path", ["/proc/kmsg", "/dev/zero", "/tmp"])
def test_only_regular_files_are_opened(path: str, tmp_path: Path) -> None:
    link = tmp_path / "a.zip"
    link.symlink_to(path)
    with pytest.raises(GenrecoreError, match="no regular file"):
        extract(link, tmp_path / "target")
    os.mkfifo(tmp_path / "b.zip")
    with pytest.raises(GenrecoreError, match="no regular file"):
        extract(tmp_path / "b.zip", tmp_path / "target")
