"""Whole libraries: a file of results that survives everything, playlists, folders of genres."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import genrecore, refused
from test_audio import noise, write
from untrained_runs import GENRES, untrained_run

from genrecore.errors import GenrecoreError, UsageError
from genrecore.inference import library_results
from genrecore.inference.doubts import DoubtFinder
from genrecore.inference.ensemble import Ensemble
from genrecore.inference.ensemble import load as load_ensemble
from genrecore.inference.library import classify_library
from genrecore.inference.library_results import read_results
from genrecore.inference.playlists import write_playlists, write_tree
from genrecore.store.locks import held
from genrecore.store.progress import Phase, Stopped
from genrecore.store.run import Run

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return untrained_run(tmp_path_factory.mktemp("store"), temperature=2.0)


@pytest.fixture(scope="module")
def ensemble(run: Run) -> Ensemble:
    return load_ensemble([run])


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Eleven clips in folders, a copy, a bad one, other files, and links that lead in circles."""
    folder = tmp_path / "music"
    (folder / "deep" / "er").mkdir(parents=True)
    for n in range(11):
        place = (folder, folder / "deep", folder / "deep" / "er")[n % 3]
        write(place / f"{n}.wav", noise(1.0 + 0.1 * n, 8_000, n), 8_000)
    shutil.copy(folder / "0.wav", folder / "deep" / "copy of 0.wav")
    (folder / "bad <b>.mp3").write_text("These are words.")
    (folder / "notes.txt").write_text("not looked at")
    (folder / "cover.jpg").write_text("not looked at")
    (folder / "deep" / "round").symlink_to(folder)
    (folder / "self").symlink_to("self")
    return folder


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_file_has_a_line_with_the_prediction_it_gets_alone(
    ensemble: Ensemble, music: Path, tmp_path: Path
) -> None:
    summary = classify_library(ensemble, [music], tmp_path / "out.jsonl")
    assert (summary.n_files, summary.n_new + summary.n_moved, summary.n_failed) == (13, 13, 1)
    header, *results = lines(tmp_path / "out.jsonl")
    assert header["runs"][0]["run"] == ensemble.loaded[0].run.run_id
    files = sorted(str(path) for path in music.rglob("*.*") if path.suffix in (".wav", ".mp3"))
    assert sorted(result["path"] for result in results) == files
    for result in results:
        if "error" in result:
            assert "bad <b>.mp3" in result["error"]
            continue
        expected = ensemble.classify(result["path"]).as_dict()
        # Alone a file has all cores, whose parts of a batch differ by rounding.
        proba = [*result.pop("proba").values()]
        np.testing.assert_allclose(proba, [*expected.pop("proba").values()], atol=2e-6)
        for name in ("name", "genre", "duration_s", "judged_s"):
            assert result[name] == expected[name]
    assert summary.genres.total() == 12
    assert any("1 .txt" in note and "1 .jpg" in note for note in summary.notes)


def test_tables_hold_what_the_lines_hold(ensemble: Ensemble, music: Path, tmp_path: Path) -> None:
    for form in library_results.FORMS:
        classify_library(ensemble, [music], tmp_path / f"out.{form}")
    expected = library_results.table(tmp_path / "out.jsonl")
    from_csv = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    from_parquet = pd.read_parquet(tmp_path / "out.parquet")
    assert list(from_csv) == list(from_parquet)
    genres = [f"p_{genre}" for genre in GENRES]
    assert list(from_csv) == [
        "path", "genre", "proba", *genres, "duration_s", "start_s", "judged_s", "doubts",
        "warning", "error",
    ]  # fmt: skip
    assert from_parquet["path"].tolist() == sorted(expected["path"])
    for name in ("path", "genre", "error"):
        values = expected[name].fillna("").tolist()
        assert from_parquet[name].fillna("").tolist() == values
        assert from_csv[name].tolist() == values
    good = from_parquet["error"] == ""
    np.testing.assert_array_equal(from_parquet.loc[good, genres], expected.loc[good, genres])
    rows = from_csv.loc[good, genres].astype(float)
    np.testing.assert_allclose(rows, expected.loc[good, genres].astype(float), atol=5.1e-7)
    assert (from_csv.loc[~good, "proba"] == "").all()
    # Written anew under another name by --as.
    classify_library(ensemble, [music], tmp_path / "table", form="csv")
    assert (tmp_path / "table").read_bytes() == (tmp_path / "out.csv").read_bytes()


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_file_cut_off_anywhere_is_continued_to_the_same(
    form: str, ensemble: Ensemble, music: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"out.{form}"
    classify_library(ensemble, [music], out)
    working = library_results.working_file(out, form)
    whole, made = working.read_bytes(), out.read_bytes()
    chance = random.Random(7)
    header = whole.index(b"\n") + 1
    cuts = [0, 5, header - 1, header, len(whole) - 1, *chance.sample(range(header, len(whole)), 4)]
    for cut in cuts:
        working.write_bytes(whole[:cut])
        if form == "csv":
            out.unlink()
        n_whole = whole[:cut].count(b"\n") - 1
        summary = classify_library(ensemble, [music], out)
        assert working.read_bytes() == whole
        assert out.read_bytes() == made
        assert summary.n_new + summary.n_moved == 13 - max(0, n_whole)
    assert classify_library(ensemble, [music], out).n_new == 0


def killed(run: Run, music: Path, out: Path, moments: list[int]) -> int:
    """How often a job was killed at these sizes of its file, until one came to its end."""
    arguments = map(str, [HERE / "killed_library.py", run.folder, music, out, *moments])
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, timeout=200
    )
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("n_kills", [3, pytest.param(10, marks=pytest.mark.long)])
def test_a_job_that_is_killed_makes_the_same_table_as_one_that_is_not(
    n_kills: int, run: Run, ensemble: Ensemble, music: Path, tmp_path: Path
) -> None:
    for n in range(11, 40):
        write(music / f"{n}.wav", noise(3.0, 8_000, n), 8_000)
    classify_library(ensemble, [music], tmp_path / "undisturbed.csv")
    undisturbed = (tmp_path / "undisturbed.csv.jsonl").read_bytes()
    moments = [random.Random(n_kills).randrange(len(undisturbed)) for _ in range(n_kills)]
    assert killed(run, music, tmp_path / "killed.csv", moments) >= n_kills - 1
    assert (tmp_path / "killed.csv.jsonl").read_bytes() == undisturbed
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "undisturbed.csv").read_bytes()


def test_what_was_moved_is_known_and_what_was_changed_is_classified_again(
    ensemble: Ensemble, music: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    classify_library(ensemble, [music], out)
    before = {result["path"]: result for result in read_results(out)}
    (music / "3.wav").rename(music / "deep" / "moved.wav")
    facts = (music / "6.wav").stat()
    write(music / "6.wav", noise(1.6, 8_000, 99), 8_000)  # as long as before, and as old
    os.utime(music / "6.wav", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert (music / "6.wav").stat().st_size == facts.st_size
    os.utime(music / "9.wav")  # touched
    (music / "bad <b>.mp3").rename(music / "bad.mp3")
    summary = classify_library(ensemble, [music], out)
    assert (summary.n_files, summary.n_new, summary.n_moved) == (13, 2, 2)
    after = {result["path"]: result for result in read_results(out)}
    gone, moved = str(music / "3.wav"), str(music / "deep" / "moved.wav")
    assert gone not in after
    assert after[moved]["proba"] == before[gone]["proba"]
    assert after[moved]["name"] == "moved.wav"
    changed = str(music / "6.wav")
    assert after[changed]["proba"] != before[changed]["proba"]
    paths = [line["path"] for line in lines(out)[1:]]
    assert len(paths) == len(set(paths))  # written anew without what does not stand any more
    # A disk that is not there now costs nothing.
    music.rename(tmp_path / "elsewhere")
    music.mkdir()
    shutil.copy(tmp_path / "elsewhere" / "0.wav", music / "0.wav")
    classify_library(ensemble, [music], out)
    assert str(music / "6.wav") in {result["path"] for result in read_results(out)}


def test_another_run_other_weights_and_other_settings_do_not_continue_a_file(
    ensemble: Ensemble, store: Path, music: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    classify_library(ensemble, [music / "0.wav"], out)
    made = out.read_bytes()
    other = load_ensemble([untrained_run(store, seed=8)])
    with pytest.raises(UsageError, match=r"out\.csv was made by .*; now it would be by .* remove "):
        classify_library(other, [music], out)
    doubtful = load_ensemble([ensemble.loaded[0].run])
    with pytest.raises(UsageError, match=r"without doubts; now it would be .* with doubts"):
        classify_library(doubtful, [music], out, finder=DoubtFinder(doubtful.loaded))
    assert out.read_bytes() == made


def test_files_that_are_none_of_ours_are_left_alone(
    ensemble: Ensemble, music: Path, tmp_path: Path
) -> None:
    for name, content in (("a.jsonl", '{"path": "x"}\n'), ("b.jsonl", "words"), ("c.csv", "a,b\n")):
        (tmp_path / name).write_text(content)
        with pytest.raises(UsageError, match="is there already"):
            classify_library(ensemble, [music], tmp_path / name)
        assert (tmp_path / name).read_text() == content
    for name, sentence in (
        ("music", "does not say what to write; end it in csv, jsonl or parquet"),
        ("nowhere/a.csv", "There is no folder"),
    ):
        with pytest.raises(UsageError, match=sentence):
            classify_library(ensemble, [music], tmp_path / name)
    with pytest.raises(UsageError, match="is a folder; name a file, such as"):
        classify_library(ensemble, [music], music, form="csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UsageError, match="is no regular file"):
        classify_library(ensemble, [music], tmp_path / "pipe.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(GenrecoreError, match="There are no clips in"):
        classify_library(ensemble, [tmp_path / "empty"], tmp_path / "d.csv")


def test_two_jobs_do_not_write_one_file(ensemble: Ensemble, music: Path, tmp_path: Path) -> None:
    with held(tmp_path / "out.jsonl") as is_mine:
        assert is_mine
        with pytest.raises(GenrecoreError, match=r"Another process writes .*out\.jsonl"):
            classify_library(ensemble, [music], tmp_path / "out.jsonl")


def test_a_full_disk_costs_a_sentence_and_nothing_that_is_done(
    ensemble: Ensemble, music: Path, tmp_path: Path, small_disk: Path
) -> None:
    out, filler = small_disk / "out.jsonl", small_disk / "filler"
    classify_library(ensemble, [music / "0.wav"], out)
    free = shutil.disk_usage(small_disk).free
    filler.write_bytes(bytes(free - 4096))
    with pytest.raises(GenrecoreError, match=r"out\.jsonl cannot be written: The disk is full"):
        classify_library(ensemble, [music], out)
    assert out.read_bytes().endswith(b"\n")
    filler.unlink()
    classify_library(ensemble, [music], out)
    classify_library(ensemble, [music], tmp_path / "other.jsonl")
    assert [*read_results(out)] == [*read_results(tmp_path / "other.jsonl")]


def test_a_stopped_job_has_written_the_table_of_what_is_done(
    ensemble: Ensemble, music: Path, tmp_path: Path
) -> None:
    def report(phase: str, done: int, total: int) -> None:
        if phase == Phase.CLASSIFYING and done == 5:
            raise Stopped

    with pytest.raises(Stopped):
        classify_library(ensemble, [music], tmp_path / "out.csv", report=report)
    with open(tmp_path / "out.csv", encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == 5
    classify_library(ensemble, [music], tmp_path / "out.csv")
    assert len(library_results.table(tmp_path / "out.csv")) == 13


def test_what_cannot_be_read_now_is_tried_again(
    ensemble: Ensemble, music: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    os.mkfifo(music / "pipe.wav")
    (music / "dangling.wav").symlink_to(tmp_path / "later.wav")
    summary = classify_library(ensemble, [music], out)
    assert summary.n_failed == 3
    shutil.copy(music / "0.wav", tmp_path / "later.wav")
    (music / "pipe.wav").unlink()
    summary = classify_library(ensemble, [music], out)
    results = {result["name"]: result for result in read_results(out)}
    assert "genre" in results["dangling.wav"]
    assert "not a regular file" in results["pipe.wav"]["error"]  # it may come back


ODD = ["#hash.wav", " blank .wav", "ünï – 音楽.wav", "=cmd|'x'!A0.wav", 'quo"te.wav', "a\nb.wav"]


@pytest.fixture
def odd_names(tmp_path: Path) -> Path:
    """Clips with names that playlists, tables and other systems stumble over."""
    folder = tmp_path / "odd"
    folder.mkdir()
    for n, name in enumerate(ODD):
        write(folder / name, noise(1.5, 8_000, n), 8_000, format="WAV")
    shutil.copy(folder / "#hash.wav", os.fsencode(folder) + b"/not \xff text.wav")
    return folder


@pytest.mark.parametrize("relative", [True, False])
def test_playlists_lead_to_every_file_of_their_genre(
    relative: bool, ensemble: Ensemble, odd_names: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    classify_library(ensemble, [odd_names], out)
    (tmp_path / "other").mkdir()
    folder = tmp_path / "link"
    folder.symlink_to(tmp_path / "other")  # `..` leads elsewhere from there
    paths, n_left_out = write_playlists(read_results(out), folder / "lists", relative)
    assert n_left_out == 1
    listed: dict[str, str] = {}
    for path in paths:
        head, *rest = path.read_bytes().splitlines()
        assert head == b"#EXTM3U"
        for line in rest:
            if not line.startswith(b"#"):
                target = os.path.join(os.fsencode(path.parent), line)
                assert os.path.isfile(target)
                assert line.startswith(b"/") != relative
                listed[os.path.basename(os.fsdecode(line))] = path.stem
    expected = {
        result["name"]: result["genre"]
        for result in read_results(out)
        if "\n" not in result["name"]
    }
    assert listed == expected
    assert len(expected) == len(ODD)
    assert len(library_results.table(out)) == len(ODD) + 1
    with open(out, encoding="utf-8", newline="") as stream:
        assert any("not \\udcff text.wav" in cells["path"] for cells in csv.DictReader(stream))
    again, _ = write_playlists([], folder / "lists")
    assert again == []
    assert all(b"wav" not in path.read_bytes() for path in paths)  # their genres are empty now
    paths[0].write_text("#EXTM3U\nmine.mp3\n")
    with pytest.raises(GenrecoreError, match="is there already, and not from here"):
        write_playlists(read_results(out), folder / "lists")


@pytest.mark.parametrize("link", [True, False])
def test_a_tree_of_genres_overwrites_nothing_and_leaves_the_sources_alone(
    link: bool, ensemble: Ensemble, music: Path, odd_names: Path, tmp_path: Path
) -> None:
    out, tree, sources = tmp_path / "out.jsonl", tmp_path / "tree", [music, odd_names]
    shutil.copy(music / "deep" / "1.wav", music / "0.wav")  # one name, other music
    (tmp_path / "odd" / "0.wav").write_bytes((music / "deep" / "4.wav").read_bytes())
    classify_library(ensemble, sources, out)
    before = {path: path.lstat().st_mtime_ns for path in [*music.rglob("*"), *odd_names.iterdir()]}
    good = [result for result in read_results(out) if "genre" in result]
    genre = good[0]["genre"]
    (tree / genre).mkdir(parents=True)
    (tree / genre / "0.wav").write_text("mine")
    counts = write_tree(read_results(out), tree, sources, link)
    assert (counts.n_new + counts.n_kept, counts.n_gone) == (len(good), 0)
    assert (tree / genre / "0.wav").read_text() == "mine"
    for result in good:
        contents = {path.read_bytes() for path in (tree / result["genre"]).iterdir()}
        assert Path(result["path"]).read_bytes() in contents
    put = sorted(path for path in tree.rglob("*") if not path.is_dir())
    assert all(path.is_symlink() == link for path in put if path != tree / genre / "0.wav")
    again = write_tree(read_results(out), tree, sources, link)
    assert (again.n_new, again.n_kept) == (0, len(good))
    assert sorted(path for path in tree.rglob("*") if not path.is_dir()) == put
    after = {path: path.lstat().st_mtime_ns for path in [*music.rglob("*"), *odd_names.iterdir()]}
    assert after == before
    (tmp_path / "to music").symlink_to(music)
    for inside in (music, music / "genres", tmp_path / "to music" / "new"):
        with pytest.raises(UsageError, match="stays as it is; name a folder elsewhere"):
            write_tree(read_results(out), inside, sources, link)
    assert not (music / "genres").exists()


def test_several_runs_have_one_line_a_file(
    ensemble: Ensemble, store: Path, music: Path, tmp_path: Path
) -> None:
    several = load_ensemble([ensemble.loaded[0].run, untrained_run(store, seed=9)])
    classify_library(several, [music], tmp_path / "out.csv")
    ids = [loaded.run.run_id for loaded in several.loaded]
    rows = library_results.table(tmp_path / "out.csv")
    assert len(rows) == 13
    good = rows[rows["error"] == ""]
    answer = several.classify(good["path"].iloc[0])
    assert answer.average is not None
    assert good["genre"].iloc[0] == GENRES[int(answer.average.argmax())]
    assert good["proba"].iloc[0] == pytest.approx(answer.average.max(), abs=2e-6)
    assert good["duration_s"].notna().all()
    for k, run_id in enumerate(ids):
        assert good[f"genre_{run_id}"].iloc[0] == answer.predictions[k].genre
    table = pd.read_csv(tmp_path / "out.csv")
    assert set(rows) <= set(table)


def test_the_command_makes_all_of_it_and_goes_on(run: Run, music: Path, tmp_path: Path) -> None:
    out, lists, tree = tmp_path / "out.csv", tmp_path / "lists", tmp_path / "tree"
    arguments = ["classify", str(music), "--run", str(run.folder), "--out", str(out)]
    result = genrecore(*arguments, "--playlists", str(lists), "--link-to", str(tree), "--json")
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert (data["n_files"], data["n_failed"]) == (13, 1)
    assert sum(data["genres"].values()) == 12
    assert data["failures"][0]["path"].endswith("bad <b>.mp3")
    assert "1 .txt" in result.stderr
    assert {Path(path).stem for path in data["playlists"]} == set(data["genres"])
    assert data["tree"]["n_new"] == 12
    before = out.read_bytes()
    result = genrecore(*arguments)
    assert "13 files, 0 classified now" in result.stdout
    assert out.read_bytes() == before
    refused(genrecore(*arguments, "--copy-to", str(music / "new")), 2, "stays as it is")
    refused(genrecore("classify", str(music), "--as", "csv"), 2, "go with --out FILE")
