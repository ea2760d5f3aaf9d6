"""The page Papers: a study's printed numbers beside ours, the gap between protocols, the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.experiments import papers
from genrecore.experiments.papers import Cell, ProtocolGap, RunsOfStudy, Study, find_runs, findings
from genrecore.experiments.papers.printed import Printed
from genrecore.experiments.papers.report import in_words
from genrecore.experiments.papers.study import PrintedTable
from genrecore.reporting.columns import written
from genrecore.reporting.plots import papers as plots
from genrecore.store.run import Run
from genrecore.ui.papers.view import in_section
from genrecore.ui.parts.cache import cached_by_files, in_runs
from genrecore.ui.parts.choices import choose, choose_one
from genrecore.ui.parts.frame import capital, chart, empty, plain, section
from genrecore.ui.parts.tables import wrapped_table

_SIGNS = {
    "reproduced": "✓ reproduced",
    "above": "▲ above",
    "below": "▼ below",
    "another measure": "≠ another measure",
    "not run": "○ not run",
    "rehearsal": "◇ rehearsal",
    "": "",
}
_TITLES = {"As published": "Ours, as published", "Honest": "Ours, honest"}


@dataclass(frozen=True)
class Results:
    """A study's runs and their results; `rows` as of `findings.rows_table`."""

    study: Study
    runs: RunsOfStudy
    rehearsal: bool
    cells: list[Cell]
    gaps: list[ProtocolGap]
    rows: pd.DataFrame


def choose_results(study: Study) -> Results:
    """The runs of the study on its dataset, or its rehearsals."""
    by_kind = {name: find_runs(study, name == "rehearsals") for name in ("runs", "rehearsals")}
    sizes = {name: sum(map(len, runs.done.values())) for name, runs in by_kind.items()}
    picked = choose_one(
        "Ours",
        {name: f"{name.capitalize()} ({n})" for name, n in sizes.items() if n or name == "runs"},
        "ours",
        default="rehearsals" if sizes["rehearsals"] and not sizes["runs"] else "runs",
        radio=True,
    )
    runs, rehearsal = by_kind[picked], picked == "rehearsals"
    if rehearsal:
        st.warning(
            "Rehearsals: fewer and shorter clips, fewer epochs or other music. They show that the "
            "recipe runs to its end, and nothing about the study's numbers.",
            icon=":material/theater_comedy:",
        )
    elif not runs.done and not runs.active:
        empty(
            "None of its rows has been run here.",
            "The printed numbers stand below. *Run it* says what is needed, and queues the rows.",
        )
    else:
        _show_progress(study, runs)
    return Results(study, runs, rehearsal, *_read(study.name, rehearsal, runs.done))


def _show_progress(study: Study, runs: RunsOfStudy) -> None:
    """How many rows have a result, and the link to run the missing ones."""
    pairs = [(row.name, protocol) for row in study.rows for protocol in papers.PROTOCOLS]
    n_done = sum(bool(runs.of_row(*pair)) for pair in pairs)
    if n_done == len(pairs):
        return
    sentence = f"{n_done} of {len(pairs)} rows and protocols have a result."
    if n_active := sum(runs.active.values()):
        sentence += f" {words.plural(n_active, 'run')} in progress or waiting."
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(sentence, width="content")
        st.button(
            "Run what is missing",
            icon=":material/play_arrow:",
            type="tertiary",
            key="to_run",
            on_click=choose,
            args=("view", "run"),
        )


@cached_by_files(in_runs("predictions.parquet"), spinner="Reading the runs …", max_entries=16)
def _read(
    name: str, rehearsal: bool, done: Mapping[tuple[str, str], Mapping[int, Run]]
) -> tuple[list[Cell], list[ProtocolGap], pd.DataFrame]:
    study, runs = papers.study(name), RunsOfStudy(done, {})
    cells = findings.cells(study, runs, rehearsal)
    return cells, findings.gaps(study, runs, cells), findings.rows_table(study, runs)


def show(results: Results) -> None:
    """Everything: tables, sentences, the gap, systems, time."""
    tables = results.study.tables
    for table in tables:
        if any(table.measures):
            _show_table(table, results)
    _show_sentences(results)
    st.caption(
        "Ours: mean over seeds with its 95 % interval, which counts artists and seeds. "
        "*Reproduced*: the difference is within what chance explains, the study's own sampling "
        "error included. An honest accuracy is always one of test clips. *Another measure*: ours "
        "is of other clips than the printed one (test instead of validation), or under a split of "
        "another kind, so the two are not judged."
    )
    _show_gap(results)
    _show_times(results)
    _show_systems(results)
    for table in tables:
        if not any(table.measures):
            with st.expander(f"{table.place}: {_caption(table)}"):
                st.caption(plain(table.remark))
                _show_as_printed(table)


def _show_table(table: PrintedTable, results: Results) -> None:
    section(f"{table.place}: {_caption(table)}")
    if table.remark:
        st.caption(plain(table.remark))
    _show_as_printed(table)
    rows = []
    for line in table.lines:
        parts = line.words.split("\t")
        if line.remark:
            st.caption(plain(f"{parts[0]}: {line.remark}"))
        cells = _cells(results, table.place, line.words)
        measured = [k for k, measure in enumerate(table.measures) if measure]
        for row, printed in _rows(cells, results.study):
            # A line may print the same measure in several columns, in their order.
            k = next(
                k
                for k in measured
                if table.measures[k] == printed.measure and parts[k] == printed.printed
            )
            measured = [later for later in measured if later > k]
            if not printed.missing or printed.printed.strip():
                rows.append(row | {"Column": table.columns[k]})
    if rows:
        st.caption("Ours beside it")
        _show_rows(rows)


def _cells(results: Results, table: str, line: str) -> list[Cell]:
    """The cells of a line of a table, or of a sentence of a section."""
    return [
        cell for cell in results.cells if (cell.printed.place, cell.printed.words) == (table, line)
    ]


def _rows(cells: Sequence[Cell], study: Study) -> list[tuple[dict[str, str], Printed]]:
    """A row for each printed number, with ours under both protocols; and that number."""
    published = [cell for cell in cells if cell.protocol == "published"]
    honest = [cell for cell in cells if cell.protocol == "honest"]
    rows = []
    for cell, honest_cell in zip(published, honest, strict=True):
        row = {
            "System": study.title_of(cell.printed.system),
            "Column": "",
            "Printed": _without_markup(cell.printed.shown),
            "As published": _ours(cell),
            "Honest": _ours(honest_cell),
        }
        rows.append((row, cell.printed))
    return rows


def _ours(cell: Cell) -> str:
    """Ours with its interval and the verdict."""
    return f"{in_words(cell.ours, cell.printed.measure)}  {_SIGNS[cell.verdict]}".strip()


def _show_rows(rows: Sequence[dict[str, str]]) -> None:
    """Printed numbers beside ours."""
    table = pd.DataFrame(rows)
    if table["Column"].nunique() < 2:
        table = table.drop(columns="Column")
    wrapped_table(table.rename(columns=_TITLES), from_catalogue=False)


def _show_as_printed(table: PrintedTable) -> None:
    rows = [[_without_markup(part) for part in line.words.split("\t")] for line in table.lines]
    columns = [name or " " for name in table.columns]
    st.caption(f"As printed ({in_section(table.section)})")
    wrapped_table(pd.DataFrame(rows, columns=columns), from_catalogue=False)


def _caption(table: PrintedTable) -> str:
    """The caption without the name of the table."""
    text = table.caption.removeprefix(table.place).lstrip(":. ").rstrip(".").replace("*", "")
    return capital(text)


def _without_markup(cell: str) -> str:
    for mark in ("<b>", "</b>", "$"):
        cell = cell.replace(mark, "")
    return cell.replace("\\approx", "≈").strip()


def _show_sentences(results: Results) -> None:
    rows, without_system = [], []
    for sentence in results.study.sentences:
        section_name = in_section(sentence.section)
        cells = _cells(results, f"section {sentence.section}", sentence.words)
        cells = [cell for cell in cells if cell.printed == sentence.number]
        if not cells:
            without_system.append(f"- “{plain(sentence.words)}” :gray[({section_name})]")
        for row, printed in _rows(cells, results.study):
            if not printed.missing or printed.printed.strip():
                quotation = {"Quotation": f"{sentence.words} ({section_name})"}
                rows.append(quotation | row | {"Column": printed.quantity})
    section("Claims in the text")
    if rows:
        _show_rows(rows)
    if without_system:
        with st.expander(f"Claims without a system to compare ({len(without_system)})"):
            st.markdown("\n".join(without_system))


def _show_gap(results: Results) -> None:
    section(
        "As published against honest",
        "The same systems twice: under the study's protocol, measured as the study measured, and "
        "with artists kept apart and every choice made by validation clips.",
    )
    if not results.gaps:
        empty(
            "No system has been run under both protocols yet.",
            "The gap takes each system once as published and once honestly.",
        )
        return
    chart(plots.gaps(results.gaps, "Printed, as published, and honest"), "gap")
    differences = [gap.difference.value for gap in results.gaps]
    if len(differences) > 1:
        mean = sum(differences) / len(differences)
        st.caption(
            f"On average over {len(differences)} systems, our accuracy as published is "
            f"{words.beside(mean, 'the honest one')}."
        )
    st.caption(
        "The two train and test on different clips, and the honest split may train on fewer: the "
        "gap belongs to the whole protocol. Leaks measures what shared artists alone add."
    )


def _show_times(results: Results) -> None:
    """The training time of each row, beside the study's own."""
    study, ran = results.study, results.rows[results.rows["runs"] > 0]
    printed = {
        number.system: number.shown
        for number in study.numbers
        if number.measure == "minutes" and number.system
    }
    if ran.empty and not printed:
        return
    section("Time")
    their_hardware = (
        f"The study trained on {study.hardware}"
        if study.hardware
        else "The study does not name its hardware"
    )
    devices = findings.devices(results.runs)
    our_hardware = f"ours on {devices}" if devices else "none of ours has run"
    st.caption(
        plain(f"{their_hardware}; {our_hardware}. Minutes a run, with the start of its process.")
    )
    minutes = ran.set_index(["system", "protocol"])["minutes"]

    def ours_of(name: str, protocol: str) -> str:
        value = float(minutes.get((name, protocol), float("nan")))
        return "" if isnan(value) else words.decimals(value)

    choices = {choice.name for choice in study.choices}
    rows = [
        {"System": study.title_of(name), "The study": printed.get(name, "")}
        | {title.capitalize(): ours_of(name, key) for key, title in papers.PROTOCOLS.items()}
        for name in dict.fromkeys([*printed, *ran["system"]])
        if name not in choices
    ]
    wrapped_table(pd.DataFrame(rows), from_catalogue=False)


def _show_systems(results: Results) -> None:
    """A row for each system and protocol, with its warnings."""
    ran = results.rows[results.rows["runs"] > 0]
    if ran.empty:
        return
    section("Every system that was run", "Accuracy on the test clips; warnings stand last.")
    marks = [
        "; ".join(part for part in (chosen and f"chose {chosen}", badge) if part)
        for badge, chosen in zip(ran["badge"], ran["chosen"], strict=True)
    ]
    # Few columns, since a phone shows all of them.
    rows = [
        {
            "System": row["title"],
            "Protocol": papers.PROTOCOLS[row["protocol"]],
            "Seeds": row["runs"],
            "Test accuracy": f"{words.percent(row['accuracy'])} "
            f"({words.decimals(100 * row['low'])} to {words.decimals(100 * row['high'])})",
            "Validation": f"{words.percent(row['valid_accuracy'])} in epoch "
            f"{written(row['best_epoch'], 'count')}".removeprefix(f"{words.DASH} in "),
            "Marks": mark,
        }
        for row, mark in zip(ran.to_dict("records"), marks, strict=True)
    ]
    table = pd.DataFrame(rows)
    if (table["Seeds"] == 1).all():
        table = table.drop(columns="Seeds")
    wrapped_table(table, from_catalogue=False)
    n_leaky = int(ran["badge"].str.contains("Leak").sum())
    if n_leaky:
        st.badge(
            f"{n_leaky} of {len(ran)} saw something of their test clips in training; see the marks",
            icon=":material/warning:",
            color="red",
        )
    n_unknown = int(ran["badge"].str.contains("Artists unknown").sum())
    if n_unknown:
        st.badge(
            f"{n_unknown} of {len(ran)} have clips without an artist; see the marks",
            icon=":material/help:",
            color="orange",
        )
