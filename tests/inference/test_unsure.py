"""A wanted precision gives the same answers everywhere, and strangers get what their kind gets."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import requests
from commands import command, genrecore, refused
from test_audio import noise, write
from test_service import served
from untrained_runs import GENRES, untrained_run

from genrecore.audio import content
from genrecore.data.datasets.instruments import SAMPLE_RATE_HZ
from genrecore.errors import GenrecoreError, UsageError
from genrecore.evaluation.calibration import calibrate
from genrecore.evaluation.thresholds import select
from genrecore.inference import bundle, strangers
from genrecore.inference.ensemble import load as load_ensemble
from genrecore.inference.loaded import load as load_run
from genrecore.inference.service import ServiceLimits
from genrecore.store.run import Run


def validated(run: Run, sure_of: list[str], confidence: float) -> Run:
    """The run with validation predictions that are right on what it is so sure of, for these
    genres; of the others all are wrong."""
    rows = []
    for k, genre in enumerate(GENRES):
        for n in range(60):
            share = confidence + (0.999 - confidence) * n / 60
            proba = dict.fromkeys(GENRES, (1 - share) / (len(GENRES) - 1)) | {genre: share}
            label = genre if genre in sure_of else GENRES[k - 1]
            rows.append(
                {"clip_id": f"{genre} {n}", "split": "valid", "genre": label}
                | {f"p_{name}": value for name, value in proba.items()}
            )
    pd.DataFrame(rows).to_parquet(run.folder / "predictions.parquet", index=False)
    return Run(run.folder)


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "clips"
    folder.mkdir()
    for n in range(8):
        write(folder / f"{n}.wav", noise(1.5, 22_050, n) * 0.5**n, 22_050)
    return sorted(folder.iterdir())


@pytest.fixture
def run(store: Path, clips: list[Path]) -> Run:
    """A run that is sure enough of one of the genres that it hears, from a middling confidence."""
    run = untrained_run(store)
    heard = [load_run(run).classify(clip) for clip in clips]
    # Half of the clips of the genre that it hears most often are beyond the threshold.
    genre = pd.Series([prediction.genre for prediction in heard]).mode()[0]
    confidences = [float(p.proba.max()) for p in heard if p.genre == genre]
    return validated(run, [genre], float(np.median(confidences)))


@pytest.mark.slow
def test_command_python_http_bundle_library_and_onnx_have_the_same_answers(
    run: Run, clips: list[Path], tmp_path: Path
) -> None:
    thresholds = select([run], 0.9).thresholds
    expected = {}
    for clip in clips:
        prediction = load_run(run).classify(clip, precision=0.9)
        least = thresholds.of_genre[prediction.genre]
        sure = least is not None and prediction.proba.max() >= least
        expected[clip.name] = prediction.genre if sure else None
        assert prediction.answer == expected[clip.name]
        assert prediction.as_dict()["threshold"] == least
    assert set(expected.values()) - {None}
    assert None in expected.values()
    folder = str(clips[0].parent)
    asked = ("classify", folder, "--run", run.run_id, "--precision", "0.9")
    data = json.loads(command(*asked, "--json"))
    assert {clip["name"]: clip["answer"] for clip in data["clips"]} == expected
    assert all(clip["genre"] in GENRES for clip in data["clips"])
    assert data["precision"] == 0.9
    assert "never answered" in " ".join(data["promises"]).lower()
    lines = [*csv.DictReader(io.StringIO(command(*asked, "--csv")))]
    in_words = {name: answer or "not sure" for name, answer in expected.items()}
    assert {Path(line["path"]).name: line["answer"] for line in lines} == in_words
    text = command(*asked)
    assert text.count(": not sure (") == [*expected.values()].count(None)
    out = tmp_path / "library.csv"
    command(*asked, "--out", str(out), "--playlists", str(tmp_path / "lists"))
    table = pd.read_csv(out)
    assert dict(zip(table["path"].map(lambda p: Path(p).name), table["answer"], strict=True)) == (
        in_words
    )
    playlists = (tmp_path / "lists").glob("*.m3u8")
    listed = [line for file in playlists for line in file.read_text().splitlines()]
    assert sum(line.endswith(".wav") for line in listed) == 8 - [*expected.values()].count(None)
    again = genrecore(*asked[:4], "--out", str(out))
    refused(again, 2, "for a precision of 90.0 %")
    with served(load_ensemble([run]), ServiceLimits()) as server:
        for clip in clips:
            where = f"{server.address}/classify?precision=0.9"
            answer = requests.post(where, data=clip.read_bytes(), timeout=30).json()
            assert answer["answer"] == expected[clip.name]
        without = requests.post(
            f"{server.address}/classify", data=clips[0].read_bytes(), timeout=30
        )
        assert "answer" not in without.json()
        bad = requests.post(f"{server.address}/classify?precision=2", data=b"x", timeout=30)
        assert (bad.status_code, "from 0.5 to 0.999" in bad.json()["error"]) == (400, True)
        described = server.get("/openapi.json")["components"]["schemas"]["Prediction"]
        jsonschema.validate({**answer, "doubts": []}, described)
    command("export", run.run_id, "--bundle", str(tmp_path / "bundle"), "--precision", "0.9")
    loaded = bundle.load(tmp_path / "bundle")
    assert {clip.name: loaded.classify(clip, precision=0.9).answer for clip in clips} == expected
    with pytest.raises(UsageError, match=r"a precision of 90.0 %; found 80.0 %"):
        loaded.classify(clips[0], precision=0.8)
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "## When it is not sure" in card
    assert "| never answered |" in card


def test_without_a_wanted_precision_nothing_changes(run: Run, clips: list[Path]) -> None:
    prediction = load_run(run).classify(clips[0])
    assert prediction.answer == prediction.genre
    assert {"answer", "threshold"}.isdisjoint(prediction.as_dict())
    head = command("classify", str(clips[0]), "--run", run.run_id, "--csv").splitlines()[0]
    assert head.split(",") == ["path", "run", "genre", *(f"p_{genre}" for genre in GENRES)]


def test_the_service_answers_as_it_was_started(run: Run, clips: list[Path]) -> None:
    with served(load_ensemble([run]), ServiceLimits(precision=0.9)) as server:
        answer = server.post(clips[0].read_bytes()).json()
    assert answer["answer"] == load_run(run).classify(clips[0], precision=0.9).answer


@pytest.mark.slow
def test_several_runs_answer_each_and_on_average(store: Path, clips: list[Path]) -> None:
    runs = [validated(untrained_run(store, seed=seed), GENRES, 0.2) for seed in (7, 8)]
    data = json.loads(
        command(
            *("classify", str(clips[0]), "--json", "--precision", "0.9"),
            *("--run", runs[0].run_id, "--run", runs[1].run_id),
        )
    )
    (clip,) = data["clips"]
    assert clip["answer"] == clip["genre"]
    assert all(each["answer"] == each["genre"] for each in clip["runs"])
    assert any(sentence.startswith("On average") for sentence in data["promises"])
    # Of runs with other validation clips nothing can be said about the average.
    predictions = pd.read_parquet(runs[1].folder / "predictions.parquet")
    predictions.iloc[:-1].to_parquet(runs[1].folder / "predictions.parquet")
    other = load_ensemble([Run(run.folder) for run in runs], precision=0.9).classify(clips[0])
    assert other.answer is None
    assert other.as_dict()["answer"] is None
    assert other.predictions[0].answer is not None


def test_a_run_without_predictions_cannot_promise_anything(store: Path, clips: list[Path]) -> None:
    run = untrained_run(store)
    result = genrecore("classify", str(clips[0]), "--run", run.run_id, "--precision", "0.9")
    refused(result, 1, "has no predictions")
    refused(
        genrecore("classify", str(clips[0]), "--precision", "0.3"),
        2,
        "'--precision': Input should be greater than or equal to 0.5",
    )


# Strangers


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*strangers.KINDS, strangers.MUSIC])
def test_strangers_are_what_they_are_called(kind: str) -> None:
    waves = [strangers.make(kind, k, 6.0, GENRES) for k in range(8)]
    assert all(len(wave) == 6 * SAMPLE_RATE_HZ and np.abs(wave).max() <= 1 for wave in waves)
    assert not np.array_equal(waves[0], waves[1])
    np.testing.assert_array_equal(waves[0], strangers.make(kind, 0, 6.0, GENRES))
    heard = [content.kind_of(wave.astype(np.float32), SAMPLE_RATE_HZ).name for wave in waves]
    expected = {"noise": "noise", "speech": "speech", "silence": "silent"}.get(kind, "")
    assert heard.count(expected) >= 6, heard


@pytest.mark.slow
def test_strangers_are_counted_with_and_without_thresholds(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "N_EACH", 5)
    assert strangers.read(run, 0.9) is None
    result = genrecore("strangers", run.run_id, "--stored")
    refused(result, 1, "has classified no strangers yet")
    told = json.loads(command("strangers", run.run_id, "--precision", "0.9", "--json"))
    stored = pd.read_parquet(run.folder / strangers.FILE)
    thresholds = select([run], 0.9).thresholds
    proba = calibrate(run).apply(stored[[f"p_{genre}" for genre in GENRES]].to_numpy())
    rows = {(row["kind"], row["genre"]): row for row in told["strangers"]}
    assert {kind for kind, _ in rows} == {*strangers.KINDS, strangers.MUSIC}
    for kind in strangers.KINDS:
        of_kind = proba[stored["kind"] == kind]
        assert len(of_kind) == 5 == rows[kind, GENRES[0]]["n"]
        for k, genre in enumerate(GENRES):
            is_genre = of_kind.argmax(axis=1) == k
            least = thresholds.of_genre[genre]
            answered = is_genre & (of_kind.max(axis=1) >= (2 if least is None else least))
            assert rows[kind, genre]["predicted"] == pytest.approx(is_genre.mean())
            assert rows[kind, genre]["answered"] == pytest.approx(answered.mean())
    assert "Of 25 strangers" in command("strangers", run.run_id, "--stored")
    (run.folder / strangers.FILE).write_bytes(b"nothing")
    assert strangers.read(run, 0.9) is None


def test_a_run_on_images_has_no_strangers(store: Path) -> None:
    run = untrained_run(store)
    with pytest.raises(GenrecoreError, match="only a tested run"):
        strangers.classify(run)
