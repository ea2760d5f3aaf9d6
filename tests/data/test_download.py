"""Downloads from a real local server that breaks off, forgets, lies and refuses."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sample_files import zipped

from genrecore.data import download
from genrecore.errors import GenrecoreError
from genrecore.store.locks import held
from genrecore.store.progress import Phase, Stopped

CONTENT = random.Random(7).randbytes(700_003)
SHA1 = hashlib.sha1(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `content`, with the vices a test gives it; remembers the ranges it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.ranges = True  # whether it obeys Range
        self.breaks: list[int] = []  # bytes after which each connection is dropped, in turn
        self.fails: list[int] = []  # statuses answered instead, in turn
        self.extra: int | None = 0  # added to the announced length; None announces none
        self.asked: list[str | None] = []
        self.leads_to = ""  # an address that it redirects to

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/fma.zip"

    def handle_error(self, *_: object) -> None:
        """Says nothing when the client hangs up."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        byte_range = self.headers.get("Range")
        server = self.server
        server.asked.append(byte_range)
        if server.leads_to:
            self.send_response(302)
            self.send_header("Location", server.leads_to)
            self.end_headers()
            return
        if server.fails:
            self.send_error(server.fails.pop(0))
            return
        n, start = len(server.content), 0
        if byte_range and server.ranges:
            start = int(byte_range.removeprefix("bytes=").removesuffix("-"))
            if start >= n:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{n}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{n - 1}/{n + (server.extra or 0)}")
        else:
            self.send_response(200)
        if server.extra is not None:
            self.send_header("Content-Length", str(n - start + server.extra))
        self.end_headers()
        rest = server.content[start:]
        self.wfile.write(rest[: server.breaks.pop(0)] if server.breaks else rest)

    def log_message(self, *_: object) -> None:
        """Keeps the tests' output clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=partial(running.serve_forever, poll_interval=0.01))
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def fetch(server: Server, target: Path, **changes: object) -> Path:
    """As a command does it, but without waiting between connections."""
    options = {"size": len(CONTENT), "sha1": SHA1, "pause_s": 0.0, "timeout_s": 5.0} | changes
    return download.fetch(server.url, target, **options)  # type: ignore[arg-type]


def refused(server: Server, target: Path, message: str, **changes: object) -> str:
    with pytest.raises(GenrecoreError, match=message) as caught:
        fetch(server, target, **changes)
    assert not target.exists()
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_arrives_whole_with_progress_and_nothing_beside_it(
    server: Server, tmp_path: Path
) -> None:
    server.content = bytes(5 * 2**20 + 1)
    progress: list[tuple[str, int, int]] = []
    target = tmp_path / "new" / "fma.zip"
    fetch(server, target, size=None, sha1=None, report=lambda *report: progress.append(report))
    assert target.read_bytes() == server.content
    assert list(target.parent.iterdir()) == [target]
    assert progress[-1] == (Phase.FETCHING.on("fma.zip"), 5, 5)
    assert [done for _, done, _ in progress] == sorted(done for _, done, _ in progress)


def test_a_download_that_breaks_off_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.breaks = [200_001, 100_003, 0]
    fetch(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=200001-", "bytes=300004-", "bytes=300004-"]


def test_a_server_without_ranges_is_asked_for_everything_again(
    server: Server, tmp_path: Path
) -> None:
    server.ranges, server.breaks = False, [200_001, 300_007]
    fetch(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=200001-", "bytes=300007-"]


def test_attempts_are_bounded_and_what_arrived_is_kept_for_the_next_time(
    server: Server, tmp_path: Path
) -> None:
    server.breaks = [1_001, 0, 0, 0, 0]
    message = refused(server, tmp_path / "f", "broke off before the end")
    assert len(server.asked) == download.ATTEMPTS
    assert "1,001 bytes are kept" in message
    assert str(tmp_path / "f") in message
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.part"]
    fetch(server, tmp_path / "f")
    assert server.asked[-1] == "bytes=1001-"
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_server_that_brings_nothing_new_is_given_up_however_much_it_sends(
    server: Server, tmp_path: Path
) -> None:
    server.content = bytes(3 * 2**20)
    server.ranges, server.breaks = False, [2 * 2**20 + 1, 5, 2 * 2**20 + 1] * 9
    refused(server, tmp_path / "f", "could not be fetched", size=None, sha1=None)
    assert len(server.asked) == 1 + download.ATTEMPTS  # the first one brought something


def test_a_stop_keeps_what_arrived_and_the_next_call_goes_on(
    server: Server, tmp_path: Path
) -> None:
    def stop_in_the_middle(phase: str, done: int, total: int) -> None:
        if (tmp_path / "f.part").exists() and (tmp_path / "f.part").stat().st_size:
            raise Stopped

    server.content = random.Random(3).randbytes(3 * 2**20)
    sha1 = hashlib.sha1(server.content).hexdigest()
    with pytest.raises(Stopped):
        fetch(server, tmp_path / "f", size=None, sha1=sha1, report=stop_in_the_middle)
    assert [p.name for p in tmp_path.iterdir()] == ["f.part"]
    fetch(server, tmp_path / "f", size=None, sha1=sha1)
    assert str(server.asked[-1]).startswith("bytes=")
    assert (tmp_path / "f").read_bytes() == server.content


def test_a_wrong_checksum_removes_what_was_fetched(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    message = refused(server, tmp_path / "f", "SHA-1")
    assert SHA1 in message
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_another_file_does_not_survive_the_checksum(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "f.part").write_bytes(b"of something else")
    refused(server, tmp_path / "f", "it was removed; fetch it again")
    fetch(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_another_length_than_published_is_refused_before_it_is_fetched(
    server: Server, tmp_path: Path
) -> None:
    server.extra = 13
    refused(server, tmp_path / "f", "announces 700,016 bytes; 700,003 were published")
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_promises_more_than_it_sends_is_given_up(
    server: Server, tmp_path: Path
) -> None:
    server.extra, server.ranges = 13, False
    refused(server, tmp_path / "f", "could not be fetched", size=None)
    assert len(server.asked) == download.ATTEMPTS


def test_a_server_that_sends_more_than_was_published_is_cut_off(
    server: Server, tmp_path: Path
) -> None:
    server.extra, server.content = None, CONTENT * 40
    arrived: list[int] = []

    def look(phase: str, done: int, total: int) -> None:
        arrived.append(done)

    refused(server, tmp_path / "f", "sent more than the 700,003 bytes", report=look)
    assert list(tmp_path.iterdir()) == []
    assert len(arrived) < 9  # a call a block: it did not wait for all 28 million bytes


def test_a_part_that_is_whole_already_is_only_checked(server: Server, tmp_path: Path) -> None:
    for size in (len(CONTENT), None):  # without a size the server says that nothing is missing
        (tmp_path / "f.part").write_bytes(CONTENT)
        fetch(server, tmp_path / "f", size=size)
        assert (tmp_path / "f").read_bytes() == CONTENT
        (tmp_path / "f").unlink()
    assert server.asked == ["bytes=700003-"]


def test_a_part_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path) -> None:
    for size in (len(CONTENT), None):
        (tmp_path / "f.part").write_bytes(CONTENT + b"more")
        fetch(server, tmp_path / "f", size=size)
        assert (tmp_path / "f").read_bytes() == CONTENT
        (tmp_path / "f").unlink()
    # With a size it is known at once; without, the server says so.
    assert server.asked == [None, "bytes=700007-", None]


def test_a_file_that_is_there_is_checked_and_not_fetched_again(
    server: Server, tmp_path: Path
) -> None:
    target = tmp_path / "f"
    target.write_bytes(CONTENT)
    fetch(server, target)
    target.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(GenrecoreError, match="delete it to fetch it again"):
        fetch(server, target)
    assert target.read_bytes() == CONTENT[:-1] + b"?"  # it may be somebody's own
    assert server.asked == []


def test_a_busy_server_is_asked_again_and_a_refusal_is_final(
    server: Server, tmp_path: Path
) -> None:
    server.fails = [503, 429]
    fetch(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    server.fails, server.asked = [404], []
    message = refused(server, tmp_path / "g", "404")
    assert server.url in message
    assert str(tmp_path / "g") in message
    assert len(server.asked) == 1


def test_without_a_network_the_sentence_says_where_the_file_belongs(tmp_path: Path) -> None:
    gone = Server()
    gone.server_close()  # its port is free now: connections are refused
    message = refused(gone, tmp_path / "f", "connection refused")
    assert gone.url in message
    assert f"put it at {tmp_path / 'f'}" in message
    assert list(tmp_path.iterdir()) == []


def test_only_http_addresses_are_fetched(tmp_path: Path) -> None:
    with pytest.raises(GenrecoreError, match="Only http and https"):
        download.fetch("file:///etc/hostname", tmp_path / "f")


def test_two_processes_do_not_fetch_the_same_file(server: Server, tmp_path: Path) -> None:
    with held(tmp_path / ".f.lock") as acquired:
        assert acquired
        refused(server, tmp_path / "f", "Another process")
    fetch(server, tmp_path / "f")


def test_an_archive_is_fetched_checked_unpacked_and_removed(server: Server, tmp_path: Path) -> None:
    packed = zipped(tmp_path / "made.zip", {"fma/000/000002.mp3": b"music", "fma/README": b"read"})
    server.content = packed.read_bytes()
    sha1 = hashlib.sha1(server.content).hexdigest()
    archive = download.Archive("fma.zip", server.url, len(server.content), sha1)
    folder = download.obtain(archive, tmp_path / "data")
    assert folder == tmp_path / "data" / "fma"
    assert (folder / "000" / "000002.mp3").read_bytes() == b"music"
    assert list(folder.parent.iterdir()) == [folder]
    assert download.obtain(archive, tmp_path / "data") == folder
    assert len(server.asked) == 1


def _command(*arguments: str) -> tuple[int, str]:
    from commands import genrecore as command

    result = command("datasets", "download", *arguments)
    assert "Traceback" not in result.stderr
    return result.returncode, result.stdout + result.stderr


def test_the_command_says_where_gtzan_is_and_fetches_nothing(tmp_path: Path) -> None:
    code, message = _command("gtzan", "--folder", str(tmp_path))
    assert code == 1
    assert "no licence" in message
    assert "kaggle.com/datasets/andradaolteanu" in message
    code, message = _command("demo", "--folder", str(tmp_path))
    assert code == 2
    assert "there is for fma_small, fma_medium, fma_large, fma_full" in message
    assert list(tmp_path.iterdir()) == []


def test_the_command_remembers_what_is_unpacked_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genrecore.data.datasets.remembered import remembered_options

    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path / "cache"))
    for name in ("fma_metadata", "fma_medium"):
        (tmp_path / name).mkdir()
    code, message = _command("fma_medium", "--folder", str(tmp_path), "--json")
    assert code == 0, message
    assert remembered_options()["fma_medium"] == {"folder": str(tmp_path)}


def test_the_published_archives_of_fma_have_sha1_and_sizes_as_rounded_in_its_readme() -> None:
    from genrecore.data.datasets.fma import ARCHIVES

    mib = {"fma_metadata": 342, "fma_small": 7.2 * 1024, "fma_large": 93 * 1024}
    for name, archive in ARCHIVES.items():
        assert len(bytes.fromhex(archive.sha1)) == 20
        assert archive.url == f"https://os.unil.cloud.switch.ch/fma/{name}.zip"
        assert archive.folder == name
        if name in mib:
            assert archive.size is not None
            assert archive.size / 2**20 == pytest.approx(mib[name], rel=0.01)  # two digits given


@pytest.fixture
def mirror() -> Iterator[Server]:
    """Another server."""
    with Server() as other:
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield other
        other.shutdown()
        thread.join()


def test_a_redirect_to_another_host_is_followed_only_where_it_is_listed(
    server: Server, mirror: Server, tmp_path: Path
) -> None:
    server.leads_to = mirror.url.replace("127.0.0.1", "localhost")
    with pytest.raises(GenrecoreError, match=r"redirects to http://localhost.*none but its own"):
        download.fetch(server.url, tmp_path / "a.zip", None, SHA1, pause_s=0.01)
    assert mirror.asked == []
    download.fetch(server.url, tmp_path / "a.zip", None, SHA1, pause_s=0.01, hosts=("localhost",))
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "place",
    ["http://127.0.0.1:{port}/x", "http://example.org/x", "ftp://127.0.0.1/x", "file:///etc/passwd",
     "http://example.org@127.0.0.1:{port}/x", "http://[::1]:{port}/x", "https://127.0.0.1:bad/x"],
)  # fmt: skip
def test_a_redirect_to_another_port_scheme_or_host_is_refused(
    place: str, server: Server, mirror: Server, tmp_path: Path
) -> None:
    server.leads_to = place.format(port=mirror.server_port)
    with pytest.raises(GenrecoreError, match=r"redirect|could not be fetched|answered 302"):
        download.fetch(
            server.url, tmp_path / "a.zip", None, SHA1, pause_s=0.01, hosts=("example.org",)
        )
    assert mirror.asked == []
    assert not (tmp_path / "a.zip").exists()


def test_a_file_of_unknown_size_is_bounded(server: Server, tmp_path: Path) -> None:
    for extra in (0, None):  # announced or not
        server.extra = extra
        with pytest.raises(GenrecoreError, match="the most that was published"):
            download.fetch(server.url, tmp_path / "a.zip", pause_s=0.01, most_bytes=600_000)
        assert not list(tmp_path.iterdir())
    download.fetch(server.url, tmp_path / "a.zip", pause_s=0.01, most_bytes=len(CONTENT))
