"""The tables of a comparison: scores, pairs, genres, confusions, settings, protocol, versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig
from genrecore.evaluation import costs, differences, systems
from genrecore.evaluation.comparison import Comparison
from genrecore.reporting.columns import (
    AREAS,
    COSTS,
    DEPENDENCE,
    GENRES,
    PAIRS,
    PROTOCOL,
    Column,
    format_of,
    score_columns,
)
from genrecore.reporting.html.table import ReportTable
from genrecore.store.files import output_folder, write_text
from genrecore.store.run import Run

FORMATS = {"csv": "csv", "markdown": "md", "latex": "tex"}
"""Formats of tables, with the suffixes of their files."""


def tables(compared: Comparison) -> list[ReportTable]:
    """All tables of a comparison, in the order of the report."""
    collected = [
        _scores(compared),
        ReportTable("pairs", "Every pair of runs", _pairs(compared), PAIRS),
        ReportTable("genres", "Recall of each genre", compared.per_genre, GENRES),
    ]
    if len(compared.dependence):
        title = "How much each genre depends on the model"
        collected.append(ReportTable("dependence", title, compared.dependence, DEPENDENCE))
    collected += [
        ReportTable("areas", "Error over all shares answered", compared.areas, AREAS),
        *(_confusion(key, compared.titles[key], m) for key, m in compared.confusions.items()),
        _costs(compared),
        ReportTable("protocol", "Data, splits and audit", _protocol(compared), PROTOCOL),
    ]
    configs = {compared.titles[key]: config for key, config in _configs(compared).items()}
    differing = differences.settings(configs)
    if len(differing):
        differing = differing.rename(columns={"setting": "Setting"})
        differing["Setting"] = differing["Setting"].str.replace(".options.", ".", regex=False)
        collected.append(plain("settings", "Settings that differ", differing))
    versions = _versions(compared)
    if len(versions):
        collected.append(plain("environment", "What the runs were trained with", versions))
    if len(compared.curves):
        collected.append(plain("curves", "Every epoch of every run", compared.curves))
    return collected


def table_files(
    compared: Comparison, formats: Sequence[str] = tuple(FORMATS)
) -> Iterator[tuple[str, str]]:
    """Names and texts of the tables' files: `<name>.csv`, `.md` and `.tex`; the curves, long, as
    CSV alone.

    Args:
        compared: The comparison.
        formats: From `FORMATS`.
    """
    for table in tables(compared):
        for name in formats:
            if table.name != "curves" or name == "csv":
                yield f"{table.name}.{FORMATS[name]}", str(getattr(table, name))


def write_tables(
    compared: Comparison, folder: Path, formats: Sequence[str] = tuple(FORMATS)
) -> list[Path]:
    """Writes `table_files` and returns their paths.

    Args:
        compared: The comparison.
        folder: Folder of the files; created if missing.
        formats: From `FORMATS`.

    Raises:
        GenrecoreError: The folder cannot be written.
    """
    written = []
    with output_folder(folder, "tables") as target:
        for name, text in table_files(compared, formats):
            write_text(target / name, text)
            written.append(target / name)
    return written


def plain(name: str, title: str, frame: pd.DataFrame) -> ReportTable:
    """A table whose columns are titled already."""
    columns = {name: Column(name, format_of(frame[name])) for name in map(str, frame.columns)}
    return ReportTable(name, title, frame, columns)


def members(compared: Comparison) -> dict[str, list[Run]]:
    """The runs of each key of a comparison: one of a run, several of a system."""
    by_id = {run.run_id: [run] for run in compared.runs}
    if set(compared.titles) <= set(by_id):
        return {key: by_id[key] for key in compared.titles}
    runs_of: dict[str, list[Run]] = {key: [] for key in compared.titles}
    for run in compared.runs:
        runs_of[systems.signature(run)].append(run)
    return runs_of


def public(config: RunConfig) -> RunConfig:
    """The configuration without the folders of this machine: only the last part of a path stays."""
    return configuration.read_config(_without_folders(config.model_dump(mode="json")))


def _without_folders(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    if isinstance(value, str) and value.startswith(("/", "~/")):
        return f"…/{Path(value).name}"
    return value


def _scores(compared: Comparison) -> ReportTable:
    frame, left_out = compared.table, set()
    if (frame["n_runs"] <= 1).all():
        left_out |= {"n_runs", "seed_low"}
    if not frame["badge"].any():
        left_out.add("badge")
    columns = {name: column for name, column in score_columns().items() if name not in left_out}
    return ReportTable("scores", "Scores on the test clips, with 95 % intervals", frame, columns)


def _pairs(compared: Comparison) -> pd.DataFrame:
    """The pairs, without counts where a pair was not compared."""
    counts = ["both", "only_a", "only_b", "neither"]
    table = compared.pairs
    return table.assign(**table[counts].where(table["difference"].notna()))


def _confusion(key: str, title: str, matrix: pd.DataFrame) -> ReportTable:
    frame = matrix.rename_axis(index="labelled", columns=None).reset_index()
    frame = frame.rename(columns={"labelled": "labelled ↓ predicted →"})
    return plain(f"confusion-{key}", f"Clips by labelled and predicted genre: {title}", frame)


def _costs(compared: Comparison) -> ReportTable:
    sides = [(key, compared.titles[key], runs) for key, runs in members(compared).items()]
    epochs = compared.table[["run_id", "best_epoch", "n_epochs"]]
    frame = costs.cost_table(sides).merge(epochs, on="run_id")
    columns = {
        name: column
        for name, column in COSTS.items()
        if frame[name].replace("", None).notna().any()
    }
    return ReportTable("costs", "Costs of training and of a prediction", frame, columns)


def _configs(compared: Comparison) -> dict[str, RunConfig]:
    """The configuration of each key; of a system without the seeds and fold of its runs."""
    configs = {}
    for key, runs in members(compared).items():
        config = public(runs[0].config)
        if len(runs) > 1:
            config = config.model_copy(update={"seed": 0, "split_seed": 0, "fold": 0})
        configs[key] = config
    return configs


def _protocol(compared: Comparison) -> pd.DataFrame:
    titles = {
        run.run_id: compared.titles[key] for key, runs in members(compared).items() for run in runs
    }
    rows = []
    for run in compared.runs:
        config, clips = run.config, run.clips
        counts = {} if clips is None else clips["split"].value_counts().to_dict()
        options = ", ".join(f"{name} {value}" for name, value in config.split.options.items())
        rows.append(
            {
                "title": titles[run.run_id],
                "run_id": run.run_id,
                "dataset": config.dataset.name,
                "split": f"{config.split.name} ({options})" if options else config.split.name,
                "fold": config.fold,
                "seed": config.seed,
                "split_seed": config.split_seed,
                **{f"n_{part}": counts.get(part) for part in ("train", "valid", "test")},
                "choose_epoch": _epoch_kept(run),
                "audit": audit_sentence(run),
            }
        )
    return pd.DataFrame(rows)


def _epoch_kept(run: Run) -> str:
    best = run.status.get("best_epoch")
    if best is None:
        return "fitted in one call"
    how = "best on validation" if run.config.training.choose_epoch == "best" else "the last"
    return f"{best}, {how}"


def audit_sentence(run: Run) -> str:
    """The result of the audit of a run's split, in a sentence."""
    return run.separation.sentence if run.separation else "Not audited."


def _versions(compared: Comparison) -> pd.DataFrame:
    """A row for each fact (device, precision, versions), a column for all runs with the same facts;
    empty where no run recorded any."""
    titles_by_facts: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for key, runs in members(compared).items():
        for run in runs:
            titles_by_facts.setdefault(_facts(run), []).append(compared.titles[key])
    titles_by_facts.pop((), None)
    columns: dict[str, dict[str, str]] = {}
    for facts, titles in titles_by_facts.items():
        names = list(dict.fromkeys(titles))
        title = "All runs" if len(titles_by_facts) == 1 else ", ".join(names)
        columns[title if title not in columns else f"{title} ({len(columns) + 1})"] = dict(facts)
    frame = pd.DataFrame(columns, dtype=object)
    return frame.rename_axis(index="What").reset_index() if len(frame) else frame


def _facts(run: Run) -> tuple[tuple[str, str], ...]:
    environment = run.environment
    facts = {
        "Device": environment.get("device_name"),
        "Precision": environment.get("precision"),
        "Threads": environment.get("n_threads"),
        "System": environment.get("platform"),
        **environment.get("versions", {}),
    }
    return tuple((name, str(value)) for name, value in facts.items() if value)
