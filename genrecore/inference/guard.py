"""What stands in front of a server: the host names it answers to, its token, slow and busy clients.

The service and the dashboard use it. A page of another site that the visitor's browser has open can
reach a server of this machine by a name that it lets point there (DNS rebinding); its requests
carry that name, and a server that answers to its own names alone gives it nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import socket
from collections import Counter
from collections.abc import Sequence
from time import monotonic
from typing import Any, cast
from urllib.parse import urlsplit

import h11
import psutil
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from genrecore.errors import UsageError
from genrecore.store.allowed import is_loopback

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""The host names that a server always answers to, with any port."""
HEAD_WITHIN_S = 10.0
"""So long may the head of a request take to arrive."""
_EVERYWHERE = ("", "0.0.0.0", "::")
_REFUSED = (
    "This server does not answer to that host name. If the name is its own, start it with "
    "--allow-host NAME.\n"
)


def is_open_to_others(address: str | None, hosts: Sequence[str]) -> bool:
    """Whether others than this machine's own visitors reach a server: it listens on a network, or
    answers to a name that a proxy passes on."""
    return not is_loopback(address or "") or not all(is_loopback(host) for host in hosts)


def own_hosts(address: str, more: Sequence[str] = ()) -> list[str]:
    """The host names that a server at this address answers to: those of the loopback, its own, and
    more.

    Raises:
        UsageError: One is no host name.
    """
    for name in more:
        if not is_own_host(f"[{name}]" if name.count(":") > 1 else name, [name]) or "," in name:
            raise UsageError(
                f"{name!r} is no host name; expected one like music.example.org, without a port."
            )
    own = [address]
    if address in _EVERYWHERE:
        cards = psutil.net_if_addrs().values()
        own = [item.address.partition("%")[0] for card in cards for item in card
               if item.family in (socket.AF_INET, socket.AF_INET6)]  # fmt: skip
        own.append(socket.gethostname().lower())
    return list(dict.fromkeys([*LOOPBACK, *own, *more]))


def is_own_host(host: str | None, hosts: Sequence[str]) -> bool:
    """Whether a Host header names one of these hosts, with any port or none; `*.example.org` stands
    for all names below it."""
    try:
        parts = urlsplit(f"//{host or ''}")
        named, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return False
    if not named or parts.netloc != host or parts.username is not None:
        return False
    own = [name.lower().rstrip(".") for name in hosts]
    return any(named == name or (name[:2] == "*." and named.endswith(name[1:])) for name in own)


def is_token(sent: bytes, token: str) -> bool:
    """Whether this is the token, in a time that does not tell how much of it is right.

    Clients send text beyond ASCII as UTF-8 or, some libraries, as Latin-1.
    """
    right = token.strip(" \t\r\n")
    spellings = [right.encode(errors="surrogateescape")]
    with contextlib.suppress(UnicodeEncodeError):
        spellings.append(right.encode("latin-1"))
    matches = [hmac.compare_digest(sent.strip(), spelling) for spelling in spellings]
    return bool(right) and any(matches)


def bearer(headers: Headers) -> bytes:
    """What a request sends as `Authorization: Bearer …`, as bytes; empty where it sends nothing."""
    values = [value for name, value in headers.raw if name == b"authorization"]
    scheme, _, sent = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
    return sent.strip() if scheme.lower() == b"bearer" else b""


class OwnHosts:
    """Answers 403 to requests and WebSockets that name another host."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or is_own_host(
            Headers(scope=scope).get("host"), self.hosts
        ):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403
        else:
            await PlainTextResponse(_REFUSED, 403)(scope, receive, send)


class BelowPath:
    """Takes requests below a path, and those from which a proxy has cut that path off."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self.app, self.path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            is_cut_off = not f"{scope['path']}/".startswith(f"{self.path}/")
            path = f"{self.path if is_cut_off else ''}{scope['path']}"
            scope = {**scope, "root_path": self.path, "path": path}
        await self.app(scope, receive, send)


def client(scope: Any) -> str:
    """Who sends a request, for counting: an address, or the network of an IPv6 address."""
    address = scope["client"][0] if scope.get("client") else ""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return str(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


class Allowance:
    """How much each client may have within a minute of the clock."""

    def __init__(self, most: float) -> None:
        self.most, self._minute, self._used = most, 0, Counter[str]()

    def take(self, client: str, amount: int = 1) -> bool:
        """Counts what a client takes; whether it was allowed."""
        minute = int(monotonic() // 60)
        if minute != self._minute:
            self._minute, self._used = minute, Counter()
        self._used[client] += amount
        return self._used[client] <= self.most

    @staticmethod
    def wait_s() -> int:
        """Seconds until the next minute begins."""
        return 60 - int(monotonic() % 60)


class PromptHeads(H11Protocol):
    """uvicorn's HTTP/1.1 (as of 0.54), which waits for the head of a request without limit; here a
    connection ends whose head takes longer than `HEAD_WITHIN_S`."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._deadline = self.loop.call_later(HEAD_WITHIN_S, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # h11 keeps what it cannot read yet; the peer is idle until its request's head is complete.
        is_part = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if is_part and self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)
        elif not is_part:
            self._unwatch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
