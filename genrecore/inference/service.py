"""Classifying over HTTP: `POST /classify` with a file, `GET /healthz`, `GET /openapi.json`.

Every error is answered with one sentence as JSON and its status code. A file is received to its
end, or to the limit of size or time, before anything is decoded; until then it takes no place from
others, and what arrives too slowly is ended. As many files are classified at once as there are
cores, each with its share of them: a single one gets all.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Any

import torch
import uvicorn
from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field, create_model
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from genrecore import __version__
from genrecore.errors import GenrecoreError
from genrecore.inference import guard
from genrecore.inference.doubts import Doubt, DoubtFinder
from genrecore.inference.ensemble import Ensemble
from genrecore.inference.loaded import FILES
from genrecore.store.progress import Stopped
from genrecore.training import hardware
from genrecore.words import listed, thousands

_LATEST_S = 1e6  # eleven days: where an excerpt can begin
_LONGEST_S = 1200.0  # of an excerpt: it is in memory as a whole
_IN_MEMORY = 2**23  # bytes of an upload; a longer one lies on the disk while it is classified
_DRAINED = 2**24  # bytes read and dropped, so that who sends too much still hears why
_LONGEST_NAME = 200
# An upload is ended where it falls behind this rate, which is a 30 s MP3 in eight minutes.
_LEAST_BYTES_PER_S = 1000.0
_GRACE_S = 5.0
_MOST_ARRIVING = 256  # uploads at once; with more, the slowest is ended
_MOST_FILES_OF_BYTES = 20  # the largest uploads of a client within a minute

Seconds = Annotated[float | None, Query(ge=0, le=_LATEST_S, allow_inf_nan=False)]
AtLeastASecond = Annotated[float | None, Query(ge=1, le=_LONGEST_S, allow_inf_nan=False)]
Token = Annotated[
    HTTPAuthorizationCredentials | None, Depends(HTTPBearer(scheme_name="token", auto_error=False))
]
Share = Annotated[float | None, Query(ge=0.5, le=0.999, allow_inf_nan=False)]
_EXPECTED = {
    "precision": "a share from 0.5 to 0.999",
    "start_s": f"a number of seconds from 0 to {thousands(_LATEST_S)}",
    "length_s": f"a number of seconds from 1 to {_LONGEST_S:g}",
    "doubts": "true or false",
    "whole": "true or false",
}
_FILE = {"type": "string", "format": "binary"}
_FORM = {"type": "object", "properties": {"file": _FILE}, "required": ["file"]}
_BODY = {
    "required": True,
    "content": {
        "application/octet-stream": {"schema": _FILE},
        "multipart/form-data": {"schema": _FORM},
    },
}
_ERRORS = {
    400: "No file, a form that cannot be read, or a wrong parameter",
    401: "The token is missing or wrong",
    408: "The upload took too long",
    413: "The upload is too large",
    422: "The file cannot be used; the sentence says why",
    429: "Too many requests of this client within a minute",
    503: "Too many requests at once, or classifying took too long",
}


@dataclass(frozen=True)
class ServiceLimits:
    """What a server accepts."""

    token: str = ""  # expected as `Authorization: Bearer …`; empty for a server without one
    most_bytes: int = 100_000_000
    within_s: float = 60.0  # for receiving a file, and again for classifying it
    at_once: int = 64  # files that are classified or wait for it; more are sent away
    per_minute: int = 1200  # requests of one client; more are sent away
    hosts: tuple[str, ...] = guard.LOOPBACK  # the host names that the server answers to
    precision: float | None = None  # that is wanted of answers where a request names none
    base_path: str = ""  # before every path, where a proxy serves it below one, as in "/genres"


@dataclass(eq=False)
class _Arriving:
    """An upload on its way, and the deadline that ends it."""

    deadline: asyncio.Timeout
    began: float
    n_bytes: int = 0
    why: HTTPException | None = None

    def behind_s(self, now: float) -> float:
        """By how much it is later than it would be at the least rate."""
        return now - self.began - self.n_bytes / _LEAST_BYTES_PER_S

    def end(self, why: HTTPException) -> None:
        if not self.deadline.expired():
            self.why = why
            self.deadline.reschedule(self.began)


class ErrorMessage(BaseModel):
    error: str = Field(description="One sentence for a person")


class _Answer(JSONResponse):
    def init_headers(self, headers: Any = None) -> None:
        fixed = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        super().init_headers({**fixed, **(headers or {})})


def app(ensemble: Ensemble, limits: ServiceLimits) -> FastAPI:
    """The application that classifies with these runs, within these limits."""
    service = _Service(ensemble, limits)
    token_asked = [Depends(service.check_token)] if limits.token else []
    application = FastAPI(
        servers=[{"url": limits.base_path}] if limits.base_path else None,
        title="genrecore",
        version=__version__,
        description="Music genre classification by trained runs.",
        openapi_url=None,
        default_response_class=_Answer,
        lifespan=service.lifespan,
        exception_handlers=dict.fromkeys(
            (HTTPException, RequestValidationError, GenrecoreError, ClientDisconnect, Exception),
            _error_answer,
        ),
    )
    file = FILES[ensemble.loaded[0].medium].one
    runs = listed([loaded.run.run_id for loaded in ensemble.loaded])
    caveats = "".join(
        f" {loaded.run.run_id}: {caveat}"
        for loaded in ensemble.loaded
        for caveat in loaded.run.caveats
    )
    application.post(
        "/classify",
        operation_id="classify",
        summary="Classify one file",
        description=f"Send {file}, as it is or as the one file of a form; {runs} classify it. "
        "start_s and length_s choose a part, by default the middle, as long as a training clip; "
        "with whole=true all of it is classified, and the answer holds its sections and timeline; "
        "name is that of a file sent as it is; with doubts=true the answer holds reasons to "
        "distrust it; with precision=0.9 it has an answer where nine of ten such answers are "
        f"right, else null.{caveats}",
        response_model=_response_model(ensemble),
        response_model_exclude_unset=True,
        responses={code: {"model": ErrorMessage, "description": _ERRORS[code]} for code in _ERRORS},
        dependencies=[*token_asked, Depends(service.check_rate)],
        openapi_extra={"requestBody": _BODY},
    )(service.classify)

    @application.head("/healthz", include_in_schema=False)
    @application.get("/healthz", operation_id="health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    refused: dict[int | str, Any] = {401: {"model": ErrorMessage, "description": _ERRORS[401]}}

    @application.head("/openapi.json", include_in_schema=False, dependencies=token_asked)
    @application.get(
        "/openapi.json",
        operation_id="description",
        dependencies=token_asked,
        responses=refused if limits.token else {},
    )
    async def description() -> dict[str, Any]:
        return application.openapi()

    if limits.base_path:
        application.add_middleware(guard.BelowPath, path=limits.base_path)
    application.add_middleware(guard.OwnHosts, hosts=limits.hosts)
    application.state.end_uploads = service.end_uploads
    return application


class Server(uvicorn.Server):
    """A server of `app`; `run(sockets=…)` serves until a signal ends it."""

    def __init__(self, ensemble: Ensemble, limits: ServiceLimits) -> None:
        self.application = app(ensemble, limits)
        super().__init__(
            uvicorn.Config(
                self.application,
                http=guard.PromptHeads,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends what is arriving, which would be waited for and then broken off, and the server."""
        self.application.state.end_uploads()
        await super().shutdown(sockets)


def _response_model(ensemble: Ensemble) -> type[BaseModel]:
    """The form of an answer: a prediction, or the predictions of several runs."""
    genres = sorted({genre for loaded in ensemble.loaded for genre in loaded.genres})
    genre: Any = Annotated[str, Field(json_schema_extra={"enum": [*genres]})]
    proba: Any = dict[str, float]
    doubts: Any = (list[Doubt], [])
    fields: dict[str, Any] = {
        "name": str, "run": str, "genre": genre, "proba": proba, "uncalibrated": proba,
        "temperature": float,
    }  # fmt: skip
    warning: Any = {}
    judged: Any = {"answer": (genre | None, None), "threshold": (float | None, None)}
    fields |= judged
    if ensemble.loaded[0].medium == "wave":
        warning = {"warning": str}
        fields |= {"duration_s": float, "start_s": float, "judged_s": float, **warning}
        rows: Any = list[dict[str, Any]]
        fields |= {"sections": (rows, []), "timeline": (rows, [])}
    if len(ensemble.loaded) == 1:
        return create_model("Prediction", **fields, doubts=doubts)
    runs: Any = list[create_model("Prediction", **fields)]  # type: ignore[misc]
    average = {"genre": genre, "proba": proba, **judged} if ensemble.genres else {}
    fields = {"name": str, "agreement": str, "runs": runs, **warning, **average}
    return create_model("EnsemblePrediction", **fields, doubts=doubts)


class _Service:
    def __init__(self, ensemble: Ensemble, limits: ServiceLimits) -> None:
        self.ensemble, self.limits = ensemble, limits
        self.n_requests = 0  # that are classified or wait for it
        self.arriving: set[_Arriving] = set()
        self.requests = guard.Allowance(limits.per_minute)
        self.bytes = guard.Allowance(_MOST_FILES_OF_BYTES * limits.most_bytes)
        self.n_cores = torch.get_num_threads()
        self.lock = threading.Lock()
        self.n_classifying = 0
        self.threads = ThreadPoolExecutor(self.n_cores, thread_name_prefix="classify")

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        yield
        self.threads.shutdown(wait=False, cancel_futures=True)

    @cached_property
    def doubt_finder(self) -> DoubtFinder:
        """Made when it is first needed: what is kept of a run's clips may be large."""
        return DoubtFinder(self.ensemble.loaded)

    async def check_token(self, request: Request, _: Token) -> None:
        if not guard.is_token(guard.bearer(request.headers), self.limits.token):
            raise HTTPException(
                401,
                "This server asks for its token: send the header 'Authorization: Bearer …'.",
                {"WWW-Authenticate": "Bearer"},
            )

    async def check_rate(self, request: Request) -> None:
        if not self.requests.take(guard.client(request.scope)):
            raise self._too_many(f"{self.limits.per_minute} requests")

    def _too_many(self, allowed: str) -> HTTPException:
        return HTTPException(
            429,
            f"This server takes {allowed} of one client within a minute.",
            {"Retry-After": str(guard.Allowance.wait_s())},
        )

    def _check_room(self) -> None:
        if self.n_requests >= self.limits.at_once:
            raise HTTPException(
                503, "The server is busy; try again in a few seconds.", {"Retry-After": "3"}
            )

    def end_uploads(self) -> None:
        """Ends what is still arriving, since the server is about to end."""
        for upload in self.arriving:
            upload.end(HTTPException(503, "The server is being stopped."))

    async def classify(
        self,
        request: Request,
        name: str = "",
        start_s: Seconds = None,
        length_s: AtLeastASecond = None,
        doubts: bool = False,
        precision: Share = None,
        whole: bool = False,
    ) -> Any:
        excerpts_only = (start_s, length_s, precision, self.limits.precision, doubts or None)
        if whole and any(value is not None for value in excerpts_only):
            raise HTTPException(
                400,
                "whole=true is about all of a recording, and goes with neither start_s, length_s, "
                "doubts nor a precision.",
            )
        self._check_room()  # before anybody sends for nothing
        file, form_name = await self._receive(request)
        try:
            self._check_room()
        except HTTPException:
            file.close()
            raise
        self.n_requests += 1
        name = _display_name(form_name or name)

        def done(_: Any) -> None:
            self.n_requests -= 1
            file.close()

        answer = asyncio.get_running_loop().run_in_executor(
            self.threads,
            self._classified,
            file,
            name,
            (start_s, length_s),
            doubts,
            precision,
            whole,
        )
        answer.add_done_callback(done)
        try:
            # Shielded: a thread cannot be stopped, and its place is taken until it ends.
            return await asyncio.wait_for(asyncio.shield(answer), self.limits.within_s)
        except TimeoutError:
            answer.add_done_callback(lambda late: late.exception())
            raise HTTPException(
                503, f"{name} could not be classified within {self.limits.within_s:g} s."
            ) from None

    def _classified(
        self,
        file: IO[bytes],
        name: str,
        excerpt: tuple[float | None, ...],
        with_doubts: bool,
        precision: float | None,
        whole: bool,
    ) -> dict[str, Any]:
        until = time.monotonic() + self.limits.within_s

        def report(phase: str, done: int, total: int) -> None:
            if time.monotonic() > until:  # nobody waits for it any more
                raise Stopped

        with self.lock:
            self.n_classifying += 1
            n_threads = max(1, self.n_cores // self.n_classifying)
        try:
            with hardware.torch_threads(n_threads, later=self.n_cores):
                if whole:
                    return self.ensemble.classify_whole(file, name, report=report).as_dict()
                ensemble = self.ensemble.wanting(precision or self.limits.precision)
                prediction = ensemble.classify(file, name, *excerpt)
                if not with_doubts:
                    return prediction.as_dict()
                doubts = self.doubt_finder.doubts_about(prediction)
        finally:
            with self.lock:
                self.n_classifying -= 1
        return {**prediction.as_dict(), "doubts": [asdict(doubt) for doubt in doubts]}

    async def _receive(self, request: Request) -> tuple[IO[bytes], str]:
        """The whole upload as an open file, and its name in a form."""
        limits, client = self.limits, guard.client(request.scope)
        too_large = HTTPException(
            413,
            f"The upload is larger than the {limits.most_bytes / 1e6:g} MB that this server takes.",
        )
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limits.most_bytes:
            await _drain(request)
            raise too_large
        began = asyncio.get_running_loop().time()
        last = began + limits.within_s

        async def receive() -> Message:
            message = await request.receive()
            n_new = len(message.get("body", b""))
            upload.n_bytes += n_new
            if upload.n_bytes > limits.most_bytes:
                if message.get("more_body"):
                    await _drain(request)
                raise too_large
            if not self.bytes.take(client, n_new):
                raise self._too_many(f"{self.bytes.most / 1e6:g} MB")
            if upload.why is None and not deadline.expired():
                by = began + _GRACE_S + upload.n_bytes / _LEAST_BYTES_PER_S
                deadline.reschedule(min(last, by))
            return message

        is_form = request.headers.get("content-type", "").lower().startswith("multipart/")
        counted = Request(request.scope, receive)
        try:
            async with asyncio.timeout_at(min(last, began + _GRACE_S)) as deadline:
                upload = _Arriving(deadline, began)
                self._make_room()
                self.arriving.add(upload)
                try:
                    return await (_form_file(counted) if is_form else _body(counted))
                finally:
                    self.arriving.discard(upload)
        except TimeoutError:
            if upload.why is not None:
                raise upload.why from None
            late = f"was not complete after {limits.within_s:g} s"
            slow = f"was slower than {_LEAST_BYTES_PER_S / 1e3:g} kB a second"
            is_late = asyncio.get_running_loop().time() >= last
            raise HTTPException(408, f"The upload {late if is_late else slow}.") from None

    def _make_room(self) -> None:
        """Ends the slowest upload where too many arrive at once."""
        if len(self.arriving) >= _MOST_ARRIVING:
            now = asyncio.get_running_loop().time()
            slowest = max(self.arriving, key=lambda upload: upload.behind_s(now))
            slowest.end(HTTPException(503, "Too many uploads arrive at once, and this is slow."))


async def _body(request: Request) -> tuple[IO[bytes], str]:
    file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  (closed when it is classified)
    try:
        async for block in request.stream():
            file.write(block)
        if not file.tell():
            raise HTTPException(
                400, "The request has no body; send a file as it is, or as multipart/form-data."
            )
    except BaseException:
        file.close()
        raise
    return file, ""


async def _form_file(request: Request) -> tuple[IO[bytes], str]:
    try:
        form = await request.form(max_files=1, max_fields=20)
    except (HTTPException, ValueError) as error:
        if getattr(error, "status_code", 400) != 400:
            raise
        reason = error.detail if isinstance(error, HTTPException) else str(error)
        raise HTTPException(400, f"The form cannot be read: {reason.rstrip('.')}.") from None
    files = [value for value in form.values() if isinstance(value, UploadFile)]
    if not files:
        await form.close()
        raise HTTPException(
            400, "The form holds no file, or it was cut off; send one file as multipart part."
        )
    return files[0].file, files[0].filename or "clip"


async def _drain(request: Request) -> None:
    """Reads on for a while and drops it: a client that is cut off while it sends hears nothing."""
    n = 0
    try:
        async with asyncio.timeout(5.0):
            while n < _DRAINED:
                message = await request.receive()
                n += len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _display_name(name: str) -> str:
    """The last part of a name, without control characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable())[-_LONGEST_NAME:] or "clip"


async def _error_answer(request: Request, error: Any) -> Response:
    headers = None
    match error:
        case HTTPException():
            path = request.url.path[:200]
            sentences = {
                404: f"There is nothing at {path}; see /openapi.json.",
                405: f"{request.method[:20]} is not answered at {path}; see /openapi.json.",
            }
            code, headers = error.status_code, error.headers
            sentence = sentences.get(code, error.detail)
        case RequestValidationError():
            first = error.errors()[0]
            name, value = first["loc"][-1], first["input"][:40]
            code, sentence = 400, f"The parameter {name} is {value!r}; expected {_EXPECTED[name]}."
        case GenrecoreError():
            code, sentence = 422, str(error)
        case ClientDisconnect():
            code, sentence = 400, "The upload was cut off."  # nobody is there to read it
        case _:
            code, sentence = 500, "The server failed; its log says how."
    return _Answer({"error": sentence}, code, headers)
