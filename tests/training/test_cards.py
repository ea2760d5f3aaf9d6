"""Cards of every registered model: complete, consistent, and what the commands print."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from commands import command, genrecore, refused
from dataset_samples import gtzan_tables

from genrecore.cli.output import plain
from genrecore.config import run as config
from genrecore.config.run import RunConfig, with_values
from genrecore.errors import UsageError
from genrecore.experiments import papers
from genrecore.features import PRESETS
from genrecore.jobs import actions as jobs
from genrecore.models import MODELS
from genrecore.models.anatomy import MOST_ROWS
from genrecore.store import runs
from genrecore.store.locks import take_lock
from genrecore.training import card as cards
from genrecore.training import model_inputs, timing
from genrecore.training.classifier import Classifier
from genrecore.training.parts import ResolvedConfig
from genrecore.training.receptive_fields import AROUND_HZ
from genrecore.training.resolve import resolve
from genrecore.training.weights import save_classifier

NETWORKS = [name for name in MODELS if not MODELS[name].facts.classical]
CLASSICAL = [name for name in MODELS if name not in NETWORKS]
Tiny = Callable[..., RunConfig]

pytestmark = pytest.mark.xdist_group("page_models")  # one worker takes the models apart


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_card_that_adds_up(name: str) -> None:
    card = cards.model_card(name)
    resolved = ResolvedConfig(card.config)
    genres = [str(k) for k in range(card.input.n_genres)]
    with torch.device("meta"):
        built = Classifier(resolved, genres, resolved.typical_shape, pretrained=False)
    assert card.n_parameters == sum(p.numel() for p in built.parameters())
    assert card.n_trainable == built.n_parameters()
    assert card.input.shape == built.feature.output_shape
    assert card.n_multiply_adds is not None
    assert card.n_multiply_adds > 0
    assert card.n_bytes is not None
    assert card.n_bytes >= 4 * (card.n_parameters or 0)
    assert sum(layer.n_parameters for layer in card.layers) == card.n_parameters
    assert 2 <= len(card.layers) <= MOST_ROWS
    assert card.sees
    for field in card.fields:
        assert 0 < field.n_columns <= field.of_columns
        assert 0 <= field.n_rows <= field.of_rows
        if field.seconds is not None:
            assert 0 < field.seconds <= card.config.segments.segment_s
        if field.low_hz is not None and field.high_hz is not None:
            assert field.low_hz < AROUND_HZ < field.high_hz


@pytest.mark.parametrize("name", NETWORKS)
def test_printed_sizes_are_met_or_the_difference_has_a_reason(name: str) -> None:
    for entry in cards.model_card(name).published:
        assert entry.study
        assert entry.n_printed > 0
        sizes = f"{entry.n_ours:,} beside {entry.n_printed:,}"
        assert entry.why or abs(entry.difference) <= 0.03, sizes


@pytest.mark.parametrize("name", list(MODELS))
def test_every_card_is_plain_json(name: str) -> None:
    card = cards.model_card(name)
    facts = json.loads(json.dumps(plain(card.as_dict())))
    assert facts["name"] == name
    assert facts["n_parameters"] == card.n_parameters
    assert facts["command"].startswith("genrecore train ")
    assert [entry["n_ours"] for entry in facts["published"]] == [
        entry.n_ours for entry in card.published
    ]
    assert facts["config"].get("model.name", RunConfig().model.name) == name


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_classical_model_has_a_card_without_sizes(name: str) -> None:
    card = cards.model_card(name)
    assert card.classical
    assert card.n_parameters is card.n_multiply_adds is card.n_bytes is None
    assert (card.layers, card.fields, card.sees) == ((), (), ())
    assert "depends on what it learns from" in cards.sizes_in_words(card)[0]
    with pytest.raises(UsageError, match="before it is trained"):
        timing.measure_latency(name)


def test_a_missing_fact_is_left_empty() -> None:
    # prcnn has no study among the presets, and rescnn_2d no printed size
    assert model_inputs.preset_of("prcnn") == ""
    card = cards.model_card("prcnn")
    assert card.input.preset == ""
    assert card.config.feature.name == "log_mel"
    assert cards.model_card("rescnn_2d").published == ()


def test_the_input_of_a_study_is_recognised_and_counted() -> None:
    card = cards.model_card("rescnn_1d")
    assert card.input.preset == "benito_1d_segmented"
    assert card.input.shape == PRESETS["benito_1d_segmented"].facts.shape
    # 10⁶ samples at 44.1 kHz, in segments of 3 s that overlap by half, as nearly as they fit
    assert card.input.n_segments == 14
    assert card.n_multiply_adds_clip == 14 * (card.n_multiply_adds or 0)
    assert card.input.n_genres == 8
    assert cards.model_card("mlp", with_values(RunConfig(), PRESETS["qin_table"].thing)).input == (
        cards.Input("qin_table", "vector", (57,), "Descriptors: 57 numbers", 10, 1)
    )


def test_another_input_changes_what_depends_on_it(tiny: Tiny) -> None:
    own, small = cards.model_card("cnn"), cards.model_card("cnn", tiny())
    assert small.input.shape == (1, 33, 44)
    assert small.input.n_genres == 3
    # width 3 of 24; the last layer has 3 outputs of 64 inputs
    assert small.n_parameters == examined_by_hand(width=3, n_genres=3)
    assert own.n_parameters == examined_by_hand(width=24, n_genres=8)
    assert small.input.preset == ""
    assert "model.width=3" in small.command


def examined_by_hand(width: int, n_genres: int) -> int:
    """Parameters of the base CNN, from its docstring: kernels 7, 5, 3, 3, doubling filters."""
    n = [1, width, 2 * width, 4 * width, 8 * width]
    convolutions = sum(
        a * b * k * k + 2 * b for a, b, k in zip(n[:-1], n[1:], (7, 5, 3, 3), strict=True)
    )
    return convolutions + (8 * width * 4 + 1) * 64 + (64 + 1) * n_genres


def test_the_bytes_are_those_of_the_file(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny()
    file = tmp_path / "weights.safetensors"
    save_classifier(Classifier(ResolvedConfig(settings), ["a", "b", "c"]), file)
    expected = cards.model_card("cnn", settings).n_bytes
    assert expected is not None
    # the header, the standardisation and the configuration come on top: some kilobytes
    assert 0 < file.stat().st_size - expected < 12_000


@pytest.mark.parametrize("frames", [0, 31, 197])  # as they are, squeezed, stretched
def test_a_field_in_seconds_holds_what_the_feature_was_made_of(tiny: Tiny, frames: int) -> None:
    changed = {"segments.segment_s": 3.0, "feature.top_db": 0.0, "feature.frames": frames}
    settings = resolve(with_values(tiny(), changed | {"model": "rescnn_2d"})).config
    (field,) = cards.model_card("rescnn_2d", settings).fields
    assert field.n_columns == 4 + 3 + 3  # three convolutions of four frames
    assert field.seconds is not None
    classifier = Classifier(ResolvedConfig(settings), ["a", "b", "c"])
    n_columns = classifier.feature.output_shape[2]
    first = n_columns // 2 - (field.n_columns - 1) // 2
    columns = slice(first, first + field.n_columns)
    rate = settings.audio.sample_rate_hz
    n_samples = 3 * rate

    def columns_of(wave: torch.Tensor) -> torch.Tensor:
        return classifier.feature(wave[None, None])[0, 0, :, columns]

    wave = torch.randn(n_samples, generator=torch.Generator().manual_seed(3))
    expected = columns_of(wave)
    touched = []
    for start in range(0, n_samples, rate // 50):  # 20 ms of silence anywhere
        silenced = wave.clone()
        silenced[start : start + rate // 50] = 0.0
        if not torch.equal(columns_of(silenced), expected):
            touched.append(start / rate)
    # 20 ms on either side, and the ends of the Hann window where it is nearly 0
    assert touched[-1] - touched[0] == pytest.approx(field.seconds, abs=0.05)


def test_rows_become_the_frequencies_of_their_bands() -> None:
    values = {"feature": "stft", "feature.n_fft": 2048, "model": "cnn"}
    (field,) = cards.model_card("cnn", with_values(RunConfig(), values)).fields
    assert (field.n_rows, field.of_rows) == (85, 1025)
    step_hz = 22_050 / 2048
    middle = round(AROUND_HZ / step_hz)
    assert field.low_hz == pytest.approx((middle - 42.5) * step_hz)
    assert field.high_hz == pytest.approx((middle + 42.5) * step_hz)
    assert "85 of 1,025 frequencies" in field.sentence


@pytest.mark.slow
def test_compared_models_have_the_same_input_and_unfit_ones_a_reason() -> None:
    small = with_values(RunConfig(), {"feature.n_mels": 40, "segments.segment_s": 0.9})
    cost = {entry.name: entry for entry in cards.sizes(small)}
    assert set(cost) == {name for name in NETWORKS if "image" in MODELS[name].facts.accepts}
    assert cost["cnn"].n_parameters == cards.model_card("cnn", small).n_parameters
    assert cost["resnet18"].n_multiply_adds == cards.model_card("resnet18", small).n_multiply_adds
    unfit = [entry for entry in cost.values() if entry.reason]
    assert unfit
    for entry in unfit:
        assert entry.name in entry.reason
        assert entry.n_parameters is None


@pytest.mark.parametrize(
    "name",
    [
        *("cnn", "mlp", "knn"),
        *(pytest.param(n, marks=pytest.mark.long) for n in ("resnet18", "rescnn_1d2d", "lstm")),
    ],
)
def test_the_command_of_a_card_trains_what_the_study_trained(
    name: str, store: Path, tmp_path: Path
) -> None:
    arguments = cards.model_card(name).command.split()
    study = model_inputs.study_config(name)
    if study.dataset.name == "gtzan":
        gtzan_tables(tmp_path, n_clips=20)
        folder = {"dataset.folder": str(tmp_path), "allow_leaks": True}
        study = with_values(study, folder)
        arguments += ["--allow-leaks", "--set", f"dataset.folder={tmp_path}"]
    # With the runner's lock held there is a runner already, and submitting starts none.
    lock = take_lock(store / jobs.RUNNER_LOCK)
    assert lock is not None
    command(*arguments[1:], "--background", "--json")
    (run,) = runs.all_runs(store)
    # The card leaves the split to the clips: train takes the best that they allow.
    expected = resolve(study.model_copy(update={"split": run.config.split})).config
    assert config.differences(run.config) == config.differences(expected)


@pytest.mark.slow
def test_models_are_listed() -> None:
    listed = json.loads(command("models", "list", "--json"))
    assert [entry["name"] for entry in listed] == list(MODELS)
    text = command("models", "list")
    assert "288 k" in text
    by_name = {entry["name"]: entry for entry in listed}
    assert by_name["alexnet"]["input"]["n_genres"] == 10
    assert "depends on the data" in text


def test_a_model_is_shown_with_its_sizes_and_its_command() -> None:
    text = command("models", "show", "cnn")
    for phrase in (
        "287,792 parameters, all of them trainable",
        "Convolution 7 × 7, 24 filters",
        "genrecore train --preset liu_mel --model cnn",
        "Its time is not measured yet",
    ):
        assert phrase in text  # fmt: skip
    flags = ["--set", "model.width=3", "--set", "segments.segment_s=1"]
    facts = json.loads(command("models", "show", "cnn", "--preset", "default", *flags, "--json"))
    assert facts["n_parameters"] == examined_by_hand(width=3, n_genres=8)
    assert facts["input"]["shape"] == [1, 128, 44]
    assert facts["latency"] is None
    hong = json.loads(command("models", "show", "cnn", "--preset", "hong_mel", "--json"))
    assert hong["input"]["shape"] == [3, 224, 224]
    assert hong["command"] == "genrecore train --preset hong_mel --model cnn"


@pytest.mark.parametrize(
    ("name", "row", "shape", "n_genres", "n_parameters", "recipe"),
    [
        ("alexnet", "belton exp3_alexnet", (3, 256, 1320), 10, 57_044_810, "pretrained=true"),
        ("resnet18", "belton exp4_resnet18", (3, 256, 1320), 10, 11_181_642, "--patience 8"),
        ("vgg16", "belton exp3_vgg16", (3, 256, 1320), 10, 134_301_514, "--lr 1e-05"),
        ("googlenet", "hong googlenet", (3, 224, 224), 8, 9_954_488, "--epochs 50"),
        ("mlp", "qin mlp_8e-5", (57,), 10, 13_322, "--epochs 300"),
        ("lstm", "qin lstm_64", (9, 57), 10, 98_698, "--epochs 300"),
        ("rescnn_1d", "benito 1d_segmented", (1, 132_300), 8, 1_512_964, "--lr 0.0005"),
        ("rescnn_2d", "benito 2d_segmented", (1, 1025, 130), 8, 1_776_132, "--batch-size 50"),
        ("liu_cnn", "liu cnn_cyclic", (3, 128, 128), 8, 326_752, "--schedule cyclic"),
        ("liu_dcnn", "liu dcnn_cyclic", (3, 128, 128), 8, 12_587_932, "tempo_variants.whole"),
        ("liu_crnn", "liu crnn_cyclic", (3, 128, 128), 8, 1_008_608, "--preset liu_rgb"),
        ("liu_dcrnn", "liu dcrnn_b64", (3, 128, 128), 8, 2_181_324, "--batch-size 64"),
    ],
)
def test_a_studys_model_is_shown_with_its_input_genres_and_recipe(
    name: str, row: str, shape: tuple[int, ...], n_genres: int, n_parameters: int, recipe: str
) -> None:
    config = papers.model_config(name)
    card = cards.model_card(name, config)
    assert (card.input.shape, card.input.n_genres) == (shape, n_genres)
    assert card.n_parameters == n_parameters
    assert recipe in card.command
    study, row_name = row.split()
    dataset = papers.study(study).dataset
    assert "--preset qin" in card.command or f"--dataset {dataset}" in card.command
    assert config == papers.config_of(papers.study(study), row_name, "honest")
    assert not config.allow_leaks
    text = command("models", "show", name)
    assert card.command in text
    assert f"genrecore papers run {study} --rows {row_name} --protocol published" in text


@pytest.mark.slow
def test_every_model_of_a_study_has_a_row_on_its_card() -> None:
    of_studies = {
        papers.config_of(study, row.name, "published").model.name
        for study in papers.studies()
        for row in study.rows
    }
    assert {name for name in MODELS if papers.row_of_model(name)} == of_studies
    assert sum(len(study.cards) for study in papers.studies()) == len(of_studies)


def test_a_model_is_measured_and_remembered_for_its_input(store: Path) -> None:
    small = ["--preset", "default", "--set", "model.width=2"]
    measured = json.loads(command("models", "measure", "cnn", *small, "--json"))
    assert 0 < measured["low_ms"] <= measured["median_ms"] <= measured["high_ms"]
    assert 1 <= measured["n_runs"] <= timing.MOST_RUNS
    assert measured["precision"] == "float32"
    assert measured["of"] == "30 s of sound in 10 segments"
    facts = json.loads(command("models", "show", "cnn", *small, "--json"))
    assert facts["latency"] == measured
    assert measured["sentence"].split(" from ")[0] in command("models", "show", "cnn", *small)
    wider = ["--preset", "default", "--set", "model.width=3"]
    assert json.loads(command("models", "show", "cnn", *wider, "--json"))["latency"] is None


def test_images_and_tables_are_measured_as_the_dataset_gives_them(own_cache: Path) -> None:
    assert timing.measure_latency("mlp").of == "a clip's rows of the table"
    assert timing.measure_latency("lstm").of == "a clip's rows of the table"
    config = with_values(RunConfig(), PRESETS["qin_images"].thing | {"model.width": 2})
    assert timing.measure_latency("cnn", config).of == "an image of the dataset"


def test_what_cannot_be_shown_is_refused_in_one_sentence() -> None:
    refused(genrecore("models", "show", "resnet19"), 2, "no model called 'resnet19'", "resnet18")
    refused(genrecore("models", "show", "cnn", "--preset", "nobody"), 2, "nobody", "liu_mel")
    refused(genrecore("models", "show", "cnn", "--preset", "qin_table"), 2, "The model cnn takes")
    refused(genrecore("models", "show", "cnn", "--set", "model.width"), 2, "name=value")
    refused(genrecore("models", "measure", "svm"), 2, "before it is trained")
