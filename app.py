"""The dashboard: `streamlit run app.py`, or `genrecore dashboard`.

The server imports this file, and Streamlit carries it out as the script of every visit.
"""

import sys

import streamlit as st
from starlette.middleware import Middleware
from starlette.types import ASGIApp
from streamlit.starlette import App

from genrecore.inference.guard import is_open_to_others
from genrecore.jobs.access import unguarded


def door(inside: ASGIApp) -> ASGIApp:
    from genrecore import ui  # not before Streamlit's runtime is there

    return ui.Door(inside)


if __name__ == "__main__":
    from genrecore import ui

    ui.navigation().run()
else:
    app = App(__file__, middleware=[Middleware(door)])
    is_open = is_open_to_others(
        st.get_option("server.address"), st.get_option("server.allowedHosts")
    )
    if is_open and unguarded():
        sys.exit(unguarded())
