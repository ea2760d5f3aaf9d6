"""Classifying over HTTP: `POST /classify` with a file, `GET /healthz`, `GET /openapi.json`.

Whatever goes wrong is answered with one sentence as JSON and the code that belongs to it. A file is
received to its end, or to the limit of size or time, before anything is decoded. As many files are
worked on at once as there are cores, each with its share of them: one alone gets them all, and
threads of several would only wait for one another.
"""

from __future__ import annotations

import asyncio
import hmac
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import torch
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message

from genrecore.errors import GenrecoreError
from genrecore.inference import service_description
from genrecore.inference.doubts import DoubtFinder
from genrecore.inference.ensemble import Ensemble
from genrecore.training import cores

_IN_MEMORY = 2**23  # bytes of an upload; a longer one lies on the disk while it is judged
_DRAINED = 2**24  # bytes read and dropped, so that who sends too much still hears why
_LONGEST_NAME = 200


@dataclass(frozen=True)
class ServiceLimits:
    """What a server takes.

    Attributes:
        token: Asked for as `Authorization: Bearer …`; empty asks for none.
        most_bytes: The largest upload.
        within_s: How long receiving may take, and how long judging.
        at_once: Requests that are worked on or wait; more are sent away.
    """

    token: str = ""
    most_bytes: int = 100_000_000
    within_s: float = 60.0
    at_once: int = 64


class _Refused(Exception):
    """Answered with this code and sentence."""

    def __init__(self, code: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        self.code, self.sentence, self.headers = code, sentence, dict(headers or {})


def app(asked: Ensemble, limits: ServiceLimits) -> Starlette:
    """The application that answers with these runs, within these limits."""
    service = _Service(asked, limits)
    return Starlette(
        routes=[
            Route("/classify", service.classify, methods=["POST"]),
            Route("/healthz", service.health, methods=["GET"]),
            Route("/openapi.json", service.description, methods=["GET"]),
        ],
        exception_handlers={
            _Refused: _refusal,
            HTTPException: _not_served,
            ClientDisconnect: _gone,
            Exception: _broken,
        },
        lifespan=service.life,
    )


class _Service:
    def __init__(self, asked: Ensemble, limits: ServiceLimits) -> None:
        self.asked, self.limits = asked, limits
        self.described = service_description.describe(
            asked, bool(limits.token), limits.most_bytes, limits.within_s
        )
        self.n_working = 0
        self.n_cores = torch.get_num_threads()
        self.gate = threading.Lock()
        self.n_judged_now = 0
        self.threads = ThreadPoolExecutor(self.n_cores, thread_name_prefix="classify")

    @asynccontextmanager
    async def life(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self.threads.shutdown(wait=False, cancel_futures=True)

    async def health(self, _: Request) -> Response:
        return _json({"status": "ok"})

    async def description(self, _: Request) -> Response:
        return _json(self.described)

    async def classify(self, request: Request) -> Response:
        self._check_token(request)
        if self.n_working >= self.limits.at_once:
            raise _Refused(
                503, "The server is busy; try again in a few seconds.", {"Retry-After": "3"}
            )
        start_s, length_s = _seconds(request, "start_s", 0.0), _seconds(request, "length_s", 1.0)
        with_doubts = _yes(request, "doubts")
        self.n_working += 1
        file: IO[bytes] | None = None
        try:
            file, name = await self._received(request)
            answer = asyncio.get_running_loop().run_in_executor(
                self.threads, self._judged, file, name, start_s, length_s, with_doubts
            )
        except BaseException:
            self.n_working -= 1
            if file is not None:
                file.close()
            raise
        answer.add_done_callback(lambda _: self._done(file))
        try:
            # Shielded: a thread cannot be stopped, and its place is taken until it ends.
            made = await asyncio.wait_for(asyncio.shield(answer), self.limits.within_s)
        except TimeoutError:
            answer.add_done_callback(lambda late: late.exception())
            raise _Refused(
                503, f"{name} could not be judged within {self.limits.within_s:g} s."
            ) from None
        except GenrecoreError as error:
            raise _Refused(422, str(error)) from None
        return _json(made)

    def _judged(
        self,
        file: IO[bytes],
        name: str,
        start_s: float | None,
        length_s: float | None,
        with_doubts: bool,
    ) -> dict[str, Any]:
        with self._some_cores():
            excerpts = self.asked.read_excerpts(file, name, start_s, length_s)  # type: ignore[arg-type]
            (answer,) = self.asked.predict([excerpts])
            if not with_doubts:
                return answer.as_dict()
            doubts = [told.as_dict() for told in self.finder.doubts_about(answer)]
        return {**answer.as_dict(), "doubts": doubts}

    @contextmanager
    def _some_cores(self) -> Iterator[None]:
        """Inside, this thread's networks use its share of the cores."""
        with self.gate:
            self.n_judged_now += 1
            n_threads = max(1, self.n_cores // self.n_judged_now)
        try:
            with cores.using(n_threads, later=self.n_cores):
                yield
        finally:
            with self.gate:
                self.n_judged_now -= 1

    @cached_property
    def finder(self) -> DoubtFinder:
        """Read when it is first asked for: what is kept of a run's clips may be large."""
        return DoubtFinder(self.asked.loaded)

    def _done(self, file: IO[bytes]) -> None:
        self.n_working -= 1
        file.close()

    def _check_token(self, request: Request) -> None:
        if not self.limits.token:
            return
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        # In a time that does not tell how much of it is right.
        right = hmac.compare_digest(
            given.strip().encode("latin-1"),
            self.limits.token.encode(),  # headers are bytes
        )
        if kind.lower() != "bearer" or not right:
            raise _Refused(
                401,
                "This server asks for its token: send the header 'Authorization: Bearer …'.",
                {"WWW-Authenticate": "Bearer"},
            )

    async def _received(self, request: Request) -> tuple[IO[bytes], str]:
        """The whole upload as an open file, and what to call it."""
        most = self.limits.most_bytes
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > most:
            await _drain(request)
            raise self._too_large()
        multipart = request.headers.get("content-type", "").lower().startswith("multipart/")
        counted = Request(request.scope, _counted(request.receive, most))
        try:
            async with asyncio.timeout(self.limits.within_s):
                return await (self._part(counted) if multipart else self._body(counted))
        except TimeoutError:
            raise _Refused(
                408, f"The upload was not complete after {self.limits.within_s:g} s."
            ) from None
        except _TooLarge as error:
            if error.more:
                await _drain(request)
            raise self._too_large() from None

    def _too_large(self) -> _Refused:
        return _Refused(
            413,
            f"The upload is larger than the {self.limits.most_bytes / 1e6:g} MB that this server "
            "takes.",
        )

    async def _body(self, request: Request) -> tuple[IO[bytes], str]:
        file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  (closed by who judges it)
        try:
            n = 0
            async for block in request.stream():
                n += len(block)
                file.write(block)
            if not n:
                raise _Refused(
                    400, "The request has no body; send a file as it is, or as multipart/form-data."
                )
        except BaseException:
            file.close()
            raise
        return file, _shown(request.query_params.get("name", "") or "clip")

    async def _part(self, request: Request) -> tuple[IO[bytes], str]:
        try:
            form = await request.form(max_files=1, max_fields=20)
        except HTTPException as error:
            raise _Refused(
                400, f"The form cannot be read: {str(error.detail).rstrip('.')}."
            ) from None
        except (MultiPartException, ValueError) as error:
            raise _Refused(400, f"The form cannot be read: {str(error).rstrip('.')}.") from None
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if not files:
            await form.close()
            raise _Refused(
                400, "The form holds no file, or it was cut off; send one file as multipart part."
            )
        return files[0].file, _shown(files[0].filename or "clip")


class _TooLarge(Exception):
    """More came than is taken; `more` says whether there is still something to come."""

    def __init__(self, more: bool) -> None:
        self.more = more


def _counted(receive: Any, most: int) -> Any:
    n = 0

    async def counting() -> Message:
        nonlocal n
        message: Message = await receive()
        n += len(message.get("body", b""))
        if n > most:
            raise _TooLarge(bool(message.get("more_body")))
        return message

    return counting


async def _drain(request: Request) -> None:
    """Reads on for a while and drops it: a client that is cut off while it sends hears nothing."""
    n = 0
    try:
        async with asyncio.timeout(5.0):
            while n < _DRAINED:
                message = await request.receive()
                n += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _seconds(request: Request, field: str, least: float) -> float | None:
    given = request.query_params.get(field)
    if given is None:
        return None
    try:
        value = float(given)
    except ValueError:
        value = float("nan")
    if not least <= value <= service_description.MOST_S:  # nan is in no range
        raise _Refused(
            400,
            f"The parameter {field} is {given[:40]!r}; expected a number of seconds from "
            f"{least:g} to {service_description.MOST_S:g}.",
        )
    return value


def _yes(request: Request, field: str) -> bool:
    given = request.query_params.get(field, "false")
    if given not in ("true", "false"):
        raise _Refused(400, f"The parameter {field} is {given[:40]!r}; expected true or false.")
    return given == "true"


def _shown(name: str) -> str:
    """The last part of a name as something to print: never a path, never control characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable())[-_LONGEST_NAME:] or "clip"


def _json(value: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    fixed = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    return JSONResponse(value, code, {**fixed, **(headers or {})})


async def _refusal(_: Request, error: Any) -> Response:
    return _json({"error": error.sentence}, error.code, error.headers)


async def _not_served(request: Request, error: Any) -> Response:
    sentences = {
        404: f"There is nothing at {request.url.path[:200]}; see /openapi.json.",
        405: f"{request.method[:20]} is not answered at {request.url.path[:200]}; see "
        "/openapi.json.",
    }
    sentence = sentences.get(error.status_code, str(error.detail))
    return _json({"error": sentence}, error.status_code, error.headers)


async def _gone(_: Request, error: Exception) -> Response:
    return _json({"error": "The upload was cut off."}, 400)  # nobody is there to hear it


async def _broken(_: Request, error: Exception) -> Response:
    return _json({"error": "The server failed; its log says how."}, 500)
