"""Systems: runs pooled over seeds and folds, compared by clips and seeds, ranked over blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_runs import draw_right, fake_run

from genrecore.errors import GenrecoreError
from genrecore.evaluation import clustered, comparison, ranks, systems, verdicts
from genrecore.evaluation.curves import curve_band
from genrecore.evaluation.scores import run_scores
from genrecore.store import runs
from genrecore.store.run import Run

ARTISTS = np.arange(180) // 2


def seeds(store: Path, shares: list[float], first: int = 0, **values: object) -> list[Run]:
    """A run a share: so many of 180 clips are right."""
    return [
        fake_run(store, draw_right(share, 180, first + k), ARTISTS, seed=k, **values)
        for k, share in enumerate(shares)
    ]


def test_runs_that_differ_in_seeds_and_fold_are_one_system(store: Path) -> None:
    of_three_seeds = seeds(store, [0.6, 0.7, 0.65])
    of_other_rate = fake_run(store, draw_right(0.5, 180, 9), ARTISTS, training__lr=0.02)
    waiting = runs.create_run(of_three_seeds[0].config, store)
    grouped = systems.group_runs([of_other_rate, *of_three_seeds, waiting])
    assert [len(system.runs) for system in grouped] == [1, 3]
    assert grouped[1].n_seeds == 3
    assert [name for name, _ in grouped[1].tests] == ["seed 0", "seed 1", "seed 2"]
    assert systems.titles(grouped) == {
        grouped[0].signature: "cnn · demo · lr 0.02", grouped[1].signature: "cnn · demo · lr 0.001"
    }  # fmt: skip


def test_the_same_seed_twice_is_one_test_the_newest(store: Path) -> None:
    twice = [fake_run(store, draw_right(share, 180, 1), ARTISTS) for share in (0.5, 0.9)]
    (system,) = systems.group_runs(reversed(twice))
    assert system.runs == (max(twice, key=lambda run: run.created),)


def test_titles_never_repeat(store: Path) -> None:
    many = [
        fake_run(store, draw_right(0.5, 9, 1), training__lr=lr, training__batch_size=size,
             training__weight_decay=decay)
        for lr in (0.1, 0.2) for size in (8, 16) for decay in (0.0, 0.1)
    ]  # fmt: skip
    names = systems.titles(systems.group_runs(many))
    assert len(set(names.values())) == len(names) == 8


def test_titles_name_settings_in_the_order_of_the_fields_from_summaries_and_from_files(
    store: Path,
) -> None:
    plain = fake_run(store, draw_right(0.5, 9, 1))
    rate = fake_run(store, draw_right(0.5, 9, 1), feature__n_mels=64, training__lr=0.1)
    noise = fake_run(store, draw_right(0.5, 9, 1), augment="noise", feature__n_mels=96)
    expected = {
        systems.signature(plain): "cnn · demo · n_mels none, augment none",
        systems.signature(rate): "cnn · demo · n_mels 64, augment none",
        systems.signature(noise): "cnn · demo · n_mels 96, augment noise",
    }
    for order in ([plain, rate, noise], [noise, rate, plain]):
        assert systems.titles(systems.group_runs(order)) == expected
    assert systems.titles(systems.group_runs(runs.all_runs())) == expected


def test_a_system_is_the_mean_of_its_seeds_and_sums_agree(store: Path) -> None:
    a, b = seeds(store, [0.7, 0.8, 0.75]), seeds(store, [0.5, 0.6], 50, model="crnn")
    compared = systems.compare(systems.group_runs([*a, *b]))
    table = compared.table.set_index("run_id")
    for members in (a, b):
        row = table.loc[systems.signature(members[0])]
        each = [run_scores(run)["accuracy"] for run in members]
        assert row["accuracy"] == pytest.approx(np.mean(each))
        assert (row["seed_low"], row["seed_high"]) == (min(each), max(each))
        assert (row["n_runs"], row["n_clips"]) == (len(members), 180)
        matrix = compared.confusions[systems.signature(members[0])].to_numpy()
        assert matrix.sum() == 180 * len(members)
        assert np.trace(matrix) == pytest.approx(180 * sum(each))
    (pair,) = compared.pairs.to_dict("records")
    counts = [pair[name] for name in ("both", "only_a", "only_b", "neither")]
    assert sum(counts) == pytest.approx(180)
    accuracies = table.loc[[pair["run_a"], pair["run_b"]], "accuracy"].to_list()
    assert (counts[0] + counts[1]) / 180 == pytest.approx(accuracies[0])
    assert pair["difference"] == pytest.approx(accuracies[0] - accuracies[1])
    assert "over 3 and 2 seeds" in pair["sentence"]
    recalls = compared.per_genre[compared.per_genre["run_id"] == pair["run_a"]]
    assert (recalls["n_clips"] == 60).all()
    diagonal = np.diag(compared.confusions[pair["run_a"]]) / (60 * 3)
    assert recalls["recall"].to_numpy() == pytest.approx(diagonal)
    assert (recalls["recall_low"] < recalls["recall"]).all()
    assert (recalls["recall"] < recalls["recall_high"]).all()


def test_one_seed_each_is_the_comparison_of_two_runs_with_a_caveat(store: Path) -> None:
    a, b = seeds(store, [0.9])[0], seeds(store, [0.5], 50, model="crnn")[0]
    alone = comparison.compare([a, b]).pairs.iloc[0]
    pooled = systems.compare(systems.group_runs([a, b]))
    for name in ("n_clips", "only_a", "difference", "low", "high", "p", "p_mcnemar"):
        assert pooled.pairs.iloc[0][name] == alone[name]
    # Of the two trainings one is better; of the systems it is not known.
    assert alone["verdict"] == verdicts.BETTER
    assert pooled.pairs.iloc[0]["verdict"] == verdicts.OPEN
    assert pooled.pairs.iloc[0]["sentence"].count("have one seed: another may say otherwise") == 1
    (note,) = pooled.notes
    assert note == "What another seed would give is not known of cnn · demo and crnn · demo: " + (
        "these have one seed."
    )


def test_the_spread_of_seeds_is_pooled_over_systems(store: Path) -> None:
    several = [*seeds(store, [0.8, 0.7, 0.6]), *seeds(store, [0.5, 0.6], 9, model="mlp")]
    alone = seeds(store, [0.4], 50, model="crnn")
    accuracies = {run.run_id: run_scores(run)["accuracy"] for run in [*several, *alone]}
    groups = [[accuracies[run.run_id] for run in runs] for runs in (several[:3], several[3:])]
    pooled = np.sqrt((2 * np.var(groups[0], ddof=1) + np.var(groups[1], ddof=1)) / 3)
    spread, n_systems = systems.seed_spread(systems.group_runs([*several, *alone]), accuracies)
    assert (spread, n_systems) == (pytest.approx(pooled), 2)
    none, n_systems = systems.seed_spread(systems.group_runs(alone), accuracies)
    assert np.isnan(none)
    assert n_systems == 0


@pytest.mark.slow
def test_more_seeds_make_surer_of_the_same_difference(store: Path) -> None:
    def error(n: int) -> float:
        a = [fake_run(store, draw_right(0.7, 180, 100 + k), seed=k, fold=0) for k in range(n)]
        b = [fake_run(store, draw_right(0.7, 180, 200 + k), seed=k, model="mlp") for k in range(n)]
        pair = systems.compare(systems.group_runs([*a, *b])).pairs.iloc[0]
        return float(pair["error"])

    # Clips are right by chance alone here, so that each seed says something new.
    assert error(6) < 0.8 * error(2)


def folded(store: Path, model: str, share: float, folds: range, seed: int = 0) -> list[Run]:
    values = {"seed": seed, "model": model, "split__n_folds": 3}
    return [
        fake_run(
            store, draw_right(share, 30, 10 * fold + seed), first=30 * fold, fold=fold, **values
        )
        for fold in folds
    ]


def test_folds_are_one_test_once_all_are_done(store: Path) -> None:
    a, b = folded(store, "cnn", 0.8, range(3)), folded(store, "mlp", 0.5, range(3))
    compared = systems.compare(systems.group_runs([*a, *b]))
    assert compared.table["n_clips"].tolist() == [90, 90]
    assert compared.table["n_runs"].tolist() == [1, 1]
    assert compared.pairs["n_clips"].item() == 90
    accuracy = np.mean([run_scores(run)["accuracy"] for run in a])
    row = compared.table.set_index("run_id").loc[systems.signature(a[0])]
    assert row["accuracy"] == pytest.approx(accuracy)


@pytest.mark.slow
def test_folds_that_are_missing_are_named_and_shared_folds_compared(store: Path) -> None:
    a, b = folded(store, "cnn", 0.8, range(3)), folded(store, "mlp", 0.5, range(2))
    compared = systems.compare(systems.group_runs([*a, *b]))
    assert any("2 of 3 folds are done; missing: fold 3" in note for note in compared.notes)
    (pair,) = compared.pairs.to_dict("records")
    assert np.isnan(pair["difference"])  # 90 clips against two thirty
    assert "only if you ask" in pair["sentence"]
    shared_pair = systems.compare(systems.group_runs([*a, *b]), on_shared=True).pairs.iloc[0]
    assert shared_pair["n_clips"] == 60
    c = folded(store, "crnn", 0.5, range(2))
    both = systems.compare(systems.group_runs([*b, *c])).pairs.iloc[0]
    assert both["n_clips"] == 60


def test_only_test_sets_that_both_have_are_compared(store: Path) -> None:
    def on(model: str, seed: int) -> Run:
        return fake_run(
            store, draw_right(0.6, 60, seed), first=60 * seed, split_seed=seed, model=model
        )

    a, b = [on("cnn", 0), on("cnn", 1), on("cnn", 2)], [on("mlp", 1), on("mlp", 2), on("mlp", 3)]
    pair = systems.compare(systems.group_runs([*a, *b])).pairs.iloc[0]
    assert pair["n_clips"] == 120
    assert pair["difference"] == pytest.approx(0.0)  # the same draws of who is right


def test_tests_on_other_clips_count_with_their_clips() -> None:
    nan = np.nan
    right = np.array([[1, 1, 0, nan], [nan, 1, 1, 1]])
    assert clustered.accuracy(right, np.arange(4)).value == pytest.approx(5 / 6)


def test_systems_that_cannot_be_compared_say_why(store: Path) -> None:
    (system,) = systems.group_runs(seeds(store, [0.6]))
    with pytest.raises(GenrecoreError, match="at least two systems"):
        systems.compare([system])
    with pytest.raises(GenrecoreError, match="with itself"):
        systems.compare([system, system])


def test_systems_are_ranked_on_the_folds_that_all_have(store: Path) -> None:
    shares = {"cnn": 0.9, "crnn": 0.7, "mlp": 0.4}
    folds = [
        run
        for model, share in shares.items()
        for run in folded(store, model, share, range(2 if model == "mlp" else 3))
    ]
    more = folded(store, "cnn", 0.9, range(1), seed=1)  # a block is the mean over its seeds
    blocks = systems.over_blocks(systems.group_runs([*folds, *more]))
    assert blocks.scores.shape == (2, 3)
    assert blocks.left_out == ["demo, By artist, fold 3 of 3: tested by 2 of 3."]
    means = [np.mean([run_scores(run)["accuracy"] for run in (folds[0], more[0])])]
    assert blocks.scores["cnn · demo"].iloc[0] == pytest.approx(means[0])
    assert blocks.ranks is not None
    expected = ranks.friedman(blocks.scores.to_numpy())
    assert blocks.ranks.mean.tolist() == expected.mean.tolist() == [1, 2, 3]
    assert systems.over_blocks(systems.group_runs(folds[:3])).ranks is None  # one system


def test_the_same_system_on_two_datasets_is_one_column(store: Path) -> None:
    four_runs = [
        fake_run(store, draw_right(share, 60, k), model=model, dataset=dataset)
        for k, (model, dataset, share) in enumerate(
            [("cnn", "demo", 0.8), ("cnn", "gtzan", 0.7), ("mlp", "demo", 0.5),
             ("mlp", "gtzan", 0.4)]
        )
    ]  # fmt: skip
    blocks = systems.over_blocks(systems.group_runs(four_runs))
    assert list(blocks.scores.columns) == ["cnn", "mlp"]
    assert list(blocks.scores.index) == [
        "demo, By artist, fold 1 of 5",
        "gtzan, By artist, fold 1 of 5",
    ]


def test_curves_of_a_system_are_means_in_a_band(store: Path) -> None:
    two_seeds = [
        fake_run(store, draw_right(0.6, 30, k), n_epochs=n, seed=k) for k, n in enumerate((4, 6))
    ]
    mlp_run = fake_run(store, draw_right(0.6, 30, 7), n_epochs=3, model="mlp")
    compared = systems.compare(systems.group_runs([*two_seeds, mlp_run]))
    band = curve_band(compared.curves)
    valid = band[(band["run_id"] == systems.signature(two_seeds[0])) & (band["split"] == "valid")]
    assert valid["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert (valid["loss_low"] == valid["loss_high"]).all()  # both histories are the same
    assert valid["step"].tolist() == [25 * epoch for epoch in range(1, 7)]
    assert valid["seconds"].tolist() == [60 * epoch for epoch in range(1, 7)]
