"""Clips are the same where their content is: other music under the same names, collections that
were moved, renamed, tagged anew or converted, runs of earlier versions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from commands import command, genrecore, refused
from fake_runs import draw_right, fake_run

from genrecore.config.run import RunConfig, with_values
from genrecore.data import prepare
from genrecore.errors import GenrecoreError
from genrecore.evaluation import comparison, folds, mistakes, systems
from genrecore.evaluation.same_clips import collection_titles, same_clips
from genrecore.store.run import Run

N = 60
OTHER = [f"{n:032x}" for n in range(5_000, 5_000 + N)]


def _changed(run: Run, change: object, name: str = "clips.parquet") -> Run:
    path = run.folder / name
    pd.read_parquet(path).pipe(change).to_parquet(path, index=False)  # type: ignore[arg-type]
    return Run(run.folder)


def _renamed(run: Run, prefix: str = "moved ") -> Run:
    def rename(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(clip_id=prefix + table["clip_id"])

    return _changed(_changed(run, rename), rename, "predictions.parquet")


def test_other_music_under_the_same_names_is_not_compared(store: Path) -> None:
    a = fake_run(store, draw_right(0.7, N, 1))
    b = fake_run(store, draw_right(0.7, N, 2), contents=OTHER, seed=1)
    for on_shared in (False, True):
        compared = comparison.compare([a, b], on_shared=on_shared)
        assert compared.shared == []
        assert (compared.pairs["n_clips"].item(), compared.pairs["verdict"].item()) == (
            0,
            "not compared",
        )
        assert compared.notes[0] == (
            "60 of 60 clips hold other audio under the same name in another run: they are not "
            "compared as the same."
        )
        assert "No clip was tested by all of them (120 test clips in all)." in compared.notes
    document = genrecore("compare", a.run_id, b.run_id, "--json").stdout
    assert "60 of 60 clips hold other audio under the same name" in document
    assert "60 of 60 clips hold other audio" in command("compare", a.run_id, b.run_id)
    joined = genrecore("errors", a.run_id, "--against", b.run_id)
    refused(joined, 2, "no clip in common", "60 of 60 clips hold other audio")


def test_some_clips_of_other_content_are_left_out_of_what_is_shared(store: Path) -> None:
    right = draw_right(0.7, N, 1)
    a = fake_run(store, right)
    own = pd.read_parquet(a.folder / "clips.parquet")["content"].tolist()
    b = fake_run(store, right, contents=[*OTHER[:7], *own[7:]], seed=1)
    compared = comparison.compare([a, b], on_shared=True)
    assert (compared.pairs["n_clips"].item(), len(compared.shared)) == (53, 53)
    assert compared.pairs["difference"].item() == 0
    assert compared.notes[0].startswith("7 of 60 clips hold other audio under the same name")


def test_a_moved_and_renamed_collection_is_the_same(store: Path) -> None:
    right_a, right_b = draw_right(0.7, N, 1), draw_right(0.8, N, 2)
    a = fake_run(store, right_a)
    own = pd.read_parquet(a.folder / "clips.parquet")["content"].tolist()
    plain = comparison.compare([a, fake_run(store, right_b, seed=1)])
    for values in ({"seed": 2}, {"dataset": "folder", "dataset.folder": "/new place"}):
        b = _renamed(fake_run(store, right_b, contents=own, **values))
        compared = comparison.compare([a, b])
        assert compared.shared == plain.shared
        for column in ("n_clips", "both", "only_a", "only_b", "difference", "p", "p_mcnemar"):
            assert compared.pairs[column].item() == plain.pairs[column].item()
        assert (
            "60 clips bear another name in another run and hold the same audio: compared as the "
            "same." in compared.notes
        )
        joined = mistakes.contingency(
            *(same_clips([a, b]).named(mistakes.clip_predictions(run), run) for run in (a, b))
        )
        assert len(joined) == N
        assert "notes" in command("errors", a.run_id, "--against", b.run_id, "--json")


def test_copies_inside_a_dataset_keep_their_names_and_renamed_ones_are_paired(store: Path) -> None:
    twice = [f"{n // 2:032x}" for n in range(N)]  # each content under two names
    a = fake_run(store, draw_right(0.7, N, 1), contents=twice)
    b = fake_run(store, draw_right(0.7, N, 2), contents=twice, seed=1)
    same = same_clips([a, b])
    assert (same.notes, same.names[b.run_id]) == ((), {})
    moved = _renamed(b)
    names = same_clips([a, moved]).names[moved.run_id]
    assert names == {f"moved clip {n:04}": f"clip {n:04}" for n in range(N)}
    half = _changed(a, lambda table: table.iloc[1::2])  # of each two the second alone
    assert same_clips([half, b]).named(b.clips, b)["clip_id"].is_unique


def test_what_was_decoded_says_that_a_converted_clip_is_the_same(store: Path) -> None:
    def decoded(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(decoded=[f"22050 30 {n}" for n in range(len(table))])

    a = _changed(fake_run(store, draw_right(0.7, N, 1)), decoded)
    b = _changed(fake_run(store, draw_right(0.7, N, 2), contents=OTHER, seed=1), decoded)
    compared = comparison.compare([a, b])
    assert (compared.pairs["n_clips"].item(), len(compared.shared)) == (N, N)
    assert not any("other audio" in note for note in compared.notes)


def test_runs_without_digests_rest_on_names_and_it_is_said(store: Path) -> None:
    a = fake_run(store, draw_right(0.7, N, 1))
    old, older = (
        _changed(
            fake_run(store, draw_right(0.7, N, seed), seed=seed),
            lambda table: table.drop(columns="content"),
        )
        for seed in (1, 2)
    )
    for runs in ([a, old], [old, a], [old, older]):
        compared = comparison.compare(runs)
        assert compared.pairs["n_clips"].item() == N
        titles = " and ".join(run.title for run in runs if run is not a)
        assert compared.notes[0].startswith((f"{titles} was trained", f"{titles} were trained"))
        assert compared.notes[0].endswith("clips of one name are taken for the same.")
    elsewhere = _changed(
        fake_run(store, draw_right(0.7, N, 3), dataset="gtzan"),
        lambda table: table.drop(columns="content"),
    )
    assert comparison.compare([old, elsewhere], on_shared=True).pairs["n_clips"].item() == 0


def test_images_and_audio_of_a_dataset_are_the_same_clips_by_name(store: Path) -> None:
    a = fake_run(store, draw_right(0.7, N, 1))
    b = _changed(
        fake_run(store, draw_right(0.7, N, 2), contents=OTHER, seed=1),
        lambda table: table.assign(medium="image"),
    )
    compared = comparison.compare([a, b])
    assert compared.pairs["n_clips"].item() == N
    assert compared.notes[0] == (
        "These runs read the clips in several forms (audio and image): clips of one name are "
        "taken for the same."
    )


def test_systems_are_compared_on_the_same_content_only(store: Path) -> None:
    ours = [fake_run(store, draw_right(0.7, N, seed), seed=seed) for seed in (0, 1)]
    theirs = [
        fake_run(store, draw_right(0.7, N, 9 + seed), seed=seed, contents=OTHER, model="mlp")
        for seed in (0, 1)
    ]
    compared = systems.compare(systems.group_runs([*ours, *theirs]))
    assert compared.pairs["n_clips"].item() == 0
    assert any("60 of 60 clips hold other audio" in note for note in compared.notes)


def test_folds_on_other_music_are_not_pooled(store: Path) -> None:
    options = {"split": "stratified", "split.n_folds": 3}
    runs = [
        fake_run(store, draw_right(0.7, N, fold), clips=np.arange(N) + N * fold, fold=fold,
                 **options)
        for fold in range(3)
    ]  # fmt: skip
    assert len(folds.pool_folds(runs).predictions) == 3 * N
    whole = pd.concat([run.clips for run in runs], ignore_index=True)
    runs = [_changed(run, lambda _: whole) for run in runs]
    assert len(folds.pool_folds(runs).predictions) == 3 * N
    runs[1] = _changed(runs[1], lambda t: t.assign(content="f" + t["content"].str[1:]))
    with pytest.raises(GenrecoreError, match="the dataset changed between them"):
        folds.pool_folds(runs)


def test_folders_of_other_music_are_several_datasets_and_a_moved_one_is_not(store: Path) -> None:
    def run(folder: str, contents: list[str] | None, seed: int, model: str = "cnn") -> Run:
        values = {"dataset": "folder", "dataset.folder": folder, "model": model}
        return fake_run(store, draw_right(0.7, N, seed), contents=contents, **values)

    here, moved = run("/a/music", None, 1), run("/b/music", None, 2, "mlp")
    other = run("/c/pieces", OTHER, 3)
    assert collection_titles([here, moved]) == {
        ("folder", "folder /a/music"): "folder", ("folder", "folder /b/music"): "folder"
    }  # fmt: skip
    assert collection_titles([here, moved, other]) == {
        ("folder", "folder /a/music"): "folder · music",
        ("folder", "folder /b/music"): "folder · music",
        ("folder", "folder /c/pieces"): "folder · pieces",
    }
    other_mlp = run("/c/pieces", OTHER, 4, "mlp")
    blocks = systems.over_blocks(systems.group_runs([here, moved, other, other_mlp]))
    assert [block.split(",")[0] for block in blocks.scores.index] == [
        "folder · music", "folder · pieces"
    ]  # fmt: skip
    assert blocks.left_out == []


def _write(folder: Path, ending: str, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for genre in ("jazz", "rock"):
        for n in range(3):
            path = folder / genre / f"{n}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            samples = (3_000 * rng.standard_normal(22_050)).astype(np.int16)
            soundfile.write(path, samples, 22_050, subtype="PCM_16")
    return folder


def _digests(folder: Path) -> pd.DataFrame:
    values = {"dataset": "folder", "dataset.folder": str(folder), "audio.clip_s": 1.0}
    config = with_values(RunConfig(), values)
    return prepare.with_digests(prepare.decode(config), config.audio.clip_s)


def test_digests_follow_the_content_through_names_tags_and_lossless_forms(
    own_cache: Path, tmp_path: Path
) -> None:
    wav = _digests(_write(tmp_path / "wav", ".wav"))
    assert wav["content"].str.fullmatch("[0-9a-f]{32}").all()
    assert wav["content"].is_unique
    moved = _digests(_write(tmp_path / "elsewhere", " copy.wav"))
    assert moved["content"].tolist() == wav["content"].tolist()
    other = _digests(_write(tmp_path / "other", ".wav", seed=1))
    assert set(wav["content"]).isdisjoint(other["content"])
    assert set(wav["decoded"]).isdisjoint(other["decoded"])
    flac = _digests(_write(tmp_path / "flac", ".flac"))
    assert set(wav["content"]).isdisjoint(flac["content"])
    assert flac["decoded"].tolist() == wav["decoded"].tolist()


def test_files_that_were_replaced_since_a_run_are_refused(own_cache: Path, tmp_path: Path) -> None:
    folder = _write(tmp_path / "music", ".wav")
    before = _digests(folder)
    values = {"dataset": "folder", "dataset.folder": str(folder), "audio.clip_s": 1.0}
    config = with_values(RunConfig(), values)
    prepare.refuse_other_content(before, prepare.decode(config), 1.0)
    retagged = before.assign(content="f" * 32)
    prepare.refuse_other_content(retagged, prepare.decode(config), 1.0)
    _write(tmp_path / "other", ".wav", seed=1)
    (tmp_path / "other" / "rock" / "1.wav").replace(folder / "rock" / "1.wav")
    now = prepare.decode(config)
    message = "1 of 6 clips hold other content now than when the run read them"
    with pytest.raises(GenrecoreError, match=rf"{message} \(the first is rock/1.wav\)"):
        prepare.refuse_other_content(before, now, 1.0)
    prepare.refuse_other_content(before.drop(columns=["content", "decoded"]), now, 1.0)


def test_clips_that_are_labelled_otherwise_are_counted(store: Path) -> None:
    a = fake_run(store, draw_right(0.7, N, 1))
    b = fake_run(store, draw_right(0.7, N, 2), seed=1)

    def moved(table: pd.DataFrame) -> pd.DataFrame:
        genre = table["genre"].mask(table.index < 2, "rock")  # one blues, one jazz
        return table.assign(genre=genre)

    b = _changed(_changed(b, moved), moved, "predictions.parquet")
    notes = comparison.compare([a, b]).notes
    assert (
        "2 of 60 shared clips are labelled otherwise in another run: each run is judged by its own "
        "labels." in notes
    )
