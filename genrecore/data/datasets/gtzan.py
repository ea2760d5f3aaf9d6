"""The dataset `gtzan` in its four published forms; artists from the packaged index."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import pandas as pd
from pydantic import Field

from genrecore.config.registry import Options
from genrecore.data.clips import clip_table
from genrecore.data.datasets.gtzan_forms import (
    TABLES,
    Form,
    image_rows,
    medium_of_form,
    table_rows,
)
from genrecore.data.datasets.reading import ImageSize
from genrecore.data.datasets.registered import DATASETS, durations_s, given_folder
from genrecore.errors import GenrecoreError
from genrecore.store.progress import Report
from genrecore.words import plural

LAYOUTS = (("genres_original", ".wav"), ("genres", ".au"))
"""Folder and file ending: the widely mirrored copy, and the original archive."""

MIRROR = "https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification"

# The identifier ends the name, but for the extension: my_blues.00000.wav, blues00000.png.
_NAME = r"(?:^|[^a-z])(?P<genre>[a-z]+)\.?(?P<number>\d{5})(?:\.[^/\d][^/]*)?$"


class GtzanOptions(Options):
    """The folder of GTZAN and one of its forms."""

    folder: str = Field(
        "",
        title="Folder",
        description="Folder that holds genres_original (wav) or genres (au), or one of the two; "
        "for the other forms, images_original or the tables",
        max_length=4_096,
    )
    form: Form = Field(
        "audio",
        title="Form",
        description="The clips themselves, the published images of their spectrograms, or the "
        "published tables of 57 descriptors with one row a clip or ten",
    )
    image_size: ImageSize = ""


@DATASETS.register(
    "gtzan",
    title="GTZAN",
    source="Tzanetakis & Cook, Musical genre classification of audio signals, IEEE Transactions "
    "on Speech and Audio Processing 10(5), 2002; artists after Sturm 2012, 2013",
    options=GtzanOptions,
    needs_folder=True,
    medium=medium_of_form,
    n_genres=10,
    n_clips=1_000,
    mirror=MIRROR,
    not_fetched="GTZAN has no licence that would let genrecore fetch it for you",
    known_copies=lambda: published_facts()["exact_copy_of"].dropna(),
)
def gtzan(options: GtzanOptions, report: Report) -> pd.DataFrame:
    """Clip table of what the folder holds of GTZAN in one form: all 1 000 clips or any part.

    `clip_id` is `blues.00000` in every form. Artists come from Sturm's index (The GTZAN dataset,
    arXiv:1306.1461, 2013) and are missing for 81 clips. Of `audio`, durations (seconds) come from
    the headers and are NaN where a header cannot be read. `jazz.00054` cannot be decoded in the
    widely mirrored copy, but can in others, so it stays in the table; building the corpus skips any
    unreadable file with a sentence. Of a table (`medium` is `table`), every clip it has rows for is
    one clip here, whether or not its audio is there; of `images` (`image`), every image.

    Raises:
        UsageError: No folder given.
        GenrecoreError: No such folder, nothing of this form in it, a table with faults.
    """
    if options.form in TABLES:
        rows = table_rows(options.folder, TABLES[options.form])
    elif options.form == "images":
        rows = image_rows(options.folder)
    else:
        rows = _audio_rows(options.folder, report)
    artists = published_facts()["artist"]
    return clip_table(row | {"artist": artists.get(str(row["clip_id"]))} for row in rows)


def published_facts() -> pd.DataFrame:
    """Facts about GTZAN's 1 000 clips: index `clip_id`, text columns `artist`, `filtered_split`
    and `exact_copy_of`, missing where there is nothing to say; sources beside the file."""
    table = importlib.resources.files("genrecore.data") / "tables" / "gtzan_annotations.csv"
    with importlib.resources.as_file(table) as path:
        return pd.read_csv(path, dtype="string").set_index("clip_id")


def known_clip_ids(names: pd.Series) -> pd.Series:
    """The identifiers of GTZAN's clips in the names of files: `blues.00000` of
    `genres/blues/blues.00000.wav` or `my_blues00000.npy`; missing where a name holds none."""
    parts = names.astype("string").str.extract(_NAME)
    clip_ids = parts["genre"] + "." + parts["number"]
    return clip_ids.where(clip_ids.isin(published_facts().index)).rename("clip_id")


def with_known_artists(clips: pd.DataFrame) -> pd.DataFrame:
    """A clip table with the artists of GTZAN's index where it gives none, if all of its clips are
    GTZAN's by name; `attrs["notes"]` says so."""
    clip_ids = known_clip_ids(clips["clip_id"])
    clips.attrs["notes"] = []
    if clip_ids.isna().any():
        return clips
    artists = clips["artist"].fillna(clip_ids.map(published_facts()["artist"]))
    n_filled = int(artists.notna().sum() - clips["artist"].notna().sum())
    clips["artist"] = artists
    if n_filled:
        clips.attrs["notes"] = [
            f"All clips are GTZAN's by name: {plural(n_filled, 'artist')} not given here "
            f"{'is' if n_filled == 1 else 'are'} taken from its index (Sturm 2013)."
        ]
    return clips


def _audio_rows(folder_option: str, report: Report) -> list[dict[str, object]]:
    folder, ending = _layout(folder_option)
    files = sorted(
        path
        for path in folder.glob(f"*/*{ending}")
        # Named <genre>.NNNNN: what else lies there is not a clip of GTZAN.
        if path.name[: -len(ending)].startswith(f"{path.parent.name}.")
    )
    if not files:
        raise GenrecoreError(
            f"There are no clips in {folder}: expected files like blues/blues.00000{ending}."
        )
    return [
        {
            "clip_id": path.name[: -len(ending)],
            "path": str(path),
            "genre": path.parent.name,
            "duration_s": duration_s,
        }
        for path, duration_s in zip(files, durations_s(files, report), strict=True)
    ]


def _layout(folder_option: str) -> tuple[Path, str]:
    """The folder with one folder a genre in it, and the ending of its files."""
    expected = (
        "a folder that holds genres_original/<genre>/<genre>.NNNNN.wav or "
        "genres/<genre>/<genre>.NNNNN.au"
    )
    folder = given_folder("gtzan", folder_option, expected)
    for top in (folder, folder / "Data"):  # the mirrored copy unpacks into a folder Data
        for name, ending in LAYOUTS:
            if (top / name).is_dir():
                return top / name, ending
    for name, ending in LAYOUTS:
        if folder.name == name:
            return folder, ending
    if not any(folder.iterdir()):
        raise GenrecoreError(f"The folder {folder} is empty; the dataset gtzan needs {expected}.")
    raise GenrecoreError(
        f"The folder {folder} holds neither genres_original nor genres; "
        f"the dataset gtzan needs {expected}."
    )
