"""The dashboard's connections: what is written goes out at once."""

from __future__ import annotations

import contextlib
import functools
import socket

import psutil


@functools.cache
def send_at_once() -> None:
    """Ends the wait of small messages for the browser's acknowledgement of the one before.

    asyncio ends it for sockets that say they are TCP; Streamlit binds one that does not, so on
    Linux the second of two messages, or the body of an answer, came up to 40 ms late
    (https://github.com/Kludex/uvicorn/issues/3149). Connections that are accepted later take the
    setting over from the socket that listens. Once a process is enough.
    """
    with contextlib.suppress(psutil.Error, OSError):  # without it pages are only a little slower
        found = psutil.Process().net_connections("tcp")
        ports = {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}
        for one in found:
            if one.fd >= 0 and one.laddr.port in ports:
                with socket.fromfd(one.fd, one.family, one.type) as same:
                    same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
