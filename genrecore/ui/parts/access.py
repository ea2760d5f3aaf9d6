"""Who comes in: what stands in front of the whole dashboard, and in front of every page.

`Door` looks at each request: at the host it names, at the token, at how often a client asks. What
it lets pass may still need the login, which only a page can ask for.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from pathlib import Path
from string import Template
from urllib.parse import parse_qs

import streamlit as st
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.runtime.scriptrunner import get_script_run_ctx

from genrecore.errors import GenrecoreError
from genrecore.inference import guard
from genrecore.jobs import access
from genrecore.jobs.access import Visitor

_PAGE = Template((Path(__file__).parent / "token.html").read_text(encoding="utf-8"))
_MOST_PER_MINUTE = 6000  # requests of one client; a page is some dozens
_MOST_TRIES = 20  # of the token, of one client within a minute
_A_TRY_TAKES_S = 1.0  # where it is wrong
_MOST_FORM_BYTES, _FORM_WITHIN_S = 10_000, 10.0

_door_stands = False


class Door:
    """What every request passes before Streamlit sees it, pages and WebSockets alike."""

    def __init__(self, app: ASGIApp) -> None:
        global _door_stands
        _door_stands = True
        self.app = app
        self.hosts = guard.OwnHosts(self._enter, st.get_option("server.allowedHosts"))
        self.requests = guard.Allowance(_MOST_PER_MINUTE)
        self.tries = guard.Allowance(_MOST_TRIES)
        self.key = secrets.token_urlsafe(32)  # what a browser has that sent the token
        self.cookie = f"genrecore_{secrets.token_hex(4)}"  # another server's stays beside it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_visit = scope["type"] in ("http", "websocket")
        await (self.hosts if is_visit else self.app)(scope, receive, send)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._refusal(HTTPConnection(scope), receive)
        except GenrecoreError as error:  # the file of secrets cannot be read
            answer = PlainTextResponse(f"{error}\n", 500)
        if answer is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403

    async def _refusal(self, visit: HTTPConnection, receive: Receive) -> Response | None:
        """What is answered instead of a page; None lets the visit in."""
        address = (visit.scope.get("server") or ("", 0))[0]
        sentence = refusal() or ("" if guard.is_loopback(address) else access.unguarded())
        if sentence:
            return PlainTextResponse(f"{sentence}\n", 403)
        client = guard.client(visit.scope)
        if not self.requests.take(client):
            return self._later(f"More than {_MOST_PER_MINUTE} requests within a minute.")
        if not asks_for_token() or visit.url.path.endswith("/_stcore/health"):
            return None
        known = visit.cookies.get(self.cookie, "").encode("latin-1", "ignore")
        if guard.is_token(known, self.key):
            return None
        sent = guard.bearer(visit.headers)
        is_form = visit.scope.get("method") == "POST" and not sent
        if is_form:
            sent = await _typed(Request(visit.scope, receive))
        if sent:
            if not self.tries.take(client, 0):
                return self._later(f"More than {_MOST_TRIES} wrong tokens within a minute.")
            if guard.is_token(sent, access.token()):
                return self._let_in(visit) if is_form else None
            self.tries.take(client)
            await asyncio.sleep(_A_TRY_TAKES_S)
        problem = "That is not the token." if sent else ""
        return HTMLResponse(_PAGE.substitute(problem=problem), 401, {"Cache-Control": "no-store"})

    def _let_in(self, visit: HTTPConnection) -> Response:
        """Sends the browser to where it wanted to go, with a key that lasts as long as it is open
        and this server runs."""
        query = f"?{visit.url.query}" if visit.url.query else ""
        answer = RedirectResponse(f"/{visit.url.path.lstrip('/')}{query}", 303)
        answer.set_cookie(
            self.cookie,
            self.key,
            path=f"/{st.get_option('server.baseUrlPath').strip('/')}",
            secure=visit.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return answer

    @staticmethod
    def _later(sentence: str) -> Response:
        wait = {"Retry-After": str(guard.Allowance.wait_s())}
        return PlainTextResponse(f"{sentence}\n", 429, wait)


async def _typed(request: Request) -> bytes:
    """The token that a form brings, as bytes."""
    body = b""
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_FORM_WITHIN_S):
            async for block in request.stream():
                body += block
                if len(body) > _MOST_FORM_BYTES:
                    return b""
    fields = parse_qs(body.decode("latin-1"), encoding="latin-1")  # a letter a byte
    return fields.get("token", [""])[0].encode("latin-1")


def asks_for_token() -> bool:
    """Whether visitors are asked for the token; where there is a login, that is asked for."""
    return bool(access.token()) and access.login_providers() is None


def is_open_to_others() -> bool:
    """Whether others than this machine's users reach the dashboard."""
    address, hosts = st.get_option("server.address"), st.get_option("server.allowedHosts")
    return guard.is_open_to_others(address, hosts)


def refusal() -> str:
    """Why the dashboard serves nobody; empty where it does."""
    return access.unguarded() if is_open_to_others() else ""


def present_visitor() -> Visitor | None:
    """Whom the script serves that runs in this thread; None: the user of this machine."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return None
    if access.login_providers() is not None:
        if not st.user.get("is_logged_in") or st.user.get("email_verified") is False:
            return Visitor("Nobody", may_look=False, may_work=False, is_from_outside=True)
        return access.person(str(st.user.get("email") or ""))
    if asks_for_token() and is_open_to_others():
        return Visitor("visitor with the token", is_from_outside=True)
    return None


access.ask_for_visitor(present_visitor)


def closed() -> Callable[[], None] | None:
    """What is drawn for a visitor who may not look, instead of any page; None for others."""
    if refusal():
        return lambda: _sentence(refusal())
    if asks_for_token() and not _door_stands:
        return lambda: _sentence("The dashboard is started with app.py, not with a page alone.")
    if access.login_providers() is not None:
        if not st.user.get("is_logged_in"):
            return _login
        if not access.visitor().may_look:
            return _unknown
    return None


def _sentence(text: str) -> None:
    st.error(text, icon=":material/lock:")


def _login() -> None:
    st.title("genrecore", anchor=False)
    for provider in access.login_providers() or []:
        label = f"Log in with {provider}" if provider else "Log in"
        if st.button(label, type="primary", key=f"log_in_{provider}"):
            st.login(provider or None)


def _unknown() -> None:
    name = st.user.get("email") or "Somebody without an e-mail address"
    _sentence(f'{name} may not look here: neither "read" nor "work" in settings.json names it.')
    st.button("Log out", on_click=st.logout, key="log_out")


def log_out() -> None:
    """Who has logged in, and a way out."""
    if access.login_providers() is not None:
        with st.sidebar.container(horizontal=True, vertical_alignment="center"):
            st.caption(str(st.user.get("email")))
            st.button("Log out", on_click=st.logout, key="log_out", type="tertiary")
