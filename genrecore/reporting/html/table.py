"""Tables as text: HTML cells, CSV, Markdown, LaTeX. Names never become markup."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from genrecore.reporting.columns import Column, csv_text


@dataclass(frozen=True)
class ReportTable:
    """A table of a report.

    Attributes:
        name: Name of its files, and of its place in the page.
        title: Caption.
        frame: The numbers.
        columns: Those that are shown, by their name in the numbers, in this order.
    """

    name: str
    title: str
    frame: pd.DataFrame
    columns: Mapping[str, Column]

    @property
    def heads(self) -> list[Column]:
        """The columns that are shown, without their names."""
        return list(self.columns.values())

    @property
    def cells(self) -> list[list[str]]:
        """The texts of all cells, row by row."""
        rows = self.frame.to_dict(orient="records")
        return [
            [column.written(row, name) for name, column in self.columns.items()] for row in rows
        ]

    @property
    def csv(self) -> str:
        """Every column of the frame with all digits, under the names that the package uses."""
        return csv_text(self.frame)

    @property
    def markdown(self) -> str:
        """A table in GitHub's Markdown, under its caption."""
        table = self._escaped(markdown).to_markdown(
            index=False,
            disable_numparse=True,
            colalign=["left" if column.is_text else "right" for column in self.heads],
        )
        return f"**{markdown(self.title)}**\n\n{table}\n"

    @property
    def latex(self) -> str:
        """A `table` that any LaTeX takes without packages."""
        text = self._escaped(latex).to_latex(
            index=False,
            column_format="".join("l" if column.is_text else "r" for column in self.heads),
            caption=latex(self.title),
            label=f"tab:{self.name}",
        )
        text = text.replace("\\begin{table}\n", "\\begin{table}\n\\centering\n", 1)
        return re.sub(r"\\(top|mid|bottom)rule", r"\\hline", text)  # those are a package's

    def _escaped(self, escape: Callable[[object], str]) -> pd.DataFrame:
        titles = [escape(column.title) for column in self.heads]
        rows = [[escape(text) for text in row] for row in self.cells]
        return pd.DataFrame(rows, columns=titles, dtype=object)


def markdown(text: object) -> str:
    """Text of which no character is Markdown or HTML, on one line."""
    escaped = re.sub(r"([\\`*_{}\[\]()#!|~<>&$])", r"\\\1", str(text))
    return " ".join(escaped.split()) or " "


_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
    "[": "{[}", "*": "{*}",  # after the end of a row they would be its options
    "·": r"\textperiodcentered{}", "−": "$-$", "–": "--", "—": "---", "×": r"$\times$",
    "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "…": r"\dots{}", "\u00a0": "~", "\u202f": r"\,",
    "↓": r"$\downarrow$", "→": r"$\rightarrow$",
})  # fmt: skip


def latex(text: object) -> str:
    """Text of which no character is a command of LaTeX, on one line.

    Signs that plain LaTeX does not know as characters become commands; letters stay (UTF-8).
    """
    thin = re.sub(r"(?<=\d) %", "\u202f%", str(text))  # a thin space that does not break
    return " ".join(re.split(r"[ \t\r\n\f\v]+", thin)).translate(_LATEX)
