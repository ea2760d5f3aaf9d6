"""Numbers as text for people: rounding, signs, units and plurals."""

from __future__ import annotations

from math import inf, nan

import pytest

from genrecore import words


def test_halves_are_rounded_up_and_thousands_separated() -> None:
    assert words.percent(0.8125) == "81.3 %"
    assert words.percent(0.0005) == "0.1 %"
    assert words.percent(1.0) == "100.0 %"
    assert words.percent(None) == words.percent(nan) == "–"
    assert words.decimals(28.5, 0) == "29"
    assert words.decimals(100 * 0.285, 0) == "29"  # 28.499999999999996 in binary
    assert words.decimals(-1234.56) == "−1,234.6"
    assert words.decimals(-0.04) == "0.0"
    assert words.thousands(287_792) == "287,792"


def test_points_carry_their_sign_and_their_plural() -> None:
    assert words.points(0.031) == "3.1 points"
    assert words.points(0.01) == "1.0 point"
    assert words.points(-0.009, sign=True) == "−0.9 points"
    assert words.signed_points(0.031) == "+3.1"


def test_a_change_is_told_as_its_written_numbers_say() -> None:
    assert words.moved(0.078, 0.096, words.percent) == "rises from 7.8 % to 9.6 %"
    assert words.moved(0.096, 0.078, words.percent) == "falls from 9.6 % to 7.8 %"
    assert words.moved(0.07801, 0.07799, words.percent) == "stays at 7.8 %"
    assert words.beside(0.031, "B") == "3.1 points above B"
    assert words.beside(-0.031, "B") == "3.1 points below B"
    assert words.beside(-0.0004, "B") == "level with B"


def test_p_values() -> None:
    assert words.p_value(0.1412) == "p = 0.14"
    assert words.p_value(0.00001) == "p < 0.0001"
    assert words.p_value(nan) == "p = –"


def test_counts_and_lists() -> None:
    assert words.plural(1, "clip") == "1 clip"
    assert words.plural(1200, "clip") == "1,200 clips"
    assert words.plural(2, "copy", "copies") == "2 copies"
    assert words.listed(["rock"]) == "rock"
    assert words.listed(["rock", "pop", "folk"], "or") == "rock, pop or folk"
    assert words.listed([*"abcde"], most=5) == "a, b, c, d and e"
    assert words.listed([*"abcde"], most=4) == "a, b, c and 2 others"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 s"), (0.42, "0.4 s"), (9.96, "10 s"), (12.4, "12 s"), (59.6, "1 min 00 s"),
     (185, "3 min 05 s"), (7620, "2 h 07 min"), (None, "–"), (inf, "–")],
)  # fmt: skip
def test_durations(value: float | None, text: str) -> None:
    assert words.seconds(value) == text


def test_positions_and_moments() -> None:
    assert words.clock(65.9) == "1:05"
    assert words.moment(0) == "–"
    assert words.moment(1_795_903_667)[3:11] == "Nov 2026"


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 bytes"), (1_400, "1.4 kB"), (45_000, "45 kB"), (2_340_000, "2.3 MB"),
     (45_600_000, "46 MB"), (999_600_000, "1.0 GB"), (9_960_000_000, "10 GB")],
)  # fmt: skip
def test_sizes(n_bytes: float, text: str) -> None:
    assert words.size(n_bytes) == text


def test_what_cannot_be_seen_is_escaped() -> None:
    assert words.visible("café\tNo 1\n") == "café\tNo 1\n"
    text = "a\x1b[2J\0\x9b1m\u202eb\udcff"
    assert words.visible(text) == r"a\x1b[2J\x00\x9b1m\u202eb\udcff"
    assert words.visible(text, "_") == "a_[2J__1m_b_"
    assert words.visible_line("two\nlines\t") == r"two\nlines\t"
    assert words.visible_line("two\nlines\x07", "_") == "two_lines_"


def test_numbers_are_short() -> None:
    shown = {0: "0", 999: "999", 1000: "1.00 k", 287_792: "288 k", 999_499: "999 k",
             999_500: "1.00 M", 11_180_616: "11.2 M", 9_995_000: "10.0 M",
             103_417_806_848: "103 G"}  # fmt: skip
    assert {number: words.short_number(number) for number in shown} == shown
    assert words.short_number(None) == "–"


@pytest.mark.parametrize(
    ("title", "inside"),
    [("Top-2 accuracy", "top-2 accuracy"), ("G-mean", "G-mean"), ("ROC AUC", "ROC AUC"),
     ("F1", "F1"), ("A file", "a file"), ("", "")],
)  # fmt: skip
def test_a_title_inside_a_sentence_keeps_the_capitals_of_names(title: str, inside: str) -> None:
    assert words.uncapitalised(title) == inside
