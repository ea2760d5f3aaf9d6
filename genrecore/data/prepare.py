"""Prepares the data of a configuration: clips with a split, and their corpus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from genrecore.config.run import RunConfig
from genrecore.data import corpus, corpus_arrays, corpus_images, datasets, genres, splits
from genrecore.data.audit import Audit, audit
from genrecore.data.clips import UnfitGenresError, check, genres_of
from genrecore.data.corpus import Corpus
from genrecore.data.datasets import reading
from genrecore.errors import GenrecoreError
from genrecore.store.progress import Report, silent
from genrecore.words import out_of, thousands


@dataclass(frozen=True)
class Prepared:
    """Readable clips, their split where one was applied, and their corpus."""

    clips: pd.DataFrame
    corpus: Corpus
    skipped: list[dict[str, str]]  # clip_id, reason
    notes: list[str]

    @property
    def genres(self) -> list[str]:
        """Their names, sorted."""
        return genres_of(self.clips)


def decode(config: RunConfig, report: Report = silent) -> Prepared:
    """The dataset's readable clips and their corpus; no split yet.

    Raises:
        GenrecoreError: The dataset is not there, or too little of it can be read.
    """
    name = config.dataset.name
    loaded = datasets.load(name, config.dataset.options, report)
    left_out = list(loaded.attrs.get("left_out", []))
    notes = list(loaded.attrs.get("notes", []))
    table, changes = taking_part(loaded, config)
    notes += changes
    built = build_corpus(table, config, report)
    skipped = left_out + built.skipped
    if skipped:
        n, first = len(skipped), skipped[0]
        notes.append(
            f"{out_of(n, len(table) + len(left_out))} clips cannot be used and "
            f"{'is' if n == 1 else 'are'} left out; "
            f"the first is {first['clip_id']}: {first['reason']}"
        )
    return Prepared(usable(table, built, config), built, skipped, notes)


def taking_part(clips: pd.DataFrame, config: RunConfig) -> tuple[pd.DataFrame, list[str]]:
    """The clips of a dataset that a run decodes, and sentences about what it changes: genres left
    out and merged, fewer clips in a rehearsal.

    Raises:
        GenrecoreError: Genres that do not exist or are too small, or no split for a rehearsal.
    """
    table, notes = genres.apply(clips, config.genres.leave_out, config.genres.merge)
    check(table, config.dataset.name)
    if config.rehearsal:
        whole = _split(table, config)
        table = genres.fewer(whole, config.rehearsal)
        notes.append(f"A rehearsal: {out_of(len(table), len(whole))} clips take part.")
    return table, notes


def usable(clips: pd.DataFrame, built: Corpus, config: RunConfig) -> pd.DataFrame:
    """The clips that a corpus holds.

    Raises:
        GenrecoreError: There are none, or too few of a genre.
    """
    name = config.dataset.name
    readable = clips[clips["clip_id"].isin(built.index["clip_id"])].reset_index(drop=True)
    if readable.empty:
        first = built.skipped[0]
        raise GenrecoreError(
            f"None of the {thousands(len(clips))} clips of {name} can be used; the first is "
            f"{first['clip_id']}: {first['reason']}"
        )
    check(readable, name)
    return readable


def build_corpus(clips: pd.DataFrame, config: RunConfig, report: Report = silent) -> Corpus:
    """The corpus of a clip table of any medium.

    Raises:
        GenrecoreError: Several media, images or arrays of different sizes, or a table that cannot
            be read.
    """
    media = sorted(clips["medium"].unique())
    options = config.dataset.choose_from(datasets.DATASETS).options
    if media == ["audio"]:
        return corpus.build(clips, config.audio.sample_rate_hz, config.audio.clip_s, report)
    if media == ["image"]:
        return corpus_images.build_images(clips, report, reading.image_size(options))
    if media == ["table"]:
        return corpus_images.build_tables(clips, report)
    if media in (["vector"], ["sequence"]):
        return corpus_arrays.build_arrays(clips, *reading.array_choice(options), report)
    raise GenrecoreError(
        f"The dataset {config.dataset.name} mixes {' and '.join(media)}; give it one medium."
    )


def _split(clips: pd.DataFrame, config: RunConfig) -> pd.DataFrame:
    split = config.split.choose_from(splits.SPLITS)
    return splits.apply(clips, split, config.split_seed, config.fold)


def split_clips(clips: pd.DataFrame, config: RunConfig) -> pd.DataFrame:
    """The clips with the configuration's split.

    Raises:
        UnfitGenresError: Training or test would be without a genre.
        GenrecoreError: The split cannot be made.
    """
    table = _split(clips, config)
    missing = {
        split: sorted({*genres_of(table)} - {*table.loc[table["split"] == split, "genre"]})
        for split in ("train", "test")
    }
    for split, names in missing.items():
        if names:
            raise UnfitGenresError(
                f"The split {config.split.name} leaves no {split} clips of {', '.join(names)}.",
                {*missing["train"], *missing["test"]},
            )
    return table


def with_split(prepared: Prepared, config: RunConfig) -> Prepared:
    """Applies the configuration's split to the readable clips.

    Raises:
        GenrecoreError: As `split_clips`.
    """
    table = split_clips(prepared.clips, config)
    return replace(prepared, clips=table, notes=prepared.notes + splits.notes(table))


def audited(prepared: Prepared, report: Report = silent) -> Audit:
    """The audit of clips and split: of the recordings for audio, else of identical contents."""
    undecodable = {item["clip_id"] for item in prepared.corpus.skipped}
    clips = prepared.clips.copy()
    clips.attrs["left_out"] = [s for s in prepared.skipped if s["clip_id"] not in undecodable]
    return audit(clips, prepared.corpus, report)


def summary(prepared: Prepared) -> dict[str, Any]:
    """Counts of clips, genres, artists and minutes, and what was left out."""
    rate = prepared.corpus.sample_rate_hz
    return {
        "n_clips": len(prepared.clips),
        "clips_per_genre": prepared.clips["genre"].value_counts().sort_index().to_dict(),
        "n_artists": int(prepared.clips["artist"].nunique()),
        "minutes": round(float(prepared.corpus.index["n_samples"].sum()) / rate / 60, 1)
        if rate
        else None,  # images and rows have no length
        "skipped": prepared.skipped,
    }
