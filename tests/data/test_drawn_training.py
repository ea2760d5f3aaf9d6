"""Fewer training clips a genre: which are drawn, that nothing else changes, and what a run says."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import trained
from split_tables import apply_split, clips
from test_baselines import on_table, tables

from genrecore.config.dotted import in_words
from genrecore.config.run import RunConfig, signature, with_values
from genrecore.data.clips import same_names
from genrecore.data.splits.drawn import draw_note, draw_training
from genrecore.experiments.draft import draft, spread
from genrecore.experiments.estimates import Estimator
from genrecore.store.run import Run
from genrecore.training.check import check, problems_of

__all__ = ["tables"]
Tiny = Callable[..., RunConfig]


@pytest.fixture(scope="module")
def split() -> pd.DataFrame:
    return apply_split(clips(), "by_artist")


def trained_on(table: pd.DataFrame) -> set[str]:
    return set(table.loc[table["split"].eq("train").fillna(False), "clip_id"])


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_more_clips_of_one_seed_hold_the_fewer(split: pd.DataFrame, seed: int) -> None:
    drawn = [trained_on(draw_training(split, n, seed)) for n in (1, 2, 5, 10, 99)]
    assert all(fewer < more for fewer, more in itertools.pairwise(drawn))
    assert drawn[-1] == trained_on(split)
    assert len(drawn[1]) == 2 * 7
    assert drawn[1] == trained_on(draw_training(split.sample(frac=1), 2, seed))


def test_seeds_draw_other_clips(split: pd.DataFrame) -> None:
    draws = {frozenset(trained_on(draw_training(split, 5, seed))) for seed in range(5)}
    assert len(draws) == 5


@pytest.mark.parametrize("n", [2, 4, 6, 9])
def test_the_clips_of_a_genre_are_of_as_many_artists_as_possible(
    split: pd.DataFrame, n: int
) -> None:
    def n_artists(table: pd.DataFrame) -> pd.Series:
        rows = table[table["split"].eq("train").fillna(False)]
        artist = same_names(rows["artist"]).fillna(rows["clip_id"])  # unknown: one of its own
        return artist.groupby(rows["genre"]).nunique()

    assert n_artists(draw_training(split, n, 3)).equals(n_artists(split).clip(upper=n))


def test_validation_and_test_stay_and_with_them_what_keeps_apart(split: pd.DataFrame) -> None:
    thin = draw_training(split, 3, 0)
    is_trained = split["split"].eq("train").fillna(False)
    assert thin[~is_trained].equals(split[~is_trained])
    assert thin.drop(columns="split").equals(split.drop(columns="split"))
    assert thin.attrs == split.attrs
    assert draw_training(split, 1000, 0).equals(split)


def test_a_genre_with_fewer_clips_keeps_all_and_the_note_says_so(split: pd.DataFrame) -> None:
    had = split[split["split"] == "train"]["genre"].value_counts()
    thin = draw_training(split, 20, 0)
    kept = thin[thin["split"] == "train"]["genre"].value_counts()
    assert kept.to_dict() == had.clip(upper=20).to_dict()
    assert had["g0"] < 20 < had["g1"]
    note = draw_note(split, thin, 20)
    assert f"{had.clip(upper=20).sum()} of {had.sum()}" in note
    assert f"or all where there are fewer: g0 ({had['g0']})" in note
    assert "g1" not in note
    assert "artist" not in note  # some clips have none
    named = split[split["artist"].notna()]
    note = draw_note(named, draw_training(named, 2, 0), 2)
    n = len(trained_on(named))
    assert f"14 of {n} are learned from, by 14 artists: 2 of each genre." in note


def test_old_configurations_keep_their_signatures() -> None:
    assert signature(with_values(RunConfig(), {"clips_per_genre": 0})) == "44136fa355"
    assert signature(with_values(RunConfig(), {"clips_per_genre": 5})) != "44136fa355"


@pytest.mark.slow
def test_more_than_there_is_trains_bit_for_bit_as_without_the_field(
    store: Path, tiny: Tiny
) -> None:
    usual, most, few = (
        trained(tiny(clips_per_genre=n, training__epochs=1), store) for n in (0, 99, 2)
    )
    for name in ("predictions", "segments"):
        pd.testing.assert_frame_equal(getattr(most, name), getattr(usual, name), check_exact=True)
        assert not getattr(few, name).equals(getattr(usual, name))
    counts_of_a_thinned_run_agree(few, 2)
    same = ["clip_id", "split", "genre"]
    assert few.predictions[same].equals(usual.predictions[same])
    estimator = Estimator([usual])
    n_usual, n_few = (estimator.counts(run.config) for run in (usual, few))
    assert n_usual is not None
    assert n_few == n_usual._replace(n_train=3 * 2 * 3)  # genres, clips, segments
    assert estimator.estimate(few.config).seconds < estimator.estimate(usual.config).seconds


def counts_of_a_thinned_run_agree(run: Run, n: int) -> None:
    clips, trial = run.clips, check(run.config).split
    assert clips is not None
    assert trial is not None
    assert trial.parts is not None
    by_genre = clips[clips["split"].eq("train").fillna(False)]["genre"].value_counts()
    assert trial.n_train == by_genre.to_dict() == dict.fromkeys(by_genre.index, n)
    in_table = clips.set_index("clip_id")["split"].astype(object).fillna("")
    assert trial.parts.astype(object).fillna("").to_dict() == in_table.to_dict()
    assert run.separation is not None
    assert trial.separation is not None
    assert run.separation.n_clips == trial.separation.n_clips == in_table.ne("").sum()
    assert any(f"{n} of each genre" in note for note in run.status["notes"])


@pytest.mark.slow
def test_a_classical_model_learns_from_the_drawn_clips(
    store: Path, tiny: Tiny, tables: Path
) -> None:
    runs = [
        trained(on_table(tiny, tables, "prototypes", clips_per_genre=2, seed=seed), store)
        for seed in (0, 1)
    ]
    for run in runs:
        counts_of_a_thinned_run_agree(run, 2)
        assert "6 training segments" in run.log()
    assert trained_on(runs[0].clips) != trained_on(runs[1].clips)


def test_a_sweep_takes_all_for_every_clip() -> None:
    base = with_values(RunConfig(), {"feature": "descriptors", "model": "prototypes"})
    texts = {"clips_per_genre": "1,2,all", "seed": "0..1"}
    plan = draft(*spread(base, [{}], texts))
    assert [(c.seed, c.clips_per_genre) for c in plan.configs] == [
        (seed, n) for seed in (0, 1) for n in (1, 2, 0)
    ]
    assert problems_of(plan.configs) == [""] * 6
    assert in_words(plan.changes[2]) == "seed 0, training clips a genre all"
    assert in_words({"clips_per_genre": 5, "training.clip_norm": 0}).endswith("clipping 0")
