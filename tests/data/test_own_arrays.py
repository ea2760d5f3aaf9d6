"""Arrays of one's own: what is read, what is refused, and models that learn from them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import command
from conftest import trained

from genrecore.config.run import RunConfig
from genrecore.data import datasets, prepare
from genrecore.data.arrays import array_shape, read_array
from genrecore.errors import AudioError, GenrecoreError, UsageError
from genrecore.features import FEATURES
from genrecore.inference import loaded as inference
from genrecore.inference.ensemble import Ensemble
from genrecore.models import MODELS
from genrecore.training.check import check
from genrecore.training.parts import fits
from genrecore.training.resolve import resolve

Tiny = Callable[..., RunConfig]
RNG = np.random.default_rng(3)


def saved(array: object, **options: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def saved_together(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(7, dtype=np.int16),
        np.linspace(0, 1, 7, dtype=np.float16),
        np.linspace(-1, 1, 7).astype(">f8"),
        np.arange(7) > 3,
        np.asfortranarray(RNG.normal(size=(5, 3))),
        RNG.normal(size=(5, 6)).astype(np.float32)[:, ::2],
        np.arange(15, dtype=">u4").reshape(5, 3),
    ],
)
def test_numbers_of_every_kind_and_order_become_float32(array: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(saved(array))
    (tmp_path / "a.npz").write_bytes(saved_together(only=array))
    for source in (tmp_path / "a.npy", str(tmp_path / "a.npz"), saved(array)):
        values = read_array(source)
        assert values.dtype == np.float32
        assert values.flags.c_contiguous
        assert np.array_equal(values, array.astype(np.float32))
        assert array_shape(source) == array.shape


class Opened:
    """Writes a file if somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.path,))  # type: ignore[return-value]


def _lying() -> bytes:
    """A header that promises 400 GB, and three numbers."""
    content = saved(np.zeros(3))
    return content.replace(b"(3,), }" + b" " * 9, b"(3, 99999999), }")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is not an array that NumPy saved"),
        (b"RIFF and so on", "is not an array that NumPy saved"),
        (saved(np.zeros(9))[:70], "is not an array that NumPy saved"),
        (saved(np.zeros(9))[:-5], "is cut off: its header promises 72 bytes of numbers, and there"),
        (_lying(), "is too large (3 × 99,999,999); expected 1 to 67,108,864 numbers"),
        (saved(np.array([1.0, np.nan, np.inf])), "holds nan at [1] (2 such numbers in all)"),
        (saved(np.array([[1.0, 1e300]])), "holds 1e+300 at [0, 1] (1 such number in all)"),
        (saved(np.zeros((0, 5))), "is empty (0 × 5)"),
        (saved(np.float64(3)), "has 0 dimensions; expected real numbers in one dimension"),
        (saved(np.zeros((2, 3, 4))), "has 3 dimensions (2 × 3 × 4); expected real numbers"),
        (saved(np.zeros(3, complex)), "holds complex numbers"),
        (saved(np.array(["a", "b"])), "holds text"),
        (saved(np.zeros(3, "f4,i4")), "holds records"),
        (saved(np.zeros(3, "M8[s]")), "holds values of the type datetime64[s]"),
        (saved_together(a=np.zeros(3), b=np.zeros(3)), "holds 2 arrays; expected one, or the"),
        (saved_together(), "holds 0 arrays"),
        (saved_together(a=np.arange(99.0))[:-30], "is damaged"),
    ],
)
def test_what_is_no_clip_is_refused_in_a_sentence(content: bytes, found: str) -> None:
    with pytest.raises(GenrecoreError) as caught:
        read_array(content, "mine.npy")
    sentence = str(caught.value)
    assert sentence.startswith("mine.npy ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert found in sentence


def test_pickled_objects_are_never_opened(tmp_path: Path) -> None:
    content = saved(np.array([Opened(tmp_path / "opened")], dtype=object), allow_pickle=True)
    with pytest.raises(GenrecoreError, match="pickled Python objects, which are never opened"):
        read_array(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(GenrecoreError, match=r"a\.npz holds pickled Python objects"):
        read_array(tmp_path / "a.npz")
    assert not (tmp_path / "opened").exists()


def test_one_of_several_arrays_is_named_by_an_option() -> None:
    content = saved_together(mean=np.arange(3), frames=np.ones((5, 3)))
    assert read_array(content, array="frames").shape == (5, 3)
    with pytest.raises(GenrecoreError, match="no array 'x'; it holds 'mean' and 'frames'"):
        read_array(content, array="x")


def vectors(folder: Path, width: int = 13, n_clips: int = 6) -> Path:
    """Genre folders of vectors around 0 and around 3."""
    for k, genre in enumerate(("high", "low")):
        (folder / genre).mkdir(parents=True)
        for n in range(n_clips):
            (folder / genre / f"{n}.npy").write_bytes(saved(RNG.normal(3.0 * k, 1.0, width)))
    return folder


def sequences(folder: Path, width: int = 13, n_clips: int = 6, lengths: int = 9) -> Path:
    """Genre folders of sequences (numbers, steps), as librosa makes them, of several lengths."""
    for k, genre in enumerate(("high", "low")):
        (folder / genre).mkdir(parents=True)
        for n in range(n_clips):
            values = RNG.normal(3.0 * k, 1.0, (width, 40 + lengths * n)).astype(np.float32)
            (folder / genre / f"{n}.npz").write_bytes(saved_together(mfcc=values))
    return folder


def own(tiny: Tiny, folder: Path, feature: str, model: str, **values: object) -> RunConfig:
    return tiny(
        dataset="folder", dataset__folder=str(folder), split="stratified", split__n_folds=3,
        feature=feature, model=model, training__epochs=2, **values,
    )  # fmt: skip


def test_a_file_that_cannot_be_used_is_left_out_with_its_reason(tiny: Tiny, tmp_path: Path) -> None:
    vectors(tmp_path)
    (tmp_path / "high" / "3.npy").write_bytes(saved(np.full(13, np.nan)))
    prepared = prepare.decode(own(tiny, tmp_path, "own_vector", "mlp"))
    assert len(prepared.clips) == 11
    assert set(prepared.clips["medium"]) == {"vector"}
    assert prepared.skipped[0]["clip_id"] == "high/3.npy"
    assert "3.npy holds nan at [0] (13 such numbers in all)" in prepared.notes[0]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(12), "6.npy has 12 numbers, the arrays before it 13; all must have the same"),
        (np.zeros((13, 5)), "6.npy has the size 13 × 5, but others are vectors; a dataset is of"),
    ],
)
def test_vectors_of_another_size_are_refused(
    array: np.ndarray, message: str, tiny: Tiny, tmp_path: Path
) -> None:
    config = own(tiny, vectors(tmp_path), "own_vector", "mlp")
    (tmp_path / "low" / "6.npy").write_bytes(saved(array))
    with pytest.raises(GenrecoreError, match=message):
        prepare.decode(config)


def test_time_is_the_axis_along_which_sequences_differ_or_is_said(
    tiny: Tiny, tmp_path: Path
) -> None:
    config = own(tiny, sequences(tmp_path / "a"), "own_sequence", "lstm")
    corpus = prepare.decode(config).corpus
    assert corpus.index["n_samples"].tolist() == [40, 49, 58, 67, 76, 85] * 2
    assert corpus.shape == (13,)
    assert corpus.clip_shape == (63, 13)  # half of the clips have 62.5 steps at least
    first = read_array(tmp_path / "a" / "high" / "1.npz").T
    assert np.array_equal(corpus.values[40:89], first)
    equal = sequences(tmp_path / "b", lengths=0)
    config = own(tiny, equal, "own_sequence", "lstm")
    with pytest.raises(GenrecoreError, match=r"13 × 40, .*time_axis: first \(13 steps of 40"):
        prepare.decode(config)
    for axis, shape in (("first", (13, 40)), ("second", (40, 13))):
        config = own(tiny, equal, "own_sequence", "lstm", dataset__time_axis=axis)
        assert prepare.decode(config).corpus.clip_shape == shape
    (equal / "low" / "9.npz").write_bytes(saved_together(x=np.zeros((12, 50))))
    config = own(tiny, equal, "own_sequence", "lstm")
    with pytest.raises(GenrecoreError, match="differ along both axes"):
        prepare.decode(config)
    config = own(tiny, equal, "own_sequence", "lstm", dataset__time_axis="second")
    with pytest.raises(GenrecoreError, match="has 12 numbers a step, the arrays before it 13"):
        prepare.decode(config)


OWN = ("own_vector", "own_sequence", "own_sequence_moments")
# A network for each feature, and what scikit-learn makes of either kind of file.
DAILY = {("own_vector", "knn"), ("own_sequence_moments", "svm")}


def taken() -> Iterator[Any]:
    for feature in OWN:
        for model in MODELS:
            if not fits(feature, model):
                daily = not MODELS[model].facts.classical or (feature, model) in DAILY
                yield pytest.param(feature, model, marks=() if daily else pytest.mark.long)


@pytest.mark.parametrize(("feature", "model"), [*taken()])
def test_every_model_that_takes_them_trains_and_classifies_new_files(
    feature: str, model: str, store: Path, tiny: Tiny, tmp_path: Path
) -> None:
    make = vectors if feature == "own_vector" else sequences
    folder = make(tmp_path / "music")
    run = trained(own(tiny, folder, feature, model), store)
    assert run.state == "done", run.status
    loaded = inference.load(run)
    assert loaded.medium == FEATURES[feature].facts.needs[0]
    predicted = run.predictions.set_index("clip_id")
    for clip_id in predicted.index[:3]:  # the arithmetic of the stored predictions
        prediction = loaded.classify(folder / clip_id)
        stored = predicted.loc[clip_id, [f"p_{genre}" for genre in loaded.genres]]
        assert np.allclose(prediction.uncalibrated, stored.to_numpy(float), atol=1e-6)
        of_clip = run.segments[run.segments["clip_id"] == clip_id]
        assert prediction.segments["start_s"].tolist() == of_clip["start_s"].tolist()
        assert "judged_s" not in prediction.as_dict()


def test_networks_for_images_take_sequences_as_images(
    store: Path, tiny: Tiny, tmp_path: Path
) -> None:
    for genre, level in (("high", 1.0), ("low", -1.0)):
        (tmp_path / "own" / genre).mkdir(parents=True)
        for number in range(6):  # bins × frames, as spectrograms are kept
            spectrogram = RNG.normal(level, 1.0, (40, 50 + number))
            np.save(tmp_path / "own" / genre / f"{number}.npy", spectrogram)
    values = {"augment": "time_mask", "model__width": 3}
    config = own(tiny, tmp_path / "own", "own_sequence_image", "cnn", **values)
    run = trained(config, store)
    assert run.state == "done", run.reason
    loaded = inference.load(run)
    assert tuple(loaded.classifier.feature.output_shape) == (1, 40, 53)
    rows = torch.arange(6.0).reshape(1, 3, 2)
    assert loaded.classifier.feature(rows).tolist() == [[[[0, 2, 4], [1, 3, 5]]]]
    stored = run.predictions.set_index("clip_id")
    clip_id = stored.index[0]
    proba = stored.loc[clip_id, [f"p_{genre}" for genre in loaded.genres]].to_numpy(float)
    prediction = loaded.classify(tmp_path / "own" / clip_id)
    assert np.allclose(prediction.uncalibrated, proba, atol=1e-6)
    small = own(tiny, sequences(tmp_path / "small"), "own_sequence_image", "cnn")
    assert "but the feature makes 13 × 63" in check(small).problem


def test_sequences_are_cut_into_segments_as_recordings_are(
    store: Path, tiny: Tiny, tmp_path: Path
) -> None:
    folder = sequences(tmp_path / "music", n_clips=4, lengths=20)  # 40, 60, 80, 100 steps
    values = {"feature__n_steps": 50, "segments__overlap": 0.5}
    run = trained(own(tiny, folder, "own_sequence", "lstm", **values), store)
    starts = run.segments.groupby("clip_id")["start_s"].apply(list)
    expected = {"0": [0], "1": [0], "2": [0, 25], "3": [0, 25, 50]}
    for clip_id, some in starts.items():
        assert some == expected[clip_id[-5]]
    prediction = inference.load(run).classify(folder / "low" / "0.npz")
    assert prediction.segments[["start_s", "end_s"]].to_numpy().tolist() == [[0, 40]]


def test_the_command_classifies_arrays_and_says_what_does_not_fit(
    store: Path, tiny: Tiny, tmp_path: Path
) -> None:
    run = trained(own(tiny, vectors(tmp_path / "music"), "own_vector", "mlp"), store)
    (tmp_path / "long.npy").write_bytes(saved(np.zeros(14)))
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    answer = json.loads(
        command(
            "classify", str(tmp_path / "music" / "high"), str(tmp_path / "long.npy"),
            str(tmp_path / "song.wav"), "--run", run.run_id, "--json",
        )
    )  # fmt: skip
    assert len(answer["clips"]) == 6
    problems = [failure["error"] for failure in answer["failures"]]
    assert problems[0] == (
        f"long.npy has the size 14; the run {run.run_id} was trained on vectors of 13 numbers."
    )
    assert problems[1].startswith("song.wav is not an array that NumPy saved")


def test_a_manifest_of_arrays_and_a_feature_that_does_not_take_them(
    tiny: Tiny, tmp_path: Path
) -> None:
    vectors(tmp_path / "music")
    rows = [f"music/{genre}/{n}.npy,{genre}" for genre in ("high", "low") for n in range(6)]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,genre", *rows]))
    table = datasets.load("manifest", {"folder": str(tmp_path)})
    assert table["medium"].tolist() == ["vector"] * 12
    values = {"dataset": "manifest", "dataset__folder": str(tmp_path)}
    with pytest.raises(UsageError, match=r"gives arrays with one axis.*what it gives: own_vector"):
        resolve(tiny(**values))
    (tmp_path / "music" / "low" / "a.wav").write_bytes(b"")
    with pytest.raises(GenrecoreError, match=r"audio files \(1, .*next to arrays \(12, "):
        datasets.load("folder", {"folder": str(tmp_path / "music")})


def test_runs_on_arrays_and_on_recordings_do_not_classify_together(
    store: Path, tiny: Tiny, tmp_path: Path
) -> None:
    of_vectors = trained(own(tiny, vectors(tmp_path / "v"), "own_vector", "mlp"), store)
    of_sequences = trained(own(tiny, sequences(tmp_path / "s"), "own_sequence", "lstm"), store)
    with pytest.raises(UsageError, match=r"classifies vectors and the run .* sequences"):
        Ensemble([inference.load(of_vectors), inference.load(of_sequences)])
    with pytest.raises(AudioError, match="numbers a step, time axis automatic"):
        inference.load(of_sequences).classify(tmp_path / "v" / "low" / "0.npy")
