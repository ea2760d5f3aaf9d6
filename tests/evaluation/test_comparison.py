"""Runs compared on the clips they share: counts, intervals, adjusted tests, verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import command, genrecore, refused
from fake_runs import draw_right, fake_run

from genrecore import words
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation import clustered, comparison, significance, verdicts
from genrecore.evaluation.scores import read_test_predictions
from genrecore.store import runs, views
from genrecore.store.run import Run


def test_a_pair_is_counted_tested_and_judged(store: Path) -> None:
    artists = np.arange(300) // 3  # whose three clips are all right or all wrong
    a, b = draw_right(0.9, 100, 1)[artists], draw_right(0.6, 100, 2)[artists]
    compared = comparison.compare(
        [fake_run(store, a, artists), fake_run(store, b, artists, seed=1)]
    )
    (pair,) = compared.pairs.to_dict("records")
    assert (pair["both"], pair["only_a"], pair["only_b"], pair["neither"]) == (
        (a & b).sum(), (a & ~b).sum(), (~a & b).sum(), (~a & ~b).sum(),
    )  # fmt: skip
    expected = clustered.difference(a, b, artists)
    assert (pair["difference"], pair["error"], pair["p"], pair["p_holm"]) == pytest.approx(
        (a.mean() - b.mean(), expected.error, expected.p, expected.p)
    )
    assert pair["p_mcnemar"] == significance.mcnemar_mid_p(pair["only_a"], pair["only_b"])
    assert (pair["verdict"], pair["better"]) == (verdicts.BETTER, "a")
    assert pair["sentence"].endswith(
        f"{pair['title_a']} is better, as far as these two trainings go."
    )
    assert sum(matrix.to_numpy().sum() for matrix in compared.confusions.values()) == 600


def test_tests_of_many_pairs_are_adjusted(store: Path) -> None:
    four_runs = [fake_run(store, draw_right(0.7 - k / 20, 200, k), seed=k) for k in range(4)]
    pairs = comparison.compare(four_runs).pairs
    assert len(pairs) == 6
    assert pairs["p_holm"].tolist() == verdicts.holm(pairs["p"].tolist())
    assert pairs["sentence"].str.contains("adjusted for 6 pairs|with 6 pairs compared").all()


@pytest.mark.slow
def test_the_headline_says_who_wins_in_plain_words(store: Path) -> None:
    def headline(*shares: float) -> str:
        two = [
            fake_run(store, draw_right(share, 400, 7), seed=len(list(store.iterdir())))
            for share in shares
        ]
        compared = comparison.compare(two)
        text = compared.headline
        for run, name in zip(two, "ABCD", strict=False):
            text = text.replace(compared.titles[run.run_id], name)
        return text

    same_draw = [draw_right(share, 400, 7).mean() for share in (0.9, 0.6)]
    by = words.points(same_draw[0] - same_draw[1])
    assert headline(0.6, 0.9) == f"B is better than A on these 400 clips, by {by}."
    no_winner = "No clear winner: B and A cannot be told apart on these 400 clips."
    assert headline(0.7, 0.71) == no_winner
    assert headline(0.7, 0.71, 0.715) == "No clear winner among these 3 runs."
    assert headline(0.5, 0.8, 0.805) == (
        "No clear winner among these 3 runs: C is better than A, but not clearly better than B."
    )
    three = headline(0.3, 0.9, 0.5)
    assert three.startswith("B is better than the other 2 on these 400 clips, by ")
    a = fake_run(store, draw_right(0.8, 90, 1), seed=91)
    b = fake_run(store, draw_right(0.8, 90, 1), first=200, seed=92)
    apart = comparison.compare([a, b]).headline
    assert apart == "These 2 runs were tested on different clips: no winner can be named."
    wide = comparison.compare(
        [fake_run(store, draw_right(0.8, 90, 1), seed=93), a], band=0.5
    ).headline
    assert wide.endswith("are equally good on these 90 clips, as far as it matters in practice.")


def test_a_headline_names_few_of_many(store: Path) -> None:
    right = draw_right(0.9, 90, 1)
    two = [fake_run(store, right, seed=0), fake_run(store, ~right, seed=1)]
    far = [fake_run(store, right, first=100 * k, seed=k) for k in range(2, 9)]
    compared = comparison.compare([*two, *far])
    assert "and 4 others were tested on other clips" in compared.headline
    assert any("and 6 others." in note for note in compared.notes)


def test_the_command_and_its_json_begin_with_the_headline(store: Path) -> None:
    two = [fake_run(store, draw_right(0.9 - k / 2, 200, k), seed=k) for k in range(2)]
    headline = comparison.compare(two).headline
    ids = [run.run_id for run in two]
    assert command("compare", *ids).replace("\n", " ").startswith(headline)
    assert json.loads(command("compare", *ids, "--json"))["headline"] == headline


def test_a_saved_view_names_its_runs_and_is_renamed_and_deleted(store: Path) -> None:
    three = [fake_run(store, draw_right(0.9 - k / 5, 90, k), seed=k) for k in range(3)]
    ids = [run.run_id for run in three]
    args = ("--save", " My  view ", "--band", "3", "--json")
    first = json.loads(command("compare", *ids[:2], *args))
    fake_run(store, draw_right(1.0, 90, 9), seed=9)  # a better run changes no saved view
    assert json.loads(command("compare", "--view", "My view", "--json")) == first
    assert views.saved(store) == [views.SavedView("My view", tuple(ids[:2]), band=3.0)]
    assert "My view" in command("views", "list")
    assert json.loads(command("views", "list", "--json"))[0]["runs"] == ids[:2]
    views.save(store, views.SavedView("Another", tuple(ids), systems=True, shared=True))
    refused(genrecore("views", "rename", "My view", "Another"), 2, "called 'Another' already")
    command("views", "rename", "My view", "Old")
    refused(genrecore("compare", "--view", "My view"), 2, "there are: Another, Old")
    refused(genrecore("compare", ids[0], "--view", "Old"), 2, "Name the runs to compare, or")
    refused(genrecore("compare"), 2, "Name the runs to compare, or a saved view")
    command("views", "delete", "Old")
    assert [view.name for view in views.saved(store)] == ["Another"]
    for name, named in (("", ids), ("x" * 101, ids), ("one", ids[:1])):
        with pytest.raises(UsageError):
            views.save(store, views.SavedView(name, tuple(named)))
    # What somebody broke is left out, and the rest stays.
    settings = json.loads((store / "settings.json").read_text())
    settings["views"] += [3, {"name": "x"}, {"name": "y", "runs": ["a", "b"], "band": "wide"}]
    (store / "settings.json").write_text(json.dumps(settings))
    assert [view.name for view in views.saved(store)] == ["Another", "y"]
    assert views.saved(store)[1].band == 1.0


def test_a_band_makes_runs_equivalent(store: Path) -> None:
    right = draw_right(0.7, 900, 5)
    changed = right.copy()
    changed[:5] = ~changed[:5]
    both = [fake_run(store, right), fake_run(store, changed, seed=1)]
    assert comparison.compare(both).pairs["verdict"].item() == verdicts.EQUIVALENT
    assert comparison.compare(both, band=0.0).pairs["verdict"].item() == verdicts.OPEN


def test_few_clips_without_disagreement_say_little(store: Path) -> None:
    right = draw_right(0.7, 30, 6)
    (pair,) = comparison.compare(
        [fake_run(store, right), fake_run(store, right, seed=1)]
    ).pairs.to_dict("records")
    assert pair["difference"] == 0
    assert (pair["p_holm"], pair["verdict"]) == (1.0, verdicts.OPEN)
    assert pair["resolved"] > 0.05


def test_other_clips_are_compared_only_where_asked(store: Path) -> None:
    a, b = (
        fake_run(store, draw_right(0.6, 90, 7)),
        fake_run(store, draw_right(0.6, 90, 8), first=60, seed=1),
    )
    compared = comparison.compare([a, b])
    assert (compared.differ, len(compared.shared), compared.n_tested) == (True, 30, 150)
    (pair,) = compared.pairs.to_dict("records")
    assert np.isnan(pair["difference"])
    assert compared.can_ask
    assert "30 of them the same" in pair["sentence"]
    assert "only if you ask" in pair["sentence"]
    assert pair["verdict"] == verdicts.NOT_COMPARED
    assert any("30 of 150 are shared by all" in note for note in compared.notes)
    assert compared.table["n_clips"].tolist() == [90, 90]

    on_shared_clips = comparison.compare([a, b], on_shared=True)
    assert on_shared_clips.pairs["n_clips"].tolist() == [30]
    assert not on_shared_clips.can_ask
    assert on_shared_clips.table["n_clips"].tolist() == [30, 30]
    assert [matrix.to_numpy().sum() for matrix in on_shared_clips.confusions.values()] == [30, 30]
    for run in (a, b):
        own = read_test_predictions(run).set_index("clip_id").loc[on_shared_clips.shared]
        expected = own[["p_blues", "p_jazz", "p_rock"]].idxmax(axis=1).str[2:] == own["genre"]
        accuracy = on_shared_clips.table.set_index("run_id").loc[run.run_id, "accuracy"]
        assert accuracy == expected.mean()


def test_what_shares_no_clip_is_not_compared_and_not_dropped(store: Path) -> None:
    a, b = (
        fake_run(store, draw_right(0.6, 90, 7)),
        fake_run(store, draw_right(0.6, 90, 8), seed=1),
    )
    far = fake_run(store, draw_right(0.6, 90, 9), first=1000, seed=2)
    for on_shared in (False, True):
        compared = comparison.compare([a, b, far], on_shared=on_shared)
        assert compared.pairs["n_clips"].tolist() == [90, 0, 0]
        assert compared.pairs["sentence"].str.contains("share no test clips").tolist() == [
            False, True, True,
        ]  # fmt: skip
        assert np.isnan(compared.pairs["p_holm"][1])
        assert "adjusted" not in compared.pairs["sentence"][0]  # one pair was tested
        assert any("No clip was tested by all" in note for note in compared.notes)
        assert len(compared.table) == len(compared.confusions) == 3


def test_runs_that_cannot_be_compared_say_why(store: Path) -> None:
    a = fake_run(store, draw_right(0.6, 30, 1))
    with pytest.raises(GenrecoreError, match="at least two runs"):
        comparison.compare([a])
    with pytest.raises(GenrecoreError, match="with itself"):
        comparison.compare([a, a])
    waiting = runs.create_run(RunConfig(), store)
    with pytest.raises(GenrecoreError, match="no test predictions"):
        comparison.compare([a, waiting])


def test_the_exact_test_is_scipys() -> None:
    from scipy.stats import binomtest

    for only_a, only_b in ((0, 0), (1, 0), (19, 8), (3, 3), (40, 70)):
        n = only_a + only_b
        expected = binomtest(only_a, n).pvalue if n else 1.0
        assert significance.mcnemar_exact_p(only_a, only_b) == pytest.approx(expected)


def spoilt(run: Run, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Run:
    """The run with its table of predictions changed."""
    path = run.folder / "predictions.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    return Run(run.folder)


def test_probabilities_that_are_no_numbers_count_as_mistakes_and_are_told(store: Path) -> None:
    right = draw_right(0.7, 60, 1)
    a, b = fake_run(store, right), fake_run(store, right, seed=1)

    def blind(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[:3, ["p_blues", "p_jazz", "p_rock"]] = np.nan
        return table

    compared = comparison.compare([spoilt(a, blind), b])
    n_lost = int(right[:4].sum())
    (pair,) = compared.pairs.to_dict("records")
    assert (pair["n_clips"], pair["only_b"], pair["only_a"]) == (60, n_lost, 0)
    assert any("4 clips probabilities that are not numbers" in note for note in compared.notes)
    matrix = compared.confusions[a.run_id]
    assert (matrix["no prediction"].sum(), matrix.to_numpy().sum()) == (4, 60)
    diagonal = matrix[["blues", "jazz", "rock"]].to_numpy().trace()
    assert diagonal == pair["both"] + pair["only_a"]
    assert np.isnan(compared.table["log_loss"][0])


def test_genres_that_are_absent_or_alone_are_told_and_not_dropped(store: Path) -> None:
    def cut(table: pd.DataFrame) -> pd.DataFrame:
        first = table["genre"].eq("jazz").idxmax()
        jazz = table["genre"].eq("jazz") & (table.index != first)
        return table[~table["genre"].eq("rock") & ~jazz]

    both = [spoilt(fake_run(store, draw_right(0.7, 60, k), seed=k), cut) for k in range(2)]
    compared = comparison.compare(both)
    text = "\n".join(compared.notes)
    assert "No test clip is labelled rock" in text
    assert "There is only one test clip of jazz" in text
    recalls = compared.per_genre.set_index("genre")["recall"]
    assert recalls["rock"].isna().all()
    assert set(recalls["jazz"]) <= {0.0, 1.0}
    assert len(recalls) == 6
    assert compared.pairs["n_clips"].item() == 21
    assert set(compared.dependence["genre"]) == {"blues", "jazz"}


def test_runs_of_other_genres_are_compared_on_who_is_right(store: Path) -> None:
    a = fake_run(store, draw_right(0.7, 60, 1))
    b = fake_run(store, draw_right(0.7, 60, 2), genres=["blues", "jazz", "metal"], seed=1)
    compared = comparison.compare([a, b])
    assert any("these genres: metal, rock" in note for note in compared.notes)
    assert compared.pairs["n_clips"].item() == 60


def test_a_dataset_that_is_gone_changes_no_number(store: Path, tmp_path: Path) -> None:
    values = {"dataset": "folder", "dataset__folder": str(tmp_path / "gone")}
    both = [fake_run(store, draw_right(0.7, 60, k), seed=k, **values) for k in range(2)]
    compared = comparison.compare(both)
    accuracies = [draw_right(0.7, 60, k).mean() for k in range(2)]
    assert compared.table["accuracy"].tolist() == pytest.approx(accuracies)


def test_other_datasets_are_not_compared_even_if_their_clips_are_named_alike(store: Path) -> None:
    a = fake_run(store, draw_right(0.7, 60, 1))
    b = fake_run(store, draw_right(0.7, 60, 2), dataset="gtzan")
    compared = comparison.compare([a, b], on_shared=True)
    assert compared.pairs["n_clips"].item() == 0
    assert any("different datasets: demo, gtzan" in note for note in compared.notes)


def test_the_systems_command_pools_and_says_so(store: Path) -> None:
    ids = [
        fake_run(store, draw_right(share, 90, seed), model=model, seed=seed).run_id
        for model, share in (("cnn", 0.8), ("mlp", 0.5))
        for seed in range(2)
    ]
    text = command("compare", ids[0], ids[2], "--systems", "--band", "3")
    assert "over 2 seeds each" in text
    assert "cnn · demo" in text
    refused(genrecore("compare", ids[0], ids[1], "--systems"), 1, "at least two systems")
