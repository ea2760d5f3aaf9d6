"""A comparison to send: one HTML file, tables for papers, figures as image files.

`write` makes the HTML file; it opens offline, in both themes, and prints. `write_tables` and
`write_figures` write its content as CSV, Markdown and LaTeX, and as SVG and PNG.
"""

from genrecore.reporting.html.figure_files import write_figures
from genrecore.reporting.html.figures import ReportFigure, figures
from genrecore.reporting.html.page import html, write
from genrecore.reporting.html.table import ReportTable
from genrecore.reporting.html.tables import table_files, tables, write_tables

__all__ = [
    "ReportFigure",
    "ReportTable",
    "figures",
    "html",
    "table_files",
    "tables",
    "write",
    "write_figures",
    "write_tables",
]
