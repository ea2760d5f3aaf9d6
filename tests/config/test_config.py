"""Configurations: JSON in and out, dotted values, signatures that stay."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from genrecore.config import run as configuration
from genrecore.config.command import train_command
from genrecore.config.run import (
    Part,
    RunConfig,
    differences,
    signature,
    system_signature,
    with_values,
)
from genrecore.data.datasets import DATASETS
from genrecore.data.splits import SPLITS
from genrecore.errors import UsageError


def test_json_gives_back_what_went_in(tmp_path: Path) -> None:
    config = with_values(RunConfig(), {"model": "resnet18", "training.lr": 3e-4, "seed": 7})
    path = tmp_path / "config.json"
    path.write_text(config.model_dump_json())
    assert configuration.read_config_file(path) == config


def test_every_field_says_what_it_is() -> None:
    def check(model: type, prefix: str) -> None:
        for name, info in model.model_fields.items():
            assert info.title, f"{prefix}{name} has no title"
            if hasattr(info.annotation, "model_fields") and info.annotation.__name__ != "Part":
                check(info.annotation, f"{prefix}{name}.")

    check(RunConfig, "")


def test_signature_of_the_defaults_never_changes() -> None:
    # A hash of "{}": whatever is added later must leave old runs their names.
    assert signature(RunConfig()) == "44136fa355"


def test_seeds_and_folds_make_runs_of_one_system() -> None:
    a = with_values(RunConfig(), {"seed": 1, "fold": 2, "split_seed": 3, "device": "cpu"})
    assert system_signature(a) == system_signature(RunConfig())
    assert signature(a) != signature(RunConfig())
    b = with_values(RunConfig(), {"training.lr": 0.01})
    assert system_signature(b) != system_signature(RunConfig())


def test_where_it_runs_is_not_part_of_a_run() -> None:
    assert signature(with_values(RunConfig(), {"device": "cuda:1"})) == signature(RunConfig())


def test_another_part_drops_the_options_of_the_one_before() -> None:
    config = with_values(RunConfig(), {"model.width": 8})
    assert config.model.options == {"width": 8}
    assert with_values(config, {"model": "resnet18"}).model.options == {}
    assert with_values(config, {"model": "cnn"}).model.options == {"width": 8}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trainig.lr": 1}, "no field 'trainig'"),
        ({"training.rate": 1}, "no field 'training.rate'; below training there are: epochs"),
        ({"training.lr": -1}, "greater than 0 (found -1)"),
        ({"training.optimiser": "sgdd"}, "'rmsprop' or 'adadelta' (found 'sgdd')"),
        ({"training.epochs": "many"}, "valid integer"),
        ({"segments.overlap": 1.5}, "less than or equal to 0.9"),
        ({"device": "gpu"}, "pattern"),
    ],
)
def test_wrong_values_are_refused_with_what_was_expected(values: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        with_values(RunConfig(), values)
    assert message in str(caught.value)


def test_a_name_that_is_not_in_utf_8_gets_our_sentence() -> None:
    name = b"/music/b\xfccher".decode("utf-8", "surrogateescape")  # as of a command's arguments
    sentence = r"expected a name in UTF-8 \(found '/music/b\\udcfccher'\)\."
    for text in (name, json.dumps(name)):
        config = with_values(RunConfig(), {"dataset": "folder", "dataset.folder": text})
        with pytest.raises(UsageError, match=f"^dataset folder: folder: {sentence}$"):
            config.dataset.choose_from(DATASETS)
    with pytest.raises(UsageError, match=f"genres.leave_out: {sentence}$"):
        with_values(RunConfig(), {"genres.leave_out": name})


@pytest.mark.parametrize("text", ["1980", '"Hip-Hop, Rap"', "null", "Rock, Folk"])
def test_text_stays_text_even_where_it_is_json(text: str) -> None:
    assert with_values(RunConfig(), {"genres.leave_out": text}).genres.leave_out == text
    assert with_values(RunConfig(), {"training.epochs": "7"}).training.epochs == 7


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", '{"modell": {"name": "cnn"}}', "nul\0l"])
def test_a_file_that_is_no_configuration_is_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        configuration.read_config_file(path)
    assert "\n" not in str(caught.value)


def test_the_equivalent_command_gives_the_same_configuration() -> None:
    values = {"model": "resnet18", "feature.n_mels": 64, "training.batch_size": 17,
              "feature.mel_scale": "htk", "dataset": "gtzan", "dataset.folder": "/a b/c",
              "segments.segment_s": 2.5, "fold": 3}  # fmt: skip
    config = with_values(RunConfig(), values)
    command = train_command(config)
    assert command[:3] == ["genrecore", "train", "--background"]
    back: dict[str, object] = {}
    fields = {"batch-size": "training.batch_size", "segment-s": "segments.segment_s",
              "folder": "dataset.folder"}  # fmt: skip
    for flag, value in zip(command[3::2], command[4::2], strict=True):
        if flag == "--set":
            key, _, value = value.partition("=")
        else:
            key = fields.get(flag[2:], flag[2:])
        back[key] = value
    assert differences(with_values(RunConfig(), back)) == differences(config)
    assert json.loads(config.model_dump_json())["dataset"]["options"] == {"folder": "/a b/c"}


def test_options_that_are_text_take_what_looks_like_a_number() -> None:
    from genrecore.training.resolve import resolve

    values = {"feature": "descriptors", "model": "mlp", "model.hidden": "32"}
    config = resolve(with_values(RunConfig(), values)).config
    assert config.model.options["hidden"] == "32"
    assert "--set model.hidden=32" in shlex.join(train_command(config))


def test_a_part_is_chosen_with_typed_options_and_a_wrong_one_is_refused() -> None:
    split = Part(name="by_artist", options={"n_folds": 7}).choose_from(SPLITS)
    assert (split.name, split.options.n_folds, split.options.albums) == ("by_artist", 7, False)
    assert SPLITS.choose("by_artist").options.n_folds == 5
    for options, message in (
        ({"folds": 7}, "split by_artist: there is no field 'folds'; there are: n_folds, albums."),
        ({"n_folds": 2}, r"split by_artist: n_folds: .* \(found 2\)\."),
    ):
        with pytest.raises(UsageError, match=message):
            SPLITS.choose("by_artist", options)
    with pytest.raises(UsageError, match="There is no split called 'by_moon'; there are: "):
        SPLITS.choose("by_moon")
