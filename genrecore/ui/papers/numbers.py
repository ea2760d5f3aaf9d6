"""The page Papers: printed numbers with ours beside them, the gap, the time. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from pathlib import Path

import pandas as pd
import streamlit as st

from genrecore.experiments import papers
from genrecore.experiments.papers import Cell, Found, Gap, Study, findings, running
from genrecore.experiments.papers.reading import Table
from genrecore.experiments.papers.report import in_words
from genrecore.reporting.plots import papers as drawn
from genrecore.store.run import Run
from genrecore.ui.papers.view import where
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose, choose_one
from genrecore.ui.parts.frame import chart, empty, plain, section

SIGNS = {
    "reproduced": "✓ reproduced",
    "above": "▲ above",
    "below": "▼ below",
    "not run": "○ not run",
    "rehearsal": "◇ rehearsal",
    "": "",
}


@dataclass(frozen=True)
class Results:
    """A study's runs and what they say.

    Attributes:
        study: The study.
        there: Its runs.
        rehearsal: Whether they are rehearsals.
        cells: Printed numbers with ours.
        gaps: Systems under both protocols.
        rows: As `findings.rows_table`.
    """

    study: Study
    there: Found
    rehearsal: bool
    cells: list[Cell]
    gaps: list[Gap]
    rows: pd.DataFrame


def choose_results(study: Study) -> Results:
    """The runs of the study on its dataset, or its rehearsals."""
    found = {name: running.found(study, name == "rehearsals") for name in ("runs", "rehearsals")}
    sizes = {name: sum(map(len, one.done.values())) for name, one in found.items()}
    words = {"runs": f"Runs ({sizes['runs']})", "rehearsals": f"Rehearsals ({sizes['rehearsals']})"}
    default = "rehearsals" if sizes["rehearsals"] and not sizes["runs"] else "runs"
    options = list(words) if sizes["rehearsals"] else ["runs"]
    picked = choose_one(
        "Ours", options, "ours", words=words.__getitem__, default=default, radio=True
    )
    there = found[picked]
    rehearsal = picked == "rehearsals"
    _say_what_is_missing(study, there, rehearsal)
    cells, gaps, rows = _read(study.name, rehearsal, _key(there))
    return Results(study, there, rehearsal, cells, gaps, rows)


def _say_what_is_missing(study: Study, there: Found, rehearsal: bool) -> None:
    if rehearsal:
        st.warning(
            "Rehearsals: fewer and shorter clips, fewer epochs or other music. They show that the "
            "recipe runs to its end, and nothing about the study's numbers.",
            icon=":material/theater_comedy:",
        )
    elif not there.done and not there.active:
        empty(
            "None of its rows has been run here.",
            "The printed numbers stand below. *Run it* says what is needed, and queues the rows.",
        )
    n = sum(not there.of(row.name, one) for row in study.rows for one in papers.PROTOCOLS)
    n_active = sum(there.active.values())
    said = f"{2 * len(study.rows) - n} of {2 * len(study.rows)} rows and protocols have a result."
    if n_active:
        said += f" {n_active} run{'s' if n_active > 1 else ''} of them work or wait."
    if n and not rehearsal and (there.done or there.active):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(said, width="content")
            st.button(
                "Run what is missing",
                icon=":material/play_arrow:",
                type="tertiary",
                key="to_run",
                on_click=choose,
                args=("view", "run"),
            )


def _key(there: Found) -> tuple[tuple[str, str, int, str, int], ...]:
    """Changes with the runs."""
    return tuple(
        (row, protocol, seed, str(run.folder), readers.changed(run, "predictions.parquet"))
        for (row, protocol), by_seed in sorted(there.done.items())
        for seed, run in sorted(by_seed.items())
    )


@st.cache_data(show_spinner="Reading the runs …", max_entries=16)
def _read(
    name: str, rehearsal: bool, key: tuple[tuple[str, str, int, str, int], ...]
) -> tuple[list[Cell], list[Gap], pd.DataFrame]:
    done: dict[tuple[str, str], dict[int, Run]] = {}
    for row, protocol, seed, folder, _ in key:
        done.setdefault((row, protocol), {})[seed] = Run(Path(folder))
    study, there = papers.study(name), Found(done, {}, {})
    cells = findings.cells(study, there, rehearsal)
    return cells, findings.gaps(study, there, cells), findings.rows_table(study, there)


def show(results: Results) -> None:
    """All of it: tables, sentences, the gap, systems, time."""
    study = results.study
    for table in study.tables:
        if any(table.measures):
            _table(table, results)
    _sentences(results)
    st.caption(
        "Ours: mean over seeds with its 95 % interval, artists and seeds drawn together. "
        "*Reproduced*: the difference is within what chance explains, the study's own sampling "
        "error included. An honest accuracy is always one of test clips."
    )
    _gap(results)
    _times(results)
    _systems(results)
    for table in study.tables:
        if not any(table.measures):
            with st.expander(f"{table.place}: {_caption(table)}"):
                st.caption(plain(table.remark))
                _as_printed(table)


def _table(table: Table, results: Results) -> None:
    section(f"{table.place}: {_caption(table)}")
    if table.remark:
        st.caption(plain(table.remark))
    _as_printed(table)
    for line in table.lines:
        if line.remark:
            st.caption(plain(f"{line.words.split(chr(9))[0]}: {line.remark}"))
    rows = []
    for line in table.lines:
        of_line = [
            cell
            for cell in results.cells
            if cell.printed.place == table.place and cell.printed.words == line.words
        ]
        rows += _compared(of_line, table, line.words.split("\t"), results.study)
    if rows:
        st.caption("Ours beside it")
        _frame(rows)


def _as_printed(table: Table) -> None:
    cells = [line.words.split("\t") for line in table.lines]
    names = [name or " " for name in table.columns]
    shown = pd.DataFrame([[_plainly(one) for one in line] for line in cells], columns=names)
    st.caption(f"As printed ({where(table.section)})")
    st.dataframe(shown, hide_index=True, placeholder="")


def _caption(table: Table) -> str:
    """The caption without the name of the table."""
    words = table.caption.removeprefix(table.place).lstrip(":. ").rstrip(".").replace("*", "")
    return words[:1].upper() + words[1:]


def _plainly(cell: str) -> str:
    for mark in ("<b>", "</b>", "$", "\\approx"):
        cell = cell.replace(mark, "" if mark != "\\approx" else "≈")
    return cell.strip()


def _compared(
    cells: list[Cell], table: Table | None, parts: list[str], study: Study
) -> list[dict[str, str]]:
    """A row a printed number: both protocols beside it.

    Args:
        cells: Of one line, or of one sentence.
        table: The table, or None for a sentence.
        parts: The line's cells.
        study: The study.
    """
    rows: list[dict[str, str]] = []
    both = {one: [c for c in cells if c.protocol == one] for one in papers.PROTOCOLS}
    place = 0
    for published, honest in zip(both["published"], both["honest"], strict=True):
        printed, column = published.printed, ""
        if table is not None:
            place = next(
                k
                for k, measure in enumerate(table.measures)
                if k >= place and measure == printed.measure and parts[k] == printed.printed
            )
            column, place = table.columns[place], place + 1
        if printed.missing and not printed.printed.strip():
            continue
        rows.append(
            {
                "Line": study.title_of(printed.system),
                "Column": column,
                "Printed": _plainly(printed.shown),
                "As published": _ours(published, printed.measure),
                "Honest": _ours(honest, printed.measure),
            }
        )
    return rows


def _ours(cell: Cell, measure: str) -> str:
    """Ours with its interval and the verdict."""
    return f"{in_words(cell.ours, measure)}  {SIGNS[cell.verdict]}".strip()


def _frame(rows: list[dict[str, str]], column: str = "Column") -> None:
    table = pd.DataFrame(rows)
    if "Column" in table and table["Column"].nunique() < 2:
        table = table.drop(columns="Column")
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        height=min(38 + 35 * len(table), 720),
        column_config={
            "Line": st.column_config.TextColumn("System", width="medium"),
            "Column": st.column_config.TextColumn(
                column, width="small" if column == "Column" else "medium"
            ),
            "Printed": st.column_config.TextColumn(width="small"),
            "As published": st.column_config.TextColumn(
                "Ours, as published",
                help="The study's protocol, measured as the study measured; 95 % interval.",
            ),
            "Honest": st.column_config.TextColumn(
                "Ours, honest",
                help="Artists kept apart, validation for every choice; test accuracy.",
            ),
        },
    )


def _sentences(results: Results) -> None:
    study = results.study
    rows = []
    others = []
    for one in study.sentences:
        of_it = [
            cell
            for cell in results.cells
            if cell.printed.place == f"section {one.section}"
            and (cell.printed.words, cell.printed.printed) == (one.words, one.printed)
        ]
        if of_it:
            of_genre = f" ({one.genre})" if one.genre else ""
            measured = {"Column": papers.MEASURES[one.measure] + of_genre}
            rows += [
                row
                | measured
                | {"Where": where(one.section).capitalize(), "In its words": one.words}
                for row in _compared(of_it, None, [], study)
            ]
        else:
            others.append(f"- “{plain(one.words)}” :gray[({where(one.section)})]")
    section("In its sentences")
    if rows:
        _frame(rows, "Measure")
    if others:
        with st.expander(f"Said without a system to compare ({len(others)})"):
            st.markdown("\n".join(others))


def _gap(results: Results) -> None:
    section(
        "As published against honest",
        "The same systems: under the study's protocol, measured as the study measured, and with "
        "artists kept apart and every choice made by validation clips.",
    )
    if not results.gaps:
        empty(
            "No system has been run under both protocols yet.",
            "The gap takes each system once as published and once honestly.",
        )
        return
    chart(drawn.gaps(results.gaps, "Printed, as published, and honest"), "gap")
    differences = [one.difference.value for one in results.gaps]
    if len(differences) > 1:
        mean = 100 * sum(differences) / len(differences)
        st.caption(
            f"On average ours is {mean:.1f} points higher as published than honestly, over "
            f"{len(differences)} systems."
            if mean >= 0
            else f"On average ours is {-mean:.1f} points lower as published than honestly, over "
            f"{len(differences)} systems."
        )
    st.caption(
        "The two train and test on different clips, and the honest split may train on fewer: the "
        "gap is of the whole protocol. What shared artists alone add is measured under Leaks."
    )


def _times(results: Results) -> None:
    """How long each row took, beside what the study says."""
    study, rows = results.study, results.rows
    ran = rows[rows["runs"] > 0]
    printed = {
        one.system: one.shown for one in study.printed if one.measure == "minutes" and one.system
    }
    if ran.empty and not printed:
        return
    section("Time")
    theirs = f"The study trained on {study.hardware}" if study.hardware else ""
    ours = findings.devices_of(study, results.there)
    parts = [theirs or "The study does not say on what it trained"]
    parts.append(f"ours on {ours}" if ours else "none of ours has run")
    st.caption(plain("; ".join(parts) + ". In minutes a run, the start of its process included."))
    names = list(dict.fromkeys([*printed, *ran["system"]]))
    minutes = ran.set_index(["system", "protocol"])["minutes"]
    table = pd.DataFrame(
        [
            {
                "System": study.title_of(name),
                "The study": printed.get(name, ""),
                **{
                    title.capitalize(): _minutes(minutes.get((name, one), float("nan")))
                    for one, title in papers.PROTOCOLS.items()
                },
            }
            for name in names
            if name not in {one.name for one in study.choices}
        ]
    )
    st.dataframe(table, hide_index=True, placeholder="–")


def _minutes(value: float) -> str:
    return "" if isnan(value) else f"{value:.1f}"


def _systems(results: Results) -> None:
    """A row a system and protocol, with its marks."""
    ran = results.rows[results.rows["runs"] > 0]
    if ran.empty:
        return
    section("Every system that was run", "Accuracy of the test clips; marks in the last column.")
    table = pd.DataFrame(
        {
            "System": ran["title"],
            "Protocol": ran["protocol"].map(papers.PROTOCOLS),
            "Seeds": ran["runs"],
            "Test accuracy": 100 * ran["accuracy"],
            "from": 100 * ran["low"],
            "to": 100 * ran["high"],
            "Validation": 100 * ran["valid_accuracy"],
            "Best epoch": ran["best_epoch"],
            "Marks": [
                "; ".join(part for part in (chosen and f"chose {chosen}", badge) if part)
                for badge, chosen in zip(ran["badge"], ran["chosen"], strict=True)
            ],
        }
    )
    number = st.column_config.NumberColumn
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        column_config={
            **{
                name: number(format="%.1f %%")
                for name in ("Test accuracy", "from", "to", "Validation")
            },
            "Best epoch": number(format="%.0f"),
            "Marks": st.column_config.TextColumn(width="large"),
        },
    )
    leaky = ran[ran["badge"].str.contains("Leak")]
    if len(leaky):
        st.badge(
            f"{len(leaky)} of {len(ran)} knew something of their test clips in training; see the "
            "marks",
            icon=":material/warning:",
            color="red",
        )
