"""The dashboard's connections: what is written goes out at once."""

from __future__ import annotations

import contextlib
import functools
import socket

import psutil


@functools.cache
def send_at_once() -> None:
    """Sends small messages without waiting for the browser to acknowledge the one before.

    asyncio sets this for sockets that say they are TCP; Streamlit binds one that does not, so on
    Linux the second of two messages, or the body of an answer, came up to 40 ms late
    (https://github.com/Kludex/uvicorn/issues/3149). Connections that are accepted later inherit the
    setting from the listening socket. Once a process is enough.
    """
    with contextlib.suppress(psutil.Error, OSError):  # without it pages are only a little slower
        connections = psutil.Process().net_connections("tcp")
        ports = {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}
        for connection in connections:
            if connection.fd >= 0 and connection.laddr.port in ports:
                with socket.fromfd(connection.fd, connection.family, connection.type) as copy:
                    copy.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
