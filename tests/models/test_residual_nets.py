"""Benito's residual networks and Won's short-chunk ResNet: what their papers print of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import GenrecoreError
from genrecore.features import FEATURES, PRESETS
from genrecore.models import MODELS
from genrecore.models.rescnn import ResCnn

RESCNN = {
    "rescnn_1d": (1, 5000),
    "rescnn_2d": (1, 65, 11),
    "rescnn_1d2d": ((1, 5000), (1, 65, 11)),
}


def model(name: str, shape: Any, n_genres: int = 7, **options: object) -> Any:
    torch.manual_seed(7)
    return MODELS[name].thing(shape, n_genres, MODELS.choose(name, options).options)


def empty(n: int, shape: Any) -> Any:
    pair = isinstance(shape[0], tuple)
    return tuple(torch.empty(n, *part) for part in shape) if pair else torch.empty(n, *shape)


def random(n: int, shape: Any) -> Any:
    generator = torch.Generator().manual_seed(7)
    if isinstance(shape[0], tuple):
        return tuple(torch.randn(n, *part, generator=generator) for part in shape)
    return torch.randn(n, *shape, generator=generator)


@pytest.mark.parametrize("form", ["1d", "2d", "1d2d"])
@pytest.mark.parametrize(("preset", "n_steps"), [("", 974), ("_segmented", 127)])
def test_benitos_inputs_have_256_maps_of_974_steps_after_the_first_layer(
    form: str, preset: str, n_steps: int
) -> None:
    shape = PRESETS[f"benito_{form}{preset}"].facts.shape
    with torch.device("meta"):
        network = model(f"rescnn_{form}", shape, 8).eval()
        assert network.first(empty(2, shape)).shape == (2, 256, n_steps)
    sizes = [m.weight.shape for m in network.dense.modules() if isinstance(m, nn.Linear)]
    assert sizes == [(300, 512), (150, 300), (8, 150)]


def test_wave_and_spectrogram_have_half_of_the_first_maps_each() -> None:
    with torch.device("meta"):
        network = model("rescnn_1d2d", RESCNN["rescnn_1d2d"])
        wave, image = empty(2, RESCNN["rescnn_1d2d"])
        assert network.first.wave(wave).shape[1] == network.first.image(image).shape[1] == 128


def test_the_first_layer_of_waves_is_a_convolution() -> None:
    network = model("rescnn_1d", (2, 4097), maps=5, first_kernel=1023, stride=256)
    layer = network.first[0]
    convolution = nn.Conv1d(2, 5, 1023, stride=256, bias=False)
    convolution.weight.data = layer[1].weight.data.reshape(5, 2, 1023)
    x = random(3, (2, 4097))
    # float32 sums of 2046 products of the size of a hundredth, in another order
    torch.testing.assert_close(layer(x), convolution(x), atol=1e-5, rtol=1e-4)


def test_the_first_layer_of_spectrograms_is_a_convolution_over_all_bins() -> None:
    network = model("rescnn_2d", (3, 33, 20), maps=5, first_kernel=4, stride=3)
    layer = network.first[0]
    convolution = nn.Conv2d(3, 5, (33, 4), stride=(1, 3), bias=False)
    convolution.weight.data = layer[1].weight.data.reshape(5, 3, 33, 4)
    x = random(2, (3, 33, 20))
    # float32 sums of 396 products in another order
    torch.testing.assert_close(layer(x), convolution(x).squeeze(2), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "n_samples", [66_150, 48_001, pytest.param(132_300, marks=pytest.mark.long)]
)
@pytest.mark.parametrize(
    "hop_length", [2048, 300, 37, *(pytest.param(n, marks=pytest.mark.long) for n in (1024, 512))]
)
@pytest.mark.parametrize(("first_kernel", "stride"), [(4, 1), (2, 1), (7, 3)])
def test_wave_and_spectrogram_have_as_many_steps_whatever_the_hop(
    n_samples: int, hop_length: int, first_kernel: int, stride: int
) -> None:
    shape = ((1, n_samples), (1, 9, 1 + n_samples // hop_length))
    with torch.device("meta"):
        options = {"first_kernel": first_kernel, "stride": stride, "maps": 4}
        network = model("rescnn_1d2d", shape, **options)
        wave, image = empty(2, shape)
        n_steps = network.first.image(image).shape[2]
        assert network.first.wave(wave).shape[2] == n_steps > 1


@pytest.mark.parametrize("frames", [40, 200])
def test_a_spectrogram_resized_in_time_goes_with_its_wave(frames: int) -> None:
    shape = ((1, 20_000), (1, 9, frames))
    network = model("rescnn_1d2d", shape, maps=4).eval()
    assert network(random(2, shape)).shape == (2, 7)


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9])
def test_a_click_is_at_the_same_step_of_either_kind_of_maps(at: float) -> None:
    values = {"feature": "waveform+stft", "feature.n_fft": 1024, "feature.hop_length": 512}
    config = with_values(RunConfig(), values)
    choice = FEATURES.choose("waveform+stft", config.feature.options)
    n_samples = 66_150
    feature = choice.thing(choice.options, 22_050, n_samples)
    network = model("rescnn_1d2d", feature.output_shape, maps=16).eval()
    wave = torch.zeros(1, 1, n_samples)
    wave[0, 0, round(at * n_samples)] = 1.0
    with torch.no_grad():
        pair = feature(wave)
        maps = [network.first.wave(pair[0]), network.first.image(pair[1])]
    steps = [torch.nonzero(m[0].abs().sum(dim=0) > 1e-7).double().mean() for m in maps]
    # The spectrogram's window reaches a frame further on either side; the middle is the same
    # within a step.
    assert abs(steps[0] - steps[1]) <= 1


@pytest.mark.parametrize("name", list(RESCNN))
@pytest.mark.parametrize(("depth", "kernel"), [(2, 1), (3, 4), (4, 5), (5, 2)])
def test_the_sum_fits_whatever_depth_and_kernel(name: str, depth: int, kernel: int) -> None:
    shape = RESCNN[name]
    network: ResCnn = model(name, shape, maps=6, depth=depth, kernel=kernel).eval()
    first = network.first(random(2, shape))
    assert len(network.rest) == depth - 1
    assert network.rest(first).shape == first.shape


def test_the_first_layers_output_is_added_and_pooled_by_maximum_and_mean() -> None:
    shape = RESCNN["rescnn_2d"]
    network: ResCnn = model("rescnn_2d", shape, maps=6).eval()
    last = [m for m in network.rest.modules() if isinstance(m, nn.BatchNorm1d)][-1]
    nn.init.zeros_(last.weight)  # the later convolutions give nothing, so the sum is the first
    x = random(2, shape)
    with torch.no_grad():
        first = network.first(x)
        pooled = torch.cat([first.max(dim=2).values, first.mean(dim=2)], dim=1)
        torch.testing.assert_close(network(x), network.dense(pooled), atol=0, rtol=0)
        nn.init.ones_(last.weight)
        assert not torch.allclose(network(x), network.dense(pooled))


@pytest.mark.parametrize(
    ("name", "n_first"), [("rescnn_1d", 1), ("rescnn_2d", 1), ("rescnn_1d2d", 2)]
)
def test_dropout_follows_every_layer_but_the_last_and_is_off_by_default(
    name: str, n_first: int
) -> None:
    for share, expected in ((0.0, 0), (0.2, n_first + 2 + 2)):
        network = model(name, RESCNN[name], maps=6, dropout=share)
        layers = [m for m in network.modules() if isinstance(m, nn.Dropout)]
        assert len(layers) == expected
        assert all(layer.p == share for layer in layers)
    assert isinstance(network.dense[-1], nn.Linear)


@pytest.mark.parametrize("name", [*RESCNN, "short_chunk_resnet"])
def test_a_batch_of_one_can_be_classified_but_not_trained_on(name: str) -> None:
    shape = RESCNN.get(name, (1, 64, 64))
    network = model(name, shape)
    batch = random(1, shape)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network.train()(batch)
    assert network.eval()(batch).shape == (1, 7)


def test_a_pair_of_which_either_is_too_short_is_refused() -> None:
    with pytest.raises(GenrecoreError, match="at least 4 frames, but a feature makes 3"):
        model("rescnn_1d2d", ((1, 5000), (1, 65, 3)))
    with pytest.raises(GenrecoreError, match="at least 99 samples, but a segment has 98"):
        model("rescnn_1d2d", ((1, 98), (1, 65, 100)))


def test_the_short_chunk_resnet_has_12_million_parameters_and_ends_in_512_small_maps() -> None:
    shape = PRESETS["won_mel"].facts.shape
    with torch.device("meta"):
        network = model("short_chunk_resnet", shape, 50)
        blocks = network[:7]
        assert blocks(empty(2, shape)).shape == (2, 512, 1, 2)
    channels = [block.shortcut[0].out_channels for block in blocks]
    assert channels == [128, 128, 256, 256, 256, 256, 512]
    n = sum(p.numel() for p in network.parameters())
    # Seven blocks of three 3 × 3 convolutions and the dense layers, by hand, without the two
    # numbers a map and neuron of batch normalisation and the biases of the last layer (50)
    pairs = zip([1, *channels], channels, strict=False)
    weights = sum(9 * (2 * before * n + n * n) for before, n in pairs) + 512 * 512 + 512 * 50
    assert n == weights + 2 * (3 * sum(channels) + 512) + 50
    assert 11.5e6 < n < 12.5e6


def test_fewer_blocks_take_smaller_images() -> None:
    for n_blocks, least in ((3, 4), (5, 16)):
        options = {"n_blocks": n_blocks, "width": 4}
        assert model("short_chunk_resnet", (1, least, least), **options)
        message = f"with {n_blocks} blocks needs images of at least {least} bins × {least} frames"
        for shape in ((1, least - 1, 99), (1, 99, least - 1)):
            with pytest.raises(GenrecoreError, match=message):
                model("short_chunk_resnet", shape, **options)


@pytest.mark.parametrize("name", RESCNN)
def test_without_the_residual_the_first_layers_output_is_not_added(name: str) -> None:
    plain = model(name, RESCNN[name], residual=False).eval()
    residual = model(name, RESCNN[name]).eval()
    assert plain.state_dict().keys() == residual.state_dict().keys()
    for network in (plain, residual):
        for layer in network.rest:
            torch.nn.init.zeros_(layer[0][1].weight)  # the later convolutions then give nothing
    inputs = random(3, RESCNN[name])
    with torch.no_grad():
        # So the plain network sees no difference between its inputs, and the other does.
        assert plain(inputs).diff(dim=0).abs().max() < 1e-6
        assert residual(inputs).diff(dim=0).abs().max() > 1e-3
