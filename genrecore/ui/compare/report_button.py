"""Buttons that make a comparison on a page a file to be kept or sent."""

from __future__ import annotations

import io
import time
import zipfile

import streamlit as st

from genrecore.evaluation.comparison import Comparison
from genrecore.reporting import html as report


def report_button(compared: Comparison, command: str) -> None:
    """The report as one HTML file, and its tables in an archive; made when they are clicked.

    Args:
        compared: What the page shows.
        command: That compares the same.
    """
    name = f"genrecore-{time.strftime('%Y-%m-%d')}"
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.download_button(
            "Report",
            lambda: report.html(compared, command=command),
            f"{name}-report.html",
            "text/html",
            key="report",
            icon=":material/description:",
            help="All views as one HTML file: it opens offline, can be sent, and prints.",
            on_click="ignore",
        )
        st.download_button(
            "Tables",
            lambda: _archive(compared),
            f"{name}-tables.zip",
            "application/zip",
            key="tables",
            icon=":material/table:",
            help="Every table as CSV, Markdown and LaTeX.",
            on_click="ignore",
        )


def _archive(compared: Comparison) -> bytes:
    """The tables as a zip file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in report.table_files(compared):
            archive.writestr(name, text)
    return packed.getvalue()
