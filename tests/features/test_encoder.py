"""Embeddings as features: alone or in a batch, with and without padding, frozen and trained on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from torch import Tensor

from genrecore.config.run import RunConfig, with_values
from genrecore.errors import UsageError
from genrecore.features import FEATURES, PRESETS
from genrecore.models.encoders import files
from genrecore.training.classifier import Classifier
from genrecore.training.resolve import resolve

RATE_HZ, PATCH, HOP = 16_000, 47_616, 47_872
NAMES = ["encoder", "encoder_sequence"]
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}  # float32 sums in another order
pytestmark = pytest.mark.usefixtures("musicnn")


def feature(name: str = "encoder", seconds: float = 10.0, **options: object) -> Any:
    choice = FEATURES.choose(name, options)
    return choice.thing(choice.options, RATE_HZ, round(seconds * RATE_HZ))


def sound(batch: int = 2, seconds: float = 10.0, seed: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, 1, round(seconds * RATE_HZ), generator=generator)
    return 0.1 * noise * torch.linspace(0.1, 3.0, batch)[:, None, None]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_a_batch_equals_its_items_and_the_shape_is_as_announced(name: str) -> None:
    module, waves = feature(name), sound(4)
    batch = module(waves)
    assert batch.dtype == torch.float32
    assert batch.shape == (4, *module.output_shape)
    assert module.output_shape == {"encoder": (200,), "encoder_sequence": (3, 200)}[name]
    for k in range(4):
        torch.testing.assert_close(batch[k : k + 1], module(waves[k : k + 1]), **CLOSE)


def test_threads_that_begin_together_share_one_network() -> None:
    module, together = feature(), Barrier(8)

    def network(_: int) -> int:
        together.wait()
        return id(module.encoder())

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(network, range(8)))) == 1
    assert len(module._loaded) == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seconds", [3.0, 5.9, 6.1, 8.0])
@torch.inference_mode()
def test_embeddings_do_not_depend_on_padding(name: str, seconds: float) -> None:
    waves = sound(2, seconds)
    padded = torch.nn.functional.pad(waves, (0, 160_000 - waves.shape[2]))
    alone, together = feature(name, seconds)(waves), feature(name)(padded)
    if name == "encoder_sequence":  # its last one is repeated
        n = alone.shape[1]
        torch.testing.assert_close(together[:, n:], alone[:, -1:].expand(2, 3 - n, 200), **CLOSE)
        together = together[:, :n]
    torch.testing.assert_close(together, alone, **CLOSE)


@torch.inference_mode()
def test_a_sound_shorter_than_a_patch_is_repeated_until_it_fills_one() -> None:
    short = torch.zeros(1, 1, 160_000)
    short[..., :20_000] = sound(1, 1.25)
    filled = torch.zeros(1, 1, 160_000)
    filled[..., :PATCH] = torch.cat([short[..., :20_000]] * 3, dim=2)[..., :PATCH]
    torch.testing.assert_close(feature()(short), feature()(filled), **CLOSE)
    assert feature()(torch.zeros(1, 1, 160_000)).isfinite().all()  # silence


@pytest.mark.slow
@torch.inference_mode()
def test_pooling_and_layers_are_of_the_patches() -> None:
    waves = sound(2)
    for layer, width in (("penultimate", 200), ("pooled", 1506)):
        steps = feature("encoder_sequence", layer=layer)(waves)
        assert steps.shape == (2, 3, width)
        mean, deviation = steps.mean(1), steps.std(1, correction=0)
        expected = {
            "mean": mean, "max": steps.amax(1), "mean_deviation": torch.cat([mean, deviation], 1),
        }  # fmt: skip
        for pooling, vector in expected.items():
            made = feature(layer=layer, pooling=pooling)
            assert made.output_shape == vector.shape[1:]
            torch.testing.assert_close(made(waves), vector, rtol=1e-3, atol=1e-4)
    joined = feature(layer="pooled+penultimate")
    parts = [feature(layer=layer)(waves) for layer in ("pooled", "penultimate")]
    assert joined.output_shape == (1706,)
    torch.testing.assert_close(joined(waves), torch.cat(parts, dim=1), **CLOSE)
    close = feature("encoder_sequence", hop_s=1.0)  # rounded to whole frames of 16 ms
    assert close.output_shape == (8, 200)
    first = feature("encoder_sequence")(waves)[:, 0]
    torch.testing.assert_close(close(waves)[:, 0], first, **CLOSE)


def test_an_encoder_follows_its_feature_to_a_device_and_is_not_saved() -> None:
    for name in NAMES:
        module = feature(name)
        assert not module.state_dict()
        assert not list(module.parameters())
        shape = module.to("meta")(torch.empty(2, 1, 160_000, device="meta")).shape
        assert shape == (2, *module.output_shape)


@torch.inference_mode()
def test_autocast_leaves_embeddings_in_float32() -> None:
    module, waves = feature(), sound()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = module(waves)
    torch.testing.assert_close(inside, module(waves), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"audio.sample_rate_hz": 22_050}, "takes audio at 16,000 Hz, but the sample rate is"),
        ({"segments.segment_s": 2.5}, "listens to 2.98 s at a time, but a segment lasts 2.5 s"),
        ({"feature.layer": "top"}, "has no layer 'top'; there are: penultimate, pooled"),
        ({"feature.encoder": "vggish"}, "no encoder called 'vggish'"),
        ({"feature.sha256": "0" * 64}, "Another encoder is called musicnn here"),
    ],
)
def test_what_does_not_fit_is_one_sentence(values: dict[str, object], sentence: str) -> None:
    base = with_values(RunConfig(), PRESETS["musicnn"].thing | {"model": "linear_probe"})
    with pytest.raises(UsageError, match=sentence) as caught:
        resolve(with_values(base, values))
    assert "\n" not in str(caught.value)


def test_a_run_names_its_encoder_by_checksum() -> None:
    base = with_values(RunConfig(), PRESETS["musicnn"].thing | {"model": "linear_probe"})
    resolved = resolve(base).config
    assert resolved.feature.options == {"sha256": files.card_of("musicnn").sha256}
    assert resolve(resolved).config == resolved


def gradients(values: dict[str, object], genres: list[str], waves: Tensor) -> dict[str, Tensor]:
    """Of every parameter that gets one."""
    classifier = Classifier(resolve(with_values(RunConfig(), values)), genres)
    features = classifier.feature(waves)
    loss = torch.nn.functional.cross_entropy(classifier.logits(features), torch.tensor([0, 1]))
    loss.backward()
    return {name: p.grad for name, p in classifier.named_parameters() if p.grad is not None}


@pytest.mark.slow
def test_gradients_reach_an_encoder_that_is_trained_on_and_no_frozen_one() -> None:
    frozen = {**PRESETS["musicnn"].thing, "model": "mlp", "standardise": "none"}
    names = gradients(frozen, ["a", "b"], sound(2, 30.0))
    assert names
    assert all(name.startswith("network.") for name in names)
    trained = {**PRESETS["musicnn_waves"].thing, "model": "tuned_encoder"}
    of_encoder = gradients(trained, ["a", "b"], sound(2, 3.0))
    first = of_encoder["network.encoder.front.0.weight"]
    assert first.abs().max() > 0
    assert {"network.head.weight", "network.encoder.dense.bias"} <= set(of_encoder)


def test_a_tuned_encoder_starts_from_the_published_weights_or_from_random_ones() -> None:
    def weights(**options: object) -> Tensor:
        values = {**PRESETS["musicnn_waves"].thing, "model": "tuned_encoder"}
        values |= {f"model.{key}": value for key, value in options.items()}
        classifier = Classifier(resolve(with_values(RunConfig(), values)), ["a", "b"])
        return classifier.network.encoder.dense.weight.detach()

    published = files.load("musicnn").dense.weight
    torch.testing.assert_close(weights(), published, rtol=0, atol=0)
    assert not torch.allclose(weights(pretrained=False), published, atol=0.01)
