"""Why a run says it: a planted cue is found, by sight and by ear; captum agrees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import trained
from torch.nn import functional

from genrecore.audio import resynthesis
from genrecore.config.run import RunConfig, with_values
from genrecore.data.corpus import dequantise, quantise
from genrecore.errors import UsageError
from genrecore.inference import explain
from genrecore.inference.explain import Explainer
from genrecore.inference.loaded import Excerpt, LoadedRun
from genrecore.inference.loaded import load as load_run
from genrecore.store.run import Run
from genrecore.training.classifier import Classifier
from genrecore.training.parts import ResolvedConfig
from genrecore.training.resolve import resolve
from genrecore.training.weights import save_classifier

pytestmark = pytest.mark.xdist_group("explain")  # one worker trains the run that the tests ask

RATE_HZ, SECONDS = 16_000, 2.0
CUE_HZ, CUE_S = 3_000.0, 0.3


def clip(generator: np.random.Generator, cue_at_s: float | None) -> np.ndarray:
    """A chord in a little hiss; with a burst of a high tone where one is wanted."""
    t = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    wave = 0.02 * generator.standard_normal(len(t))
    for hz in generator.uniform(150, 900, 3):
        wave += 0.12 * np.sin(2 * np.pi * hz * t)
    if cue_at_s is not None:
        inside = (t >= cue_at_s) & (t < cue_at_s + CUE_S)
        wave += 0.3 * np.sin(2 * np.pi * CUE_HZ * t) * inside
    return wave.astype(np.float32)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    """A run that tells `burst` from `plain`, which only the burst tells apart."""
    generator = np.random.default_rng(3)
    folder = tmp_path_factory.mktemp("planted") / "music"
    for genre in ("burst", "plain"):
        (folder / genre).mkdir(parents=True)
        for k in range(20):
            at_s = generator.uniform(0.1, SECONDS - CUE_S - 0.1) if genre == "burst" else None
            soundfile.write(folder / genre / f"{genre}{k}.wav", clip(generator, at_s), RATE_HZ)
    values = {
        "dataset": "folder",
        "dataset.folder": str(folder),
        "split": "stratified",
        "audio.sample_rate_hz": RATE_HZ,
        "audio.clip_s": SECONDS,
        "segments.segment_s": SECONDS,
        "feature.n_mels": 40,
        "feature.n_fft": 1024,
        "model.width": 8,
        "training.epochs": 14,
        "training.batch_size": 8,
        "training.precision": "float32",
        "device": "cpu",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        config = resolve(with_values(RunConfig(), values)).config
        run = trained(config, tmp_path_factory.mktemp("explain") / "runs")
    assert run.state == "done", run.reason
    return load_run(run)


@pytest.mark.slow
def test_a_planted_cue_is_what_explains_the_prediction(taught: LoadedRun) -> None:
    generator = np.random.default_rng(9)
    explainer = Explainer(taught)
    assert explainer.methods == list(explain.METHODS)
    for at_s in (0.35, 1.25):
        wave = clip(generator, at_s)
        for method in explainer.methods:
            explanation = explainer.explain(wave, "burst", method, 0)
            positive = np.maximum(explanation.relevance, 0.0)
            over_time = positive.sum(axis=0) / positive.sum(axis=0).max()
            if method == "gradcam":  # the network's last layer has four places from begin to end
                near, far = np.interp([at_s + CUE_S / 2, at_s + (1 if at_s < 1 else -1)],
                                      explanation.times_s, over_time)  # fmt: skip
                assert near > 0.75
                assert far < 0.5
                continue
            # 0.25 s: a patch of the occlusion
            assert at_s - 0.25 <= explanation.times_s[over_time.argmax()] <= at_s + CUE_S + 0.25, (
                method
            )
            assert explanation.centres_hz is not None
            where_hz = explanation.centres_hz[positive.sum(axis=1).argmax()]
            assert CUE_HZ / 1.5 <= where_hz <= CUE_HZ * 1.5, method


def test_what_decided_sounds_like_the_cue_and_both_parts_add_up(taught: LoadedRun) -> None:
    wave = clip(np.random.default_rng(12), 0.8)
    explanation = Explainer(taught).explain(wave, "burst", "gradients", 0)
    mask = resynthesis.strongest(explanation.relevance, 0.1)
    kept, rest, turned_down = resynthesis.kept_and_rest(
        wave, RATE_HZ, mask, explanation.times_s, explanation.centres_hz
    )
    np.testing.assert_allclose(kept + rest, wave, atol=1e-6)  # float32, one sum

    def cue(part: np.ndarray) -> float:
        """Energy of the cue's frequency while it sounds."""
        inside = part[round(0.8 * RATE_HZ) : round((0.8 + CUE_S) * RATE_HZ)]
        spectrum = np.abs(np.fft.rfft(inside)) ** 2
        at = round(CUE_HZ * len(inside) / RATE_HZ)
        return float(spectrum[at - 3 : at + 4].sum())

    def all_of(part: np.ndarray) -> float:
        return float(np.square(part, dtype=np.float64).sum())

    # Of the clip's energy a small part is kept, of the cue's most; it is in neither rest.
    assert cue(kept) > 2 * cue(turned_down)
    assert cue(kept) > 2 * cue(rest)
    assert all_of(kept) < 0.6 * all_of(wave)
    proba = [taught.predict([_excerpt(part)])[0].proba[0] for part in (kept, rest)]
    assert proba[0] > proba[1]


@pytest.mark.parametrize("method", ["gradients", "occlusion"])
def test_a_map_that_finds_the_cue_passes_and_one_that_looks_elsewhere_does_not(
    taught: LoadedRun, method: str
) -> None:
    wave = clip(np.random.default_rng(12), 0.8)
    explanation = Explainer(taught).explain(wave, "burst", method, 0)
    deletion = explain.delete(taught, wave, explanation, 0.2)
    assert deletion is not None
    assert deletion.explains
    assert deletion.sentence.startswith("Without what this map highlights, plain is predicted;")
    before = np.where(explanation.times_s < 0.6, 1.0, 0.0) * np.ones_like(explanation.relevance)
    pointless = explain.delete(taught, wave, replace(explanation, relevance=before), 0.2)
    assert pointless is not None
    assert not pointless.explains
    assert pointless.sentence.startswith(
        "This map does not explain the prediction: without what it highlights, burst is still "
        "predicted; it "
    )
    nothing = replace(explanation, relevance=-before)
    assert explain.delete(taught, wave, nothing, 0.2) is None


@pytest.mark.parametrize(
    ("genre", "rest", "whole", "explains", "ending"),
    [
        ("jazz", [0.01, 0.97, 0.02], [0.03, 0.947, 0.023], False, "rises from 94.7 % to 97.0 %."),
        ("jazz", [0.30, 0.40, 0.30], [0.03, 0.947, 0.023], False, "falls from 94.7 % to 40.0 %."),
        ("jazz", [0.80, 0.15, 0.05], [0.10, 0.832, 0.068], True, "falls from 83.2 % to 15.0 %."),
        ("blues", [0.20, 0.70, 0.10], [0.30, 0.60, 0.10], False, "falls from 30.0 % to 20.0 %."),
        ("blues", [0.30, 0.60, 0.10], [0.30, 0.60, 0.10], False, "stays at 30.0 %."),
        ("blues", [0.05, 0.85, 0.10], [0.30, 0.60, 0.10], True, "falls from 30.0 % to 5.0 %."),
    ],
)
def test_the_sentence_on_a_deletion_is_made_from_its_numbers(
    genre: str, rest: list[float], whole: list[float], explains: bool, ending: str
) -> None:
    nothing = np.zeros(3, np.float32)
    proba = np.array([[1 / 3] * 3, rest, whole])
    deletion = explain.Deletion(genre, ["blues", "jazz", "rock"], *[nothing] * 3, True, proba)
    assert deletion.explains is explains
    assert deletion.sentence.startswith("This map does not explain") is not explains
    assert deletion.sentence.endswith(ending)


def _as_judged(wave: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(dequantise(quantise(wave)))[None, None]


def _excerpt(wave: np.ndarray) -> Excerpt:
    return Excerpt("part", quantise(wave), 0.0, len(wave) / RATE_HZ)


def test_grad_cam_is_captums(taught: LoadedRun) -> None:
    from captum.attr import LayerGradCam

    wave = clip(np.random.default_rng(4), 1.0)
    explainer = Explainer(taught)
    explanation = explainer.explain(wave, "burst", "gradcam", 0)
    own = explainer._classifier
    image = own.feature(torch.from_numpy(dequantise(quantise(wave)))[None, None])
    relevance = LayerGradCam(
        lambda x: own.network(own.standardised(x)), explainer._layer
    ).attribute(image.clone().requires_grad_(), target=0, relu_attributions=True)
    expected = functional.interpolate(
        relevance, image.shape[2:], mode="bilinear", align_corners=False
    )[0, 0]
    expected = expected.detach().numpy()[:, : explanation.relevance.shape[1]]
    assert expected.max() > 0
    # float32, gradients summed in another order
    np.testing.assert_allclose(explanation.relevance, expected, atol=1e-5 * expected.max())


def test_integrated_gradients_add_up_to_what_they_explain(taught: LoadedRun) -> None:
    wave = clip(np.random.default_rng(6), 0.5)
    explainer = Explainer(taught)
    explanation = explainer.explain(wave, "burst", "gradients", 0)
    own = explainer._classifier
    with torch.no_grad():
        image = own.feature(_as_judged(wave))
        floor = explainer._silence(image)
        difference = float((own.logits(image) - own.logits(floor))[0, 0])
    # The axiom of completeness; 24 steps of a curved path leave a few per cent.
    assert explanation.relevance.sum() == pytest.approx(difference, rel=0.1)


def test_segments_are_those_that_are_classified(taught: LoadedRun) -> None:
    wave = np.tile(clip(np.random.default_rng(1), 0.5), 3)
    explainer = Explainer(taught)
    prediction = taught.predict([_excerpt(wave)])[0]
    segments = explainer.segments(wave)
    assert [low for low, _ in segments] == prediction.segments["start_s"].tolist()
    explanation = explainer.explain(wave, "burst", "occlusion", len(segments) - 1)
    assert explanation.times_s[0] >= segments[-1][0]
    assert explanation.times_s[-1] <= segments[-1][1] + 1e-6


def test_what_cannot_be_explained_is_refused(taught: LoadedRun) -> None:
    wave = clip(np.random.default_rng(1), 0.5)
    with pytest.raises(UsageError, match="tells apart burst, plain"):
        Explainer(taught).explain(wave, "polka", "gradcam", 0)
    with pytest.raises(UsageError, match="not by guessing"):
        Explainer(taught).explain(wave, "burst", "guessing", 0)


@pytest.mark.parametrize(
    ("feature", "model", "methods"),
    [
        ("log_mel", "crnn", ["gradcam", "gradients", "occlusion"]),
        pytest.param(
            *("log_mel", "resnet18", ["gradcam", "gradients", "occlusion"]), marks=pytest.mark.long
        ),
        ("log_mel", "lstm", ["gradients", "occlusion"]),
        ("log_mel:jet", "dcnn", ["gradcam", "gradients", "occlusion"]),
        ("waveform", "rescnn_1d", ["gradcam", "gradients", "occlusion"]),
        ("waveform+stft", "rescnn_1d2d", ["occlusion"]),
        ("descriptors", "mlp", ["occlusion"]),
    ],
)
def test_every_kind_of_network_is_explained_over_the_time_of_its_segment(
    feature: str, model: str, methods: list[str], tmp_path: Path
) -> None:
    name, _, colours = feature.partition(":")
    values = {
        "feature": name,
        "model": model,
        "audio.sample_rate_hz": RATE_HZ,
        "audio.clip_s": SECONDS,
        "segments.segment_s": SECONDS,
    }
    if colours:
        values["feature.colours"] = colours
    config = resolve(with_values(RunConfig(), values)).config
    torch.manual_seed(1)
    classifier = Classifier(ResolvedConfig(config), ["a", "b", "c"], pretrained=False).eval()
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    save_classifier(classifier, run.folder / "weights.safetensors")
    explainer = Explainer(load_run(run))
    assert explainer.methods == methods
    wave = clip(np.random.default_rng(1), 0.5)
    for method in methods:
        steps: list[tuple[int, int]] = []
        explanation = explainer.explain(
            wave,
            "b",
            method,
            0,
            lambda phase, done, total, steps=steps: steps.append((done, total)),
        )
        assert np.isfinite(explanation.relevance).all()
        assert explanation.relevance.shape[1] == len(explanation.times_s)
        assert (np.diff(explanation.times_s) > 0).all()
        # Frames are centred on multiples of the hop, the last one on the end.
        assert 0 <= explanation.times_s[0] < explanation.times_s[-1] <= SECONDS + 1e-6
        assert (explanation.image is None) == (explainer.kind != "image")
        if explanation.image is not None:  # in dB, coloured or not
            assert 20 < np.ptp(explanation.image) < 80.01
        if method != "gradcam":
            assert all(done <= total for done, total in steps)
            assert steps


def test_silence_of_a_coloured_image_is_its_first_colour(tmp_path: Path) -> None:
    """The lowest value of red and of blue together would be a colour that no picture has."""
    values = {"audio.sample_rate_hz": RATE_HZ, "audio.clip_s": SECONDS}
    values |= {"segments.segment_s": SECONDS, "feature.colours": "jet"}
    config = resolve(with_values(RunConfig(), values)).config
    classifier = Classifier(ResolvedConfig(config), ["a", "b", "c"], pretrained=False).eval()
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    save_classifier(classifier, run.folder / "weights.safetensors")
    explainer = Explainer(load_run(run))
    features = classifier.feature(torch.from_numpy(clip(np.random.default_rng(1), 0.5))[None, None])
    silence = explainer._silence(features)
    assert silence.shape == features.shape
    assert silence[0, :, 0, 0].tolist() == pytest.approx([0.0, 0.0, 0.5])
