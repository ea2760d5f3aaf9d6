"""Augmentations of images, each by an effect that can be measured."""

from __future__ import annotations

import pytest
import torch
from augmentations import augmentation, changed, examples, seeded

from genrecore.features.colours import ColourMap


@pytest.mark.parametrize(("name", "axis"), [("time_mask", -1), ("frequency_mask", -2)])
def test_masks_are_as_wide_as_drawn(name, axis) -> None:
    step = augmentation(name, widest=0.5, n_masks=2)
    x = examples(name, n=2)
    # Widths of all and of none of the widest; the second image's two masks touch both ends.
    parameters = torch.tensor([[0.9999, 0.0, 0.0, 0.5], [0.5, 0.0, 0.5, 0.9999]])
    after = step.apply(x, parameters)
    masked = (after != x).movedim(axis, -1).all(dim=(1, 2))
    n = x.shape[axis]
    widest = round(n * 0.5)
    half = int(0.5 * (widest + 1))
    expected = torch.zeros(2, n, dtype=torch.bool)
    expected[0, :widest] = True
    expected[1, :half] = expected[1, n - half :] = True
    assert torch.equal(masked, expected)
    for index in range(2):
        values = after[index].movedim(axis, -1)[..., masked[index]]
        mean = x[index].mean(dim=(1, 2))[:, None, None]  # of each channel
        torch.testing.assert_close(values, mean.expand_as(values))
        unmasked = ~masked[index]
        before = x[index].movedim(axis, -1)
        assert torch.equal(after[index].movedim(axis, -1)[..., unmasked], before[..., unmasked])


def test_masks_have_every_width_and_place() -> None:
    x = torch.zeros(600, 1, 3, 20)
    x[:, :, :, 0] = 1.0  # so that the mean is neither 0 nor 1
    masked = changed("time_mask", x, widest=0.2)[:, 0, 0]
    n_masked = ((masked != 0) & (masked != 1)).sum(dim=1)
    assert set(n_masked.tolist()) == {0, 1, 2, 3, 4}
    assert ((masked != 0) & (masked != 1)).any(dim=0).all()


def test_flip_reverses_time_or_frequency() -> None:
    x = examples("flip")
    assert torch.equal(changed("flip", x), x.flip(-1))
    assert torch.equal(changed("flip", x, axis="frequency"), x.flip(-2))


def ramp(n_bins: int = 40, n_frames: int = 60) -> torch.Tensor:
    """An image that rises by 1 a frame and by 100 a bin."""
    return (torch.arange(n_frames) + 100.0 * torch.arange(n_bins)[:, None])[None, None]


def slopes(x: torch.Tensor) -> tuple[float, float]:
    """Rise a frame and a bin in the middle of an image."""
    middle = x[0, 0, 15:25, 20:40]
    return float(middle.diff(dim=1).mean()), float(middle.diff(dim=0).mean())


def test_a_crop_enlarges_a_part() -> None:
    step = augmentation("crop")
    # Half of the time from the beginning on, all of the frequencies.
    after = step.apply(ramp(), torch.tensor([[0.5, 1.0, -0.5, 0.0]]))
    assert slopes(after) == pytest.approx((0.5, 100.0), rel=1e-3)
    assert float(after[0, 0, 0, 10]) == pytest.approx(4.75, abs=1e-2)  # (10 + ½) / 2 − ½
    sides, places = step.draw(500, (1, 9, 9), seeded()).split(2, dim=1)
    assert 0.8 <= sides.min() < 0.81
    assert (places.abs() <= 1 - sides + 1e-6).all()  # inside the image; float32


def test_scaling_keeps_the_middle() -> None:
    step = augmentation("scaling")
    after = step.apply(ramp().repeat(2, 1, 1, 1), torch.tensor([[2.0], [0.5]]))
    assert slopes(after[:1]) == pytest.approx((0.5, 50.0), rel=1e-3)
    assert slopes(after[1:]) == pytest.approx((2.0, 200.0), rel=1e-3)
    assert float(after[1, 0, 0, 0]) == 0.0  # from outside comes the quietest
    torch.testing.assert_close(after[0].mean(), ramp().mean(), rtol=1e-3, atol=0)


def coloured() -> torch.Tensor:
    """Two noisy images in viridis, (2, 3, 32, 44)."""
    noise = torch.randn(2, 1, 32, 44, generator=seeded())
    return ColourMap("viridis")(noise)


def test_from_outside_a_coloured_image_comes_its_darkest_colour() -> None:
    step = augmentation("scaling")
    after = step.apply(coloured(), torch.tensor([[0.5], [0.5]]))
    first = torch.tensor([0.267004, 0.004874, 0.329415])  # of viridis
    torch.testing.assert_close(after[:, :, 0, 0], first.expand(2, 3))


def test_masks_of_a_coloured_image_have_its_mean_colour() -> None:
    x = coloured()
    after = augmentation("time_mask", widest=1.0).apply(x, torch.tensor([[0.9999, 0.0]] * 2))
    torch.testing.assert_close(after, x.mean(dim=(2, 3), keepdim=True).expand_as(x))


def test_principal_components_of_colour_add_another_number_to_each_channel() -> None:
    x = coloured()
    added = changed("colour_pca", x, strength=1.0) - x
    per_channel = added.mean(dim=(2, 3))
    # The same everywhere in a channel, and another in each.
    torch.testing.assert_close(added, per_channel[..., None, None].expand_as(x), atol=1e-5, rtol=0)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert ((per_channel[:, first] - per_channel[:, second]).abs() > 0.01).any()


def test_rotation_turns_points_not_shares() -> None:
    step = augmentation("rotation")
    square = examples("rotation")[:1, :, :41, :41]
    quarter = step.apply(square, torch.tensor([[90.0]]))
    # Sampling places are float32 shares of the image: 1e-5 of a neighbour 100 dB away.
    turned = [torch.allclose(quarter, square.rot90(k, (2, 3)), atol=1e-2) for k in (1, 3)]
    assert sum(turned) == 1
    half = step.apply(ramp(), torch.tensor([[180.0]]))
    torch.testing.assert_close(half, ramp().flip(2, 3), rtol=1e-4, atol=1e-2)
    # A line along time, turned by 45° in an image that is not square, rises a bin a frame.
    line = torch.zeros(1, 1, 41, 61)
    line[:, :, 20] = 1.0
    diagonal = step.apply(line, torch.tensor([[45.0]]))[0, 0]
    rows = diagonal[:, 20:41].argmax(dim=0)
    assert rows.diff().abs().tolist() == [1] * 20


def test_translation_moves_by_shares_of_the_image() -> None:
    x = ramp()
    after = augmentation("translation").apply(x, torch.tensor([[0.1, -0.05]]))
    # 6 of 60 frames later, 2 of 40 bins lower; in between float32 places of sampling.
    torch.testing.assert_close(after[..., :-2, 6:], x[..., 2:, :-6], rtol=0, atol=0.05)
    assert float(after[..., -1, -1]) == pytest.approx(0.0, abs=0.05)


def test_images_that_are_not_moved_stay_as_they_are() -> None:
    x = examples("crop")
    still = {
        "crop": torch.tensor([[1.0, 1.0, 0.0, 0.0]] * 3),
        "rotation": torch.zeros(3, 1),
        "scaling": torch.ones(3, 1),
        "translation": torch.zeros(3, 2),
    }
    for name, parameters in still.items():
        after = augmentation(name).apply(x, parameters)
        # Float32 places of sampling, beside neighbours that differ by up to 100 dB.
        torch.testing.assert_close(after, x, rtol=0, atol=2e-3)


def test_colour_is_brightness_where_there_is_one_channel() -> None:
    step = augmentation("colour_pca", strength=0.5)
    x = examples("colour_pca", n=1)[:, :1].repeat(2000, 1, 1, 1)
    parameters = step.draw(2000, (1, 41, 53), seeded())
    added = (step.apply(x, parameters) - x).flatten(1)
    assert (added.std(dim=1) < 1e-4).all()  # the same everywhere, float32 around 100
    # In standard deviations of the example; of 2000 normal numbers it scatters by 1.6 %.
    assert float(added.mean(dim=1).std() / x[0].std()) == pytest.approx(0.5, rel=0.07)


def test_colour_moves_along_the_components() -> None:
    grey = examples("colour_pca")[:, :1].expand(-1, 3, -1, -1)
    added = changed("colour_pca", grey, strength=1.0) - grey
    # All three channels are one component, so they move together.
    torch.testing.assert_close(added, added[:, :1].expand_as(added), rtol=0, atol=1e-2)
    assert (added.flatten(1).abs().amin(dim=1) > 0.1).all()
    # Along the first of two independent channels only, when only that is drawn.
    x = examples("colour_pca", n=1) * torch.tensor([1.0, 5.0, 25.0])[:, None, None]
    parameters = torch.tensor([[0.0, 0.0, 1.0]])  # eigenvalues rise
    added = (augmentation("colour_pca").apply(x, parameters) - x)[0, :, 0, 0]
    assert added[2] == pytest.approx(float(x[0, 2].std()), rel=0.05)  # nearly independent
    assert added[:2].abs().max() < 0.05 * added[2]
