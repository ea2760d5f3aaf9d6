"""Prepares the data of a configuration: clips with a split, and their corpus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from genrecore.config.run import RunConfig
from genrecore.data import corpus, corpus_arrays, corpus_images, datasets, genres, splits
from genrecore.data.audit import Audit, audit, copies, sound
from genrecore.data.clips import LEAST_PER_GENRE, UnfitGenresError, check, genres_of
from genrecore.data.corpus import Corpus
from genrecore.data.datasets import reading
from genrecore.data.splits.drawn import draw_note, draw_training
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


def decode(
    config: RunConfig, report: Report = silent, least_per_genre: int = LEAST_PER_GENRE
) -> Prepared:
    """The dataset's readable clips and their corpus; no split yet.

    Args:
        config: The configuration.
        report: Called as `report(phase, done, total)`.
        least_per_genre: Clips that every genre needs; 1 decodes what a run has to leave out or
            merge.

    Raises:
        GenrecoreError: The dataset is not there, or too little of it can be read.
    """
    name = config.dataset.name
    loaded = datasets.load(name, config.dataset.options, report)
    left_out = list(loaded.attrs.get("left_out", []))
    notes = list(loaded.attrs.get("notes", []))
    table, changes = taking_part(loaded, config, least_per_genre)
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
    if built.warnings:
        n, first = len(built.warnings), built.warnings[0]
        notes.append(
            f"{out_of(n, len(table))} clips {'is' if n == 1 else 'are'} used with a warning; "
            f"the first is {first['clip_id']}: {first['reason']}"
        )
    return Prepared(usable(table, built, config, least_per_genre), built, skipped, notes)


def taking_part(
    clips: pd.DataFrame, config: RunConfig, least_per_genre: int = LEAST_PER_GENRE
) -> tuple[pd.DataFrame, list[str]]:
    """The clips of a dataset that a run decodes, and sentences about what it changes: genres left
    out and merged, fewer clips in a rehearsal; and about genres that look alike.

    Raises:
        GenrecoreError: Genres that do not exist or are too small, or no split for a rehearsal.
    """
    table, notes = genres.apply(clips, config.genres.leave_out, config.genres.merge)
    check(table, config.dataset.name, least_per_genre)
    counts = genres.counted(table)
    notes += [genres.look_alike_sentence(group, counts) for group in genres.look_alikes(counts)]
    if config.rehearsal:
        whole = _split(table, config)
        table = genres.fewer(whole, config.rehearsal)
        notes.append(f"A rehearsal: {out_of(len(table), len(whole))} clips take part.")
    return table, notes


def usable(
    clips: pd.DataFrame, built: Corpus, config: RunConfig, least_per_genre: int = LEAST_PER_GENRE
) -> pd.DataFrame:
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
    check(readable, name, least_per_genre)
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
        settings = config.audio
        return corpus.build(
            clips, settings.sample_rate_hz, settings.clip_s, report, settings.accept_damaged
        )
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
    """The clips with the configuration's split, its training part thinned where not all training
    clips are learned from.

    Raises:
        GenrecoreError: As `_whole_split`.
    """
    return _thinned(_whole_split(clips, config), config)


def _thinned(clips: pd.DataFrame, config: RunConfig) -> pd.DataFrame:
    n = config.clips_per_genre
    return draw_training(clips, n, config.seed) if n else clips


def _whole_split(clips: pd.DataFrame, config: RunConfig) -> pd.DataFrame:
    """The clips with the configuration's split and all training clips.

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
            clips_of = f"{split} clips of {genres.written(names)}"
            raise UnfitGenresError(
                f"The split {config.split.name} leaves no {clips_of}.",
                {*missing["train"], *missing["test"]},
            )
    return table


def with_split(prepared: Prepared, config: RunConfig) -> Prepared:
    """Applies the configuration's split to the readable clips.

    Raises:
        GenrecoreError: As `split_clips`.
    """
    whole = _whole_split(prepared.clips, config)
    table, notes = _thinned(whole, config), prepared.notes + splits.notes(whole)
    if config.clips_per_genre:
        notes.append(draw_note(whole, table, config.clips_per_genre))
    return replace(prepared, clips=table, notes=notes)


def audited(prepared: Prepared, report: Report = silent) -> Audit:
    """The audit of clips and split: of the recordings for audio, else of identical contents."""
    undecodable = {item["clip_id"] for item in prepared.corpus.skipped}
    clips = prepared.clips.copy()
    clips.attrs["left_out"] = [s for s in prepared.skipped if s["clip_id"] not in undecodable]
    return audit(clips, prepared.corpus, report)


def with_digests(prepared: Prepared, clip_s: float, report: Report = silent) -> pd.DataFrame:
    """The clips with the columns `content`, a digest of each one's file, and `decoded`, a digest of
    its samples, pixels or numbers as a run is given them, missing where there is none.

    Args:
        prepared: Clips and corpus.
        clip_s: Seconds taken from the middle of each clip of audio.
        report: Called as `report(phase, done, total)`.
    """
    clips, built = prepared.clips, prepared.corpus
    if built.medium == "audio":
        measured = sound.measure(built, report).table.set_index("clip_id")["digest"]
        decoded = f"{built.sample_rate_hz} {clip_s:g} " + measured.astype("string")
    else:
        index = built.index
        spans = zip(index["start"], index["n_samples"], strict=True)
        digests = [copies.digest(built.values[start : start + n]) for start, n in spans]
        decoded = pd.Series(digests, index["clip_id"], dtype="string")
    files = pd.Series(corpus.content_digests(clips, report), clips.index, dtype="string")
    is_file = (built.medium != "table") & files.str.fullmatch("[0-9a-f]{32}")  # a table is of all
    return clips.assign(
        content=files.where(is_file), decoded=decoded.reindex(clips["clip_id"]).to_numpy()
    ).astype({"decoded": "string"})


def refuse_other_content(
    clips: pd.DataFrame, prepared: Prepared, clip_s: float, report: Report = silent
) -> None:
    """Refuses a dataset whose files were replaced by others since a run read them.

    Args:
        clips: The run's clip table; without digests nothing is refused.
        prepared: The dataset as it is now.
        clip_s: As for `with_digests`.
        report: Called as `report(phase, done, total)`.

    Raises:
        GenrecoreError: How many clips hold other content under the same name.
    """
    if "content" not in clips or clips["content"].isna().all():
        return
    names = ["content", "decoded"]
    now = with_digests(prepared, clip_s, report).set_index("clip_id")[names]
    before = clips.set_index("clip_id").reindex(columns=names)
    before, now = before.align(now, join="inner", axis=0)
    is_same = (before == now).fillna(False).any(axis=1) | before.isna().all(axis=1)
    n_other = int((~is_same).sum())
    if n_other:
        raise GenrecoreError(
            f"{out_of(n_other, len(before))} clips hold other content now than when the run read "
            f"them (the first is {is_same.idxmin()}); put its files back."
        )


def summary(prepared: Prepared) -> dict[str, Any]:
    """Counts of clips, genres, artists and minutes, what was left out, and sentences to read."""
    rate = prepared.corpus.sample_rate_hz
    return {
        "n_clips": len(prepared.clips),
        "clips_per_genre": prepared.clips["genre"].value_counts().sort_index().to_dict(),
        "n_artists": int(prepared.clips["artist"].nunique()),
        "minutes": round(float(prepared.corpus.index["n_samples"].sum()) / rate / 60, 1)
        if rate
        else None,  # images and rows have no length
        "skipped": prepared.skipped,
        "warnings": list(prepared.corpus.warnings),
        "notes": prepared.notes,
    }
