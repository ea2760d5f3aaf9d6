"""A comparison as one self-contained HTML file."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from plotly.offline import get_plotlyjs

from genrecore import __version__
from genrecore.config import run as configuration
from genrecore.config.command import train_command
from genrecore.errors import GenrecoreError, describe
from genrecore.evaluation import clustered, comparison, listing
from genrecore.evaluation.comparison import Comparison
from genrecore.reporting.columns import Column
from genrecore.reporting.html.figures import ReportFigure, figures, template
from genrecore.reporting.html.table import ReportTable
from genrecore.reporting.html.tables import audit_sentence, members, public, tables
from genrecore.store.files import write_text
from genrecore.store.run import MARKS, Run
from genrecore.words import plural, points

_HERE = Path(__file__).parent
_SECTIONS = ("scores", "pairs", "curves", "sizes", "genres", "confusions", "calibration", "cost")
_MAX_SENTENCES = 10  # of more pairs those with the most accurate run come first


def write(
    compared: Comparison | Sequence[Run], path: str | Path, title: str = "", command: str = ""
) -> Path:
    """Writes a comparison as one HTML file and returns its path.

    The file opens without network in any browser, its figures can be zoomed and saved, and it
    prints. It holds no audio and no folder of this machine, and contacts no server.

    Args:
        compared: A comparison, or the runs to compare.
        path: Path of the file; missing folders are created.
        title: Heading; by default the number of runs and their datasets.
        command: Command that makes the same comparison; by default of these runs or systems.

    Raises:
        GenrecoreError: The runs cannot be compared, or the file cannot be written.
    """
    if not isinstance(compared, Comparison):
        compared = comparison.compare(list(compared))
    target = Path(path).expanduser().absolute()
    text = html(compared, title, command)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, text)
    except OSError as error:
        raise GenrecoreError(f"The report cannot be written to {path}: {describe(error)}") from None
    return target


def html(compared: Comparison, title: str = "", command: str = "") -> str:
    """The report as text.

    Args:
        compared: The comparison.
        title: As for `write`.
        command: As for `write`.
    """
    drawings = figures(compared)
    by_name = {table.name: table for table in tables(compared)}
    pairs, table = compared.pairs, compared.table
    best = str(table.sort_values("accuracy", ascending=False, kind="stable")["run_id"].iloc[0])
    first = (pairs["run_a"] == best) | (pairs["run_b"] == best) | (len(pairs) <= _MAX_SENTENCES)
    of_systems = not set(compared.titles) <= {run.run_id for run in compared.runs}
    return _environment().get_template("report.html").render(
        title=title or _title(compared),
        made=time.strftime("%d %B %Y, %H:%M"),
        version=__version__,
        n_shared=len(compared.shared),
        n_tested=compared.n_tested,
        headline=compared.headline,
        notes=[{"text": note, "grave": MARKS["leak"] in note} for note in _notes(compared)],
        first=pairs.loc[first, "sentence"].tolist(),
        others=pairs.loc[~first, "sentence"].tolist(),
        areas=pairs.loc[first, "area_sentence"].tolist(),
        best=compared.titles[best],
        verdicts=_counts(pairs["verdict"]),
        figures={
            name: [figure for figure in drawings if figure.section == name]
            for name in dict.fromkeys([*_SECTIONS, *(figure.section for figure in drawings)])
        },
        tables=by_name,
        confusions=[table for table in by_name.values() if table.name.startswith("confusion-")],
        numbers={figure.name: _numbers(figure) for figure in drawings},
        band=points(compared.band),
        of_systems=of_systems,
        method=clustered.METHOD,
        runs=[_about(compared, key, run) for key, of_key in members(compared).items()
              for run in of_key],
        command=command or _command(compared, of_systems),
        specs=_as_script({figure.name: figure.spec for figure in drawings}),
        templates=_as_script({name: template(name) for name in ("light", "dark")}),
        plotly=get_plotlyjs(),
        style=(_HERE / "report.css").read_text(encoding="utf-8"),
        script=(_HERE / "report.js").read_text(encoding="utf-8"),
    )  # fmt: skip


def _notes(compared: Comparison) -> list[str]:
    """The comparison's notes, and how many runs of its store it leaves out as unreadable."""
    n = len(listing.unreadable(compared.runs[0].folder.parent))
    left_out = f"{plural(n, 'run')} of the store could not be read and {'is' if n == 1 else 'are'} "
    return [*compared.notes, *([f"{left_out}left out."] if n else [])]


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _as_script(value: Any) -> str:
    """JSON that cannot end the script element around it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _title(compared: Comparison) -> str:
    noun = "systems" if len(compared.titles) < len(compared.runs) else "runs"
    datasets = dict.fromkeys(run.config.dataset.name for run in compared.runs)
    return f"{len(compared.titles)} {noun} on {', '.join(datasets)}"


def _command(compared: Comparison, of_systems: bool) -> str:
    run_ids = " ".join(runs[0].run_id for runs in members(compared).values())
    return f"genrecore compare {run_ids}{' --systems' if of_systems else ''}"


def _counts(verdicts: pd.Series) -> str:
    return ", ".join(f"{n} {verdict}" for verdict, n in verdicts.value_counts(sort=False).items())


def _numbers(figure: ReportFigure) -> ReportTable:
    chart = figure.chart
    columns = {str(name): Column(str(name), chart.format_of(name)) for name in chart.table.columns}
    return ReportTable(figure.name, chart.alt, chart.table.rename(columns=str), columns)


def _about(compared: Comparison, key: str, run: Run) -> dict[str, Any]:
    """Command, settings and audit of a run."""
    config = public(run.config)
    title = compared.titles[key]
    settings = {
        name.replace(".options.", "."): value if isinstance(value, str) else json.dumps(value)
        for name, value in configuration.flat(config).items()
    }
    changed = {name.replace(".options.", ".") for name in configuration.differences(config)}
    return {
        "title": title if key == run.run_id else f"{title}: {run.title}",
        "run_id": run.run_id,
        "command": shlex.join(train_command(config)),
        "settings": settings,
        "changed": changed,
        "audit": audit_sentence(run),
        "leaks": bool(run.leak),
        "crossings": [crossing["sentence"] for crossing in run.audit.get("crossings", [])],
        "checked": [str(check) for check in run.audit.get("checked", [])],
    }
