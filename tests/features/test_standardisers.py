"""Standardisers: their statistics, what they leave alone, and that they survive being saved."""

from __future__ import annotations

import pytest
import torch
from sklearn.decomposition import PCA

from genrecore import features
from genrecore.errors import GenrecoreError
from genrecore.features import STANDARDISERS


def standardiser(name: str, shape: tuple[int, ...], kind: str = "", **options: object):
    choice = STANDARDISERS.choose(name, options)
    kind = kind or ("vector", "sequence", "image")[len(shape) - 1]
    return choice.thing(choice.options, shape, kind)


def batches() -> list[torch.Tensor]:
    """Odd batches of two channels whose mean dwarfs their spread, where naive sums cancel."""
    generator = torch.Generator().manual_seed(7)
    wide = torch.tensor([1.0, 30.0])[:, None, None]
    shift = torch.tensor([5000.0, -3.0])[:, None, None]
    return [torch.randn(n, 2, 5, 7, generator=generator) * wide + shift for n in (3, 1, 11, 2)]


def test_z_score_gives_mean_0_and_deviation_1_in_every_channel() -> None:
    fitted = standardiser("z_score", (2, 5, 7))
    fitted.fit(iter(batches()))
    everything = torch.cat(batches()).double()
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
    fitted.fit(iter(batches()))
    out = fitted(torch.cat(batches()))
    for channel in range(2):
        assert (out[:, channel].min(), out[:, channel].max()) == (0, 1)


@pytest.mark.parametrize("name", list(STANDARDISERS))
@pytest.mark.parametrize("shape", [(1, 5, 7), (9,), (4, 9)])
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


@pytest.mark.parametrize("name", ["z_score", "min_max"])
def test_a_wave_has_one_channel_and_a_sequence_one_a_feature(name: str) -> None:
    generator = torch.Generator().manual_seed(7)
    batch = torch.rand(5, 1, 9, generator=generator) * torch.arange(1.0, 10.0)
    wave, sequence = standardiser(name, (1, 9), "wave"), standardiser(name, (1, 9), "sequence")
    assert wave.state_dict()[next(iter(wave.state_dict()))].shape == (1, 1)
    wave.fit([batch])
    sequence.fit([batch])
    per_feature = torch.stack([_spread(name, column) for column in sequence(batch).unbind(-1)])
    torch.testing.assert_close(per_feature, torch.ones(9), atol=1e-5, rtol=0)  # float32
    # One number for all: neighbours keep their proportions.
    assert _spread(name, wave(batch)).item() == pytest.approx(1, abs=1e-5)  # float32
    first, last = (_spread(name, wave(batch)[..., i]) for i in (0, 8))
    assert last > 4 * first


def _spread(name: str, values: torch.Tensor) -> torch.Tensor:
    return values.std(correction=0) if name == "z_score" else values.max() - values.min()


def test_statistics_do_not_depend_on_how_batches_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = standardiser("z_score", (2, 5, 7))
    whole.fit(iter(batches()))
    monkeypatch.setattr(features.moments, "_VALUES_AT_ONCE", 150)  # two examples of 70
    cut = standardiser("z_score", (2, 5, 7))
    cut.fit(iter(batches()))
    torch.testing.assert_close(cut.mean, whole.mean, rtol=1e-6, atol=0)  # float32
    torch.testing.assert_close(cut.standard_deviation, whole.standard_deviation)


def correlated(n: int, d: int = 6) -> torch.Tensor:
    """Rows (n, d) whose columns vary together, on scales of 1 to 10⁶, far from 0."""
    generator = torch.Generator().manual_seed(7)
    mixed = torch.randn(n, d, generator=generator) @ torch.randn(d, d, generator=generator)
    return (mixed + 9) * torch.logspace(0, 6, d)


def covariance(rows: torch.Tensor) -> torch.Tensor:
    return rows.double().T.cov(correction=0)


@pytest.mark.parametrize("axes", ["original", "components"])
def test_whitened_vectors_do_not_vary_together(axes: str) -> None:
    rows = correlated(501)
    fitted = standardiser("pca_whitening", (6,), axes=axes, ridge=1e-8)
    fitted.fit(rows.split(77))
    white = fitted(rows)
    # float32; the ridge takes 1e-8 of each variance
    torch.testing.assert_close(white.mean(dim=0), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        covariance(white), torch.eye(6, dtype=torch.float64), atol=1e-4, rtol=0
    )


def test_components_are_scikit_learns() -> None:
    rows = correlated(501)
    scaled = ((rows - rows.mean(0)) / rows.std(0, correction=0)).double().numpy()
    for share in (1.0, 0.9):
        pca = PCA(share if share < 1 else None, whiten=True, svd_solver="full").fit(scaled)
        expected = torch.from_numpy(pca.transform(scaled)).float()
        n = expected.shape[1]
        options = {"axes": "components", "variance": share, "ridge": 1e-8}
        fitted = standardiser("pca_whitening", (6,), **options)
        fitted.fit(rows.split(100))
        whitened = fitted(rows)
        # either sign is right; theirs divides by n - 1
        expected = expected * (501 / 500) ** 0.5
        torch.testing.assert_close(whitened[:, :n].abs(), expected.abs(), atol=1e-3, rtol=1e-3)
        assert (whitened[:, n:] == 0).all()
        assert whitened.shape == rows.shape
        assert n == 6 if share == 1 else 1 < n < 6


def test_original_axes_stay_closest_to_themselves() -> None:
    rows = correlated(501)
    scaled = (rows - rows.mean(0)) / rows.std(0, correction=0)
    distance = {}
    for axes in ("original", "components"):
        fitted = standardiser("pca_whitening", (6,), axes=axes, ridge=1e-8)
        fitted.fit([rows])
        distance[axes] = (fitted(rows) - scaled).square().mean()
    assert distance["original"] < 0.8 * distance["components"]


@pytest.mark.parametrize(("shape", "kind"), [((2, 3, 40), "image"), ((40, 6), "sequence")])
def test_frames_and_steps_are_the_examples_that_are_whitened(shape, kind) -> None:
    rows = correlated(40 * 9).reshape(9, 40, 6)
    batch = rows if kind == "sequence" else rows.transpose(1, 2).reshape(9, *shape)
    fitted = standardiser("pca_whitening", shape, kind)
    fitted.fit(batch.split(4))
    vectors = standardiser("pca_whitening", (6,))
    vectors.fit([rows.reshape(-1, 6)])
    white = fitted(batch)
    assert white.shape == batch.shape
    white = white if kind == "sequence" else white.reshape(9, 6, 40).transpose(1, 2)
    # float32, sums in another order
    torch.testing.assert_close(
        white.reshape(-1, 6), vectors(rows.reshape(-1, 6)), atol=1e-3, rtol=1e-3
    )


def test_equal_channels_and_constant_rows_are_not_blown_up() -> None:
    generator = torch.Generator().manual_seed(7)
    image = torch.randn(8, 1, 5, 11, generator=generator)
    image[:, :, 2] = -80.0
    batch = image.expand(-1, 3, -1, -1)
    fitted = standardiser("pca_whitening", (3, 5, 11), "image")
    fitted.fit([batch])
    assert fitted(batch).abs().max() < 10
    unseen = batch.clone()
    unseen[:, :, 2] += 0.5
    assert (fitted(unseen) - fitted(batch)).abs().max() < 1


def test_autocast_leaves_whitening_in_float32() -> None:
    rows = correlated(99)
    fitted = standardiser("pca_whitening", (6,))
    fitted.fit([rows])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = fitted(rows)
    torch.testing.assert_close(inside, fitted(rows), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("shape", "kind", "sentence"),
    [
        ((1, 22_051), "wave", "a wave has only one"),
        ((3, 1366, 99), "image", "there are 4098 in features of shape 3 × 1366 × 99"),
    ],
)
def test_what_cannot_be_whitened_is_refused_in_one_sentence(shape, kind, sentence) -> None:
    with pytest.raises(GenrecoreError, match=sentence) as caught:
        standardiser("pca_whitening", shape, kind)
    assert "\n" not in str(caught.value)
