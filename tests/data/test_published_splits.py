"""Splits that others drew: those a dataset brings, the fault-filtered one, those of studies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import split_tables
from sklearn.utils import shuffle
from split_tables import apply_split

from genrecore.data import splits
from genrecore.data.clips import clip_table
from genrecore.errors import GenrecoreError


@pytest.fixture(scope="module")
def fma(real_data: Path) -> pd.DataFrame:
    """A clip table of FMA-small's 7 994 usable tracks with the official split."""
    facts = pd.read_csv(real_data / "fma_small_tracks.csv", dtype="string")
    table = pd.DataFrame(
        {
            "clip_id": facts["track_id"].str.zfill(6),
            "path": "x",
            "genre": facts["genre_top"],
            "artist": facts["artist_id"],
            "split": facts["split"].replace({"training": "train", "validation": "valid"}),
        }
    )
    return clip_table(table.to_dict("records"))


def test_fault_filtered_has_443_197_and_290_clips_and_70_in_none() -> None:
    table = apply_split(split_tables.gtzan(), "fault_filtered")
    assert splits.counts(table).sum().to_dict() == {"train": 443, "valid": 197, "test": 290}
    assert table["split"].isna().sum() == 70
    with_artist = table.dropna(subset=["artist", "split"])
    assert (with_artist.groupby("artist")["split"].nunique() == 1).all()
    assert splits.notes(table) == [
        "70 of 1,000 clips are in none of training, validation and test and take no part."
    ]


def test_fault_filtered_refuses_what_is_not_gtzan() -> None:
    clips = pd.concat(
        [split_tables.gtzan().head(8), split_tables.clips().head(3)], ignore_index=True
    )
    with pytest.raises(GenrecoreError, match=r"3 of 11 clips are not in GTZAN .*the first is g0"):
        apply_split(clips, "fault_filtered")


def test_the_official_split_of_fma_small_has_6394_800_and_800_clips(fma: pd.DataFrame) -> None:
    for scheme in ("official", "benito", "manifest"):
        table = apply_split(fma, scheme, {}, 3, 0)
        assert splits.counts(table).sum().to_dict() == {"train": 6394, "valid": 800, "test": 800}
        assert splits.notes(table) == []
        with_artist = table.dropna(subset=["artist"])
        assert (with_artist.groupby("artist")["split"].nunique() == 1).all()


def test_ratios_hold_on_fma_small_by_clip_and_nearly_by_artist(fma: pd.DataFrame) -> None:
    by_clip = splits.counts(apply_split(fma, "liu"))
    assert by_clip.loc["Rock"].to_dict() == {"train": 799, "valid": 100, "test": 100}
    assert by_clip.loc["Pop"].to_dict() == {"train": 800, "valid": 100, "test": 100}
    table = apply_split(fma, "by_artist_ratio")
    with_artist = table.dropna(subset=["artist"])
    assert (with_artist.groupby("artist")["split"].nunique() == 1).all()
    shares = splits.counts(table).div(splits.counts(table).sum(axis=1), axis=0)
    # Most artists have a few clips of about a thousand in a genre; 1 % is ten clips.
    assert (shares - [0.8, 0.1, 0.1]).abs().max().max() < 0.01


def test_official_takes_what_is_there_and_says_what_is_not() -> None:
    clips = split_tables.clips()
    clips["split"] = clips["split"].mask(clips["split"] == "valid")
    table = apply_split(clips, "official")
    assert table["split"].equals(clips["split"])
    n_out = int(clips["split"].isna().sum())
    none, valid = splits.notes(table)
    assert none.startswith(f"{n_out} of {len(clips)} clips are in none")
    assert "no validation clips: the last epoch" in valid
    assert splits.counts(table)["valid"].sum() == 0


@pytest.mark.parametrize(
    ("scheme", "change", "message"),
    [
        ("official", {"train": None, "valid": None, "test": None}, "no split of its own: none of"),
        ("benito", {"train": None, "valid": None, "test": None}, "no split of its own: none of"),
        ("official", {"test": "valid"}, "has no test clips"),
        ("official", {"train": None}, "has no train clips"),
        ("official", {"valid": "development"}, "says 'development'.*train, valid and test"),
        ("manifest", {"valid": None}, r"\d+ of \d+ clips have nothing \(the first is g0"),
        ("manifest", {"valid": " "}, r"\d+ of \d+ clips have nothing \(the first is g0"),
        ("manifest", {"train": "trian"}, "says 'trian'"),
        ("manifest", {"test": "train"}, "has no test clips"),
    ],
)
def test_given_splits_that_cannot_be_used_are_refused(
    scheme: str, change: dict[str, str | None], message: str
) -> None:
    clips = split_tables.clips()
    clips["split"] = clips["split"].map(lambda name: change.get(name, name)).astype("string")
    with pytest.raises(GenrecoreError, match=message):
        apply_split(clips, scheme)


def test_the_number_of_rows_without_a_split_is_reported() -> None:
    clips = split_tables.clips()
    clips.loc[[5, 9, 13], "split"] = pd.NA
    with pytest.raises(GenrecoreError, match=f"3 of {len(clips)} clips have nothing"):
        apply_split(clips, "manifest")
    with pytest.raises(GenrecoreError, match="unnamed = leave out"):
        apply_split(clips, "manifest", {"unnamed": "refuse"})
    table = apply_split(clips, "manifest", {"unnamed": "leave out"})
    assert table["split"].isna().to_numpy().nonzero()[0].tolist() == [5, 9, 13]
    assert table["split"].dropna().equals(clips["split"].dropna())
    assert splits.notes(table)[0].startswith(f"3 of {len(clips)} clips are in none")


def test_belton_tests_the_last_fifth_of_the_usual_shuffle() -> None:
    clips = split_tables.gtzan().sample(frac=1, random_state=5)  # whatever order the table has
    table = apply_split(clips, "belton")
    names = sorted(clips["clip_id"])
    usual = pd.Series(names).sample(frac=1, random_state=0).tolist()
    assert usual == shuffle(names, random_state=0)
    assert usual[:3] == np.array(names)[np.random.RandomState(0).permutation(1000)][:3].tolist()
    for split, part in (("train", usual[:600]), ("valid", usual[600:800]), ("test", usual[800:])):
        assert set(table.loc[table["split"] == split, "clip_id"]) == set(part)
    counts = splits.counts(table)
    assert counts["test"].nunique() > 1  # slightly uneven, as in the study's Figure 1
    assert counts["test"].between(8, 32).all()
    with pytest.raises(GenrecoreError, match="at least 5 clips; found 4"):
        apply_split(clips.head(4), "belton")


def test_beltons_very_clips_can_have_the_accuracies_that_she_prints() -> None:
    """A share printed with four digits is that of a whole number of clips."""
    readable = split_tables.gtzan().query("clip_id != 'jazz.00054'").sample(frac=1, random_state=5)
    audio = apply_split(readable, "belton", {"shuffled": "names"})
    counts = splits.counts(audio)
    assert counts.sum().to_dict() == {"train": 600, "valid": 200, "test": 199}
    assert counts.loc["rock", "test"] == 16
    assert [round(100 * k / n, 2) for k, n in ((154, 199), (7, 16))] == [77.39, 43.75]
    whole = apply_split(split_tables.gtzan(), "belton").set_index("clip_id")["split"]
    assert whole["jazz.00054"] == "test"
    assert audio.set_index("clip_id")["split"].equals(whole[audio["clip_id"]])
    images = splits.counts(apply_split(readable, "belton", {"fifth": "down"})).sum()
    assert images.to_dict() == {"train": 601, "valid": 199, "test": 199}
    assert [round(100 * k / n, 2) for k, n in ((149, 199), (552, 601))] == [74.87, 91.85]
    # The options without which runs have been trained keep their clips: the names that are there.
    there = sorted(readable["clip_id"])
    usual = pd.Series(there).sample(frac=1, random_state=0).tolist()
    plain = apply_split(readable, "belton")
    assert set(plain.loc[plain["split"] == "test", "clip_id"]) == set(usual[799:])


def test_belton_shuffles_the_clips_of_other_music_and_refuses_too_few_of_gtzan() -> None:
    foreign = split_tables.clips()
    by_names = apply_split(foreign, "belton", {"shuffled": "names"})
    assert by_names["split"].equals(apply_split(foreign, "belton")["split"])
    gtzan = split_tables.gtzan()
    whole = apply_split(gtzan, "belton")
    trained = gtzan[whole["split"] == "train"].head(7)
    with pytest.raises(GenrecoreError, match=r"none of the 7 clips here is in valid; shuffle the"):
        apply_split(trained, "belton", {"shuffled": "names"})


def test_the_published_table_is_in_the_order_that_belton_shuffles(real_data: Path) -> None:
    names = pd.read_csv(real_data / "gtzan" / "features_30_sec.csv")["filename"]
    assert names.is_monotonic_increasing
    assert [name.removesuffix(".wav") for name in names] == split_tables.gtzan()["clip_id"].tolist()


def test_qin_has_80_and_20_clips_a_genre_and_no_validation() -> None:
    table = apply_split(split_tables.gtzan(), "qin")
    assert splits.counts(table).to_numpy().tolist() == [[80, 0, 20]] * 10
    assert splits.notes(table) == [
        "This split has no validation clips: the last epoch is the one tested."
    ]
    without = apply_split(split_tables.gtzan().query("clip_id != 'jazz.00054'"), "qin")
    assert splits.counts(without).loc["jazz"].tolist() == [79, 0, 20]


def test_qins_999_images_are_800_and_199_of_which_139_are_its_best_accuracy() -> None:
    images = split_tables.gtzan().query("clip_id != 'jazz.00054'")
    counts = splits.counts(apply_split(images, "qin", {"fifth": "down"}))
    assert counts.sum().to_dict() == {"train": 800, "valid": 0, "test": 199}
    assert counts.loc["jazz"].tolist() == [80, 0, 19]
    assert 139 / 199 == 0.6984924623115578
    whole = apply_split(split_tables.gtzan(), "qin", {"fifth": "down"}, 3)
    assert whole["split"].equals(apply_split(split_tables.gtzan(), "qin", {}, 3)["split"])


def test_the_studies_equal_the_general_schemes_they_name() -> None:
    clips = split_tables.clips()
    for study, general in (("qin", "ratio_8_2"), ("liu", "ratio_8_1_1"), ("benito", "official")):
        a, b = (apply_split(clips, name, {}, 7, 0)["split"] for name in (study, general))
        assert a.equals(b)
        assert splits.SPLITS[study].source != splits.SPLITS[general].source
