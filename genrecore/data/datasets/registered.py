"""The registry of datasets, how to load one, and what several loaders use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from genrecore.audio import decode
from genrecore.config.registry import Registry
from genrecore.data import clips, genres
from genrecore.data.download import Archive
from genrecore.data.parallel import in_order
from genrecore.errors import AudioError, GenrecoreError, UsageError
from genrecore.store import allowed
from genrecore.store.allowed import expanded
from genrecore.store.progress import Phase, Report, silent
from genrecore.words import decimals


@dataclass(frozen=True)
class DatasetFacts:
    """Facts about a dataset. Functions take its parsed options.

    Attributes:
        needs_folder: Whether its files must lie in a folder already.
        takes_zip: Whether a zip of it may be uploaded.
        medium: What it gives: `audio`, `image` or `table`; or a function that says.
        n_genres: How many genres it has, or a function that says; 0 where only its files can tell.
        n_clips: How many clips the whole dataset has; 0 where it has no fixed number.
        made_up: Whether it is synthetic, not real music.
        is_made: Whether the files are there, of a dataset whose loader makes them; None where
            loading only reads.
        expected: The clip table that such a loader will make; its paths need not exist yet.
        archives: What can be downloaded of it; empty where nothing can.
        download_gib: How much that is.
        mirror: Address of a copy, where genrecore may not fetch it.
        not_fetched: Why it may not, as half a sentence.
        known_copies: Published exact copies: a series of clip_id (the original) by clip_id.
    """

    needs_folder: bool = False
    takes_zip: bool = False
    medium: str | Callable[[Any], str] = "audio"
    n_genres: int | Callable[[Any], int] = 0
    n_clips: int = 0
    made_up: bool = False
    is_made: Callable[[Any], bool] | None = None
    expected: Callable[[Any], pd.DataFrame] | None = None
    archives: tuple[Archive, ...] = ()
    download_gib: float = 0.0
    mirror: str = ""
    not_fetched: str = ""
    known_copies: Callable[[], pd.Series] | None = None


DATASETS = Registry("dataset", DatasetFacts)
"""Datasets. The thing is `loader(options, report) -> clip table`."""


def load(name: str, options: Mapping[str, Any], report: Report = silent) -> pd.DataFrame:
    """Clip table of a dataset, one row a clip, columns as in `genrecore.data.clips`, no split yet.

    Args:
        name: A name in `DATASETS`.
        options: Values for the dataset's options; what is absent takes its default.
        report: Called with the progress of what takes long.

    Raises:
        UsageError: No such dataset, an unknown option or a value out of range.
        GenrecoreError: The files are not there, or there are no clips or one genre only. Genres
            with too few clips, and too many genres, are refused later: they may be left out or
            merged.
    """
    dataset = DATASETS.choose(name, options)
    if options.get("folder"):
        allowed.refuse_outside(str(options["folder"]))
    table = genres.with_composed_names(dataset.thing(dataset.options, report))
    allowed.refuse_outside(*table["path"].dropna().astype(str))  # links and lists lead elsewhere
    clips.check_table(table, name)
    return table


def check_folder(name: str, options: Mapping[str, Any]) -> None:
    """Refuses a dataset whose files need a folder that is not given or not there.

    Raises:
        UsageError: What is missing, in a sentence.
    """
    if not DATASETS[name].facts.needs_folder:
        return
    folder = str(options.get("folder") or "")
    if not folder:
        raise UsageError(
            f"{DATASETS[name].title} needs the folder that holds its files; give it under Data."
        )
    allowed.refuse_outside(folder)
    if not expanded(folder).exists():
        raise UsageError(
            f"There is nothing at {folder} on the machine that runs this dashboard; "
            "give the path as that machine knows it."
        )


def how_to_get(name: str) -> str:
    """How to get a dataset whose folder is not known, in a sentence."""
    entry = DATASETS[name]
    if entry.facts.archives:
        return (
            f"{entry.title} is not known to be here; 'genrecore datasets download {name} --folder "
            f"DIR' fetches it ({decimals(entry.facts.download_gib)} GiB), or name its folder: "
            "--folder DIR."
        )
    where = f"; it is mirrored at {entry.facts.mirror}" if entry.facts.mirror else ""
    return f"{entry.title} is not known to be here; name its folder: --folder DIR{where}."


def given_folder(name: str, folder: str, expected: str) -> Path:
    """The absolute path of the folder in the option `folder` of the dataset `name`.

    `expected` says what the folder should be, as half a sentence.

    Raises:
        UsageError: None is given.
        GenrecoreError: There is no such folder.
    """
    if not folder.strip():
        needed = f"The dataset {name} needs its option 'folder' (--folder DIR)"
        raise UsageError(f"{needed}: {expected}.")
    path = expanded(folder).absolute()
    if not path.is_dir():
        kind = "a file" if path.exists() else "nothing"
        raise GenrecoreError(f"The dataset {name} found {kind} at {path}; it needs {expected}.")
    return path


def durations_s(paths: Sequence[Path | str], report: Report) -> list[float]:
    """Seconds of each audio file by its header, NaN where it cannot be read; nothing is decoded."""

    def duration_s(path: Path | str) -> float:
        try:
            return decode.inspect(path).duration_s
        except AudioError:
            return float("nan")

    return list(in_order(duration_s, paths, report, Phase.READING_HEADERS))
