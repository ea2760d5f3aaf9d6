"""Settings have the names that forms give them."""

from __future__ import annotations

import pytest

from genrecore.config.run import RunConfig, flat, with_values
from genrecore.training.parts import setting_title
from genrecore.training.resolve import resolve


@pytest.mark.parametrize(
    ("dotted", "title"),
    [
        ("training.epochs", "Epochs"),
        ("allow_leaks", "Train although the split leaks"),
        ("model.name", "Model"),
        ("feature.options.n_mels", "Feature: Mel bands"),
        ("model.options.gone_since", "Model: gone since"),
    ],
)
def test_a_setting_is_called_as_in_the_form(dotted: str, title: str) -> None:
    assert setting_title(RunConfig(), dotted) == title


@pytest.mark.parametrize("model", ["cnn", "svm", "resnet18"])
def test_no_two_settings_of_a_configuration_have_one_title(model: str) -> None:
    values = {"model": model} | ({"feature": "descriptors"} if model == "svm" else {})
    config = resolve(with_values(RunConfig(), values)).config
    titles = [setting_title(config, name) for name in flat(config)]
    assert sorted(titles) == sorted(set(titles))
    assert not [title for title in titles if "." in title or "_" in title]
