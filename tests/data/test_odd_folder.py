"""A folder of files as real programs write them, and of unusable ones: none costs another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import command
from conftest import TINY, trained
from test_audio import tone

from genrecore.audio import decode
from genrecore.config.run import RunConfig, with_values
from genrecore.data import corpus, prepare
from genrecore.data.audit.checks import audit
from genrecore.inference import ensemble
from genrecore.training.resolve import resolve

BAD = {
    "empty.wav": b"",
    "words.mp3": b"These are words.",
    "notes.wav": b"MThd" + bytes(999),
    "list.mp3": b"#EXTM3U\nhttp://127.0.0.1/a.mp3\n",
    "noise.flac": b"fLaC" + np.random.default_rng(1).bytes(9999),
}


@pytest.fixture
def folder(tmp_path: Path, real_data: Path) -> Path:
    """Two genres: every odd file in both under other names, sound wav files, and unusable ones."""
    generator = np.random.default_rng(5)
    for genre in ("odd", "plain"):
        (tmp_path / "music" / genre).mkdir(parents=True)
    for path in (real_data / "odd_audio").iterdir():
        shutil.copy(path, tmp_path / "music/odd")
    for k in range(12):
        wave = 0.1 * generator.standard_normal(2 * 22_050)
        soundfile.write(tmp_path / f"music/plain/{k}.wav", wave, 22_050)
    for name, content in BAD.items():
        (tmp_path / "music/plain" / name).write_bytes(content)
    half = (tmp_path / "music/plain/0.wav").read_bytes()
    (tmp_path / "music/plain/half.wav").write_bytes(half[: len(half) * 3 // 4])
    return tmp_path / "music"


@pytest.mark.long
def test_odd_files_are_prepared_audited_trained_on_and_classified(
    folder: Path, store: Path
) -> None:
    values = {key: value for key, value in TINY.items() if not key.startswith("dataset")}
    values |= {
        "dataset": "folder",
        "dataset.folder": str(folder),
        "split": "stratified",
        "allow_leaks": True,
    }
    config = resolve(with_values(RunConfig(), values)).config
    prepared = prepare.decode(config)
    skipped = {Path(row["clip_id"]).stem: row["reason"] for row in prepared.corpus.skipped}
    assert set(skipped) == {*(Path(name).stem for name in BAD), "half"}
    assert "is truncated" in skipped["half"]
    usable = prepared.corpus.index["clip_id"].str.contains("odd").sum()
    assert usable == len(list((folder / "odd").iterdir()))
    result = audit(prepared.clips, prepared.corpus, headers=True)
    assert result.checked
    run = trained(config, store)
    assert run.state == "done", run.reason
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    results = ensemble.load([run.folder]).classify_many(paths)
    problems = {result.name: result.problem for result in results if result.problem}
    assert set(problems) == set(BAD)


def test_damaged_files_are_left_out_unless_the_configuration_accepts_them(
    tmp_path: Path, own_cache: Path
) -> None:
    for genre in ("high", "low"):
        (tmp_path / "music" / genre).mkdir(parents=True)
        for k in range(4):
            wave = (1 - k / 8) * tone(4.0, 22_050, 1)
            soundfile.write(tmp_path / "music" / genre / f"{k}.wav", wave, 22_050)
    half = tmp_path / "music/low/3.wav"
    half.write_bytes(half.read_bytes()[:-88_200])  # 2 s of 4
    values = {"dataset": "folder", "dataset.folder": str(tmp_path / "music")}
    config = with_values(RunConfig(), values)
    refusing = prepare.decode(config)
    (skipped,) = refusing.skipped
    assert skipped["clip_id"] == "low/3.wav"
    assert "is truncated" in skipped["reason"]
    assert "audio.accept_damaged (--accept-damaged)" in skipped["reason"]
    config = with_values(config, {"audio.accept_damaged": True})
    accepting = prepare.decode(config)
    assert not accepting.skipped
    # As it is served: of a damaged file, the same samples.
    served = decode.decode(half, 22_050, middle_s=30.0, accept_damaged=True).wave
    trained_on = accepting.corpus.wave("low/3.wav")
    np.testing.assert_array_equal(trained_on, corpus.dequantise(corpus.quantise(served)))
    assert len(trained_on) == 2 * 22_050
    sentence = "1 of 8 clips is used with a warning; the first is low/3.wav: 3.wav is truncated"
    assert accepting.notes[-1].startswith(sentence)
    findings = audit(accepting.clips, accepting.corpus).findings
    assert findings.loc[findings["kind"] == "truncated", "clip_id"].tolist() == ["low/3.wav"]
    words = ["datasets", "prepare", "folder", "--folder", str(tmp_path / "music"), "--json"]
    assert [row["clip_id"] for row in json.loads(command(*words))["skipped"]] == ["low/3.wav"]
    document = json.loads(command(*words, "--accept-damaged"))
    assert document["skipped"] == []
    assert document["warnings"] == [
        {"clip_id": "low/3.wav", "reason": skipped["reason"].partition(" The setting")[0]}
    ]
    for accept_damaged, n_clips in ((False, 7), (True, 8)):
        kept = corpus.kept(accepting.clips, 22_050, 30.0, accept_damaged)
        assert kept is not None
        assert len(kept.index) == n_clips
