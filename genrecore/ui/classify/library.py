"""A whole library on the page Classify: the task that classifies it, its table, and downloads."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st
from pydantic.fields import FieldInfo

from genrecore.errors import UsageError
from genrecore.inference import library_results
from genrecore.inference.playlists import playlists
from genrecore.jobs import actions as jobs
from genrecore.reporting.columns import Column, csv_text
from genrecore.store import allowed
from genrecore.store.files import cache_dir, changed, digest, in_a_sentence, read_bytes
from genrecore.store.run import Run
from genrecore.ui.classify.inputs import InputClip
from genrecore.ui.datasets.listening import pick
from genrecore.ui.parts import readers
from genrecore.ui.parts.cache import cached_by_files
from genrecore.ui.parts.choices import choose_one, chosen
from genrecore.ui.parts.fields import field
from genrecore.ui.parts.frame import command, empty, section, sentences, work_button
from genrecore.ui.parts.tasks import is_working, watch
from genrecore.words import plural, thousands

_ALL, _FAILED, _GENRE = "all", "failed", "genre:"
_FOLDER = FieldInfo(
    annotation=str,
    title="Folder",
    description="A full path on the machine that runs this dashboard; all music in it is "
    "classified, folders inside it as well.",
)


def choose_folder() -> str:
    """The folder of a library, as it was written."""
    return str(field("library", _FOLDER, ""))


def show_library(runs: Sequence[Run], precision: float | None = None) -> list[InputClip]:
    """The task and what it has found so far; returns the recording that is picked in the table,
    where one is.

    Raises:
        UsageError: No such folder, or none that this visitor may name.
    """
    written = chosen("library")
    if not written:
        empty(
            "Classify a whole library",
            "Give its folder above. The work goes on when you close this page, and after an "
            "interruption where it was.",
        )
        return []
    folder = _folder(written)
    out = results_file(folder, runs, precision)
    arguments = ["classify", str(folder), "--out", str(out)]
    arguments += [word for run in runs for word in ("--run", run.run_id)]
    arguments += ["--precision", f"{precision:g}"] if precision else []
    begun = out.exists()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if work_button(
            "Continue" if begun else "Start",
            type="primary",
            icon=":material/play_arrow:",
            key="start_library",
            disabled=is_working(arguments),
            help="Only what is new, or has changed, is classified." if begun else None,
        ):
            with sentences(), in_a_sentence("The results cannot be kept"):
                out.parent.mkdir(parents=True, exist_ok=True)
                jobs.start_task(arguments, f"Classifying {folder.name}")
                st.rerun()
    watch(arguments)
    command(["genrecore", *arguments[:2], "--out", "genres.csv", *arguments[4:]])
    return _show_results(folder, out, runs, is_working(arguments)) if begun else []


def _folder(written: str) -> Path:
    allowed.refuse_outside(written)
    folder = allowed.expanded(written)
    if not folder.is_absolute() or not folder.is_dir():
        raise UsageError(
            f"There is no folder {written}; expected a full path, such as {Path.home() / 'Music'}."
        )
    return folder


def results_file(folder: Path, runs: Sequence[Run], precision: float | None = None) -> Path:
    """The file that keeps what these runs say of a folder; trained on, a run begins another, and
    so does each wanted precision."""
    weights: list[object] = [(run.run_id, changed(run.weights)) for run in runs]
    weights += [precision] if precision else []
    return cache_dir() / "libraries" / f"{digest([os.path.realpath(folder), weights])}.jsonl"


@cached_by_files(lambda out: [out], spinner="Reading the results …", max_entries=4, shared=True)
def _table(out: Path) -> pd.DataFrame:
    return library_results.table(out)


def _show_results(
    folder: Path, out: Path, runs: Sequence[Run], is_growing: bool
) -> list[InputClip]:
    table = _table(out)
    if table.empty:
        return []
    failed = table["error"] != ""
    answers = table["answer"] if "answer" in table else table["genre"]
    counts = answers[~failed].value_counts()
    section("Library", "Pick a recording to hear it and to see what its prediction rests on.")
    shown = {_ALL: f"All ({thousands(len(table))})"}
    shown |= {f"{_GENRE}{name}": f"{name} ({thousands(n)})" for name, n in counts.items()}
    if failed.any():
        shown[_FAILED] = f"Cannot be used ({thousands(int(failed.sum()))})"
    which = choose_one("Show", shown, "only")
    rows = table
    if which == _FAILED:
        rows = table[failed]
    elif which != _ALL:
        rows = table[answers == which.removeprefix(_GENRE)]
    _downloads(folder, out, table, is_growing)
    errors = rows["error"].where(rows["error"] != "")  # an empty column is not shown
    rows = rows.assign(clip_id=rows["path"], path=_below(folder, rows["path"]), error=errors)
    special = {
        "path": Column("File"),
        "answer": Column("Answer"),
        "proba": Column("Probability", "share"),
        "duration_s": Column("Length", "seconds"),
        "error": Column("Why it cannot be used"),
        **{f"genre_{run_id}": Column(title) for run_id, title in readers.titles(runs).items()},
    }
    names = ["path", "genre", *(["answer"] if "answer" in table else []), "proba"]
    names += ["duration_s", "error"]
    if len(runs) > 1:
        names[-2:-2] = [f"genre_{run.run_id}" for run in runs]
    path = pick(rows, f"library_{which}", names, special)
    if path in set(table.loc[failed, "path"]):  # the table says why
        return []
    return [InputClip(f"{path}|{changed(Path(path))}", os.path.basename(path), Path(path))]


def _below(folder: Path, paths: pd.Series) -> list[str]:
    """The paths without the folder, where they lie in it."""
    top = f"{str(folder).rstrip(os.sep)}{os.sep}"
    return [str(path).removeprefix(top) for path in paths]


def _downloads(folder: Path, out: Path, table: pd.DataFrame, is_growing: bool) -> None:
    name = folder.name or "library"

    def parquet() -> bytes:
        stream = io.BytesIO()
        table.to_parquet(stream, index=False)
        return stream.getvalue()

    def lists() -> bytes:
        stream = io.BytesIO()
        contents, _ = playlists(library_results.read_results(out))
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, content in contents.items():
                archive.writestr(file, content)
        return stream.getvalue()

    files = {
        "CSV": (f"{name}.csv", lambda: csv_text(table).encode()),
        "JSON lines": (f"{name}.jsonl", lambda: read_bytes(out, _MOST_BYTES)),
        "Parquet": (f"{name}.parquet", parquet),
        "Playlists": (f"{name}-playlists.zip", lists),
    }
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        so_far = " so far" if is_growing else ""
        st.caption(f"{plural(len(table), 'file')}{so_far}", width="content")
        for label, (file, content) in files.items():
            st.download_button(
                label, content, file, key=f"library_{label}", icon=":material/download:",
                on_click="ignore", type="tertiary",
            )  # fmt: skip


_MOST_BYTES = 2**30  # of the results: those of a million recordings
