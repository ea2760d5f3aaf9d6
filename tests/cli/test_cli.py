"""The command line: exit codes, JSON, and one clear sentence for everything that goes wrong."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import command, genrecore, refused
from conftest import ROOT, TINY, trained, wait_for, wait_for_epoch
from sample_files import silent_wav

from genrecore import __version__
from genrecore.config.command import train_command
from genrecore.config.run import RunConfig, signature, with_values
from genrecore.errors import UsageError
from genrecore.jobs import actions
from genrecore.store.run import Run
from genrecore.store.runs import all_runs, find_run

Tiny = Callable[..., RunConfig]
_PARTS = ("dataset", "feature", "model")
SMALL = [f"--set={key}={value}" for key, value in TINY.items() if key.startswith(_PARTS)]
SMALL += ["--epochs", "2", "--segment-s", "1", "--clip-s", "3", "--batch-size", "7"]


def in_a_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a shell starts it."""
    return subprocess.run(
        [sys.executable, "-m", "genrecore", *arguments],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [[], ["demo"], ["list"], ["datasets"], ["datasets", "list"], ["datasets", "prepare"],
     ["train"], ["runs"], ["runs", "list"], ["runs", "show"], ["runs", "stop"], ["compare"],
     ["classify"], ["dashboard"], ["doctor"]],
    ids=" ".join,
)  # fmt: skip
def test_every_command_explains_itself(command: list[str]) -> None:
    result = genrecore(*command, "--help")
    assert result.returncode == 0
    text = result.stdout
    assert "Usage: genrecore" in text
    assert len(text) > 200


def test_flags_come_from_the_configurations_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = genrecore("train", "--help").stdout
    for flag in ("--model", "--epochs", "--batch-size", "--segment-s", "--split-seed", "--device"):
        assert flag in text
    assert "[default: cnn]" in text
    assert "x>=1" in text or "1<=x" in text


def test_wrong_usage_is_exit_code_2(store: Path) -> None:
    refused(genrecore("train", "--model", "resnet19"), 2, "resnet19", "cnn")
    refused(genrecore("train", "--set", "feature.n_mel=3"), 2, "n_mel", "n_mels")
    refused(genrecore("train", "--optimiser", "sgdd"), 2, "adam")
    refused(genrecore("train", "--no-such-flag"), 2, "--no-such-flag")
    refused(genrecore("runs", "show", "nothing"), 2, "nothing")
    refused(genrecore("list", "modells"), 2, "modells", "models")
    assert all_runs(store) == []


@pytest.mark.slow
def test_training_from_the_command_line(store: Path, tmp_path: Path) -> None:
    result = in_a_process("train", *SMALL, "--json")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts["state"] == "done"
    assert 0 <= facts["scores"]["accuracy"] <= 1
    run = find_run(facts["run"], store)
    # The same again from its own file gives the same numbers.
    again = genrecore("train", "--config", str(run.folder / "config.json"), "--json")
    assert json.loads(again.stdout)["scores"] == facts["scores"]
    printed = genrecore("runs", "show", facts["run"])
    assert "Tested on" in printed.stdout
    assert f"Trained by genrecore {__version__} on CPU" in printed.stdout
    listed = json.loads(genrecore("runs", "list", "--json").stdout)
    assert [row["state"] for row in listed] == ["done", "done"]
    compared = genrecore("compare", *[row["run"] for row in listed])
    assert "cannot be told apart" in compared.stdout
    data = json.loads(genrecore("compare", *[row["run"] for row in listed], "--json").stdout)
    assert data["pairs"][0]["only_a"] == 0


@pytest.mark.slow
def test_listing_runs_loads_nothing_heavy(store: Path) -> None:
    shutil.copytree(ROOT / "tests" / "store" / "old_runs", store, dirs_exist_ok=True)
    genrecore("runs", "list")  # scores are computed once, and kept
    timed = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "genrecore", "runs", "list", "--json"],
        cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    listed = json.loads(timed.stdout)
    assert len(listed) == 3
    assert sum(run["test accuracy"] is not None for run in listed) == 2
    imported = {line.rpartition("|")[2].strip() for line in timed.stderr.splitlines()}
    assert "genrecore.jobs.actions" in imported
    heavy = {"torch", "torchvision", "librosa", "sklearn", "scipy", "pandas", "numpy", "plotly"}
    assert not heavy & imported


@pytest.mark.long
def test_background_training_returns_at_once_and_is_stopped(store: Path) -> None:
    arguments = [w if w != "2" else "5000" for w in SMALL]
    queued = json.loads(genrecore("train", *arguments, "--background", "--json").stdout)
    folder = Path(queued["folder"])
    wait_for_epoch(Run(folder))
    stopped = genrecore("runs", "stop", queued["run"])
    assert stopped.returncode == 0
    wait_for(lambda: Run(folder).state == "stopped", most_s=10)
    # A stopped run goes on in the foreground, where Ctrl-C stops it again.
    going_on = subprocess.Popen(
        [sys.executable, "-m", "genrecore", "train", "--run", str(folder)], cwd=ROOT, env=os.environ
    )
    epoch = len(Run(folder).history)
    wait_for(lambda: len(Run(folder).history) > epoch, most_s=60)
    going_on.send_signal(2)
    assert going_on.wait(timeout=15) == 0
    assert Run(folder).state == "stopped"


def test_bad_clips_are_reported_and_the_others_classified(
    store: Path, tiny: Tiny, tmp_path: Path
) -> None:
    run = trained(tiny(), store)
    good = run.clips["path"].iloc[0]
    bad = tmp_path / "not music.wav"
    bad.write_text("not music")
    assert json.loads(command("classify", good, "--json"))["run"] == run.run_id  # the best one
    some = genrecore("classify", good, str(bad), "--run", run.run_id, "--json")
    assert some.returncode == 0
    data = json.loads(some.stdout)
    assert len(data["clips"]) == len(data["failures"]) == 1
    assert sum(data["clips"][0]["proba"].values()) == pytest.approx(1)
    assert "not music.wav" in some.stderr
    refused(genrecore("classify", str(bad), "--run", run.run_id), 1, "not music.wav")
    refused(genrecore("classify", "/no/such.wav", "--run", run.run_id), 1, "such.wav")


def test_a_dataset_that_cannot_be_learned_from_is_refused(store: Path, tmp_path: Path) -> None:
    refused(genrecore("datasets", "prepare", "gtzan"), 2, "folder")
    refused(genrecore("datasets", "prepare", "gtzan", "--folder", str(tmp_path)), 1, "genres")
    refused(genrecore("datasets", "prepare", "gtzann"), 2, "demo, ")


def test_doctor_tells_precision_and_why(store: Path) -> None:
    facts = json.loads(genrecore("doctor", "--json").stdout)
    assert facts["precision"] in ("float32", "bfloat16")
    assert "because" in facts["precision_reason"]
    assert facts["versions"]["torch"].startswith("2.11")
    assert facts["missing"] == []


def test_a_traceback_is_shown_only_when_asked_for(store: Path) -> None:
    plain = genrecore("compare", "a", "b")
    refused(plain, 2, "There is no run 'a'")
    with_debug = genrecore("--debug", "compare", "a", "b")
    assert with_debug.returncode == 2
    assert "Traceback" in with_debug.stderr


def test_a_store_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("GENRECORE_RUNS", str(blocked))
    refused(genrecore("train", *SMALL), 1, "cannot take a new run")


def test_a_changed_clip_and_what_is_left_of_it_are_written(store: Path, tmp_path: Path) -> None:
    time_s = np.arange(2 * 22_050) / 22_050
    clip, to = tmp_path / "tone.wav", tmp_path / "heard.wav"
    soundfile.write(clip, 0.3 * np.sin(2 * np.pi * 440 * time_s), 22_050)

    def peak_hz() -> float:
        wave, rate_hz = soundfile.read(to)
        middle = wave[len(wave) // 4 : 3 * len(wave) // 4] * np.hanning(len(wave) // 2)
        return float(np.abs(np.fft.rfft(middle)).argmax() * rate_hz / len(middle))

    octave = ["--set", "augment.pitch.range_semitones=12"]
    heard = set()
    for seed in ("0", "1"):
        arguments = ["hear", str(clip), "--out", str(to), "--augment", "pitch", "--seed", seed]
        facts = json.loads(genrecore(*arguments, *octave, "--json").stdout)
        assert facts["seconds"] == 2.0
        heard.add(round(peak_hz()))
    assert len(heard) == 2
    assert all(219 < hz < 881 for hz in heard)  # an octave down to an octave up
    assert genrecore("hear", str(clip), "--out", str(to), "--inverse").returncode == 0
    assert peak_hz() == pytest.approx(440, abs=45)  # the width of a mel band there
    refused(genrecore("hear", str(clip), "--out", str(to), "--augment", "mixup"), 2, "waves")
    refused(
        genrecore("hear", str(clip), "--out", str(to), "--inverse", "--set", "feature=stft"),
        2, "log_mel",
    )  # fmt: skip
    refused(genrecore("hear", str(clip), "--out", "/no/such/folder.wav"), 1, "cannot be written")


@pytest.mark.parametrize("background", [[], ["--background"]], ids=["foreground", "background"])
@pytest.mark.parametrize("split", [[], ["--split", "auto"], ["--split", "by_artist"]], ids=" ".join)
def test_where_only_a_split_that_leaks_is_possible_train_names_the_command_that_works(
    split: list[str], background: list[str], real_data: Path, nobody_starts: Path
) -> None:
    data = ["--dataset", "gtzan", f"--set=dataset.folder={real_data / 'gtzan'}"]
    result = genrecore("train", *data, *split, *background)
    reason = "too few artists" if "by_artist" in split else "No split of these clips keeps them"
    refused(result, 2, reason, "--allow-leaks")
    assert not all_runs(nobody_starts)
    lines = [line.strip() for line in result.stderr.splitlines() if line.startswith("  genrecore")]
    words = shlex.split(lines[0])[1:]
    assert ("--background" in words) == bool(background)
    if background:
        assert genrecore(*words).returncode == 0
        (queued,) = all_runs(nobody_starts)
        assert (queued.config.split.name, queued.config.allow_leaks) == ("stratified", True)


@pytest.mark.slow
def test_train_takes_the_best_split_and_on_the_demo_music_that_of_ever(
    nobody_starts: Path, tmp_path: Path
) -> None:
    for genre in ("dub", "waltz"):
        for number in range(5):
            silent_wav(tmp_path / genre / f"{number}.wav")
    mine = ["--dataset", "folder", f"--set=dataset.folder={tmp_path}"]
    configs = []
    for arguments in ([], ["--set", "split.n_folds=4"], mine, [*mine, "--split", "by_artist"]):
        queued = json.loads(genrecore("train", "--background", "--json", *arguments).stdout)
        configs.append(find_run(queued["run"]).config)
    splits = [config.split for config in configs]
    assert [(split.name, split.options) for split in splits] == [
        ("by_artist", {}), ("by_artist", {"n_folds": 4}), ("stratified", {}), ("by_artist", {}),
    ]  # fmt: skip
    assert signature(configs[0]) == signature(RunConfig())
    refused(genrecore("train", "--split", "auto", "--set", "split.n_folds=4"), 2, "no options")


@pytest.mark.slow
def test_the_folder_of_a_dataset_is_a_flag_of_every_command_that_trains(
    nobody_starts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    music = tmp_path / "A, B | C"
    for genre in ("dub", "waltz"):
        for number in range(5):
            silent_wav(music / genre / f"{number}.wav")
    for words in (["train", "--background"], ["sweep", "--dry-run"], ["leaklab"]):
        refused(genrecore(*words, "--dataset", "folder"), 2, "--folder DIR")
    monkeypatch.chdir(tmp_path)
    mine = ["--dataset", "folder", "--folder", music.name]  # as any path: from the current folder
    queued = json.loads(genrecore("train", "--background", "--json", *mine).stdout)
    config = find_run(queued["run"]).config
    assert config.dataset.options == {"folder": str(music)}
    again = train_command(config)
    assert again[again.index("--folder") + 1] == str(music)
    assert genrecore(*again[1:]).returncode == 0
    assert len({signature(run.config) for run in all_runs(nobody_starts)}) == 1
    sweep = [*mine, "--split=stratified", "--seed=5,6", "--background", "--json"]
    assert genrecore("sweep", *sweep).returncode == 0
    swept = [run.config for run in all_runs(nobody_starts) if run.config.seed in (5, 6)]
    assert [each.dataset for each in swept] == [config.dataset] * 2
    refused(genrecore("leaklab", *mine), 1, "No artist is known")
    refused(genrecore("train", "--run", "latest", "--folder", "."), 2, "takes no others")


@pytest.mark.slow
def test_a_split_that_leaks_or_leaves_genres_untested_is_not_queued(nobody_starts: Path) -> None:
    refused(genrecore("train", "--background", "--split", "stratified"), 2, "--allow-leaks")
    few = ["--set", "dataset.n_clips=4", "--split", "belton", "--allow-leaks"]
    refused(genrecore("train", "--background", *few), 2, "leaves no")
    refused(genrecore("sweep", "--split", "stratified", "--seed", "0,1"), 2, "allow_leaks = true")
    assert not all_runs(nobody_starts)
    with pytest.raises(UsageError, match="allow_leaks = true"):
        actions.submit(with_values(RunConfig(), {"split": "stratified"}))
    assert not all_runs(nobody_starts)


def test_a_sweep_leaves_out_what_would_fail(nobody_starts: Path) -> None:
    result = genrecore("sweep", "--split", "auto,stratified,by_artist", "--background", *SMALL[:4])
    assert "Left out: split stratified: The split leaks" in result.stderr
    assert [run.config.split.name for run in all_runs(nobody_starts)] == ["by_artist"]


def test_a_folder_as_it_is_is_prepared_and_its_look_alikes_are_merged(
    own_cache: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for genre, n in (("Rock", 3), ("ROCK ", 1), ("Folk, World", 1), ("Jazz", 3), ("@eaDir", 1)):
        for number in range(n):
            path = tmp_path / "music" / genre / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * rng.standard_normal(22_050), 22_050)
    (tmp_path / "music" / "Jazz" / "score.pdf").write_bytes(b"")
    words = ["datasets", "prepare", "folder", "--folder", str(tmp_path / "music"), "--clip-s", "1"]
    text = command(*words)
    assert "8 clips of 4 genres" in text
    assert "1 file of other kinds ignored: 1 .pdf." in text
    assert "1 hidden or system entry ignored: @eaDir." in text
    merge = 'Rock = "ROCK ", Rock'
    assert f"--merge {shlex.quote(merge)}" in text
    flags = ["--merge", merge, "--leave-out", '@eaDir, "Folk, World"']
    facts = json.loads(command(*words, *flags, "--json"))
    assert facts["clips_per_genre"] == {"Jazz": 3, "Rock": 4}
    assert (facts["look_alikes"], facts["merge"]) == ([], merge)
    audit = ["datasets", "audit", *words[2:]]
    findings = json.loads(command(*audit, "--json"))["findings"]
    assert {"genre_spelling", "remark"} <= {finding["kind"] for finding in findings}
    assert "genre_spelling" not in command(*audit, *flags, "--json")
    refused(genrecore(*words, "--leave-out", "Metal"), 2, 'there are: "Folk, World", Jazz, "ROCK "')
