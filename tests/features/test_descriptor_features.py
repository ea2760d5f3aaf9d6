"""Descriptors as a network's input: the same numbers from a table and from audio."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import trained

from genrecore.audio.descriptors import descriptors
from genrecore.config.run import RunConfig
from genrecore.errors import GenrecoreError
from genrecore.features import FEATURES
from genrecore.inference import loaded as inference

RATE_HZ = 22_050


def feature(name: str, n_samples: int, **options: object) -> torch.nn.Module:
    choice = FEATURES.choose(name, options)
    return choice.thing(choice.options, RATE_HZ, n_samples)


@pytest.fixture(scope="module")
def waves() -> torch.Tensor:
    return torch.rand(3, 1, RATE_HZ, generator=torch.Generator().manual_seed(5)) - 0.5


def test_waves_become_their_descriptors_and_parts_a_sequence(waves: torch.Tensor) -> None:
    front = feature("descriptors", RATE_HZ)
    output = front(waves)
    assert output.shape == (3, *front.output_shape) == (3, 57)
    expected = np.stack([descriptors(wave.numpy(), RATE_HZ) for wave in waves[:, 0]])
    # One thread's matrix products sum in another order than several threads'.
    np.testing.assert_allclose(output.numpy(), expected, rtol=1e-5, atol=1e-6)
    front = feature("descriptor_sequence", RATE_HZ, n_steps=4)
    output = front(waves)
    assert output.shape == (3, *front.output_shape) == (3, 4, 57)
    third = waves[1, 0, 2 * (RATE_HZ // 4) : 3 * (RATE_HZ // 4)]
    np.testing.assert_allclose(
        output[1, 2].numpy(), descriptors(third.numpy(), RATE_HZ), rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow
def test_a_run_on_audio_learns_from_descriptors_and_judges_files(
    store: Path, tiny: Callable[..., RunConfig]
) -> None:
    run = trained(tiny(feature="descriptors", model="mlp"), store)
    assert run.state == "done", run.reason
    clip = run.clips.set_index("clip_id").loc[run.predictions["clip_id"].iloc[0]]
    prediction = inference.load(run).classify(clip["path"])
    columns = [name for name in run.predictions if name.startswith("p_")]
    # The same float32 arithmetic in batches of another size: rounding only.
    np.testing.assert_allclose(
        prediction.proba, run.predictions.loc[0, columns].to_numpy(float), atol=2e-5
    )


def test_parts_too_short_to_describe_are_refused() -> None:
    with pytest.raises(GenrecoreError, match=r"40 parts of 1 s last 0.025 s; take longer segments"):
        feature("descriptor_sequence", RATE_HZ, n_steps=40)
