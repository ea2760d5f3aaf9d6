"""Three answers about a split: kept apart, crosses, cannot be known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from split_tables import apply_split

from genrecore.config.run import RunConfig, with_values
from genrecore.data import datasets
from genrecore.data.audit import Audit, Separation, audit
from genrecore.data.clips import clip_table
from genrecore.data.datasets.gtzan import published_facts
from genrecore.store import runs
from genrecore.store.files import write_json
from genrecore.store.run import Run

PARTS = ["train", "train", "train", "valid", "test"]


def table(
    *artists: str | None, parts: list[str | None] | None = None, **columns: str
) -> pd.DataFrame:
    """A clip table of these artists; clip k has part k mod 5."""
    splits = parts or [PARTS[k % 5] for k in range(len(artists))]
    rows = [
        {"clip_id": f"c{k}", "genre": "ab"[k % 2], "artist": artist, "split": splits[k], **columns}
        for k, artist in enumerate(artists)
    ]
    return clip_table(rows)


def separation(clips: pd.DataFrame) -> Separation:
    result = audit(clips).separation
    assert result is not None
    return result


@pytest.mark.parametrize("medium", ["audio", "image", "table"])
def test_known_artists_that_do_not_cross_are_kept_apart_in_every_medium(medium: str) -> None:
    clips = table("A", "B", "B", "C", "D", medium=medium)
    assert separation(clips).answer == "kept apart"
    assert separation(clips).unknown == ""


@pytest.mark.parametrize("where", [0, 3, 4])  # training, validation, test
def test_one_clip_without_an_artist_in_any_part_is_enough_not_to_know(where: int) -> None:
    artists: list[str | None] = ["A", "B", "B", "C", "D"]
    artists[where] = None
    answer = separation(table(*artists))
    assert answer.answer == "cannot be known"
    assert answer.sentence == (
        "1 of 5 clips has no artist: nobody can tell whether an artist is on both sides of the "
        "split."
    )
    assert answer.unknown == "Artists unknown: 1 of 5 clips"


def test_a_blank_artist_is_none_and_an_album_does_not_stand_in_for_it() -> None:
    clips = table("A", " ", "B", "C", "D").assign(album=["v", "w", "x", "y", "z"])
    assert separation(clips).answer == "cannot be known"
    assert separation(clips.assign(artist=None)).sentence.startswith("None of the 5 clips has an")


def test_a_clip_without_an_artist_that_takes_no_part_does_not_matter() -> None:
    clips = table("A", "B", None, "C", "D", parts=["train", "train", None, "valid", "test"])
    assert separation(clips).answer == "kept apart"
    assert separation(clips).n_clips == 4


def test_a_leak_that_is_seen_comes_before_what_cannot_be_known() -> None:
    answer = separation(table("A", None, "B", "C", "A"))
    assert (answer.answer, answer.n_shared, answer.n_unknown) == ("crosses", 1, 1)
    assert answer.sentence.startswith("The split leaks: 1 of 1 test clips share")
    assert answer.unknown == ""


def test_without_a_split_there_is_no_answer_and_every_answer_survives_json() -> None:
    assert audit(table("A", "B", parts=[None, None])).separation is None
    for artists in (["A", "B", "B", "C", "D"], ["A", "B", "B", "C", "B"], [None] * 5):
        result = audit(table(*artists))
        stored = json.loads(json.dumps(result.as_dict()))
        assert Audit.from_dict(stored).separation == result.separation


def test_a_split_published_as_one_that_keeps_artists_apart_is_believed() -> None:
    facts = published_facts()
    clips = clip_table(
        {"clip_id": name, "genre": name.split(".")[0], "artist": row["artist"]}
        for name, row in facts.iterrows()
    )
    clips["artist"] = clips["artist"].astype("string")
    n_unknown = int(clips["artist"].isna().sum())
    assert n_unknown > 0
    filtered = separation(apply_split(clips, "fault_filtered"))
    assert filtered.answer == "kept apart"
    assert "was published as one that keeps artists apart" in filtered.sentence
    by_artist = separation(apply_split(clips, "by_artist"))
    assert by_artist.answer == "cannot be known"
    assert by_artist.n_unknown == n_unknown
    assert separation(apply_split(clips, "stratified")).answer == "crosses"
    # Split once more, the table no longer says that it was published.
    again = apply_split(apply_split(clips, "fault_filtered"), "by_artist")
    assert separation(again).answer == "cannot be known"


@pytest.mark.slow
def test_the_demo_by_artist_is_kept_apart() -> None:
    clips = datasets.load("demo", {"n_clips": 6})
    assert separation(apply_split(clips, "by_artist")).answer == "kept apart"


def _run(store: Path, audit: dict[str, object], **values: object) -> Run:
    config = with_values(RunConfig(), {name.replace("__", "."): v for name, v in values.items()})
    run = runs.create_run(config, store)
    write_json(run.folder / "audit.json", audit)
    return Run(run.folder)


def _old(result: Audit) -> dict[str, object]:
    """The audit as earlier versions stored it."""
    document = result.as_dict()
    del document["separation"]
    return document


@pytest.mark.parametrize("version", ["now", "before"])
def test_a_run_says_which_of_the_three_it_is_also_by_an_audit_of_an_earlier_version(
    tmp_path: Path, version: str
) -> None:
    def run(clips: pd.DataFrame, **values: object) -> Run:
        result = audit(clips)
        stored = _old(result) if version == "before" else result.as_dict()
        run = _run(tmp_path, stored, **values)
        clips.to_parquet(run.folder / "clips.parquet")
        return run

    apart = run(table("A", "B", "B", "C", "D"))
    assert (apart.leak, apart.unknown, apart.badge) == ("", "", "")
    crossing = run(table("A", None, "B", "C", "A"))
    assert (crossing.leak, crossing.unknown) == ("Leak: 1 clip shared with training", "")
    unknown = run(table("A", None, "B", "C", "D"), rehearsal=10)
    assert (unknown.leak, unknown.unknown) == ("", "Artists unknown: 1 of 5 clips")
    assert unknown.badge == "Artists unknown: 1 of 5 clips; Rehearsal: 10 clips a genre"
    both = run(table(*[None] * 5), standardise_on="all")
    assert both.leak == "Leak: statistics of all clips"
    assert both.unknown == "Artists unknown: 5 of 5 clips"
    unused = run(table("A", "B", None, "C", "D", parts=["train", "train", None, "valid", "test"]))
    assert unused.badge == ""
    published = table("A", None, "B", "C", "D")
    published.attrs["published_apart"] = True
    assert run(published, split__name="fault_filtered").badge == ""


def test_a_run_without_an_audit_has_no_answer_until_it_is_tested(tmp_path: Path) -> None:
    run = _run(tmp_path, {})
    assert run.separation is None
    assert run.badge == ""
    pd.DataFrame({"clip_id": np.array([], dtype=str)}).to_parquet(
        run.folder / "predictions.parquet"
    )
    assert Run(run.folder).unknown == "Artists unknown: no audit"
