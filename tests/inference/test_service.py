"""The HTTP service, through real sockets: answers, refusals, limits, and many clients at once."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import requests
from commands import genrecore
from conftest import ROOT
from damaged_stores import ALL, fill, filled
from damages import Damage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_audio import noise, wav_bytes
from test_audio_aac import encode
from untrained_runs import GENRES, untrained_run

from genrecore.errors import GenrecoreError
from genrecore.evaluation.listing import unreadable
from genrecore.inference import guard, service
from genrecore.inference.ensemble import Ensemble
from genrecore.inference.ensemble import load as load_ensemble
from genrecore.inference.service import ServiceLimits

pytestmark = pytest.mark.xdist_group("service")  # one worker starts the servers

WAV = wav_bytes(noise(3.3, 22_050))


@dataclass(frozen=True)
class Server:
    """A server in a thread of this process, at a real port of the loopback address."""

    address: str
    port: int
    ensemble: Ensemble

    def post(self, content: bytes = WAV, **how: Any) -> requests.Response:
        return requests.post(f"{self.address}/classify", data=content, timeout=30, **how)

    def get(self, path: str) -> Any:
        token = {"Authorization": "Bearer schlüssel".encode()}
        return requests.get(f"{self.address}{path}", headers=token, timeout=10).json()


@contextlib.contextmanager
def served(ensemble: Ensemble, limits: ServiceLimits) -> Iterator[Server]:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = service.Server(ensemble, limits)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{port}", port, ensemble)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Asks one calibrated run; takes no more than 2 MB."""
    run = untrained_run(tmp_path_factory.mktemp("one"), temperature=2.0)
    with served(load_ensemble([run]), ServiceLimits(most_bytes=2_000_000)) as server:
        yield server


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Asks two runs, and for a token; nothing may take longer than a second and a half."""
    store = tmp_path_factory.mktemp("several")
    ensemble = load_ensemble([untrained_run(store), untrained_run(store, seed=8)])
    with served(ensemble, ServiceLimits(token="schlüssel", within_s=1.5)) as server:
        yield server


def refused(answer: requests.Response, code: int, *expected: str) -> None:
    assert answer.status_code == code, answer.text
    assert answer.headers["content-type"] == "application/json"
    (sentence,) = answer.json().values()
    assert "\n" not in sentence
    for text in expected:
        assert text in sentence


def test_the_answer_is_the_prediction_in_python(single: Server) -> None:
    expected = single.ensemble.loaded[0].classify(WAV, name="song.wav")
    raw = single.post(params={"name": "song.wav"})
    form = requests.post(
        f"{single.address}/classify", files={"file": ("song.wav", WAV)}, timeout=30
    )
    for answer in (raw, form):
        assert answer.status_code == 200
        prediction = answer.json()
        assert prediction == {**expected.as_dict(), "run": single.ensemble.loaded[0].run.run_id}
        assert [*prediction["proba"]] == GENRES
    assert prediction["temperature"] != 1.0
    assert single.get("/healthz") == {"status": "ok"}


def test_every_kind_of_file_is_taken(single: Server) -> None:
    content = encode(noise(3.3, 44_100), 44_100)
    assert single.post(content, params={"name": "a.m4a"}).json()["duration_s"] == 3.3
    # What curl --data-binary says of any file.
    typed = single.post(headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert typed.status_code == 200
    part = single.post(params={"start_s": "1.0", "length_s": "1.5"}).json()
    assert (part["start_s"], part["judged_s"], part["warning"]) == (1.0, 1.5, "")
    half = single.post(WAV[: len(WAV) // 2], params={"name": "half.wav"}).json()
    assert half["warning"].startswith("half.wav is truncated")
    assert half["duration_s"] == pytest.approx(3.3 / 2, abs=0.01)


def test_several_runs_are_averaged_and_a_token_is_asked_for(several: Server) -> None:
    url = f"{several.address}/classify"
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic schlüssel".encode()},
        {"Authorization": "Bearer"},
    ):
        answer = requests.post(url, data=WAV, headers=headers, timeout=30)
        refused(answer, 401, "asks for its token")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    right = {"Authorization": "Bearer schlüssel".encode()}
    averaged = requests.post(url, data=WAV, headers=right, timeout=30).json()
    expected = several.ensemble.classify(WAV, name="clip")
    assert averaged == json.loads(json.dumps(expected.as_dict()))
    assert len(averaged["runs"]) == 2
    # Who watches over it needs no token.
    assert requests.get(f"{several.address}/healthz", timeout=10).json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("content", "code", "sentence"),
    [
        (b"", 400, "no body"),
        (b"These are words, not music.", 422, "looks like text"),
        (wav_bytes(np.zeros((30_000, 1))), 422, "is silent"),
        (wav_bytes(noise(0.3, 22_050)), 422, "at least 1 s"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), 422, "looks like an image"),
        (bytes(2_000_001), 413, "larger than the 2 MB"),
        (bytes(30_000_000), 413, "larger than the 2 MB"),
    ],
    ids=["empty", "words", "silence", "short", "image", "large", "huge"],
)
def test_bad_uploads_get_a_code_and_a_sentence(
    single: Server, content: bytes, code: int, sentence: str
) -> None:
    refused(single.post(content), code, sentence)
    if len(content) < 10_000_000:
        # Sent in pieces nothing announces the size.
        refused(single.post(iter([content[:999], content[999:]])), code, sentence)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"start_s": "nan"}, "start_s is 'nan'"),
        ({"start_s": "-1"}, "from 0 to 1,000,000"),
        ({"length_s": "0"}, "from 1 to 1200"),
        ({"length_s": "long"}, "length_s is 'long'"),
        ({"length_s": "1e999"}, "length_s"),
    ],
)
def test_wrong_parameters_are_named(
    single: Server, parameters: dict[str, str], sentence: str
) -> None:
    refused(single.post(params=parameters), 400, sentence)


def test_an_excerpt_beyond_the_end_is_refused(single: Server) -> None:
    refused(single.post(params={"start_s": "9"}), 422, "an excerpt cannot begin at 9 s")


def test_forms_without_a_file_with_two_or_cut_off(single: Server) -> None:
    url = f"{single.address}/classify"
    two = [("file", ("a.wav", WAV)), ("file", ("b.wav", WAV))]
    refused(requests.post(url, files=two, timeout=30), 400, "Too many files")
    refused(requests.post(url, files={"note": (None, "words")}, timeout=30), 400, "no file")
    typed = {"Content-Type": "multipart/form-data"}
    refused(single.post(b"words", headers=typed), 400, "The form cannot be read")
    prepared = requests.Request("POST", url, files={"file": ("a.wav", WAV)}).prepare()
    assert isinstance(prepared.body, bytes)
    half = prepared.body[: len(prepared.body) // 2]
    typed = {"Content-Type": prepared.headers["Content-Type"]}
    refused(single.post(half, headers=typed), 400, "cut off")
    large = {"file": ("a.wav", bytes(3_000_000))}
    refused(requests.post(url, files=large, timeout=30), 413, "larger than the 2 MB")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "<b>bold</b>.wav", "a\r\nX-Evil: 1.wav", "x" * 999, "\u202e\u0000"]
)
def test_a_name_is_shown_and_never_interpreted(single: Server, name: str) -> None:
    answer = single.post(params={"name": name})
    assert answer.status_code == 200
    assert "X-Evil" not in answer.headers
    shown_name = answer.json()["name"]
    assert "/" not in shown_name.replace("</b>.wav", "")
    assert shown_name.isprintable()
    assert len(shown_name) <= 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_other_paths_and_methods_are_answered_in_json(single: Server) -> None:
    refused(requests.get(f"{single.address}/classify", timeout=10), 405, "GET is not answered")
    refused(requests.get(f"{single.address}/etc/passwd", timeout=10), 404, "There is nothing at")
    refused(requests.delete(f"{single.address}/healthz", timeout=10), 405, "DELETE")


def half_sent(port: int, announced: int, sent: bytes, headers: str = "") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    head = f"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {announced}\r\n"
    connection.sendall(f"{head}{headers}\r\n".encode() + sent)
    return connection


def test_an_upload_that_is_cut_off_harms_nobody(single: Server) -> None:
    for n in (0, 1, 1000, len(WAV) - 1):
        half_sent(single.port, len(WAV), WAV[:n]).close()
    with half_sent(single.port, len(WAV), WAV[:1000]) as connection:
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        connection.recv(4096)  # an answer or an end, and no hanging
    assert single.post().status_code == 200


def test_an_upload_that_stalls_is_ended(several: Server) -> None:
    token = "Authorization: Bearer schlüssel\r\n"
    with half_sent(several.port, len(WAV), WAV[:1000], token) as connection:
        connection.settimeout(10)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 408
        assert "not complete after 1.5 s" in json.loads(answer.read())["error"]


def test_what_takes_too_long_is_given_up_and_the_server_goes_on(
    several: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = several.ensemble.loaded[0]
    predict = loaded.predict

    def slow(excerpts: Any) -> Any:
        time.sleep(2.5)
        return predict(excerpts)

    headers = {"Authorization": "Bearer schlüssel".encode()}
    monkeypatch.setattr(loaded, "predict", slow)
    refused(several.post(headers=headers), 503, "could not be classified within 1.5 s")
    monkeypatch.undo()
    time.sleep(1.2)  # the late one still holds the networks
    assert several.post(headers=headers).status_code == 200


def test_sixteen_clients_at_once_get_their_own_answers(single: Server) -> None:
    files = [wav_bytes(noise(1.5 + 0.1 * k, 22_050, seed=k)) for k in range(16)]
    expected = [single.ensemble.loaded[0].classify(content).as_dict() for content in files]

    def client(k: int) -> list[dict[str, Any]]:
        with requests.Session() as session:
            url = f"{single.address}/classify"
            return [session.post(url, data=files[k], timeout=60).json() for _ in range(2)]

    with ThreadPoolExecutor(16) as pool:
        for k, answers in enumerate(pool.map(client, range(16))):
            for answer in answers:
                assert answer["proba"] == expected[k]["proba"]
                assert answer["duration_s"] == expected[k]["duration_s"]


def test_more_than_it_can_hold_is_sent_away(
    single: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, go_on = single.ensemble.loaded[0], threading.Event()
    predict = loaded.predict

    def waits(excerpts: Any) -> Any:
        go_on.wait(20)
        return predict(excerpts)

    monkeypatch.setattr(loaded, "predict", waits)
    with (
        served(single.ensemble, ServiceLimits(at_once=2)) as server,
        ThreadPoolExecutor(2) as pool,
    ):
        held = [pool.submit(server.post) for _ in range(2)]
        time.sleep(0.5)
        answer = server.post()
        refused(answer, 503, "busy")
        assert answer.headers["Retry-After"] == "3"
        go_on.set()
        assert [request.result().status_code for request in held] == [200, 200]
        assert server.post().status_code == 200


@pytest.mark.slow
def test_slow_clients_take_nobodys_place(single: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "HEAD_WITHIN_S", 3.0)
    with served(single.ensemble, ServiceLimits(at_once=2)) as server:
        slow = [half_sent(server.port, len(WAV), b"R") for _ in range(100)]
        heads = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        began, codes = time.monotonic(), []
        while time.monotonic() < began + 4:
            for connection in [*slow, *heads]:
                with contextlib.suppress(OSError):
                    connection.sendall(b"P")
            codes.append(server.post().status_code)
        assert set(codes) == {200}
        time.sleep(2.5)  # over the grace of five seconds
        for connection in slow:
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == 408
            assert "slower than 1 kB a second" in json.loads(answer.read())["error"]
        for connection in heads:
            connection.settimeout(5)
            assert ended(connection)
        for connection in [*slow, *heads]:
            connection.close()


def ended(connection: socket.socket) -> bool:
    """Whether the server closed a connection without a word."""
    try:
        return connection.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_too_many_uploads_at_once_end_the_slowest(
    single: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_MOST_ARRIVING", 3)
    with served(single.ensemble, ServiceLimits()) as server:
        slowest = half_sent(server.port, len(WAV), b"R")
        others = [half_sent(server.port, len(WAV), WAV[:50_000]) for _ in range(2)]
        time.sleep(0.5)
        assert server.post().status_code == 200
        answer = http.client.HTTPResponse(slowest)
        answer.begin()
        assert answer.status == 503
        for connection in others:
            connection.sendall(WAV[50_000:])
            connection.settimeout(20)
            assert b" 200 " in connection.recv(4096)
        for connection in [slowest, *others]:
            connection.close()


def test_one_client_cannot_ask_without_end(single: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "monotonic", lambda: 60.0)  # no new minute begins meanwhile
    with served(single.ensemble, ServiceLimits(per_minute=3)) as server:
        assert [server.post().status_code for _ in range(3)] == [200] * 3
        answer = server.post()
        refused(answer, 429, "3 requests of one client within a minute")
        assert answer.headers["Retry-After"] == "60"
        another = server.post(headers={"X-Forwarded-For": "192.0.2.7"})  # behind a proxy here
        assert another.status_code == 200
    small = ServiceLimits(most_bytes=len(WAV))
    monkeypatch.setattr(service, "_MOST_FILES_OF_BYTES", 2)
    with served(single.ensemble, small) as server:
        assert [server.post().status_code for _ in range(2)] == [200] * 2
        refused(server.post(), 429, "MB of one client within a minute")


def test_it_answers_to_its_own_names_alone(single: Server) -> None:
    for host in (
        "evil.example",
        f"evil.example:{single.port}",
        "127.0.0.1.evil.example",
        "",
        "a@localhost",
    ):
        for path in ("/healthz", "/openapi.json", "/"):
            answer = requests.get(f"{single.address}{path}", headers={"Host": host}, timeout=10)
            assert answer.status_code == 403
        assert single.post(headers={"Host": host, "Origin": f"http://{host}"}).status_code == 403
    for host in ("localhost", "LOCALHOST:1", "[::1]:8600", "127.0.0.1", "localhost."):
        assert requests.get(
            f"{single.address}/healthz", headers={"Host": host}, timeout=10
        ).json() == {"status": "ok"}


def test_a_token_may_end_in_any_letter(single: Server) -> None:
    for token in ("schlüsselà", "ключ", "abc\xa0", "a b"):
        with served(single.ensemble, ServiceLimits(token=token)) as server:
            spellings = [token.encode()]
            with contextlib.suppress(UnicodeEncodeError):
                spellings.append(token.encode("latin-1"))
            for spelling in spellings:
                right = {"Authorization": b"Bearer " + spelling}
                assert server.post(headers=right).status_code == 200
                for wrong in (spelling[:-1], spelling + b"a", b""):
                    answer = server.post(headers={"Authorization": b"Bearer " + wrong})
                    refused(answer, 401)


def test_the_description_needs_the_token(several: Server) -> None:
    for path in ("/openapi.json", "/docs", "/redoc"):
        answer = requests.get(f"{several.address}{path}", timeout=10)
        refused(answer, 401 if path == "/openapi.json" else 404)
        assert "classify" not in answer.text


def test_it_works_below_a_path_whether_a_proxy_cuts_it_off_or_not(single: Server) -> None:
    with served(single.ensemble, ServiceLimits(base_path="/genres/live")) as server:
        for path in ("/classify", "/genres/live/classify"):
            answer = requests.post(f"{server.address}{path}", data=WAV, timeout=30)
            assert answer.status_code == 200
        assert server.get("/genres/live/openapi.json")["servers"] == [{"url": "/genres/live"}]
        refused(requests.get(f"{server.address}/other", timeout=10), 404)


def schema_of(description: dict[str, Any], path: str, method: str, code: int) -> dict[str, Any]:
    """The schema that the description promises for an answer, with what it refers to."""
    responses = description["paths"][path][method]["responses"]
    assert str(code) in responses, f"{code} is not described for {method} {path}"
    (schema,) = [answer["schema"] for answer in responses[str(code)]["content"].values()]
    return {**schema, "components": description["components"]}


BODIES = st.one_of(
    st.binary(max_size=2000),
    st.sampled_from([WAV, WAV[:5000], b"RIFF" + bytes(99), b"OggS" * 99, b"fLaC" + bytes(999)]),
    st.builds(
        lambda at, noise: WAV[:at] + noise + WAV[at + len(noise) :],
        st.integers(0, 200),
        st.binary(min_size=1, max_size=60),
    ),
)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=40),
        "start_s": st.one_of(st.floats(), st.floats(0, 5), st.text(max_size=8)),
        "length_s": st.one_of(st.floats(), st.floats(1, 5), st.text(max_size=8)),
        "unknown": st.text(max_size=8),
    },
)
TYPES = st.sampled_from(
    ["application/octet-stream", "audio/wav", "multipart/form-data; boundary=x", "text/plain",
     "multipart/form-data", "application/json"]
)  # fmt: skip


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=BODIES, parameters=PARAMETERS, kind=TYPES, form=st.booleans())
def test_whatever_is_sent_the_answer_is_as_described(
    single: Server, body: bytes, parameters: dict[str, Any], kind: str, form: bool
) -> None:
    url = f"{single.address}/classify"
    if form:
        name = str(parameters.get("name", "a")).encode("utf-8", "ignore").decode() or "a"
        answer = requests.post(url, files={"file": (name, body)}, params=parameters, timeout=30)
    else:
        answer = requests.post(
            url, data=body, params=parameters, headers={"Content-Type": kind}, timeout=30
        )
    description = single.get("/openapi.json")
    schema = schema_of(description, "/classify", "post", answer.status_code)
    jsonschema.Draft202012Validator(schema).validate(answer.json())
    assert answer.headers["content-type"] == "application/json"


def test_the_description_is_openapi_and_describes_itself(single: Server, several: Server) -> None:
    for server in (single, several):
        description = server.get("/openapi.json")
        assert description["openapi"] == "3.1.0"
        for path, methods in description["paths"].items():
            for method, operation in methods.items():
                assert operation["operationId"]
                for code in operation["responses"]:
                    schema = schema_of(description, path, method, int(code))
                    jsonschema.Draft202012Validator.check_schema(schema)
        for path in ("/healthz", "/openapi.json"):
            schema = schema_of(description, path, "get", 200)
            jsonschema.Draft202012Validator(schema).validate(server.get(path))
    headers = {"Authorization": "Bearer schlüssel".encode()}
    answer = several.post(headers=headers)
    schema = schema_of(description, "/classify", "post", 200)
    jsonschema.Draft202012Validator(schema).validate(answer.json())
    assert description["paths"]["/classify"]["post"]["security"] == [{"token": []}]


def check_endpoints(server: Server) -> None:
    """All answer, and with a sentence where a file of the run is damaged."""
    assert server.get("/healthz") == {"status": "ok"}
    assert server.get("/openapi.json")["openapi"] == "3.1.0"
    for with_doubts in (False, True):
        answer = server.post(params={"doubts": with_doubts})
        assert answer.status_code == 200, answer.text


@pytest.mark.slow
def test_beside_damaged_runs_the_best_good_one_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRECORE_RUNS", str(tmp_path / "runs"))
    with filled(tmp_path / "runs"):
        ensemble = load_ensemble(["best"])
        assert ensemble.loaded[0].run.run_id not in {error.name for error in unreadable()}
        with served(ensemble, ServiceLimits()) as server:
            check_endpoints(server)


@pytest.mark.parametrize(
    "damage", [d if n % 12 == 0 else pytest.param(d, marks=pytest.mark.long)
               for n, d in enumerate(ALL)], ids=lambda damage: f"{damage.file} {damage.place}"
)  # fmt: skip
def test_a_damaged_run_is_refused_in_a_sentence_or_served(
    damage: Damage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRECORE_RUNS", str(tmp_path / "runs"))
    [run, *_], _ = fill(tmp_path / "runs", [])
    with served(load_ensemble([run.run_id]), ServiceLimits()) as server:
        damage.damage(run.folder / damage.file)  # while it is served
        check_endpoints(server)
    with contextlib.suppress(GenrecoreError):
        ensemble = load_ensemble([run.run_id])
        with served(ensemble, ServiceLimits()) as server:
            check_endpoints(server)


def test_the_command_says_where_it_cannot_listen_and_what_it_cannot_serve(
    single: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = single.ensemble.loaded[0].run
    monkeypatch.setenv("GENRECORE_RUNS", str(run.folder.parent))
    occupied = genrecore("serve", "--run", run.run_id, "--port", str(single.port))
    assert occupied.returncode == 2
    assert f"Cannot listen on 127.0.0.1, port {single.port}: another" in occupied.stderr
    unknown = genrecore("serve", "--run", "no such run")
    assert unknown.returncode == 2
    assert "There is no run" in unknown.stderr


@pytest.mark.long
def test_the_command_serves_until_it_is_ended(tmp_path: Path) -> None:
    run = untrained_run(tmp_path / "runs", temperature=2.0)
    environment = os.environ | {"GENRECORE_RUNS": str(tmp_path / "runs"), "GENRECORE_TOKEN": "abc"}
    process = subprocess.Popen(
        [sys.executable, "-m", "genrecore", "serve", "--run", run.run_id, "--port", "0"],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert run.run_id in process.stdout.readline()
        address = process.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        refused(requests.post(address, data=WAV, timeout=30), 401)
        headers = {"Authorization": "Bearer abc"}
        answer = requests.post(address, data=WAV, headers=headers, timeout=30)
        expected = load_ensemble([run]).classify(WAV).predictions[0]
        assert answer.json()["genre"] == expected.genre
        # Another number of threads sums in another order.
        np.testing.assert_allclose([*answer.json()["proba"].values()], expected.proba, atol=2e-5)
        port = int(address.split(":")[2].split("/")[0])
        half = half_sent(port, len(WAV), WAV[:1000], "Authorization: Bearer abc\r\n")
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=4) == -signal.SIGTERM  # it does not wait for the upload
        assert b"being stopped" in half.recv(4096)
        half.close()
        assert process.stderr.read() == ""
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.long
def test_memory_stays_flat_over_many_requests(tmp_path: Path) -> None:
    import psutil

    run = untrained_run(tmp_path / "runs")
    environment = os.environ | {"GENRECORE_RUNS": str(tmp_path / "runs")}
    process = subprocess.Popen(
        [sys.executable, "-m", "genrecore", "serve", "--run", run.run_id, "--port", "0"],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        process.stdout.readline()
        address = process.stdout.readline().split()[0]

        def many(n: int) -> float:
            def client(_: int) -> None:
                with requests.Session() as session:
                    for k in range(n // 16):
                        content = WAV if k % 4 else WAV[:9000]
                        session.post(address, data=content, timeout=60)

            with ThreadPoolExecutor(16) as pool:
                list(pool.map(client, range(16)))
            return psutil.Process(process.pid).memory_info().rss / 2**20

        warm = many(640)
        # MiB; a request holds 0.3 MB, so a leak of one in ten would show as 24.
        assert many(960) < warm + 20
    finally:
        process.kill()
        process.wait()
