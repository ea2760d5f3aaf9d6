"""What servers write goes out at once (TCP_NODELAY), on connections made before and after."""

from __future__ import annotations

import socket

from genrecore.cli import serve
from genrecore.ui.parts import sockets


def sends_at_once(connection: socket.socket) -> bool:
    return bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


def accepted(listening: socket.socket) -> tuple[socket.socket, socket.socket]:
    visitor = socket.create_connection(listening.getsockname())
    return listening.accept()[0], visitor


def test_connections_of_the_dashboard_send_at_once() -> None:
    with socket.socket() as listening:  # as Streamlit makes it
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        before, first = accepted(listening)
        assert not sends_at_once(before)
        sockets.send_at_once.__wrapped__()  # another test may have called it
        after, second = accepted(listening)
        assert sends_at_once(before)
        assert sends_at_once(after)
        assert not sends_at_once(first)  # the visitor's own end
        for connection in (before, first, after, second):
            connection.close()


def test_connections_of_the_service_send_at_once() -> None:
    with serve._listening("127.0.0.1", 0, 0) as listening:
        server, visitor = accepted(listening)
        assert sends_at_once(server)
        server.close()
        visitor.close()
