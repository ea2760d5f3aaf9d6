"""Patches: a random part of each image in training, ten parts in the test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from augmentations import augmentation, seeded
from conftest import trained
from torch import nn

from genrecore.augment.patches import TenPatches
from genrecore.config.run import RunConfig
from genrecore.errors import UsageError
from genrecore.inference.explain import Explainer
from genrecore.inference.loaded import load
from genrecore.training.classifier import Classifier
from genrecore.training.parts import ResolvedConfig


def numbered(n: int = 400) -> torch.Tensor:
    """Images (n, 1, 16, 24) whose points all differ."""
    return torch.arange(16.0 * 24).reshape(1, 1, 16, 24).repeat(n, 1, 1, 1)


def test_patches_come_from_everywhere_and_half_are_reflected() -> None:
    step, x = augmentation("patches"), numbered()
    patches = step.apply(x, step.draw(len(x), (1, 16, 24), seeded()))
    assert patches.shape[1:] == step.patch_shape((1, 16, 24)) == (1, 14, 21)
    is_reflected = patches[:, 0, 0, 0] > patches[:, 0, 0, 1]
    assert 0.4 < is_reflected.float().mean() < 0.6
    corners = patches[:, 0, 0].amin(dim=1)
    places = {(int(corner) // 24, int(corner) % 24) for corner in corners}
    assert places == {(low, first) for low in range(3) for first in range(4)}
    # Each is a part of the image, whole and in order.
    for patch, reflected, corner in zip(patches, is_reflected, corners, strict=True):
        low, first = int(corner) // 24, int(corner) % 24
        part = x[0, :, low : low + 14, first : first + 21]
        assert torch.equal(patch, part.flip(2) if reflected else part)


class Probe(nn.Module):
    """Two logits: a patch's first point and 0, kept in `seen`."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        first = images[:, 0, 0, 0] / 100
        return torch.stack([first, torch.zeros_like(first)], dim=1)


@pytest.mark.parametrize("reflections", [True, False])
def test_ten_patches_are_corners_and_middle_and_their_probabilities_are_averaged(
    reflections: bool,
) -> None:
    probe, x = Probe(), numbered(2)
    network = TenPatches(probe, (1, 14, 21), reflections).eval()
    proba = network(x).softmax(1)
    corners = [(0, 0), (0, 3), (2, 0), (2, 3), (1, 1)]
    parts = [x[:, :, low : low + 14, first : first + 21] for low, first in corners]
    expected = [part.flip(3) for part in parts] + parts if reflections else parts
    assert len(probe.seen) == len(expected) == (10 if reflections else 5)
    for seen, part in zip(probe.seen, expected, strict=True):
        assert torch.equal(seen, part)
    each = [torch.sigmoid(part[:, 0, 0, 0] / 100) for part in expected]
    torch.testing.assert_close(proba[:, 0], torch.stack(each).mean(0))
    probe.seen.clear()
    network.train()(x)
    assert torch.equal(probe.seen[0], parts[-1])  # the middle of what is larger than a patch


Tiny = Callable[..., RunConfig]


@pytest.mark.slow
def test_a_run_learns_from_patches_and_is_asked_with_whole_images(store: Path, tiny: Tiny) -> None:
    config = tiny(augment="patches", feature__n_mels=40, model="cnn")
    classifier = Classifier(ResolvedConfig(config), ["a", "b"])
    assert isinstance(classifier.network, TenPatches)
    run = trained(config, store)
    assert run.state == "done", run.reason
    loaded = load(run)
    prediction = loaded.classify(run.clips["path"].iloc[0])
    assert prediction.proba.sum() == pytest.approx(1.0)
    assert Explainer(loaded).methods == ["gradients", "occlusion"]


def test_patches_of_what_is_no_image_are_refused(tiny: Tiny) -> None:
    with pytest.raises(UsageError, match="takes an image alone"):
        tiny(feature="waveform+stft", feature__hop_length=512, model="rescnn_1d2d",
             augment="patches")  # fmt: skip
    with pytest.raises(UsageError, match="pca_whitening needs all of them"):
        tiny(augment="patches", standardise="pca_whitening")
