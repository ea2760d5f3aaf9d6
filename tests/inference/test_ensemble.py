"""Several runs and many files: the same answers as one by one, in Python and as a command."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import command, genrecore, refused
from conftest import trained
from PIL import Image
from test_audio import noise, tone, write
from test_audio_aac import encode
from untrained_runs import GENRES, untrained_run

import genrecore as package
from genrecore.audio import decode
from genrecore.config.run import RunConfig
from genrecore.errors import AudioError, UsageError
from genrecore.evaluation.calibration import tempered
from genrecore.inference.ensemble import load as load_ensemble
from genrecore.inference.loaded import load as load_run
from genrecore.store.run import Run

Tiny = Callable[..., RunConfig]


@pytest.fixture
def three(store: Path) -> list[Run]:
    """Runs of the same genres: one is calibrated, one hears at another rate."""
    return [
        untrained_run(store),
        untrained_run(store, temperature=2.5, seed=8),
        untrained_run(store, seed=9, audio__sample_rate_hz=16_000, segments__overlap=0.5),
    ]


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """A folder of clips of several kinds, with folders in it, and two that are none."""
    folder = tmp_path / "music"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    write(folder / "a.wav", noise(3.3, 22_050, 1), 22_050)
    write(folder / "deep" / "b.FLAC", noise(1.2, 44_100, 2), 44_100, format="FLAC")
    write(folder / "deep" / "er" / "c.mp3", noise(7.0, 44_100, 3), 44_100)
    (folder / "deep" / "d.m4a").write_bytes(encode(tone(2.5, 44_100, 2), 44_100))
    (folder / "bad <b>.wav").write_text("These are words.")
    (folder / "empty.ogg").write_bytes(b"")
    (folder / "notes.txt").write_text("not looked at")
    (folder / ".hidden" / "e.wav").write_text("not looked at")
    (folder / "._a.wav").write_text("not looked at")
    return folder


def paths_in(music: Path) -> list[Path]:
    return sorted(path for path in music.rglob("[a-d].*"))


def test_many_files_get_the_predictions_they_get_alone(three: list[Run], music: Path) -> None:
    together = load_ensemble(three)
    paths = paths_in(music)
    answers = list(together.classify_many(paths))
    assert [answer.name for answer in answers] == [path.name for path in paths]
    for path, answer in zip(paths, answers, strict=True):
        for loaded, prediction in zip(together.loaded, answer.predictions, strict=True):
            alone = loaded.classify(path)
            # The same float32 arithmetic in batches of another size: rounding only.
            np.testing.assert_allclose(prediction.proba, alone.proba, atol=2e-5)
            np.testing.assert_allclose(prediction.segments, alone.segments, atol=2e-5)
            np.testing.assert_array_equal(prediction.wave, alone.wave)
            assert prediction.proba.sum() == pytest.approx(1.0)
        mean = np.mean([prediction.proba for prediction in answer.predictions], axis=0)
        np.testing.assert_allclose(answer.average, mean, atol=1e-12)


def test_threads_that_begin_later_have_all_cores_again(three: list[Run], music: Path) -> None:
    def of_a_new_thread() -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.get_num_threads).result()

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert len(list(load_ensemble(three).classify_many(paths_in(music)))) == 4
        assert (torch.get_num_threads(), of_a_new_thread()) == (2, 2)
    finally:
        torch.set_num_threads(before)


def test_the_timeline_is_the_networks_output_for_each_window_alone(
    three: list[Run], music: Path
) -> None:
    run = three[2]  # windows overlap by half
    loaded = load_run(run)
    rate_hz = run.config.audio.sample_rate_hz
    n_window = round(run.config.segments.segment_s * rate_hz)
    for path in paths_in(music):
        prediction = loaded.classify(path)
        decoded = decode.decode(path, rate_hz, middle_s=run.config.audio.clip_s)
        wave = np.rint(decoded.wave * 32768).clip(-32768, 32767) / 32768  # as of 16 bits
        rows = prediction.segments
        assert len(rows) == 1 or (rows["start_s"].diff().dropna() > 0).all()
        expected = []
        for row in rows.itertuples():
            begin = round((row.start_s - decoded.start_s) * rate_hz)
            window = np.zeros(n_window, np.float32)
            segment = wave[begin : begin + n_window]
            window[: len(segment)] = segment
            with torch.inference_mode():
                logits = loaded.classifier(torch.from_numpy(window)[None, None])
            expected.append(logits.double().softmax(1)[0].numpy())
        # float32 in batches of another size: rounding only.
        timeline = rows[[f"p_{genre}" for genre in GENRES]].to_numpy()
        np.testing.assert_allclose(timeline, expected, atol=2e-5)
        np.testing.assert_allclose(prediction.uncalibrated, np.mean(expected, axis=0), atol=2e-5)


def test_probabilities_are_calibrated_and_genres_stay(three: list[Run], music: Path) -> None:
    plain, calibrated = (package.load(run.run_id) for run in three[:2])
    prediction = calibrated.classify(music / "a.wav")
    assert prediction.temperature == pytest.approx(2.5, rel=0.3)  # of 400 clips
    np.testing.assert_allclose(
        prediction.proba, tempered(prediction.uncalibrated, prediction.temperature), atol=1e-12
    )
    assert prediction.proba.argmax() == prediction.uncalibrated.argmax()
    assert prediction.proba.max() < prediction.uncalibrated.max()
    pooled = prediction.segments[[f"p_{g}" for g in GENRES]].mean().to_numpy()
    np.testing.assert_allclose(prediction.uncalibrated, pooled, atol=1e-12)
    assert plain.classify(music / "a.wav").temperature == 1.0
    assert "no stored predictions" in plain.calibration.note


def test_runs_of_other_genres_stand_side_by_side_and_are_not_averaged(
    three: list[Run], store: Path, music: Path
) -> None:
    second = untrained_run(store, genres=["loud", "quiet"])
    ensemble = load_ensemble([three[0], second])
    assert ensemble.genres is None
    answer = ensemble.classify(music / "a.wav")
    assert [prediction.genres for prediction in answer.predictions] == [GENRES, ["loud", "quiet"]]
    assert answer.average is None
    assert "not averaged" in ensemble.note
    assert "disagree" in answer.agreement


def test_agreement_is_a_sentence(three: list[Run], music: Path) -> None:
    again = untrained_run(three[0].folder.parent)  # the same weights
    answer = load_ensemble([three[0], again]).classify(music / "a.wav")
    assert answer.agreement == f"Both runs say {answer.predictions[0].genre}."
    assert load_ensemble([three[0]]).classify(music / "a.wav").agreement == ""


def test_an_ensemble_of_no_run_of_one_twice_and_of_mixed_media_is_refused(
    three: list[Run], store: Path
) -> None:
    with pytest.raises(UsageError, match="No run is named"):
        load_ensemble([])
    with pytest.raises(UsageError, match="is named twice"):
        load_ensemble([three[0], three[0].run_id])
    with pytest.raises(UsageError, match=r"classifies recordings and the run .* images"):
        load_ensemble([three[0], image_run(store)])


def image_run(store: Path) -> Run:
    folder = store.parent / "drawn"
    for genre in ("blues", "jazz"):
        (folder / genre).mkdir(parents=True, exist_ok=True)
        for n in range(3):
            Image.new("RGB", (50, 40)).save(folder / genre / f"{n}.png")
    return untrained_run(
        store, shape=(3, 40, 50), dataset="folder", dataset__folder=str(folder), feature="image",
        split="stratified", model="cnn", model__width=3,
    )  # fmt: skip


def test_a_run_on_images_takes_images_and_says_why_not_audio(
    store: Path, music: Path, tmp_path: Path
) -> None:
    run = image_run(store)
    shutil.rmtree(store.parent / "drawn")  # the dataset is not needed any more
    loaded = load_run(run)
    tmp_path = tmp_path / "mine"
    tmp_path.mkdir()
    values = np.random.default_rng(7).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "p.png")
    prediction = loaded.classify(tmp_path / "p.png")
    assert prediction.image is not None
    np.testing.assert_array_equal(prediction.image, values.transpose(2, 0, 1))
    assert prediction.proba.sum() == pytest.approx(1.0)
    assert "duration_s" not in prediction.as_dict()
    again = loaded.classify((tmp_path / "p.png").read_bytes(), name="upload.png")
    np.testing.assert_array_equal(again.proba, prediction.proba)
    with pytest.raises(AudioError, match=r"a\.wav is audio, but the run .* how they were drawn"):
        loaded.classify(music / "a.wav")
    Image.fromarray(values[:30]).save(tmp_path / "small.png")
    with pytest.raises(AudioError, match=r"50 × 30 pixels; .* images of 50 × 40 pixels"):
        loaded.classify(tmp_path / "small.png")
    (tmp_path / "text.png").write_text("words")
    with pytest.raises(AudioError, match=r"^text\.png cannot be read as an image: its content"):
        loaded.classify(tmp_path / "text.png")
    result = genrecore(
        "classify", str(tmp_path / "p.png"), "--run", run.run_id, "--doubts", "--json"
    )
    assert result.stderr == ""  # of images nothing is doubted
    assert json.loads(result.stdout)["clips"][0]["doubts"] == []
    data = json.loads(command("classify", str(tmp_path), "--run", run.run_id, "--json"))
    assert [clip["name"] for clip in data["clips"]] == ["p.png"]
    with pytest.raises(AudioError, match="its content looks like an image"):
        load_run(untrained_run(store)).classify(tmp_path / "p.png")


def test_the_command_goes_through_folders_and_reports_bad_files_at_the_end(
    three: list[Run], music: Path
) -> None:
    run = three[1].run_id
    result = genrecore("classify", str(music), str(music / "a.wav"), "--run", run, "--json")
    assert result.returncode == 0
    data = json.loads(result.stdout)
    assert data["run"] == run
    assert [clip["path"] for clip in data["clips"]] == [str(path) for path in paths_in(music)]
    assert sorted(failure["name"] for failure in data["failures"]) == ["bad <b>.wav", "empty.ogg"]
    assert "empty.ogg is empty" in result.stderr
    loaded = load_run(run)
    for clip in data["clips"]:
        expected = loaded.classify(clip["path"])
        assert clip["genre"] == expected.genre
        assert [*clip["proba"]] == GENRES
        np.testing.assert_allclose([*clip["proba"].values()], expected.proba, atol=2e-5)


def test_the_command_takes_several_runs_and_averages_them(three: list[Run], music: Path) -> None:
    flags = [flag for run in three for flag in ("--run", run.run_id)]
    data = json.loads(command("classify", str(music / "a.wav"), *flags, "--json"))
    (clip,) = data["clips"]
    mean = np.mean([[*run["proba"].values()] for run in clip["runs"]], axis=0)
    np.testing.assert_allclose([*clip["proba"].values()], mean, atol=1e-12)
    text = command("classify", str(music / "a.wav"), str(music / "deep"), *flags)
    assert all(run.run_id in text for run in three)
    assert "on average" in text
    rows = list(csv.DictReader(io.StringIO(command("classify", str(music), *flags, "--csv"))))
    assert len(rows) == 4 * 4  # files × runs and their average
    (row,) = [r for r in rows if r["run"] == "average" and r["path"].endswith("a.wav")]
    assert row["genre"] == clip["genre"]
    # Six decimals are printed; and batches of another size.
    np.testing.assert_allclose([float(row[f"p_{g}"]) for g in GENRES], mean, atol=2e-5)


def test_the_commands_exit_codes(three: list[Run], music: Path, tmp_path: Path) -> None:
    run = three[0].run_id
    (tmp_path / "nothing").mkdir()
    refused(genrecore("classify", str(tmp_path / "nothing"), "--run", run), 1, "no clips in the")
    refused(genrecore("classify", str(music / "bad <b>.wav"), "--run", run), 1, "bad <b>.wav")
    refused(genrecore("classify", str(music), "--run", run, "--json", "--csv"), 2, "not both")
    refused(genrecore("classify", str(music), "--run", "no such run"), 2, "There is no run")
    shutil.rmtree(three[0].folder)
    refused(genrecore("classify", str(music), "--run", run), 2, "There is no run")


def test_a_trained_runs_own_clips_come_out_as_stored(store: Path, tiny: Tiny) -> None:
    run = trained(tiny(segments__pooling="logits"), store)
    ensemble = load_ensemble([run])
    predicted = run.predictions.set_index("clip_id")
    paths = run.clips.set_index("clip_id")["path"].loc[predicted.index].tolist()
    answers = list(ensemble.classify_many(paths))
    proba = np.stack([answer.predictions[0].uncalibrated for answer in answers])
    # The same float32 arithmetic in batches of another size: rounding only.
    columns = [f"p_{genre}" for genre in ensemble.genres]
    np.testing.assert_allclose(proba, predicted[columns].to_numpy(float), atol=2e-6)


def test_a_run_on_made_up_music_says_so_and_one_on_real_music_does_not(
    store: Path, music: Path, real_data: Path
) -> None:
    made_up = untrained_run(store)
    folder = str(real_data / "gtzan")
    real = untrained_run(store, seed=8, dataset="gtzan", dataset__folder=folder)
    assert load_ensemble([real]).caution == ""
    both = load_ensemble([made_up, real])
    assert f"genrecore makes itself: {made_up.run_id}. Real music" in both.caution
    result = genrecore("classify", str(music / "a.wav"), "--run", str(made_up.folder))
    assert load_ensemble([made_up]).caution in result.stderr
    result = genrecore("classify", str(music / "a.wav"), "--run", str(real.folder))
    assert result.stderr == ""
