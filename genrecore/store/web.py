"""Addresses that are opened to fetch files: a redirect leads where it is expected, or nowhere."""

from __future__ import annotations

import urllib.request
from collections.abc import Sequence
from http.client import HTTPResponse
from typing import Any, cast
from urllib.parse import urlsplit

from genrecore.errors import GenrecoreError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def open_url(
    request: str | urllib.request.Request, hosts: Sequence[str] = (), timeout_s: float = 30.0
) -> HTTPResponse:
    """The answer to a request, where redirects stay on its host or lead to one of `hosts`.

    Args:
        request: An http or https address, or a request.
        hosts: Names of other hosts that may be redirected to, over https; on loopback over http
            as well.
        timeout_s: Seconds of silence after which the connection counts as broken.

    Raises:
        GenrecoreError: It is redirected elsewhere.
        OSError: The connection fails, or the server answers with an error (`urllib.error`).
    """
    opener = urllib.request.build_opener(_Redirects(hosts))
    return cast(HTTPResponse, opener.open(request, timeout=timeout_s))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to expected places only."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = {host.lower() for host in hosts}

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The next request.

        Raises:
            GenrecoreError: It leads to another place.
        """
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        try:
            same = (before.hostname, before.port) == (after.hostname, after.port)
            host = after.hostname or ""
        except ValueError:  # a port that is no number
            same, host = False, ""
        is_secure = after.scheme == "https" or host in LOOPBACK
        if same:
            expected = after.scheme == "https" or after.scheme == before.scheme == "http"
        else:
            expected = is_secure and host in self.hosts and after.scheme in ("http", "https")
        if not expected:
            there = ", ".join(sorted(self.hosts)) or "none but its own"
            raise GenrecoreError(
                f"{req.full_url} redirects to {after.scheme}://{after.netloc}, from where nothing "
                f"is fetched; expected a host over https: {there}."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)
