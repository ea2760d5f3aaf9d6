"""Every system of the studies as built: its input, its parameters, the shapes of its stages."""

from __future__ import annotations

from typing import Any

import pytest

from genrecore.experiments import papers
from genrecore.training import card as cards
from genrecore.training.card import Card

MEL, IMAGES, COLOURED = (3, 256, 1320), (3, 288, 432), (3, 128, 128)
WAVE, STFT, WAVE_3S, STFT_3S = (1, 10**6), (1, 1025, 977), (1, 132_300), (1, 1025, 130)

# By study: model, input, and the numbers of parameters of its rows. Where a text prints one, it is
# of 1 000 outputs (Belton's Table 1, by torchvision's own counts in tests/models) or rounded (Liu).
SIZES: dict[str, set[tuple[str, Any, tuple[int, ...]]]] = {
    "belton": {
        ("mlp", (57,), (2_186, 6_810, 16_330)),
        ("alexnet", IMAGES, (57_044_810,)),
        ("alexnet", MEL, (57_044_810,)),
        ("resnet18", IMAGES, (11_181_642,)),
        ("resnet18", MEL, (11_181_642,)),
        ("vgg16", MEL, (134_301_514,)),
    },
    "qin": {
        ("mlp", (57,), (13_322,)),
        # Three layers of 32 units; one, two and three of 64; three of 128.
        ("lstm", (9, 57), (28_874, 32_138, 65_418, 98_698, 361_226)),
        ("resnet18", IMAGES, (11_181_642,)),
    },
    "hong": {
        ("alexnet", (3, 224, 224), (57_036_616,)),
        ("alexnet", (3, 256, 256), (57_036_616,)),  # it sees patches of 224 of these
        ("googlenet", (3, 224, 224), (9_954_488,)),
        ("resnet18", (3, 224, 224), (11_180_616,)),
    },
    "liu": {
        ("liu_cnn", COLOURED, (298_624, 326_752)),  # "~300,000"
        ("liu_dcnn", COLOURED, (12_587_932,)),
        ("liu_crnn", COLOURED, (1_008_608,)),  # "~1,000,000"
        ("liu_dcrnn", COLOURED, (2_181_324,)),
    },
    "benito": {
        ("rescnn_1d", WAVE, (1_512_964,)),
        ("rescnn_1d", WAVE_3S, (1_512_964,)),
        ("rescnn_2d", STFT, (1_776_132,)),
        ("rescnn_2d", STFT_3S, (1_776_132,)),
        ("rescnn_1d2d", (WAVE, STFT), (1_644_548,)),
        ("rescnn_1d2d", (WAVE_3S, STFT_3S), (1_644_932,)),
    },
}


def card_of(study: str, row: str) -> Card:
    config = papers.config_of(papers.study(study), row, "published")
    return cards.model_card(config.model.name, config)


@pytest.mark.slow
@pytest.mark.parametrize("name", papers.study_names())
def test_every_row_has_the_input_and_the_parameters_of_its_study(name: str) -> None:
    built: dict[tuple[str, Any], set[int]] = {}
    for run in papers.study_runs(papers.study(name), protocols=["published"]):
        card = cards.model_card(run.config.model.name, run.config)
        assert card.n_parameters
        built.setdefault((run.config.model.name, card.input.shape), set()).add(card.n_parameters)
    assert {(*key, tuple(sorted(sizes))) for key, sizes in built.items()} == SIZES[name]


STAGES = {
    ("belton", "exp4_resnet18"): {
        "conv1": (64, 128, 660), "maxpool": (64, 64, 330), "layer1.1": (64, 64, 330),
        "layer2.1": (128, 32, 165), "layer3.1": (256, 16, 83), "layer4.1": (512, 8, 42),
        "avgpool": (512, 1, 1), "fc": (10,),
    },
    ("belton", "exp3_alexnet"): {
        "features.0": (64, 63, 329), "features.12": (256, 7, 40), "avgpool": (256, 6, 6),
        "classifier.1": (4096,), "classifier.4": (4096,), "classifier.6": (10,),
    },
    ("belton", "exp3_vgg16"): {
        "features.0": (64, 256, 1320), "features.30": (512, 8, 41), "avgpool": (512, 7, 7),
        "classifier.6": (10,),
    },
    ("hong", "googlenet"): {
        "maxpool2.1": (192, 28, 28), "inception3b": (480, 28, 28), "inception4e": (832, 14, 14),
        "inception5b": (1024, 7, 7), "avgpool": (1024, 1, 1), "fc": (8,),
    },
    ("qin", "lstm_128"): {"recurrent": (9, 128), "output": (10,)},
    ("benito", "2d"): {"dense.0.0": (300,), "dense.1.0": (150,), "dense.2": (8,)},
}  # fmt: skip


@pytest.mark.parametrize(("study", "row"), STAGES)
def test_stages_have_the_shapes_of_the_cited_networks(study: str, row: str) -> None:
    shapes = {layer.name: tuple(layer.shape) for layer in card_of(study, row).layers}
    assert {name: shapes[name] for name in STAGES[study, row]} == STAGES[study, row]
    kinds = [layer.what.split()[0] for layer in card_of(study, row).layers]
    n_convolutions = {"exp3_alexnet": 5, "exp3_vgg16": 13}
    assert kinds.count("Convolution") == n_convolutions.get(row, kinds.count("Convolution"))
    assert kinds.count("Inception") == (9 if row == "googlenet" else 0)


def test_benitos_first_layers_are_shown_as_the_convolutions_that_they_are() -> None:
    layers = {row: card_of("benito", row).layers[0] for row in ("1d", "2d")}
    assert layers["1d"].what == "Convolution 3072, 256 filters, step 1024"
    assert layers["2d"].what == "Convolution 4, 256 filters"
