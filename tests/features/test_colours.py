"""Spectrograms drawn in colours: matplotlib's own, in features and charts."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import Normalize

from genrecore.features import FEATURES
from genrecore.features.colours import ColourMap, ColourMapName

NAMES = [name for name in get_args(ColourMapName) if name != "none"]
COLOURED = [name for name in FEATURES if "colours" in FEATURES[name].options.model_fields]
N_SAMPLES = 22_051


def feature(name: str, **options: object) -> Any:
    choice = FEATURES.choose(name, options)
    return choice.thing(choice.options, 22_050, N_SAMPLES)


def image_of(front: Any, wave: torch.Tensor) -> torch.Tensor:
    output = front(wave)
    return output[1] if isinstance(output, tuple) else output


def waves() -> torch.Tensor:
    return 0.3 * torch.randn(3, 1, N_SAMPLES, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("name", NAMES)
def test_colours_are_those_that_matplotlib_draws(name: str) -> None:
    decibels = torch.linspace(-63.0, 17.0, 7 * 257).reshape(1, 1, 7, 257).flip(3)
    drawn = colormaps[name](Normalize()(decibels[0, 0].double().numpy()))[:, :, :3]
    ours = ColourMap(name)(decibels)[0].permute(1, 2, 0).numpy()
    # Values that lie on the edge of two of the 256 steps may be rounded to either side.
    differs = np.abs(ours - drawn).max(axis=2) > 1e-6
    assert differs.mean() < 0.01


@pytest.mark.parametrize("name", COLOURED)
def test_red_green_and_blue_of_a_feature_differ(name: str) -> None:
    image = image_of(feature(name, colours="viridis"), waves())
    front = feature(name, colours="viridis")
    shape = (
        front.output_shape[1] if isinstance(front.output_shape[0], tuple) else front.output_shape
    )
    assert tuple(image.shape[1:]) == shape
    assert shape[0] == 3
    assert image.min() >= 0.0
    assert image.max() <= 1.0
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (image[:, first] - image[:, second]).abs().mean() > 0.05
    # Every image has the whole map: its first colour and its last.
    table = torch.tensor(colormaps["viridis"](np.arange(256))[:, :3], dtype=torch.float32)
    points = image.permute(0, 2, 3, 1).flatten(1, 2)
    for colour in (table[0], table[-1]):
        assert bool((points - colour).abs().amax(dim=2).amin(dim=1).lt(1e-6).all())


def test_an_image_of_one_value_has_the_first_colour() -> None:
    image = ColourMap("magma")(torch.full((2, 1, 5, 7), -80.0))
    expected = torch.tensor(colormaps["magma"](0)[:3], dtype=torch.float32)
    torch.testing.assert_close(image, expected[None, :, None, None].expand_as(image))


def test_a_batch_is_coloured_as_its_images_alone() -> None:
    front = feature("log_mel", colours="jet", frames=33, bins=65)
    batch = waves() * torch.tensor([1.0, 0.1, 0.001])[:, None, None]
    alone = torch.cat([front(wave[None]) for wave in batch])
    torch.testing.assert_close(front(batch), alone)


def test_chart_of_a_coloured_feature_is_drawn_in_its_colours() -> None:
    from genrecore.reporting import feature_charts

    front = feature("log_mel", colours="magma")
    values = front.values(waves())[0, 0].numpy()
    ((chart, _),) = feature_charts.charts(("image",), front.axes(), (values,))
    scale = chart.figure.data[0].colorscale
    red, green, blue = (round(255 * part) for part in colormaps["magma"](255)[:3])
    assert scale[-1][1] == f"rgb({red},{green},{blue})"
    assert len(scale) == 256
