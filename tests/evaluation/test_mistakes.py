"""Mistakes clip by clip: cells, orders, who is right where, disagreement, suspect labels."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import command, genrecore, refused
from fake_runs import draw_right, fake_run

from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation import comparison, label_reviews, metrics, mistakes
from genrecore.store import runs
from genrecore.store.run import Run

GENRES = ["blues", "jazz", "rock"]


def table(proba: np.ndarray, labels: list[str], first: int = 0) -> pd.DataFrame:
    """Predictions as `mistakes.clip_predictions` gives them, from probabilities (clips, 3)."""
    rows = pd.DataFrame({"clip_id": [f"c{first + k}" for k in range(len(labels))]})
    predicted = np.array(GENRES, dtype=object)[proba.argmax(axis=1)]
    rows = rows.assign(genre=labels, predicted=predicted, right=predicted == np.array(labels))
    return rows.assign(**{f"p_{genre}": proba[:, k] for k, genre in enumerate(GENRES)})


def test_cells_are_the_confusion_matrix(store: Path) -> None:
    run = fake_run(store, draw_right(0.6, 90, 1), np.arange(90) // 2)
    predictions = mistakes.clip_predictions(run)
    matrix = metrics.confusion(run.predictions, GENRES)
    for labelled in GENRES:
        for predicted in GENRES:
            clips = mistakes.cell(predictions, labelled, predicted)
            assert len(clips) == matrix.loc[labelled, predicted]
            assert set(clips["genre"]) <= {labelled}
    assert predictions["artist"].tolist() == [str(k // 2) for k in range(90)]
    assert predictions["path"].isna().all()  # that table knows none


def test_numbers_of_a_prediction_by_hand(store: Path) -> None:
    run = fake_run(store, np.array([True, False, True]))
    path = run.folder / "predictions.parquet"
    stored = pd.read_parquet(path)
    stored[["p_blues", "p_jazz", "p_rock"]] = [[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [1 / 3] * 3]
    stored.to_parquet(path)
    predictions = mistakes.clip_predictions(Run(run.folder))
    assert predictions["margin"].tolist() == pytest.approx([0.25, -1.0, 0.0])
    assert predictions["label_proba"].tolist() == pytest.approx([0.5, 0.0, 1 / 3])
    assert predictions["entropy"].tolist() == pytest.approx([1.5 * np.log(2) / np.log(3), 0.0, 1.0])
    assert mistakes.sort_clips(predictions, "uncertain")["clip_id"].iloc[0] == "clip 0002"
    assert mistakes.sort_clips(predictions, "certain")["clip_id"].tolist() == [
        "clip 0001",
        "clip 0002",
    ]
    assert mistakes.sort_clips(predictions, "worst")["clip_id"].tolist() == [
        "clip 0001",
        "clip 0002",
    ]
    with pytest.raises(GenrecoreError, match="no valid predictions"):
        mistakes.clip_predictions(run, "valid")
    with pytest.raises(GenrecoreError, match="is queued"):
        mistakes.clip_predictions(runs.create_run(RunConfig(), store))


def test_who_is_right_where_adds_up_to_the_contingency_table(store: Path) -> None:
    a = fake_run(store, draw_right(0.7, 120, 2))
    b = fake_run(store, draw_right(0.6, 90, 3), first=30, seed=1)
    joined = mistakes.contingency(*(mistakes.clip_predictions(run) for run in (a, b)))
    pair = comparison.compare([a, b], on_shared=True).pairs.iloc[0]
    counts = joined["who"].value_counts()
    assert counts[mistakes.BOTH] == pair["both"]
    assert counts[mistakes.ONLY_A] == pair["only_a"]
    assert counts[mistakes.ONLY_B] == pair["only_b"]
    assert counts[mistakes.NEITHER] == pair["neither"]
    assert counts.sum() == 90


def test_suggestions_are_genres(store: Path) -> None:
    both = [fake_run(store, draw_right(0.7, 60, k), seed=k) for k in range(2)]
    suspects = mistakes.suspects([mistakes.clip_predictions(run) for run in both])
    assert set(suspects["suggested"]) <= set(GENRES)
    assert (suspects["suggested"] != suspects["genre"]).all()


def test_clips_on_which_runs_differ_come_first() -> None:
    sure, opposite = [0.9, 0.05, 0.05], [0.05, 0.9, 0.05]
    a = table(np.array([sure, sure, sure]), ["blues"] * 3)
    b = table(np.array([sure, opposite, [0.8, 0.15, 0.05]]), ["blues"] * 3)
    ranked = mistakes.disagreement([a, b])
    assert ranked["clip_id"].tolist() == ["c1", "c2", "c0"]
    assert ranked["spread"].tolist() == pytest.approx([0.85, 0.1, 0.0])
    assert ranked["n_verdicts"].tolist() == [2, 1, 1]
    generator = np.random.default_rng(2)
    several = [table(generator.dirichlet([1, 1, 1], 17), ["jazz"] * 17) for _ in range(5)]
    ranked = mistakes.disagreement(several).set_index("clip_id")["spread"]
    proba = np.stack(
        [predictions[[f"p_{genre}" for genre in GENRES]].to_numpy() for predictions in several]
    )
    pairs = [(i, j) for i in range(5) for j in range(i)]
    expected = np.mean([0.5 * np.abs(proba[i] - proba[j]).sum(axis=1) for i, j in pairs], axis=0)
    assert ranked[[f"c{k}" for k in range(17)]].to_numpy() == pytest.approx(expected)
    with pytest.raises(GenrecoreError, match="at least two"):
        mistakes.disagreement([a])
    with pytest.raises(GenrecoreError, match="share no test clips"):
        mistakes.disagreement([a, table(np.array([sure]), ["blues"], first=50)])
    with pytest.raises(GenrecoreError, match="different genres"):
        mistakes.disagreement([a, b.drop(columns="p_rock")])


def test_flipped_labels_are_suspected() -> None:
    """Scores of an imperfect judge, 5 % of the labels flipped: most flips are at the top."""
    generator = np.random.default_rng(4)
    n = 600
    truth = generator.integers(0, 3, n)
    several = []
    label = truth.copy()
    flipped = generator.choice(n, n // 20, replace=False)
    label[flipped] = (truth[flipped] + generator.integers(1, 3, len(flipped))) % 3
    names = [GENRES[k] for k in label]
    for _ in range(2):
        logits = generator.normal(0, 1, (n, 3))
        logits[np.arange(n), truth] += 2.5
        proba = np.exp(logits)
        several.append(table(proba / proba.sum(axis=1, keepdims=True), names))
    ranked = mistakes.suspects(several)
    top = set(ranked["clip_id"].head(n // 10))
    planted = {f"c{k}" for k in flipped}
    assert len(top & planted) / len(planted) >= 0.7
    suspected = ranked[ranked["suspect"]]
    assert planted & set(suspected["clip_id"])
    assert len(suspected) < n / 4
    assert (ranked["n_against"] <= 2).all()
    # An own reckoning of one row.
    row = ranked.iloc[0]
    index = int(row["clip_id"][1:])
    columns = [f"p_{genre}" for genre in GENRES]
    mean = np.mean(
        [predictions.loc[index, columns].to_numpy(dtype=float) for predictions in several], axis=0
    )
    assert row["label_proba"] == pytest.approx(mean[label[index]])
    assert row["suggested_proba"] == pytest.approx(np.delete(mean, label[index]).max())
    with pytest.raises(GenrecoreError, match="at least one run"):
        mistakes.suspects([])


def test_judgements_are_kept_and_the_last_one_counts(store: Path) -> None:
    assert label_reviews.read(store).empty
    label_reviews.add("gtzan", "jazz.1", "jazz", "unclear", 'a "note",\nof two lines', store)
    label_reviews.add("gtzan", "jazz.1", "jazz", "wrong", store=store)
    label_reviews.add("fma", "000002", "Hip-Hop", "right", store=store)
    label_reviews.add("gtzan", "rock.9", "rock", "right", store=store)
    label_reviews.add("gtzan", "rock.9", "rock", "", store=store)  # taken back
    reviews = label_reviews.read(store)
    assert reviews[["clip_id", "judgement"]].values.tolist() == [
        ["jazz.1", "wrong"], ["000002", "right"],
    ]  # fmt: skip
    assert label_reviews.read(store, "fma")["clip_id"].tolist() == ["000002"]
    lines = (store / label_reviews.FILE).read_text().splitlines()
    assert lines[0] == "dataset,clip_id,genre,judgement,note,at,content"
    assert len(lines) == 6
    assert '"a ""note"", of two lines"' in lines[1]
    with pytest.raises(UsageError, match="right, wrong, unclear"):
        label_reviews.add("gtzan", "jazz.1", "jazz", "so so", store=store)
    (store / label_reviews.FILE).write_text("no,table\n1,2\n")
    with pytest.raises(GenrecoreError, match="lacks the columns dataset"):
        label_reviews.read(store)


def test_a_judgement_is_of_the_content_that_was_heard_and_not_of_its_name(store: Path) -> None:
    def judged(*clips: tuple[str, str, str | None]) -> dict[str, str]:
        table = pd.DataFrame(clips, columns=["clip_id", "genre", "content"])
        return label_reviews.of_clips(label_reviews.read(store), table)

    label_reviews.add("folder", "rock/1.wav", "rock", "wrong", store=store, content="aa")
    label_reviews.add("folder", "rock/1.wav", "rock", "right", store=store, content="bb")
    label_reviews.add("folder", "rock/2.wav", "rock", "unclear", store=store)  # by a command
    here = ("rock/1.wav", "rock", "aa"), ("rock/2.wav", "rock", "cc")
    assert judged(*here) == {"rock/1.wav": "wrong", "rock/2.wav": "unclear"}
    # Another folder with the same file names, the same music under another name or label, and a
    # clip of an earlier version's run.
    assert judged(("rock/1.wav", "rock", "dd")) == {}
    assert judged(("rock/9.wav", "rock", "bb")) == {"rock/9.wav": "right"}
    assert judged(("folk/9.wav", "folk", "bb")) == {}
    assert judged(("rock/1.wav", "rock", None)) == {"rock/1.wav": "right"}
    label_reviews.add("folder", "rock/9.wav", "rock", "", store=store, content="bb")
    label_reviews.add("folder", "rock/2.wav", "rock", "", store=store, content="cc")
    assert judged(*here, ("rock/9.wav", "rock", "bb")) == {"rock/1.wav": "wrong"}
    assert label_reviews.read(store)["content"].tolist() == ["aa"]


def test_judgements_of_an_earlier_version_stay_and_later_ones_are_added(store: Path) -> None:
    before = 'dataset,clip_id,genre,judgement,note,at\ngtzan,"a,1",jazz,wrong,no,5.000\n'
    (store / label_reviews.FILE).write_text(before)
    assert label_reviews.read(store)["judgement"].tolist() == ["wrong"]
    label_reviews.add("gtzan", "rock.9", "rock", "right", store=store, content="aa")
    lines = (store / label_reviews.FILE).read_text().splitlines()
    assert lines[1] == 'gtzan,"a,1",jazz,wrong,no,5.000,'
    reviews = label_reviews.read(store)
    assert reviews["clip_id"].tolist() == ["a,1", "rock.9"]
    assert reviews["content"].tolist() == ["", "aa"]


@pytest.mark.slow
def test_the_commands_list_clips_and_keep_judgements(store: Path, tmp_path: Path) -> None:
    a, b, c = (fake_run(store, draw_right(0.5, 60, k), seed=k) for k in range(3))
    predictions = mistakes.clip_predictions(a)
    cell = json.loads(command("errors", a.run_id, "--cell", "blues,jazz", "--json"))
    assert cell["n_clips"] == len(mistakes.cell(predictions, "blues", "jazz"))
    assert {row["predicted"] for row in cell["clips"]} == {"jazz"}
    against = json.loads(command("errors", a.run_id, "--against", b.run_id, "--json"))
    pair = comparison.compare([a, b]).pairs.iloc[0]
    assert against["n_clips"] == pair["only_a"] + pair["only_b"]
    several = ("--against", b.run_id, "--against", c.run_id)
    assert "spread" in command("errors", a.run_id, *several)
    assert "suggested" in command("errors", a.run_id, *several, "--labels", "--most", "3")
    assert "more; --most" in command("errors", a.run_id, "--most", "2")
    refused(genrecore("errors", a.run_id, "--cell", "blues"), 2, "blues, jazz, rock")
    refused(genrecore("errors", a.run_id, "--order", "loud"), 2, "worst, certain, uncertain")
    facts = json.loads(command("errors", a.run_id, "--clip", "clip 0003", "--json"))
    assert facts["predicted"] == predictions.set_index("clip_id").loc["clip 0003", "predicted"]
    assert sum(facts["proba"].values()) == pytest.approx(1.0)
    assert "predicted" in command("errors", a.run_id, "--clip", "clip 0003")
    refused(genrecore("errors", a.run_id, "--clip", "nobody"), 2, "no test clip")
    of_gtzan = fake_run(store, draw_right(0.5, 60, 0), **{"dataset": "gtzan"})
    refused(genrecore("errors", a.run_id, "--against", of_gtzan.run_id), 2, "the same dataset")
    refused(genrecore("annotate", "demo", "clip 1", "wrong"), 2, "'clip 1'", "such as clip 00")
    assert "its label is wrong" in command("annotate", "demo", "clip 0001", "wrong")
    assert json.loads(command("annotate", "list", "--json"))[0]["clip_id"] == "clip 0001"
    assert "its label is right" in command("annotate", "fma_small", "000002", "right")  # no run yet
    command("annotate", "list", "--out", str(tmp_path / "said.csv"))
    assert pd.read_csv(tmp_path / "said.csv")["judgement"].tolist() == ["wrong", "right"]
    refused(genrecore("annotate", "demo", "clip 0001", "loud"), 2, "right, wrong or unclear")


def test_a_cell_of_genres_with_commas_and_in_either_form_of_unicode_is_named(store: Path) -> None:
    names = ["Café", "Folk, World", "Jazz"]
    run = fake_run(store, np.zeros(30, bool), genres=names)  # each taken for the next one
    for labelled, predicted in ((0, 1), (1, 2), (2, 0)):
        for form in ("NFC", "NFD"):
            cell = unicodedata.normalize(form, f"{names[labelled]},{names[predicted]}")
            document = json.loads(command("errors", run.run_id, "--cell", cell, "--json"))
            assert document["n_clips"] == 10
            assert document["clips"][0]["predicted"] == names[predicted]
    refused(genrecore("errors", run.run_id, "--cell", "Folk,Jazz"), 2, '"Folk, World", Jazz')
