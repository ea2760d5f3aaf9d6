"""A comparison that can be sent: one HTML file, tables for papers, figures as pictures.

`write` makes the file; it opens offline, in both themes, and on paper. `write_tables` and
`write_figures` give what is in it as CSV, Markdown and LaTeX, and as SVG and PNG.
"""

from genrecore.reporting.html.figures import Figure, figures
from genrecore.reporting.html.page import html, write
from genrecore.reporting.html.figure_files import write_figures
from genrecore.reporting.html.table import ReportTable
from genrecore.reporting.html.tables import table_files, tables, write_tables

__all__ = [
    "Figure",
    "ReportTable",
    "figures",
    "html",
    "table_files",
    "tables",
    "write",
    "write_figures",
    "write_tables",
]
