"""Augmentations over their registry, and each by an effect that can be measured."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

from genrecore.augment import AUGMENTATIONS, PRESETS, Chain
from genrecore.config import Part
from genrecore.errors import UsageError

RATE_HZ = 22_050
N_SAMPLES = 11_027
ONLINE = [name for name in AUGMENTATIONS if AUGMENTATIONS[name].facts["on"] != "variants"]
ALONE = [name for name in ONLINE if AUGMENTATIONS[name].facts["on"] != "batch"]
RANDOM = [name for name in ONLINE if name not in ("shift", "flip", "percussive")]


def augmentation(name: str, **options):
    entry = AUGMENTATIONS[name]
    return entry.thing(entry.read_options(options, "augmentation"), RATE_HZ)


def stage(name: str) -> str:
    return str(AUGMENTATIONS[name].facts["on"])


def seeded(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def examples(name: str, n: int = 3) -> torch.Tensor:
    """Waves of noise, or images in dB of three channels."""
    if stage(name) in ("wave", "variants"):
        return 0.3 * torch.randn(n, 1, N_SAMPLES, generator=seeded())
    return 20.0 * torch.randn(n, 3, 41, 53, generator=seeded()) - 30.0


def changed(name: str, x: torch.Tensor, seed: int = 1, **options) -> torch.Tensor:
    """What the augmentation makes of x, as the chain uses it."""
    one = augmentation(name, **options)
    if stage(name) == "variants":
        return one.apply(x, 0)
    return one.apply(x, one.draw(len(x), tuple(x.shape[1:]), seeded(seed)))


def tone(hz: float, n: int = N_SAMPLES, amplitude: float = 0.3) -> torch.Tensor:
    return amplitude * torch.sin(2 * math.pi * hz * torch.arange(n) / RATE_HZ)[None, None]


def level_db(x: torch.Tensor) -> float:
    return 10 * math.log10(float(x.double().square().mean()))


def peak_hz(x: torch.Tensor) -> float:
    spectrum = torch.fft.rfft(x.flatten()).abs()
    return float(spectrum.argmax()) * RATE_HZ / x.numel()


# Over the registry


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_everything_is_described(name) -> None:
    entry = AUGMENTATIONS[name]
    assert entry.title
    assert entry.source
    assert inspect.getdoc(entry.thing)
    for field in entry.options.model_fields.values():
        assert field.title
        assert field.description


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_shape_stays_and_the_input_is_left_alone(name) -> None:
    x = examples(name)
    before = x.clone()
    after = changed(name, x)
    assert after.shape == x.shape
    assert after.dtype == torch.float32
    assert torch.equal(x, before)
    assert not torch.equal(after, before)


@pytest.mark.parametrize("name", ONLINE)
def test_the_same_generator_gives_the_same(name) -> None:
    x = examples(name)
    assert torch.equal(changed(name, x, seed=5), changed(name, x, seed=5))
    different = not torch.equal(changed(name, x, seed=5), changed(name, x, seed=6))
    assert different == (name in RANDOM)


@pytest.mark.parametrize("name", [*ALONE, "pitch_variants", "tempo_variants"])
def test_a_batch_equals_its_items(name) -> None:
    x, one = examples(name), augmentation(name)
    if stage(name) == "variants":
        whole, items = one.apply(x, 1), [one.apply(item[None], 1) for item in x]
    else:
        drawn = one.draw(len(x), tuple(x.shape[1:]), seeded())
        whole = one.apply(x, drawn)
        items = [one.apply(x[i : i + 1], drawn[i : i + 1]) for i in range(len(x))]
    # Sums of float32 in another order, relative to values of up to 100 dB or 1.
    torch.testing.assert_close(whole, torch.cat(items), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_silence_and_an_impulse_stay_finite(name) -> None:
    silence = torch.zeros_like(examples(name))
    impulse = silence.clone()
    impulse[..., 17] = 1.0
    for x in (silence, impulse):
        assert changed(name, x).isfinite().all()
    if name != "noise":
        assert not changed(name, silence).any()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_nothing_is_bound_to_the_cpu(name) -> None:
    x = examples(name).to("meta")  # refuses to be mixed with what lies elsewhere
    assert changed(name, x).device.type == "meta"


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_autocast_leaves_it_in_float32(name) -> None:
    x = examples(name)
    plain = changed(name, x)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        assert torch.equal(changed(name, x), plain)


@pytest.mark.parametrize("name", ALONE)
def test_the_chain_changes_whom_the_probability_picks(name) -> None:
    x = examples(name, n=8)

    def picked(p: float) -> list[bool]:
        options = {"p": p, **({"n_masks": 20} if "mask" in name else {})}  # one may be 0 wide
        chain = Chain([Part(name=name, options=options)], stage(name), RATE_HZ)
        after = chain(x, seeded(3))
        return [not torch.equal(a, b) for a, b in zip(after, x, strict=True)]

    assert not any(picked(0.0))
    assert 0 < sum(picked(0.5)) < 8
    assert all(picked(1.0))


@pytest.mark.parametrize("name", ONLINE)
@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_a_share_outside_0_to_1_is_refused(name, p) -> None:
    with pytest.raises(UsageError, match=rf"^augmentation {name}: p: .*\(found .*\)\.$"):
        augmentation(name, p=p)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_name_what_there_is(preset) -> None:
    for part in PRESETS[preset]:
        assert augmentation(part.name, **part.options)


def test_beltons_are_a_quarter_each_and_the_percussive_last() -> None:
    names = [part.name for part in PRESETS["belton"]]
    assert names == ["noise", "shift", "pitch", "speed", "percussive"]
    assert all(part.options == {"p": 0.25} for part in PRESETS["belton"])
    assert [name for name in AUGMENTATIONS if AUGMENTATIONS[name].facts.get("last")] == names[-1:]


# Waves


@pytest.mark.parametrize("n_samples", [N_SAMPLES, 2**21 + 12_345])
def test_noise_has_the_stated_level(n_samples) -> None:
    one = augmentation("noise", amount=0.02)
    # The second begins so late that it goes on at the bank's beginning, the third is turned over.
    drawn = torch.tensor([[0.1, 0.2], [0.9999, 0.2], [0.1, 0.8]])
    added = one.apply(torch.zeros(3, 1, n_samples), drawn)
    # The standard deviation of n normal numbers scatters by 1 / sqrt(2 n) = 0.7 %; four times that.
    torch.testing.assert_close(added.std(dim=-1), torch.full((3, 1), 0.02), rtol=0.03, atol=0)
    assert added[:2].mean().abs() < 0.02 * 4 / math.sqrt(n_samples)
    torch.testing.assert_close(added[2], -added[0])
    first_again = one.apply(torch.ones(3, 1, n_samples), drawn)[0] - 1.0
    torch.testing.assert_close(first_again, added[0], rtol=0, atol=1e-6)  # float32 around 1


def test_shift_moves_1600_samples_to_the_left() -> None:
    x = torch.arange(5000.0)[None, None]
    after = changed("shift", x)
    assert after[0, 0, 0] == 1600
    assert after[0, 0, -1600:].tolist() == list(range(1600))


def test_an_octave_up_doubles_the_frequency() -> None:
    one = augmentation("pitch")
    shifted = one.apply(tone(441.0).repeat(3, 1, 1), torch.tensor([[12.0], [-12.0], [0.0]]))
    middle = shifted[..., 2000:-2000]
    # Bins of the Fourier transform are 3 Hz apart here.
    assert [peak_hz(x) for x in middle] == pytest.approx([882.0, 220.5, 441.0], abs=3.2)
    # A phase vocoder lets neighbouring bins drift out of step: a tone loses up to a decibel or so.
    assert [level_db(x) for x in middle] == pytest.approx([level_db(tone(441.0))] * 3, abs=1.5)


def test_pitch_stays_within_its_range() -> None:
    drawn = augmentation("pitch", range_semitones=3.0).draw(4000, (1, 9), seeded())
    # The extremes of 4000 uniform numbers lie within a few thousandths of the ends.
    assert -3.0 <= drawn.min() < -2.97
    assert 2.97 < drawn.max() <= 3.0


def test_faster_music_is_shorter_and_as_high() -> None:
    one = augmentation("speed")
    x = tone(441.0, 33_075)
    fast, slow = one.apply(x.repeat(2, 1, 1), torch.tensor([[1.1], [0.9]]))
    end = round(33_075 / 1.1)
    assert not fast[0, end:].any()
    # Up to the last frame it sounds on at the same level and pitch.
    last = fast[0, end - 3000 : end - 1000]
    assert level_db(last) == pytest.approx(level_db(x), abs=0.5)
    for wave in (fast[0, 1000 : end - 1000], slow[0]):
        assert peak_hz(wave) == pytest.approx(441.0, abs=1.0)


def test_speed_moves_events_by_its_factor() -> None:
    x = torch.zeros(1, 1, 33_075)
    x[0, 0, 20_000] = 1.0
    place = augmentation("speed").apply(x, torch.tensor([[1.1]]))[0, 0].abs().argmax()
    assert int(place) == pytest.approx(20_000 / 1.1, abs=512)  # a hop: frames are interpolated


def test_the_percussive_part_has_clicks_but_no_tones() -> None:
    one = augmentation("percussive")
    steady = tone(1000.0, 44_100)
    click = torch.zeros(1, 1, 44_100)
    click[0, 0, 22_050] = 1.0
    # Without the ends, where the tone begins and breaks off, which is a blow.
    inside = slice(6000, -6000)
    left = one.apply(steady, torch.empty(1, 0))[..., inside]
    assert level_db(left) < level_db(steady) - 20
    assert level_db(one.apply(click, torch.empty(1, 0))) == pytest.approx(level_db(click), abs=3)
    both = one.apply(steady + click, torch.empty(1, 0))[..., inside]
    assert both.abs().argmax() + 6000 == 22_050


def test_gain_is_in_decibels() -> None:
    x = examples("gain", n=2)
    after = augmentation("gain").apply(x, torch.tensor([[6.0], [-20.0]]))
    levels = [level_db(a) - level_db(b) for a, b in zip(after, x, strict=True)]
    assert levels == pytest.approx([6.0, -20.0], abs=1e-4)


def test_the_equaliser_is_torchaudios() -> None:
    import torchaudio

    one = augmentation("equaliser", quality=0.7)
    x = 0.1 * examples("equaliser", n=4)  # theirs cuts off at full scale
    drawn = one.draw(4, (1, N_SAMPLES), seeded())
    for ours, wave, (middle_hz, gain_db) in zip(
        one.apply(x, drawn), x, drawn.tolist(), strict=True
    ):
        theirs = torchaudio.functional.equalizer_biquad(wave, RATE_HZ, middle_hz, gain_db, 0.7)
        # Both float32; the recursion's errors grow along the wave.
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_the_equaliser_raises_its_band_and_no_other() -> None:
    one = augmentation("equaliser")
    drawn = torch.tensor([[1000.0, 12.0]] * 2)
    x = torch.cat([tone(1000.0), tone(60.0)])
    inside = slice(3000, -3000)  # the tones' beginnings and ends have other frequencies
    before, after = x[..., inside], one.apply(x, drawn)[..., inside]
    raised = [level_db(a) - level_db(b) for a, b in zip(after, before, strict=True)]
    assert raised == pytest.approx([12.0, 0.0], abs=0.2)
    middle_hz, gain_db = one.draw(2000, (1, 9), seeded()).unbind(1)
    assert 100 <= middle_hz.min() < middle_hz.max() <= 6000
    assert middle_hz.median() == pytest.approx(math.sqrt(100 * 6000), rel=0.15)  # octaves alike
    assert -12 <= gain_db.min() < -11 < 11 < gain_db.max() <= 12


def test_the_equaliser_stays_below_half_the_sample_rate() -> None:
    entry = AUGMENTATIONS["equaliser"]
    options = entry.read_options({"highest_hz": 20_000}, "augmentation")
    drawn = entry.thing(options, 16_000).draw(500, (1, 9), seeded())
    assert 6000 < drawn[:, 0].max() <= 7200


@pytest.mark.parametrize("name", ["roll", "roll_time"])
def test_rolling_only_reorders(name) -> None:
    x = examples(name)
    after = augmentation(name).apply(x, torch.tensor([[0.0], [0.25], [0.9999999]]))
    assert torch.equal(after[0], x[0])
    n = x.shape[-1]
    assert torch.equal(after[1], x[1].roll(-(n // 4), -1))
    assert torch.equal(after[2], x[2].roll(1, -1))


# Images


@pytest.mark.parametrize(("name", "axis"), [("time_mask", -1), ("frequency_mask", -2)])
def test_masks_are_as_wide_as_drawn(name, axis) -> None:
    one = augmentation(name, widest=0.5, n_masks=2)
    x = examples(name, n=2)
    # Widths of all and of none of the widest; the second image's two masks touch both ends.
    drawn = torch.tensor([[0.9999, 0.0, 0.0, 0.5], [0.5, 0.0, 0.5, 0.9999]])
    after = one.apply(x, drawn)
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
        torch.testing.assert_close(values, x[index].mean().expand_as(values))
        kept = ~masked[index]
        before = x[index].movedim(axis, -1)
        assert torch.equal(after[index].movedim(axis, -1)[..., kept], before[..., kept])


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
    one = augmentation("crop")
    # Half of the time from the beginning on, all of the frequencies.
    after = one.apply(ramp(), torch.tensor([[0.5, 1.0, -0.5, 0.0]]))
    assert slopes(after) == pytest.approx((0.5, 100.0), rel=1e-3)
    assert float(after[0, 0, 0, 10]) == pytest.approx(4.75, abs=1e-2)  # (10 + ½) / 2 − ½
    sides, places = one.draw(500, (1, 9, 9), seeded()).split(2, dim=1)
    assert 0.8 <= sides.min() < 0.81
    assert (places.abs() <= 1 - sides + 1e-6).all()  # inside the image; float32


def test_scaling_keeps_the_middle() -> None:
    one = augmentation("scaling")
    after = one.apply(ramp().repeat(2, 1, 1, 1), torch.tensor([[2.0], [0.5]]))
    assert slopes(after[:1]) == pytest.approx((0.5, 50.0), rel=1e-3)
    assert slopes(after[1:]) == pytest.approx((2.0, 200.0), rel=1e-3)
    assert float(after[1, 0, 0, 0]) == 0.0  # from outside comes the quietest
    torch.testing.assert_close(after[0].mean(), ramp().mean(), rtol=1e-3, atol=0)


def test_rotation_turns_points_not_shares() -> None:
    one = augmentation("rotation")
    square = examples("rotation")[:1, :, :41, :41]
    quarter = one.apply(square, torch.tensor([[90.0]]))
    # Sampling places are float32 shares of the image: 1e-5 of a neighbour 100 dB away.
    turned = [torch.allclose(quarter, square.rot90(k, (2, 3)), atol=1e-2) for k in (1, 3)]
    assert sum(turned) == 1
    half = one.apply(ramp(), torch.tensor([[180.0]]))
    torch.testing.assert_close(half, ramp().flip(2, 3), rtol=1e-4, atol=1e-2)
    # A line along time, turned by 45° in an image that is not square, rises a bin a frame.
    line = torch.zeros(1, 1, 41, 61)
    line[:, :, 20] = 1.0
    diagonal = one.apply(line, torch.tensor([[45.0]]))[0, 0]
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
    for name, drawn in still.items():
        after = augmentation(name).apply(x, drawn)
        # Float32 places of sampling, beside neighbours that differ by up to 100 dB.
        torch.testing.assert_close(after, x, rtol=0, atol=2e-3)


def test_colour_is_brightness_where_there_is_one_channel() -> None:
    one = augmentation("colour_pca", strength=0.5)
    x = examples("colour_pca", n=1)[:, :1].repeat(2000, 1, 1, 1)
    drawn = one.draw(2000, (1, 41, 53), seeded())
    added = (one.apply(x, drawn) - x).flatten(1)
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
    drawn = torch.tensor([[0.0, 0.0, 1.0]])  # eigenvalues rise
    added = (augmentation("colour_pca").apply(x, drawn) - x)[0, :, 0, 0]
    assert added[2] == pytest.approx(float(x[0, 2].std()), rel=0.05)  # nearly independent
    assert added[:2].abs().max() < 0.05 * added[2]


# Batches


def test_mixup_mixes_features_and_targets_alike() -> None:
    chain = Chain([Part(name="mixup", options={"alpha": 1.0})], "batch", RATE_HZ)
    targets = torch.eye(7)
    x = targets[:, None, :, None].repeat(1, 2, 1, 5)
    features, mixed = chain.mixed(x, targets, seeded())
    torch.testing.assert_close(features, mixed[:, None, :, None].expand_as(features))
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(7))
    assert ((mixed > 0).sum(dim=1) <= 2).all()
    assert not torch.equal(mixed, targets)


def test_mixup_leaves_alone_whom_it_does_not_pick() -> None:
    targets = torch.eye(50)
    _, mixed = Chain([Part(name="mixup", options={"p": 0.3, "alpha": 1.0})], "batch", 1).mixed(
        targets, targets, seeded()
    )
    untouched = (mixed == targets).all(dim=1)
    assert 25 <= untouched.sum() <= 45  # 35 are expected, with a standard deviation of 3.2
    none = Chain([Part(name="mixup", options={"p": 0.0})], "batch", 1)
    assert torch.equal(none.mixed(targets, targets, seeded())[1], targets)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixups_weights_follow_the_beta_distribution(alpha) -> None:
    weight = augmentation("mixup", alpha=alpha).draw(20_000, (1,), seeded())[:, 1]
    # Mean 1/2 and variance 1 / (4 (2 alpha + 1)); at 20 000 the mean scatters by at most 0.003.
    assert float(weight.mean()) == pytest.approx(0.5, abs=0.012)
    assert float(weight.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


# Variants


def test_lius_copies_make_the_training_set_five_times_as_large() -> None:
    made = [augmentation(part.name) for part in PRESETS["liu"]]
    labels = [label for one in made for label in one.labels]
    assert labels == ["pitch -1", "pitch +1", "tempo 0.93", "tempo 1.07"]


def test_copies_are_what_their_labels_say() -> None:
    x = tone(1000.0, 22_050)
    pitch = augmentation("pitch_variants", semitones="-12, 7")
    assert [peak_hz(pitch.apply(x, k)) for k in range(2)] == pytest.approx([500, 1498.3], abs=2)
    tempo = augmentation("tempo_variants", factors="1.25,0.8")
    assert not tempo.apply(x, 0)[..., round(22_050 / 1.25) :].any()
    assert tempo.apply(x, 1)[..., -100:].any()
    assert [peak_hz(tempo.apply(x, k)) for k in range(2)] == pytest.approx([1000] * 2, abs=2)
    assert augmentation("pitch_variants", semitones=2).labels == ["pitch +2"]


@pytest.mark.parametrize("text", ["", "1,,2", "one", "0", "1, 1", "nan", "25", "1;2", "1," * 17])
def test_copies_that_cannot_be_read_are_refused(text) -> None:
    with pytest.raises(UsageError, match=r"expected 1 to 16 different numbers from -24 to 24"):
        augmentation("pitch_variants", semitones=text)
    with pytest.raises(UsageError, match=r"expected 1 to 16 different numbers from 0.25 to 4"):
        augmentation("tempo_variants", factors=text.replace("1", "1.0").replace("25", "0.2"))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("speed", {"slowest": 1.2, "fastest": 1.1}),
        ("scaling", {"smallest": 1.2, "largest": 1.1}),
        ("equaliser", {"lowest_hz": 500, "highest_hz": 400}),
    ],
)
def test_ends_in_the_wrong_order_are_refused(name, options) -> None:
    with pytest.raises(UsageError, match="must not lie below"):
        augmentation(name, **options)
