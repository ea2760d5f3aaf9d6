"""The datasets `fma_small`, `fma_medium`, `fma_large` and `fma_full` with their official split.

Source: Defferrard, Benzi, Vandergheynst & Bresson, FMA: a dataset for music analysis, ISMIR 2017.
"""

from __future__ import annotations

import importlib.resources
import os
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pyarrow import ArrowInvalid
from pyarrow import csv as arrow_csv
from pydantic import Field

from genrecore.config.registry import Options
from genrecore.data.clips import COLUMNS
from genrecore.data.datasets.registered import DATASETS, given_folder
from genrecore.data.download import Archive
from genrecore.errors import GenrecoreError, first_line
from genrecore.store.files import is_regular_file
from genrecore.store.progress import Phase, Report
from genrecore.words import out_of, thousands

Subset = Literal["small", "medium", "large", "full"]
SUBSETS: tuple[Subset, ...] = ("small", "medium", "large", "full")

_ADDRESS = "https://os.unil.cloud.switch.ch/fma/"
# SHA-1 as published in the README of https://github.com/mdeff/fma (pre-publication release of
# 2017-05-09). It gives sizes rounded (342 MiB, 7.2, 22, 93, 879 GiB); the exact ones are what the
# server announces, where several independent programs agree on them, else left to the SHA-1.
_MOST_BYTES = {"fma_medium": 23 * 2**30, "fma_full": 880 * 2**30}
ARCHIVES = {
    name: Archive(f"{name}.zip", f"{_ADDRESS}{name}.zip", size, sha1, _MOST_BYTES.get(name))
    for name, size, sha1 in (
        ("fma_metadata", 358_412_441, "f0df49ffe5f2a6008d7dc83c6915b31835dfe733"),
        ("fma_small", 7_679_594_875, "ade154f733639d52e35e32f5593efe5be76c6d70"),
        ("fma_medium", None, "c67b69ea232021025fca9231fc1c7c1a063ab50b"),
        ("fma_large", 100_306_112_191, "497109f4dd721066b5ce5e5f250ec604dc78939e"),
        ("fma_full", None, "0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab"),
    )
}

_REPORTED = "reported in issues 8, 41 and 44 of https://github.com/mdeff/fma"
UNUSABLE = {
    **{
        track: f"The excerpt of track {track} lasts less than 2 s ({_REPORTED})."
        for track in (98565, 98567, 98569)
    },
    **{
        track: f"The file of track {track} holds no audio ({_REPORTED})."
        for track in (99134, 108925, 133297)
    },
}
"""Tracks whose excerpt was cut by a wrong length; `fma_full` holds whole tracks."""

_N_CLIPS = {"small": 8_000, "medium": 25_000}  # of the others about half have a top genre
_USED_COLUMNS = {
    ("set", "split"): "split",
    ("set", "subset"): "subset",
    ("track", "genre_top"): "genre",
    ("artist", "id"): "artist",
    ("album", "id"): "album",
}
_SPLIT = {"training": "train", "validation": "valid", "test": "test"}


class FmaOptions(Options):
    """The folder of FMA."""

    folder: str = Field(
        "",
        title="Folder",
        description="Folder that holds fma_small (or the like) and fma_metadata, "
        "or the folder of audio itself",
        max_length=4_096,
    )


def tracks(subset: Subset, metadata: Path | None = None) -> pd.DataFrame:
    """The usable tracks of a subset, whether or not their audio is there.

    Index `track_id` (int64, ascending); text columns `genre`, `artist`, `album` (the numbers FMA
    gives them, missing where not known) and `split` (the official one: `train`, `valid`, `test`).
    `attrs["left_out"]` names the unusable tracks, `attrs["notes"]` holds sentences about others.

    Args:
        subset: Each contains the ones before it: small, medium, large, full.
        metadata: FMA's `tracks.csv`. Without it, `small` comes from the packaged table, which has
            no albums.

    Raises:
        GenrecoreError: The file cannot be read or lacks columns, or no track has a top genre; no
            metadata for a subset other than small.
    """
    if metadata is not None:
        table = _read_tracks(metadata)
        if subset in ("small", "medium"):  # large and full are all of it
            table = table[table["subset"].isin(SUBSETS[: SUBSETS.index(subset) + 1])]
        table = table.drop(columns="subset")
    elif subset == "small":
        table = _packaged()
    else:
        raise GenrecoreError(
            f"The dataset fma_{subset} needs fma_metadata/tracks.csv (from {_ADDRESS}"
            "fma_metadata.zip) beside its audio; only fma_small does without."
        )
    left_out, notes = [], []
    if subset != "full":
        left_out = [{"clip_id": str(track), "reason": UNUSABLE[track]} for track in UNUSABLE]
        table = table[~table.index.isin(list(UNUSABLE))]
    n_without = int(table["genre"].isna().sum())
    if len(table) and n_without == len(table):
        raise GenrecoreError(
            f"None of the {thousands(n_without)} tracks of fma_{subset} in {metadata} has a top "
            "genre (column track, genre_top); expected FMA's own tracks.csv, which names one of "
            "16 genres for about half of all tracks."
        )
    if n_without:
        notes.append(
            f"{out_of(n_without, len(table))} tracks have no top genre and are left out, as in "
            "Defferrard et al. 2017."
        )
    table = table[table["genre"].notna()].sort_index()
    table.attrs = {"left_out": left_out, "notes": notes}
    return table


def load_subset(subset: Subset, options: FmaOptions, report: Report) -> pd.DataFrame:
    """Clip table of a subset: the tracks whose mp3 is there, with the official split.

    `clip_id` is the track's number as text; durations are not known before decoding. `attrs` as in
    `tracks`, with a sentence about tracks without a file.

    Raises:
        UsageError: No folder given.
        GenrecoreError: No such folder, no audio of this subset in it, or faulty metadata.
    """
    name = f"fma_{subset}"
    expected = f"a folder that holds {name}/000/000002.mp3 and so on, and fma_metadata/tracks.csv"
    folder = given_folder(name, options.folder, expected)
    report(Phase.READING_METADATA, 0, 0)
    parents = (folder / "fma_metadata", folder, folder.parent / "fma_metadata")
    files = (parent / "tracks.csv" for parent in parents)
    table = tracks(subset, next((file for file in files if is_regular_file(str(file))), None))
    audio = _audio_folder(folder, subset)
    is_there = table.index.isin(_scan(audio, report) if audio else [])
    present = table[is_there]
    if audio is None or present.empty:
        raise GenrecoreError(
            f"The folder {folder} holds none of the {thousands(len(table))} tracks of {name}; the "
            f"dataset needs {expected}."
        )
    notes = list(table.attrs["notes"])
    absent = table.index[~is_there]
    if len(absent):
        notes.append(
            f"{thousands(len(absent))} of the {thousands(len(table))} tracks of {name} are not in "
            f"{audio} and are left out; the first is {_file_name(int(absent[0]))}."
        )
    clips = _clip_table(present, audio)
    clips.attrs = {"left_out": table.attrs["left_out"], "notes": notes}
    return clips


def _register(subset: Subset, title: str, published_gib: float) -> None:
    def loader(options: FmaOptions, report: Report) -> pd.DataFrame:
        return load_subset(subset, options, report)

    archives = [ARCHIVES[f"fma_{subset}"]]
    if subset != "small":
        archives.insert(0, ARCHIVES["fma_metadata"])
        published_gib += 342 / 1024
    DATASETS.register(
        f"fma_{subset}",
        title=title,
        source="Defferrard, Benzi, Vandergheynst & Bresson, FMA: a dataset for music analysis, "
        "ISMIR 2017; metadata CC BY 4.0, audio under the licence each artist chose",
        options=FmaOptions,
        needs_folder=True,
        n_genres=8 if subset == "small" else 16,
        n_clips=_N_CLIPS.get(subset, 0),
        archives=tuple(archives),
        download_gib=published_gib,
    )(loader)


_register("small", "FMA small (8 genres, 30 s)", 7.2)
_register("medium", "FMA medium (16 genres, 30 s)", 22.0)
_register("large", "FMA large (16 genres, 30 s)", 93.0)
_register("full", "FMA full (16 genres, whole tracks)", 879.0)


def _packaged() -> pd.DataFrame:
    packaged = importlib.resources.files("genrecore.data") / "tables" / "fma_small_tracks.csv"
    with importlib.resources.as_file(packaged) as path:
        table = pd.read_csv(path, dtype="string")
    return pd.DataFrame(
        {
            "split": table["split"].map(_SPLIT).astype("string"),
            "genre": table["genre_top"],
            "artist": table["artist_id"],
            "album": pd.Series(pd.NA, index=table.index, dtype="string"),
        }
    ).set_index(pd.Index(table["track_id"].astype("int64"), name="track_id"))


def _read_tracks(path: Path) -> pd.DataFrame:
    """All rows of `tracks.csv`: index `track_id`, text columns as in `_USED_COLUMNS`."""
    n_columns, indices = _header(path)
    names = [f"column {number}" for number in range(n_columns)]
    columns = [names[0], *(names[index] for index in indices)]
    try:
        # Only six of the 53 columns; pandas' own parser takes five times as long for them.
        arrow_table = arrow_csv.read_csv(
            path,
            # Biographies and comments hold line breaks; three rows were the header.
            read_options=arrow_csv.ReadOptions(column_names=names, skip_rows=3),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(columns, "string"),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
        table = arrow_table.to_pandas().astype("string")
        table.columns = pd.Index(["track_id", *_USED_COLUMNS.values()])
        numbers = pd.to_numeric(table.pop("track_id")).astype("int64")
    except (ArrowInvalid, OSError, ValueError, TypeError) as error:
        raise GenrecoreError(
            f"The table {path} cannot be read as FMA's tracks.csv: {first_line(error)[:200]}."
        ) from None
    table.index = pd.Index(numbers, name="track_id")
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise GenrecoreError(f"The table {path} lists the track {twice} twice.")
    for column, allowed in (("split", set(_SPLIT)), ("subset", set(SUBSETS))):
        unknown = table.loc[~table[column].isin(allowed), column]
        if len(unknown):
            value = unknown.iloc[0]
            raise GenrecoreError(
                f"The table {path} gives track {unknown.index[0]} the {column} "
                f"{'nothing' if pd.isna(value) else repr(value)}; expected {', '.join(allowed)}."
            )
    for column in ("artist", "album"):
        # -1 stands for unknown; where some are missing, numbers may have been written as 54.0.
        text = table[column].str.replace(r"\.0$", "", regex=True)
        table[column] = text.mask(text.str.startswith("-"))
    table["split"] = table["split"].map(_SPLIT).astype("string")
    return table


def _header(path: Path) -> tuple[int, list[int]]:
    """The number of columns, and the indices of the columns in `_USED_COLUMNS`."""
    try:
        head = pd.read_csv(path, header=None, nrows=3, dtype="string", keep_default_na=False)
    except FileNotFoundError:
        raise GenrecoreError(f"There is no table {path}.") from None
    except (OSError, ValueError) as error:
        raise GenrecoreError(
            f"The table {path} cannot be read as CSV: {first_line(error)}."
        ) from None
    pairs = list(zip(head.iloc[0], head.iloc[1], strict=True)) if len(head) == 3 else []
    missing = [f"({', '.join(key)})" for key in _USED_COLUMNS if key not in pairs]
    if missing:
        raise GenrecoreError(
            f"The table {path} lacks the column{'s' if missing[1:] else ''} {', '.join(missing)}; "
            "expected FMA's tracks.csv with its three header rows."
        )
    if head.iloc[2, 0] != "track_id":
        raise GenrecoreError(
            f"The table {path} has {head.iloc[2, 0]!r} at the beginning of its third row; "
            "expected 'track_id', as in FMA's tracks.csv with its three header rows."
        )
    return len(pairs), [pairs.index(key) for key in _USED_COLUMNS]


def _audio_folder(folder: Path, subset: Subset) -> Path | None:
    """The folder of the subset's mp3 files, or of a larger subset of the same excerpts."""
    last = len(SUBSETS) if subset == "full" else SUBSETS.index("full")
    names = [f"fma_{name}" for name in SUBSETS[SUBSETS.index(subset) : last]]
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    own = folder.name in names or (
        not folder.name.startswith("fma_") and any(folder.glob("[0-9][0-9][0-9]"))
    )
    return folder if own else None


def _scan(folder: Path, report: Report) -> np.ndarray:
    """Numbers (int64) of the tracks that have a file; 156 listings instead of 106,574 queries."""
    groups = sorted(
        entry.path
        for entry in os.scandir(folder)
        if len(entry.name) == 3 and entry.name.isdecimal() and entry.is_dir()
    )
    stems: list[str] = []
    for done, group in enumerate(groups):
        report(Phase.FINDING_AUDIO, done, len(groups))
        prefix = os.path.basename(group)
        stems += [
            stem
            for stem, ending in map(os.path.splitext, os.listdir(group))
            if ending == ".mp3" and len(stem) == 6 and stem.isdecimal() and stem[:3] == prefix
        ]
    return np.array(stems, dtype=np.str_).astype(np.int64)


def _file_name(track: int) -> str:
    return f"{track // 1000:03d}/{track:06d}.mp3"


def _clip_table(present: pd.DataFrame, audio: Path) -> pd.DataFrame:
    """As `clips.clip_table`, but by columns: a dictionary a row would take seconds."""
    numbers = present.index.to_list()
    table = present.assign(
        clip_id=[str(track) for track in numbers],
        path=[f"{audio}/{_file_name(track)}" for track in numbers],
        medium="audio",
        duration_s=np.nan,
    )
    text = {column: "string" for column in COLUMNS if column != "duration_s"}
    table = table[list(COLUMNS)].astype(text)
    return table.sort_values(["genre", "clip_id"], ignore_index=True)
