"""Who may do what: visitors of the dashboard, and the user of this machine.

Beyond this machine the dashboard opens only with a login or a token. The store's `settings.json`
says who of those that log in may look (`"read"`) and who may train, stop, delete and set things as
well (`"work"`): lists of e-mail addresses, `"*"` for everybody who can log in. `"folders"` lists
the folders of this machine that visitors from outside may name.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import tomllib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from genrecore.errors import GenrecoreError
from genrecore.jobs import journal
from genrecore.store import allowed, settings
from genrecore.store.files import app_dir, cache_dir
from genrecore.store.run import Run, store_dir

P = ParamSpec("P")
T = TypeVar("T")

TOKEN = "GENRECORE_TOKEN"
"""The environment variable that holds the token of the dashboard and the service."""
BY = "GENRECORE_BY"
"""The environment variable with the name of the visitor who started a task, in its process."""
_UNGUARDED = (
    "Others than this machine's users could reach the dashboard, and it asks them for nothing. Set "
    f"a token in the environment variable {TOKEN}, or a login in .streamlit/secrets.toml "
    "(docs/guides/class-server.md shows both), or let it listen on 127.0.0.1 alone."
)
_SECRETS = Path(".streamlit") / "secrets.toml"


@dataclass(frozen=True)
class Visitor:
    """Somebody who uses the package, by a page, a command or from Python."""

    name: str
    may_look: bool = True
    may_work: bool = True  # train, stop, delete, write and set
    is_from_outside: bool = False  # comes over a network; sees only some folders of this machine


_source: Callable[[], Visitor | None] = lambda: None  # noqa: E731


def ask_for_visitor(source: Callable[[], Visitor | None]) -> None:
    """Names the function that says which visitor the present thread serves; None: the user."""
    global _source
    _source = source


def visitor() -> Visitor:
    """Whom this thread serves: a visitor of the dashboard, or else the user of this machine."""
    return _source() or Visitor(os.environ.get(BY) or _user())


@functools.cache
def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in some containers
        return str(os.getuid())


def token() -> str:
    """The token that is asked for; empty where none is."""
    return os.environ.get(TOKEN, "").strip(" \t\r\n")


def unguarded() -> str:
    """Why nobody may come to the dashboard from outside; empty where they are asked for a login or
    a token."""
    return "" if token() or login_providers() is not None else _UNGUARDED


def login_providers() -> list[str] | None:
    """The providers of the login that is set up in the dashboard's or the user's secrets; None
    where none is. An empty name is the one that needs none.

    Raises:
        GenrecoreError: A file of secrets cannot be read.
    """
    for folder in (app_dir(), Path.home()):
        path = folder / _SECRETS
        if path.is_file():
            auth = _auth_section(path, path.stat().st_mtime_ns)
            if auth:
                named = [name for name, value in auth.items() if isinstance(value, dict)]
                return ([""] if "client_id" in auth else []) + named
    return None


@functools.lru_cache(maxsize=4)
def _auth_section(path: Path, changed: int) -> dict[str, object]:
    try:
        section = tomllib.loads(path.read_text(encoding="utf-8")).get("auth", {})
    except (OSError, ValueError) as error:
        raise GenrecoreError(f"The secrets in {path} cannot be read: {error}.") from None
    return section if isinstance(section, dict) else {}


def person(email: str, store: Path | None = None) -> Visitor:
    """Who has logged in with this e-mail address, and what the store lets them do."""
    values = settings.read(store or store_dir())

    def stands_in(name: str) -> bool:
        listed = values.get(name)
        known = (
            [str(item).strip().casefold() for item in listed] if isinstance(listed, list) else []
        )
        return listed == "*" or "*" in known or (bool(email) and email.casefold() in known)

    may_work = stands_in("work")
    return Visitor(email, may_work or stands_in("read"), may_work, is_from_outside=True)


def require_work() -> None:
    """Lets only those pass who may work.

    Raises:
        GenrecoreError: The visitor may only look.
    """
    present = visitor()
    if not present.may_work:
        raise GenrecoreError(only_looks(present))


_acting: ContextVar[bool] = ContextVar("acting", default=False)


def work(action: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator for what only those may do who may work.

    Each call that succeeds is recorded in the store's journal, unless it is part of another such
    action. The run is the one that is returned, or else the first among the arguments.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def checked(*args: P.args, **named: P.kwargs) -> T:
            require_work()
            if _acting.get():
                return function(*args, **named)
            outer = _acting.set(True)
            try:
                result = function(*args, **named)
            finally:
                _acting.reset(outer)
            values = (result, *args, *named.values())
            run = next((value for value in values if isinstance(value, Run)), None)
            stores = (value for value in values if isinstance(value, Path))
            store = run.folder.parent if run else next(stores, None) or store_dir()
            journal.record(store, visitor().name, action, run.run_id if run else "")
            return result

        return checked

    return decorate


@contextlib.contextmanager
def working(action: str) -> Iterator[None]:
    """As `work`, around what happens on a page alone."""
    require_work()
    yield
    journal.record(store_dir(), visitor().name, action)


def open_folders() -> tuple[Path, ...] | None:
    """The folders of this machine that the visitor may point at; None where that is any."""
    if not visitor().is_from_outside:
        return None
    named = settings.read(store_dir()).get("folders")
    paths = [str(item) for item in named] if isinstance(named, list) else []
    uploads = str(cache_dir() / "uploads")
    return tuple(Path(os.path.realpath(allowed.expanded(path))) for path in [uploads, *paths])


allowed.limit_by(open_folders)


def only_looks(present: Visitor) -> str:
    """Why a visitor cannot do what others can."""
    return (
        f'{present.name} may look, but not change anything: "work" in settings.json names others.'
    )
