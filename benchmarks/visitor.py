"""A visitor of the dashboard without a browser: speaks what Streamlit's pages speak with it.

So the server is timed alone: a browser on the same cores takes as much of them as the server does.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Common_pb2 import UploadedFileInfo
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import ClientConnection, connect

_XSRF = "_streamlit_xsrf"
_LONGEST_S = 60.0


class Visitor:
    """One visitor's open page."""

    def __init__(self, address: str, page: str, query: str) -> None:
        """
        Args:
            address: Of the server.
            page: Its name in the address.
            query: What follows the question mark.
        """
        self._address, self._page, self._query = address, page, query
        self._http = requests.Session()
        self._http.get(f"{address}/_stcore/health", timeout=_LONGEST_S).raise_for_status()
        self._token = str(self._http.cookies[_XSRF])
        self._socket: ClientConnection = connect(
            f"{address.replace('http', 'ws', 1)}/_stcore/stream",
            subprotocols=["streamlit", self._token],  # type: ignore[list-item]
            additional_headers={"Cookie": f"{_XSRF}={self._token}"},
            max_size=None,
        )
        self._session_id = ""
        self._uploader = ""

    def open(self) -> None:
        """Opens the page and waits until its script has ended."""
        self._run([])
        for message in self._messages():
            if message.WhichOneof("type") == "new_session":
                self._session_id = message.new_session.initialize.session_id
            if message.delta.new_element.WhichOneof("type") == "file_uploader":
                self._uploader = message.delta.new_element.file_uploader.id
            if message.WhichOneof("type") == "script_finished" and self._uploader:
                return

    def upload(self, path: Path, is_shown: Callable[[str], bool]) -> None:
        """Gives the page's uploader a file and waits until the page shows a certain text.

        Args:
            path: The file.
            is_shown: Says of a text whether it is the one waited for.
        """
        name, content = path.name, path.read_bytes()
        request = BackMsg()
        request.file_urls_request.request_id = str(uuid.uuid4())
        request.file_urls_request.session_id = self._session_id
        request.file_urls_request.file_names.append(name)
        self._socket.send(request.SerializeToString())
        (urls,) = next(
            message.file_urls_response.file_urls
            for message in self._messages()
            if message.WhichOneof("type") == "file_urls_response"
        )
        self._http.put(
            self._address + urls.upload_url,
            files={"file": (name, content)},
            headers={"X-Xsrftoken": self._token},
            timeout=_LONGEST_S,
        ).raise_for_status()
        state = WidgetState(id=self._uploader)
        state.file_uploader_state_value.uploaded_file_info.append(
            UploadedFileInfo(file_id=urls.file_id, name=name, size=len(content), file_urls=urls)
        )
        self._run([state])
        next(m for m in self._messages() if is_shown(m.delta.new_element.markdown.body))

    def settle(self) -> None:
        """Waits until the page's script has ended."""
        next(m for m in self._messages() if m.WhichOneof("type") == "script_finished")

    def close(self) -> None:
        """Leaves."""
        self._socket.close()
        self._http.close()

    def _run(self, widgets: list[WidgetState]) -> None:
        request = BackMsg()
        request.rerun_script.page_name = self._page
        request.rerun_script.query_string = self._query
        request.rerun_script.widget_states.widgets.extend(widgets)
        self._socket.send(request.SerializeToString())

    def _messages(self) -> Iterator[ForwardMsg]:
        while True:
            data = self._socket.recv(timeout=_LONGEST_S)
            assert isinstance(data, bytes)
            yield ForwardMsg.FromString(data)
