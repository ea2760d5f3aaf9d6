"""Genres left out and merged: what is done, what is said, what is refused."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrecore.config.run import RunConfig, signature, system_signature, with_values
from genrecore.data import genres as relabel
from genrecore.data.clips import clip_table, genres_of
from genrecore.errors import UsageError

SIZES = {"Folk": 3, "Hip-Hop": 4, "Old-Time / Historic": 2, "Pop": 5, "Rock": 1, "Soul, R=B": 6}


def _clips() -> pd.DataFrame:
    table = clip_table(
        {"clip_id": f"{genre[:1]}{n}", "path": "x", "genre": genre, "artist": f"{genre} {n}"}
        for genre, size in SIZES.items()
        for n in range(size)
    )
    table.attrs["left_out"] = [{"clip_id": "98565", "reason": "It lasts half a second."}]
    return table


def test_without_requests_the_table_comes_back_as_it_was() -> None:
    clips = _clips()
    for nothing in ("", "  "):
        table, notes = relabel.apply(clips, nothing, nothing)
        pd.testing.assert_frame_equal(table, clips)
        assert notes == []


def test_clips_of_genres_left_out_are_gone_and_it_is_reported() -> None:
    clips = _clips()
    before = clips.copy()
    table, notes = relabel.apply(clips, "Rock, Old-Time / Historic", "")
    assert genres_of(table) == ["Folk", "Hip-Hop", "Pop", "Soul, R=B"]
    assert len(table) == 18
    assert table.index.equals(pd.RangeIndex(18))
    assert notes == [
        "2 of 6 genres are left out with 3 clips: Rock (1 clip) and Old-Time / Historic (2 clips)."
    ]
    assert table.attrs == clips.attrs
    pd.testing.assert_frame_equal(clips, before)


def test_merged_genres_become_one_and_it_is_reported() -> None:
    clips = _clips()
    table, notes = relabel.apply(clips, "Rock", 'Vocal = Pop, Folk; Beats = Hip-Hop, "Soul, R=B"')
    assert table["genre"].value_counts().to_dict() == {
        "Beats": 10, "Vocal": 8, "Old-Time / Historic": 2,
    }  # fmt: skip
    assert notes == [
        "1 of 6 genres is left out with 1 clip: Rock (1 clip).",
        "Pop (5 clips) and Folk (3 clips) are merged into Vocal (8 clips).",
        "Hip-Hop (4 clips) and Soul, R=B (6 clips) are merged into Beats (10 clips).",
    ]
    assert table["genre"].dtype == "string"
    by_id = clips.set_index("artist")
    for row in table.itertuples():
        assert by_id.loc[row.artist, "clip_id"] == row.clip_id
    assert table.equals(table.sort_values(["genre", "clip_id"], ignore_index=True))


def test_a_merge_may_keep_the_name_of_one_of_its_genres() -> None:
    table, _ = relabel.apply(_clips(), "", "Pop = Pop, Rock;")
    assert table["genre"].value_counts()["Pop"] == 6
    assert "Rock" not in genres_of(table)


@pytest.mark.parametrize(
    ("leave_out", "merge", "message"),
    [
        ("Metal", "", "'Metal', to be left out, is not in the dataset; there are: Folk, Hip-Hop"),
        ("pop", "", "'pop', to be left out, is not in the dataset"),
        ("", "Loud = Rock, Metal", "'Metal', to be merged, is not in the dataset; there are: Folk"),
        ("Pop, Pop", "", "'Pop' is left out twice"),
        ("Pop,, Rock", "", "genres.leave_out is 'Pop,, Rock'; it needs genres with commas"),
        ("Pop;Rock", "", "genres.leave_out is 'Pop;Rock'"),
        (",", "", "genres.leave_out is ','"),
        ('"Pop', "", "genres.leave_out is '\"Pop'"),
        ('""', "", "genres.leave_out is"),
        ("", "Pop, Rock", "genres.merge is 'Pop, Rock'; it needs a new name, an equals sign"),
        ("", "A = B = C", "genres.merge is 'A = B = C'"),
        ("", "A, B = Pop, Rock", "genres.merge is"),
        ("", "= Pop, Rock", "genres.merge is"),
        ("", "A =", "genres.merge is"),
        ("", ";", "genres.merge is ';'"),
        ("", "A = Pop", "'A' has one genre only (Pop); merging needs two"),
        ("", "A = Pop, Rock; A = Folk, Hip-Hop", "'A' is defined twice"),
        ("", "A = Pop, Rock; B = Pop, Folk", "'Pop' is merged twice"),
        ("Pop", "A = Pop, Rock", "'Pop' is both left out and merged"),
        ("", "Folk = Pop, Rock", "'Folk' bears the name of a genre that is not among those merged"),
        ('Folk, Hip-Hop, Pop, Rock, "Soul, R=B"', "", "only Old-Time / Historic would be left"),
        ('Folk, Hip-Hop, Pop, Rock, "Soul, R=B", Old-Time / Historic', "", "none would be left"),
        ('Folk, Hip-Hop, "Soul, R=B"', "A = Pop, Rock, Old-Time / Historic", "only A would be"),
    ],
)  # fmt: skip
def test_requests_that_cannot_be_met_are_refused(leave_out: str, merge: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        relabel.apply(_clips(), leave_out, merge)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


_NAME = st.text(st.sampled_from("aB ,;=\"'ü/-"), min_size=1, max_size=6).map(str.strip)
_NAMES = st.lists(_NAME.filter(bool), min_size=2, max_size=6, unique=True)


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(gone=_NAMES, old=_NAMES, new=_NAME.filter(bool))
def test_any_names_survive_being_written_and_read(
    gone: list[str], old: list[str], new: str
) -> None:
    def quoted(name: str) -> str:
        doubled = name.replace('"', '""')
        return f'"{doubled}"'

    merge = f"{quoted(new)}={','.join(map(quoted, old))}"
    one, two = relabel.canonical(",".join(map(quoted, gone)), merge)
    assert relabel.parse_leave_out(one) == sorted(gone)
    assert relabel.parse_merge(two) == {new: sorted(old)}
    assert relabel.canonical(one, two) == (one, two)


def test_texts_that_mean_the_same_become_equal() -> None:
    a = relabel.canonical("Rock,Pop", "B=d,c; A = f, e")
    assert a == relabel.canonical(' Pop , "Rock"', "A=e,f;B = c , d;")
    assert a == ("Pop, Rock", "A = e, f; B = c, d")


def test_genres_make_another_system_and_their_absence_the_same_as_ever() -> None:
    config = with_values(RunConfig(), {"genres.leave_out": "Rock"})
    assert system_signature(config) != system_signature(RunConfig())
    assert config.genres.leave_out == "Rock"
    old = RunConfig().model_dump()
    del old["genres"]  # as written before there was such a group
    assert signature(RunConfig.model_validate(old)) == "44136fa355"
