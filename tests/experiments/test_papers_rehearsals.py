"""Rehearsals of the studies on demo music, and what is said of them."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import command, genrecore, refused
from conftest import wait_for
from rehearsed import ON_DEMO, ROWS, carry_out, rehearsals

from genrecore.audio.descriptor_names import DESCRIPTORS
from genrecore.config.command import train_command
from genrecore.config.run import RunConfig
from genrecore.data import genres as relabel
from genrecore.data.datasets.tables import read_table
from genrecore.errors import UsageError
from genrecore.evaluation import comparison, metrics
from genrecore.experiments import papers
from genrecore.experiments import plan as plans
from genrecore.experiments.papers import Music, RunsOfStudy, findings, report
from genrecore.experiments.papers.findings import Ours
from genrecore.jobs import actions as jobs
from genrecore.jobs import queue as queueing
from genrecore.store import runs
from genrecore.store.files import write_json
from genrecore.store.run import Run

pytestmark = pytest.mark.xdist_group("papers")


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store with one row of each study, trained for real; nothing is added to it."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(base / "cache"))
        yield rehearsals(base / "rehearsals")


@pytest.mark.slow
@pytest.mark.parametrize("name", papers.study_names())
def test_a_row_of_each_study_is_rehearsed_and_marked_everywhere(name: str, rehearsed: Path) -> None:
    study = papers.study(name)
    runs_of_study = papers.find_runs(study, rehearsal=True, store=rehearsed)
    (run,) = runs_of_study.of_row(ROWS[name], "published")
    assert run.state == "done", run.reason
    assert "Rehearsal: 10 clips a genre" in run.badge
    assert "rehearsal)" in run.title
    assert len(run.clips) == 20
    assert ("statistics of all clips" in run.badge) == (name == "qin")
    (plan,) = (plan for plan in plans.all_plans(rehearsed) if plan.plan_id == run.plan)
    assert plan.title.startswith(f"Rehearsal of {study.authors} on demo, scale 0.02: as publ")
    assert plan.source == study.citation
    assert not papers.find_runs(study, store=rehearsed).done  # no results of the study itself
    run_cells = [cell for cell in papers.cells(study, runs_of_study, True) if cell.ours.n_runs]
    assert {cell.verdict for cell in run_cells if not cell.printed.missing} <= {"rehearsal"}
    text = report.markdown(study, runs_of_study, True)
    assert "**Rehearsal**" in text
    assert study.title_of(ROWS[name]) in text


@pytest.mark.slow
def test_what_is_done_is_not_trained_again(rehearsed: Path, store: Path) -> None:
    study = papers.study("liu")
    for run in papers.find_runs(study, True, rehearsed).of_row("cnn_cyclic", "published"):
        shutil.copytree(run.folder, store / run.run_id)
    todo = papers.study_runs(study, ["cnn_cyclic"], ["published"], 2, ON_DEMO)
    runs_of_study = runs.find_same([run.config for run in todo], store)
    assert [run is None for run in runs_of_study] == [False, True]
    plan = papers.start(study, todo[:1], ON_DEMO, store)
    assert len(runs.all_runs(store)) == 1
    assert plan.state == "done"
    assert papers.find_runs(study, True, store).of_row("cnn_cyclic", "published")


def test_protocols_that_are_alike_share_a_run(nobody_starts: Path) -> None:
    study = papers.study("liu")
    runs_of_both = papers.study_runs(study, ["cnn_b64"], tuple(papers.PROTOCOLS), 1, ON_DEMO)
    plan = papers.start(study, runs_of_both, ON_DEMO, nobody_starts)
    (run,) = runs.all_runs(nobody_starts)
    assert [member.run.run_id for member in plan.members if member.run] == [run.run_id] * 2
    assert papers.find_runs(study, True, nobody_starts).active == {
        ("cnn_b64", protocol): 1 for protocol in papers.PROTOCOLS
    }


@pytest.mark.slow
def test_statistics_of_all_clips_are_those_of_all_clips(rehearsed: Path) -> None:
    from genrecore.training.weights import load_classifier

    (run,) = papers.find_runs(papers.study("qin"), True, rehearsed).of_row("lstm_64", "published")
    stored_mean = load_classifier(run.weights).standardise.mean.flatten().numpy()
    table = read_table(Path(run.clips["path"].iloc[0]))
    table = table.groupby("clip_id").head(9)  # nine steps of each clip
    by_hand = table[list(DESCRIPTORS)].mean().to_numpy()
    np.testing.assert_allclose(stored_mean, by_hand, rtol=1e-4, atol=1e-6)  # float32 sums
    trained_on = run.clips.loc[run.clips["split"] == "train", "clip_id"]
    of_training = table[table["clip_id"].isin(trained_on)][list(DESCRIPTORS)].mean().to_numpy()
    assert not np.allclose(stored_mean, of_training, rtol=1e-3)


def ours(value: float, error: float, n_runs: int = 1, split: str = "test") -> Ours:
    ends = value - 1.96 * error, value + 1.96 * error
    return Ours(value, *ends, error, n_runs, f"{split} accuracy", split=split)


def test_a_verdict_takes_the_studys_own_sampling_error_into_account() -> None:
    study = papers.study("qin")
    printed = next(number for number in study.numbers if number.printed == "0.565")
    # 0.565 of 200 clips has a standard error of 3.5 points; ours adds 3 points: 9.0 to either side.
    for value, word in (
        (0.56, "reproduced"),
        (0.65, "reproduced"),
        (0.66, "above"),
        (0.47, "below"),
    ):
        assert findings.verdict(study, printed, ours(value, 0.03), "published", False) == word
    assert findings.verdict(study, printed, ours(0.56, 0.03, 0), "published", False) == "not run"
    assert findings.verdict(study, printed, ours(0.56, 0.03), "published", True) == "rehearsal"
    hong = papers.study("hong")  # on how many clips is not said, so our interval alone decides
    printed = next(number for number in hong.numbers if number.printed == "79.58%")
    assert findings.verdict(hong, printed, ours(0.77, 0.01), "published", False) == "below"
    assert findings.verdict(hong, printed, ours(0.79, 0.01), "published", False) == "reproduced"


def test_only_like_is_judged_by_like() -> None:
    def word(name: str, text: str, split: str, protocol: str) -> str:
        study = papers.study(name)
        printed = next(n for n in study.numbers if n.printed == text and n.system)
        alike = ours(printed.value, 0.03, 1, split)
        return findings.verdict(study, printed, alike, protocol, False)

    # Belton's 47.0 % are of validation clips, her honest split is another one than hers.
    assert word("belton", "47.0%", "valid", "published") == "reproduced"
    assert word("belton", "47.0%", "test", "honest") == "another measure"
    assert word("belton", "77.39%", "test", "published") == "reproduced"
    assert word("belton", "77.39%", "test", "honest") == "another measure"
    # Qin's test clips have artists in common with training, the honest ones have not.
    assert word("qin", "0.565", "test", "honest") == "another measure"
    # Benito's split is FMA's official one under both protocols.
    assert word("benito", "0.264", "test", "honest") == "reproduced"
    # Of which clips Hong's are is not said: our reading of the study stands for it.
    assert word("hong", "79.58%", "test", "published") == "reproduced"
    assert word("hong", "79.58%", "test", "honest") == "another measure"


def test_a_bound_is_reproduced_unless_all_of_our_interval_lies_beyond() -> None:
    hong = papers.study("hong")
    numbers = [n for n in hong.numbers if n.bound]
    recall = next(n for n in numbers if n.genre == "Pop")
    assert recall.shown == "over 60%"
    for value, word in ((0.9, "reproduced"), (0.58, "reproduced"), (0.5, "below")):
        assert findings.verdict(hong, recall, ours(value, 0.02), "published", False) == word
    under = next(n for n in numbers if n.bound == "under" and n.system == "alexnet")
    assert under.quantity == "accuracy, of which clips is not stated in epochs 8 to 50"
    for value, word in ((0.3, "reproduced"), (0.62, "reproduced"), (0.7, "above")):
        mine = ours(value, 0.02, 1, "valid")
        assert findings.verdict(hong, under, mine, "published", False) == word
    curves = {n.epochs for n in hong.numbers if n.epochs}
    assert curves == {(1, 1), (7, 7), (8, 50), (11, 50), (25, 25), (26, 50)}


def test_an_interval_of_one_run_is_as_wide_as_the_binomial_one_without_artists() -> None:
    def table(right: np.ndarray, first: int = 0) -> pd.DataFrame:
        clips = [f"clip {first + k}" for k in range(len(right))]
        columns = {"p_jazz": right * 1.0, "p_rock": 1.0 - right}
        return pd.DataFrame({"clip_id": clips, "genre": "jazz"} | columns)

    right = table(np.arange(400) % 2 == 0)
    alone = findings.interval([right])
    assert alone.value == 0.5
    assert alone.error == pytest.approx(0.025, rel=0.01)  # of 399 clips
    wide = findings.interval([right.assign(artist=[f"{k % 2} {k // 40}" for k in range(400)])])
    assert wide.value == 0.5
    assert wide.error > 2 * alone.error  # an artist is right throughout or wrong throughout
    both = findings.interval([right, table(np.ones(400, bool), first=100)])
    assert both.value == 0.75
    assert both.error > alone.error  # two runs that differ say little of a third


@pytest.mark.slow
def test_a_choice_looks_at_test_clips_only_where_the_study_did(
    rehearsed: Path, tmp_path: Path
) -> None:
    qin = papers.study("qin")
    (some,) = papers.find_runs(qin, True, rehearsed).of_row("lstm_64", "published")
    table = some.predictions
    test = table[table["split"] == "test"]

    def run_of(n_test: int, n_valid: int) -> Run:
        """A run that is right on so many test and validation clips."""
        folder = tmp_path / f"made-{n_test}-{n_valid}"
        folder.mkdir(exist_ok=True)
        genres = metrics.genres_in(table)
        rows = []
        for split, n_right in (("test", n_test), ("valid", n_valid)):
            part = test.assign(split=split).reset_index(drop=True)
            wrong = {genre: genres[(k + 1) % len(genres)] for k, genre in enumerate(genres)}
            for k, row in part.iterrows():
                predicted = row["genre"] if int(str(k)) < n_right else wrong[row["genre"]]
                rows.append(row.to_dict() | {f"p_{g}": float(g == predicted) for g in genres})
        pd.DataFrame(rows).to_parquet(folder / "predictions.parquet")
        some.clips.to_parquet(folder / "clips.parquet")
        write_json(folder / "config.json", some.config.model_dump())
        return Run(folder)

    best_runs = {"mlp_1e-5": run_of(4, 1), "mlp_3e-5": run_of(2, 4)}
    others = {row: run_of(0, 0) for row in qin.rows_of("mlp_best") if row not in best_runs}
    done = {
        (row, protocol): {0: run}
        for row, run in (best_runs | others).items()
        for protocol in papers.PROTOCOLS
    }
    runs_of_study = RunsOfStudy(done, {})
    assert findings.runs_of(qin, runs_of_study, "mlp_best", "published") == [best_runs["mlp_1e-5"]]
    assert findings.runs_of(qin, runs_of_study, "mlp_best", "honest") == [best_runs["mlp_3e-5"]]
    (gap,) = (
        gap
        for gap in papers.gaps(qin, runs_of_study, papers.cells(qin, runs_of_study))
        if gap.system == "mlp_best"
    )
    n = len(test)
    assert gap.published.value == pytest.approx(4 / n)
    assert gap.honest.value == pytest.approx(2 / n)
    assert gap.difference.value == pytest.approx(2 / n)
    assert gap.printed == 0.565


@pytest.mark.slow
def test_badges_tell_rehearsals_from_leaks(rehearsed: Path) -> None:
    (hong,) = papers.find_runs(papers.study("hong"), True, rehearsed).of_row(
        "resnet18", "published"
    )
    (benito,) = papers.find_runs(papers.study("benito"), True, rehearsed).of_row(
        "2d_segmented", "published"
    )
    assert hong.leak.startswith("Leak: ")
    assert benito.leak == ""
    assert benito.badge == "Rehearsal: 10 clips a genre"
    notes = comparison.compare([hong, benito]).notes
    assert any(hong.title in note and "too high" in note for note in notes)
    assert any(benito.title in note and "rehearsal" in note for note in notes)


@pytest.mark.slow
def test_the_command_lists_shows_and_reports(
    rehearsed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRECORE_RUNS", str(rehearsed))
    listed = {entry["study"]: entry for entry in json.loads(command("papers", "list", "--json"))}
    assert listed["liu"]["systems"] == 33
    output = command("papers", "show", "belton")
    assert "77.39%" in output
    assert "our choice because the study says a random amount of steps and no range" in output
    facts = json.loads(command("papers", "report", "qin", "--rehearsal", "--json"))["qin"]
    lstm = [cell for cell in facts["cells"] if cell["system"] == "lstm_64" and cell["n_runs"]]
    assert {cell["verdict"] for cell in lstm} == {"rehearsal"}
    assert "No row of it has been run here." in command("papers", "report", "liu")


def test_the_command_says_what_is_needed_and_queues_nothing_before(
    store: Path, own_cache: Path
) -> None:
    refused(genrecore("papers", "run", "qin"), 2, "GTZAN is not known to be here", "--folder DIR")
    refused(genrecore("papers", "run", "liu"), 2, "genrecore datasets download fma_small")
    refused(genrecore("papers", "run", "smith"), 2, "no study 'smith'")
    refused(genrecore("papers", "run", "qin", "--rows", "x", "--dataset=demo"), 2, "no row 'x'")
    assert runs.all_runs(store) == []


@pytest.mark.long
@pytest.mark.parametrize("name", papers.study_names())
def test_the_whole_study_runs_to_its_end(
    name: str, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every row under both protocols, in this process: half a minute to some minutes of work."""
    music = Music("demo", {"n_genres": 3, "n_artists": 5}, 0.03)
    study = papers.study(name)
    queueing.pause(store)
    began = time.process_time()
    papers.start(study, papers.study_runs(study, music=music), music, store)
    for run in carry_out(store, keep_weights=False):
        assert run.state == "done", f"{run.run_id}: {run.reason}"
    runs_of_study = papers.find_runs(study, True, store)
    assert len(runs_of_study.done) == 2 * len(study.rows)
    # No demo music is rock, and no rehearsal has fifty epochs.
    whole = [
        cell
        for cell in papers.cells(study, runs_of_study, True)
        if not (cell.printed.genre or cell.printed.epochs)
    ]
    assert not [cell for cell in whole if cell.verdict == "not run"]
    print(f"{name}: {time.process_time() - began:.0f} s of processor time")  # noqa: T201


@pytest.mark.long
def test_a_study_runs_as_a_command_through_the_queue(store: Path) -> None:
    arguments = [
        "papers",
        "run",
        "liu",
        "--rows",
        "cnn_cyclic",
        "--dataset",
        "demo",
        "--scale",
        "0.02",
    ]
    arguments += ["--set", "n_genres=3", "--set", "n_artists=5", "--yes", "--background", "--json"]
    facts = json.loads(command(*arguments))
    assert facts["n_runs"] == 4  # once as published, three times honestly
    wait_for(lambda: plans.find_plan(facts["plan"]).state != "running", 300.0)
    assert plans.find_plan(facts["plan"]).state == "done"
    assert jobs.queued(store) == []
    assert len(papers.find_runs(papers.study("liu"), True).of_row("cnn_cyclic", "honest")) == 3


def test_fewer_clips_are_of_every_artist_and_part() -> None:
    rows = [
        {"clip_id": f"{genre}.{k:03d}", "genre": genre, "artist": f"{genre} {k % 7}", "split": part}
        for genre, n in (("dub", 70), ("waltz", 35))
        for k in range(n)
        for part in ["train" if k % 5 else "test"]
    ]
    rows.append({"clip_id": "dub.999", "genre": "dub", "artist": pd.NA, "split": pd.NA})
    table = pd.DataFrame(rows).astype("string")
    less = relabel.fewer(table, 14)
    counts = less.groupby(["genre", "split"]).size().to_dict()
    assert counts == {
        ("dub", "train"): 11, ("dub", "test"): 3, ("waltz", "train"): 11, ("waltz", "test"): 3,
    }  # fmt: skip
    of_train = less[less["split"] == "train"].groupby("genre")["artist"].nunique()
    assert of_train.to_list() == [7, 7]
    assert "dub.999" not in set(less["clip_id"])
    assert len(relabel.fewer(table, 1)) == 4  # every genre in every part
    assert len(relabel.fewer(table, 10_000)) == 105


def test_statistics_of_all_clips_take_allowed_leaks(tiny: Callable[..., RunConfig]) -> None:
    with pytest.raises(UsageError, match="let training know something of the test clips"):
        tiny(standardise_on="all")
    config = tiny(standardise_on="all", allow_leaks=True)
    assert "--standardise-on all" in shlex.join(train_command(config))
    assert "--rehearsal 12" in shlex.join(train_command(tiny(rehearsal=12)))
