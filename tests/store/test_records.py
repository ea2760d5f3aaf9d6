"""Every file of a run folder has one reader: what does not fit is named, the rest goes on."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from damages import SOME, Damage, to_device, to_fifo

from genrecore.errors import GenrecoreError
from genrecore.evaluation.listing import run_rows, unreadable
from genrecore.experiments.estimates import Estimator
from genrecore.jobs import queue
from genrecore.store import files
from genrecore.store.files import Unreadable, read_bytes, read_json
from genrecore.store.run import Run
from genrecore.store.runs import all_runs, fault, find_folder, find_run, unreadable_runs
from genrecore.store.status import STOP, stop_request
from genrecore.words import visible_line

OLD_RUNS = sorted(path for path in (ROOT / "tests" / "store" / "old_runs").iterdir())
TRAINED = next(path for path in OLD_RUNS if path.name.endswith("9df4"))


@pytest.fixture
def two(store: Path) -> tuple[Run, Run]:
    """Copies of a run: one to damage, one that has to go on."""
    for name in ("20260101-000000-demo-cnn-bad0", "20260101-000001-demo-cnn-good"):
        shutil.copytree(TRAINED, store / name)
    bad, good = sorted(all_runs(store), key=lambda run: run.run_id)
    return bad, good


@pytest.mark.parametrize("folder", OLD_RUNS, ids=lambda path: path.name[-4:])
def test_runs_of_earlier_versions_are_readable(folder: Path) -> None:
    run = Run(folder)
    assert fault(run.folder) is None
    for table in (run.clips, run.predictions, run.segments):
        assert table is None or len(table)
    assert run.epoch_predictions.shape[0] == len(run.history)


@pytest.mark.parametrize("damage", SOME)
def test_a_damaged_file_makes_its_run_unreadable_and_no_other(
    damage: Damage, two: tuple[Run, Run]
) -> None:
    bad, good = two
    assert [row.run_id for row in run_rows()] == [good.run_id, bad.run_id]
    damage.damage(bad.folder / damage.file)
    assert [run.run_id for run in all_runs()] == [row.run_id for row in run_rows()] == [good.run_id]
    [error], [listed] = unreadable_runs(), unreadable()
    assert (error.name, error.path.name) == (bad.run_id, damage.file)
    assert error.place == damage.place
    assert str(error) == str(listed)
    assert str(error).startswith(f"The run {bad.run_id} cannot be read: {damage.file}")
    assert len(str(error)) < 400
    with pytest.raises(GenrecoreError, match="cannot be read"):
        find_run(bad.run_id)
    assert find_run("latest").run_id == find_run("good").run_id == good.run_id


def _rewritten(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    return lambda path: change(pd.read_parquet(path)).to_parquet(path, index=False)


@pytest.mark.parametrize(
    ("file", "change", "place"),
    [
        ("predictions.parquet", lambda table: table.drop(columns="clip_id"), "clip_id"),
        ("predictions.parquet", lambda table: table[["clip_id", "split", "genre"]], ""),
        ("predictions.parquet", lambda table: table.assign(p_techno=np.inf), "p_techno"),
        ("predictions.parquet", lambda table: table.assign(p_techno=7.0), "p_techno"),
        ("predictions.parquet", lambda table: table.assign(p_techno="x"), "p_techno"),
        ("predictions.parquet", lambda table: table.assign(p_techno=True), "p_techno"),
        ("predictions.parquet", lambda table: table.assign(genre="polka"), "genre"),
        ("predictions.parquet", lambda table: table.assign(genre=None), "genre"),
        ("predictions.parquet", lambda table: table.assign(split="holdout"), "split"),
        ("predictions.parquet", lambda table: table.assign(clip_id=range(len(table))), "clip_id"),
        ("predictions.parquet", lambda table: pd.concat([table, table]), "clip_id"),
        ("segments.parquet", lambda table: table.drop(columns="start_s"), "start_s"),
        ("segments.parquet", lambda table: table.assign(start_s="x"), "start_s"),
        ("segments.parquet", lambda table: table.assign(start_s=[[1]] * len(table)), "start_s"),
        ("clips.parquet", lambda table: table.assign(artist=5), "artist"),
        ("clips.parquet", lambda table: table.assign(duration_s="long"), "duration_s"),
        ("clips.parquet", lambda table: table.assign(clip_id="the same"), "clip_id"),
    ],
)
def test_a_table_of_other_columns_or_values_is_found_when_it_is_read(
    file: str,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    place: str,
    two: tuple[Run, Run],
) -> None:
    bad, good = two
    _rewritten(change)(bad.folder / file)
    with pytest.raises(Unreadable) as error:
        _ = Run(bad.folder).clips, Run(bad.folder).predictions, Run(bad.folder).segments
    assert (error.value.path.name, error.value.place) == (file, place)
    # From now on the run counts as unreadable, until the file is another one.
    assert [run.run_id for run in all_runs()] == [row.run_id for row in run_rows()] == [good.run_id]
    shutil.copyfile(TRAINED / file, bad.folder / file)
    assert len(all_runs()) == len(run_rows()) == 2


def test_what_need_not_be_known_of_clips_may_lack_its_column(two: tuple[Run, Run]) -> None:
    run, _ = two
    lacking = ["path", "medium", "artist", "album", "duration_s"]
    _rewritten(lambda table: table.drop(columns=lacking, errors="ignore"))(
        run.folder / "clips.parquet"
    )
    clips = Run(run.folder).clips
    assert clips is not None
    assert clips[lacking].isna().all(axis=None)
    counts = Estimator([Run(run.folder)]).counts(run.config)
    assert counts is not None
    assert counts.n_train == int((clips["split"] == "train").sum())


def test_flipped_bytes_in_a_table_are_an_unreadable_run(two: tuple[Run, Run]) -> None:
    bad, _ = two
    path = bad.folder / "predictions.parquet"
    content = bytearray(path.read_bytes())
    n_footer = int.from_bytes(content[-8:-4], "little")
    start = len(content) - 8 - n_footer
    content[start : start + 40] = bytes(255 - value for value in content[start : start + 40])
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=r"predictions\.parquet"):
        _ = Run(bad.folder).predictions


def test_predicted_genres_that_do_not_exist_are_unreadable(two: tuple[Run, Run]) -> None:
    bad, good = two
    (bad.folder / "epochs.u8").write_bytes(b"\xfa" * 24)
    with pytest.raises(Unreadable, match=r"epochs\.u8: expected numbers of 3 genres, found 250"):
        _ = Run(bad.folder).epoch_predictions
    assert [run.run_id for run in all_runs()] == [good.run_id]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\0" * 6, r"steps\.f32: it has 6 bytes; expected four for each step"),
        (
            np.array([1, 2, np.nan], "<f4").tobytes(),
            r"at step 3: expected a finite loss, found nan",
        ),
        (np.array([1, np.inf], "<f4").tobytes(), r"at step 2: expected a finite loss, found inf"),
    ],
)
def test_losses_of_steps_that_are_none_are_unreadable(
    two: tuple[Run, Run], content: bytes, reason: str
) -> None:
    bad, good = two
    assert bad.step_losses.size == 0  # an earlier version kept none
    (good.folder / "steps.f32").write_bytes(np.array([1.5, -0.25], "<f4").tobytes())
    assert Run(good.folder).step_losses.tolist() == [1.5, -0.25]
    (bad.folder / "steps.f32").write_bytes(content)
    with pytest.raises(Unreadable, match=reason):
        _ = Run(bad.folder).step_losses
    assert [run.run_id for run in all_runs()] == [good.run_id]


@pytest.mark.parametrize("name", ["scores.json", "calibration.json", "cost.json", "alerts.json"])
@pytest.mark.parametrize("text", ['{"key": ', "[]", '{"key": [3], "scores": {"accuracy": "x"}}'])
def test_a_damaged_cache_is_computed_again(name: str, text: str, two: tuple[Run, Run]) -> None:
    bad, _ = two
    (bad.folder / name).write_text(text)
    rows = {row.run_id: row for row in run_rows()}
    assert rows[bad.run_id].accuracy == 1.0


def test_keys_of_other_versions_are_kept(two: tuple[Run, Run]) -> None:
    run, _ = two
    for name in ("status.json", "queue.json", "environment.json", "audit.json"):
        values = json.loads((run.folder / name).read_text()) | {"later": {"deep": [1, "x"]}}
        (run.folder / name).write_text(json.dumps(values))
    again = Run(run.folder)
    assert fault(again.folder) is None
    for values in (again.status, again.queue, again.environment, again.audit):
        assert values["later"] == {"deep": [1, "x"]}


def test_reading_waits_for_nobody_and_has_an_end(tmp_path: Path) -> None:
    for damage in (to_fifo, to_device):
        damage(tmp_path / "x")
        with pytest.raises(Unreadable, match="it is no regular file"):
            read_bytes(tmp_path / "x")
        assert read_json(tmp_path / "x") == {}
    (tmp_path / "large").write_bytes(b"1234")
    with pytest.raises(Unreadable, match="it has 4 bytes; expected at most 3"):
        read_bytes(tmp_path / "large", 3)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "none")
    assert not files.is_nested_deep(b'["' + b"[" * 90 + b'"]')  # in a text
    assert files.is_nested_deep(b"[" * 33)


@pytest.mark.parametrize("text", ["", "x", "[]", '{"at": "x"}', '{"at": 1e400}', '{"within_s": 1}'])
def test_any_file_asks_for_a_stop_and_for_a_pause(text: str, two: tuple[Run, Run]) -> None:
    run, _ = two
    (run.folder / STOP).write_text(text)
    assert abs(stop_request(run.folder)["at"] - time.time()) < 60
    assert (Run(run.folder).stop_left_s or 0) > 0
    (run.folder.parent / queue.PAUSED).write_text(text)
    assert abs(queue.paused(run.folder.parent)["at"] - time.time()) < 60


NAMES = ["\udcff\udcfe", "two\nlines", "\x1b[31mred", "abc\u202egpj"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_folder_whose_name_cannot_be_shown_is_named_all_the_same(
    name: str, two: tuple[Run, Run]
) -> None:
    bad, good = two
    bad.folder.rename(bad.folder.with_name(name))
    assert [row.run_id for row in run_rows()] == [good.run_id]
    [error] = unreadable()
    assert error.place == "the folder's name"
    assert visible_line(str(error)) == str(error)
    assert find_folder(error.name).run_id == name


def test_a_link_that_leads_nowhere_is_no_run(two: tuple[Run, Run]) -> None:
    store = two[0].folder.parent
    (store / "itself").symlink_to("itself")
    (store / "nowhere").symlink_to("/none/x")
    assert unreadable_runs(store) == []
    assert len(all_runs(store)) == 2


def test_segments_of_other_genres_are_unreadable(two: tuple[Run, Run]) -> None:
    bad, _ = two
    path = bad.folder / "segments.parquet"
    table = pd.read_parquet(path)
    table.rename(columns={"p_waltz": "p_polka"}).replace("waltz", "polka").to_parquet(path)
    with pytest.raises(Unreadable, match=r"segments\.parquet, at p_polka: expected the genres of"):
        _ = Run(bad.folder).segments
    assert [error.name for error in unreadable_runs()] == [bad.run_id]


@pytest.mark.parametrize(
    ("name", "kept_as"), [("epochs.u8", "epoch_predictions"), ("steps.f32", "step_losses")]
)
def test_what_is_kept_of_the_epochs_has_an_end(
    two: tuple[Run, Run], name: str, kept_as: str
) -> None:
    bad, _ = two
    (bad.folder / name).touch()
    os.truncate(bad.folder / name, 2**40)
    with pytest.raises(Unreadable, match=rf"{name}: it has 1,099,511,627,776 bytes"):
        getattr(Run(bad.folder), kept_as)
    assert [error.name for error in unreadable_runs()] == [bad.run_id]  # pages leave it out
