"""The dataset `demo`: synthesised music, made on first use and kept in the cache folder."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pandas as pd
import soundfile
from pydantic import Field

from genrecore.config.registry import Options
from genrecore.data.clips import clip_table
from genrecore.data.datasets import demo_forms, synthesis
from genrecore.data.datasets.demo_genres import GENRES
from genrecore.data.datasets.gtzan_forms import TABLES, Form, image_rows, medium_of_form, table_rows
from genrecore.data.datasets.instruments import SAMPLE_RATE_HZ
from genrecore.data.datasets.registered import DATASETS
from genrecore.data.parallel import in_order
from genrecore.errors import GenrecoreError, describe
from genrecore.store.files import cache_dir, digest, new_folder
from genrecore.store.locks import make_once
from genrecore.store.progress import Phase, Report

RECIPE = 1
"""Raised whenever the music changes, so that nobody trains on music of an older version."""


class DemoOptions(Options):
    """The amount, form and seed of the demo music."""

    n_genres: int = Field(
        len(GENRES),
        title="Genres",
        description=f"The first so many of {', '.join(rule.name for rule in GENRES)}",
        ge=2,
        le=len(GENRES),
    )
    n_clips: int = Field(
        40, title="Clips a genre", description="Clips in every genre", ge=3, le=1_000
    )
    clip_s: float = Field(
        10.0, title="Clip length (s)", description="Length of every clip in seconds", ge=1, le=60
    )
    n_artists: int = Field(
        8,
        title="Artists a genre",
        description="The artists of a genre get its clips in turn; with fewer clips than artists, "
        "only so many artists have any",
        ge=5,
        le=50,
    )
    seed: int = Field(
        0, title="Seed", description="The same seed gives the same music", ge=0, le=2**31 - 1
    )
    form: Form = Field(
        "audio",
        title="Form",
        description="The music itself, or what GTZAN is also published as: images of its "
        "spectrograms, or tables of 57 descriptors with one row a clip or ten",
    )


@DATASETS.register(
    "demo",
    title="Demo (synthesised music)",
    source="made by genrecore itself; free to use for anything",
    options=DemoOptions,
    medium=medium_of_form,
    n_genres=lambda options: options.n_genres,
    made_up=True,
    is_made=lambda options: _is_made(options),
    expected=lambda options: _expected(options),
)
def demo(options: DemoOptions, report: Report) -> pd.DataFrame:
    """Clip table of synthesised music, mono 16-bit wav at 22 050 Hz, made if it is not there yet.

    Clip i of a genre is by artist i % n_artists, and artists belong to one genre. An artist's
    sound colours all their clips, so a model tested on artists it was trained on looks better
    than it is. The same options give the same samples, and shorter lists begin like longer ones.

    In the other forms, images and tables are made from the same clips, laid out as GTZAN's are.

    Raises:
        GenrecoreError: The cache folder cannot be written.
    """
    folder = demo_folder(options)
    if not (folder / "clips.csv").is_file():
        _make(options, folder, report)
    listed = pd.read_csv(folder / "clips.csv", dtype="string")
    audio = _clips(options, listed)
    form = options.form
    if form == "audio":
        return audio
    form_folder = make_once(
        _form_folder(options),
        lambda partial: demo_forms.write(audio, form, partial, report),
        report,
    )
    path = str(form_folder)
    rows = image_rows(path) if form == "images" else table_rows(path, TABLES[form])
    named = listed.set_index("clip_id")
    return clip_table(
        row | {name: named.at[row["clip_id"], name] for name in ("artist", "album")} for row in rows
    )


def write_as_gtzan(options: DemoOptions, folder: Path, report: Report) -> None:
    """Writes the demo music into a folder in all of GTZAN's forms: `genres_original`, both tables
    and `images_original`.

    Raises:
        GenrecoreError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clips = demo(options.model_copy(update={"form": "audio"}), report)
        for form in demo_forms.FORMS:
            demo_forms.write(clips, form, folder, report)
    except OSError as error:
        raise GenrecoreError(f"{folder} cannot be written: {describe(error)}") from error


def _is_made(options: DemoOptions) -> bool:
    """Whether the music is there, in the form that is asked for."""
    if not (demo_folder(options) / "clips.csv").is_file():
        return False
    return options.form == "audio" or _form_folder(options).is_dir()


def _expected(options: DemoOptions) -> pd.DataFrame:
    """The clip table that `demo` gives, before anything is made."""
    clips = _clips(options, _clip_list(options))
    if options.form == "audio":
        return clips
    if options.form == "images":
        paths = [
            demo_forms.image_path(_form_folder(options), genre, clip_id)
            for genre, clip_id in zip(clips["genre"], clips["clip_id"], strict=True)
        ]
    else:
        paths = [_form_folder(options) / TABLES[options.form]] * len(clips)
    named = clips.assign(medium=medium_of_form(options), path=list(map(str, paths)))
    return named.astype({"medium": "string", "path": "string"})


def _form_folder(options: DemoOptions) -> Path:
    """The folder of one of the other forms, made or not."""
    folder = demo_folder(options)
    return folder.with_name(f"{folder.name}-{options.form}")


def _clips(options: DemoOptions, listed: pd.DataFrame) -> pd.DataFrame:
    """The clip table of the audio of the listed clips."""
    folder = demo_folder(options)
    return clip_table(
        {
            "clip_id": row.clip_id,
            "path": str(folder / str(row.genre) / f"{row.clip_id}.wav"),
            "genre": row.genre,
            "artist": row.artist,
            "album": row.album,
            "duration_s": round(options.clip_s * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ,
        }
        for row in listed.itertuples()
    )


def _clip_list(options: DemoOptions) -> pd.DataFrame:
    """`clip_id, genre, artist, album` of every clip, as in `clips.csv`."""
    rows = [
        (
            f"{rule.name}.{clip:05d}",
            rule.name,
            f"{rule.name} artist {clip % options.n_artists + 1}",
            f"{rule.name} album {clip % options.n_artists + 1}.{1 + clip // options.n_artists % 2}",
        )
        for rule in GENRES[: options.n_genres]
        for clip in range(options.n_clips)
    ]
    return pd.DataFrame(sorted(rows), columns=["clip_id", "genre", "artist", "album"])


def demo_folder(options: DemoOptions) -> Path:
    """The folder of demo music with these options, made or not."""
    key = digest([RECIPE, options.model_dump(mode="json", exclude={"form"})])
    return cache_dir() / "datasets" / f"demo-{key}"


def _make(options: DemoOptions, folder: Path, report: Report) -> None:
    """Makes the folder as a whole; where two processes do so at once, the first one's stays."""
    try:
        with new_folder(folder) as hidden:
            _write_clips(options, hidden, report)
            _clip_list(options).to_csv(hidden / "clips.csv", index=False)
    except (OSError, soundfile.LibsndfileError) as error:
        if not (folder / "clips.csv").is_file():
            raise GenrecoreError(
                f"The demo music could not be written to {folder.parent}: {error}; free some space "
                "there or name another folder in GENRECORE_CACHE."
            ) from error


def _write_clips(options: DemoOptions, folder: Path, report: Report) -> None:
    """Writes all clips, several at a time."""

    @lru_cache(maxsize=32)  # clips of one artist follow each other
    def artist(genre: int, number: int) -> synthesis.Artist:
        return synthesis.make_artist(genre, number, options.seed)

    def write(item: tuple[int, int, int]) -> None:
        genre, number, clip = item
        name = GENRES[genre].name
        wave = synthesis.make_clip(artist(genre, number), genre, clip, options.seed, options.clip_s)
        path = folder / name / f"{name}.{clip:05d}.wav"
        soundfile.write(path, wave, SAMPLE_RATE_HZ, "PCM_16")

    for rule in GENRES[: options.n_genres]:
        (folder / rule.name).mkdir()
    items = [
        (genre, number, clip)
        for genre in range(options.n_genres)
        for number in range(options.n_artists)
        for clip in range(number, options.n_clips, options.n_artists)
    ]
    for _ in in_order(write, items, report, Phase.MAKING_DEMO):
        pass
