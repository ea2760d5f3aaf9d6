"""Standardisers: their statistics, what they leave alone, and that they survive being saved."""

from __future__ import annotations

import pytest
import torch

from genrecore.errors import GenrecoreError
from genrecore.features import STANDARDISERS


def standardiser(name: str, shape: tuple[int, ...]):
    entry = STANDARDISERS[name]
    return entry.thing(entry.read_options({}, "standardiser"), shape)


def pieces() -> list[torch.Tensor]:
    """Odd batches of two channels whose mean dwarfs their spread, where naive sums cancel."""
    generator = torch.Generator().manual_seed(7)
    wide = torch.tensor([1.0, 30.0])[:, None, None]
    shift = torch.tensor([5000.0, -3.0])[:, None, None]
    return [torch.randn(n, 2, 5, 7, generator=generator) * wide + shift for n in (3, 1, 11, 2)]


def test_z_score_gives_mean_0_and_deviation_1_in_every_channel() -> None:
    fitted = standardiser("z_score", (2, 5, 7))
    fitted.fit(iter(pieces()))
    everything = torch.cat(pieces()).double()
    # float32 holds 5000 to 2.4e-4, the statistics to 1e-7 of their size
    torch.testing.assert_close(
        fitted.mean.flatten().double(), everything.mean(dim=(0, 2, 3)), atol=0, rtol=1e-6
    )
    torch.testing.assert_close(
        fitted.standard_deviation.flatten().double(),
        everything.std(dim=(0, 2, 3), correction=0),
        atol=0,
        rtol=1e-6,
    )


def test_min_max_gives_0_to_1_in_every_channel() -> None:
    fitted = standardiser("min_max", (2, 5, 7))
    fitted.fit(iter(pieces()))
    out = fitted(torch.cat(pieces()))
    for channel in range(2):
        assert (out[:, channel].min(), out[:, channel].max()) == (0, 1)


@pytest.mark.parametrize("name", list(STANDARDISERS))
@pytest.mark.parametrize("shape", [(1, 5, 7), (9,)])
def test_standardisers_survive_constants_saving_and_never_divide_by_zero(name, shape) -> None:
    fitted = standardiser(name, shape)
    fitted.fit([torch.full((3, *shape), -100.0)])
    x = torch.randn(3, *shape)
    out = fitted(x)
    assert out.shape == x.shape
    assert out.isfinite().all()
    assert all(value.dtype == torch.float32 for value in fitted.state_dict().values())
    loaded = standardiser(name, shape)
    loaded.load_state_dict(fitted.state_dict())
    torch.testing.assert_close(loaded(x), out, atol=0, rtol=0)
    if name != "none":
        with pytest.raises(GenrecoreError, match="no training features"):
            standardiser(name, shape).fit([])
