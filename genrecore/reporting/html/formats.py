"""Tables as text: HTML cells, CSV, Markdown, LaTeX. Names never become markup."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from genrecore.evaluation.verdicts import signed
from genrecore.reporting.plots.chart import percent

MISSING = "–"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: The column of the frame; of an interval that of its lower end.
        title: For people.
        kind: `text`, `count`, `number` (three decimals), `share` (0 … 1, in per cent), `points` (a
            difference of shares), `size` (the same without a sign), `p`, `seconds`; `between` and
            `points between` are intervals.
        upper: The column of an interval's upper end.
    """

    key: str
    title: str
    kind: str = "text"
    upper: str = ""

    @property
    def is_text(self) -> bool:
        """Whether it reads from the left."""
        return self.kind == "text"

    def cell(self, row: Any) -> str:
        """What a person reads in this column of a row of the frame."""
        value = row[self.key]
        if not self.upper:
            return shown(value, self.kind)
        one = "points" if self.kind == "points between" else "share"
        if pd.isna(value):
            return MISSING
        return f"{shown(value, one)} to {shown(row[self.upper], one)}"


@dataclass(frozen=True)
class Table:
    """Numbers with what they are called.

    Attributes:
        name: Of its files, and in the page.
        title: A caption.
        frame: The numbers themselves.
        columns: In which order, and how they are written.
    """

    name: str
    title: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]

    @property
    def cells(self) -> list[list[str]]:
        """What a person reads, row by row."""
        rows = self.frame.to_dict(orient="records")
        return [[column.cell(row) for column in self.columns] for row in rows]

    @property
    def csv(self) -> str:
        """All columns with all digits, under the names that the package uses."""
        return str(self.frame.to_csv(index=False))

    @property
    def markdown(self) -> str:
        """A table of GitHub's Markdown, under its caption."""
        lines = [[markdown(column.title) for column in self.columns]]
        lines.append(["---" if column.is_text else "---:" for column in self.columns])
        lines += [[markdown(text) for text in row] for row in self.cells]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"**{markdown(self.title)}**\n\n{body}\n"

    @property
    def latex(self) -> str:
        """A `table` that any LaTeX takes without packages."""
        head = " & ".join(latex(column.title) for column in self.columns)
        rows = "\n".join(" & ".join(map(latex, row)) + r" \\" for row in self.cells)
        places = "".join("l" if column.is_text else "r" for column in self.columns)
        return (
            "\\begin{table}\n\\centering\n"
            f"\\caption{{{latex(self.title)}}}\n\\label{{tab:{self.name}}}\n"
            f"\\begin{{tabular}}{{{places}}}\n\\hline\n{head} \\\\\n\\hline\n{rows}\n\\hline\n"
            "\\end{tabular}\n\\end{table}\n"
        )


def shown(value: Any, kind: str) -> str:
    """A value as a person reads it; a dash where nothing was measured."""
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return MISSING
    if kind == "share":
        return percent(float(value))
    if kind == "points":
        return signed(float(value))
    if kind == "size":
        return f"{100 * float(value):.1f}"
    if kind == "number":
        return f"{float(value):.3f}"
    if kind == "count":  # of systems with several seeds a count may be a mean
        whole = float(value) == round(float(value))
        return f"{float(value):,.0f}".replace(",", "\u202f") if whole else f"{float(value):.1f}"
    if kind == "p":
        return "< 0.0001" if float(value) < 1e-4 else f"{float(value):.2g}"
    if kind == "seconds":
        return _duration(float(value))
    return str(value)


def _duration(seconds: float) -> str:
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def markdown(text: object) -> str:
    """Text of which no character is Markdown or HTML, on one line."""
    escaped = re.sub(r"([\\`*_{}\[\]()#!|~<>&$])", r"\\\1", str(text))
    return " ".join(escaped.split()) or " "


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
    "[": "{[}", "*": "{*}",  # after the end of a row they would be its options
    "·": r"\textperiodcentered{}", "−": "$-$", "–": "--", "—": "---", "×": r"$\times$",
    "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "…": r"\dots{}", "\u00a0": "~", "\u202f": r"\,",
    "↓": r"$\downarrow$", "→": r"$\rightarrow$",
}  # fmt: skip


def latex(text: object) -> str:
    """Text of which no character is a command of LaTeX, on one line.

    Signs that plain LaTeX does not know as characters become commands; letters stay (UTF-8).
    """
    plain = re.sub(r"(?<=\d) %", "\u202f%", str(text))  # a thin space that does not break
    words = " ".join(re.split(r"[ \t\r\n\f\v]+", plain))
    return "".join(_LATEX.get(sign, sign) for sign in words)
