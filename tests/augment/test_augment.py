"""Augmentations over their registry, in a chain, on batches with their targets, and as copies."""

from __future__ import annotations

import inspect

import pytest
import torch
from augmentations import (
    ALONE,
    ONLINE,
    RANDOM,
    RATE_HZ,
    augmentation,
    changed,
    examples,
    peak_hz,
    seeded,
    stage,
    tone,
)

from genrecore.augment import AUGMENTATIONS, PRESETS, Chain
from genrecore.errors import UsageError

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
    smaller = getattr(augmentation(name), "patch_shape", None)
    assert after.shape[1:] == (smaller(tuple(x.shape[1:])) if smaller else x.shape[1:])
    assert after.dtype == torch.float32
    assert torch.equal(x, before)
    assert smaller or not torch.equal(after, before)


@pytest.mark.parametrize("name", ONLINE)
def test_the_same_generator_gives_the_same(name) -> None:
    x = examples(name)
    assert torch.equal(changed(name, x, seed=5), changed(name, x, seed=5))
    different = not torch.equal(changed(name, x, seed=5), changed(name, x, seed=6))
    assert different == (name in RANDOM)


@pytest.mark.parametrize("name", [*ALONE, "pitch_variants", "tempo_variants"])
def test_a_batch_equals_its_items(name) -> None:
    x, step = examples(name), augmentation(name)
    if stage(name) == "variants":
        whole, items = step.apply(x, 1), [step.apply(item[None], 1) for item in x]
    else:
        parameters = step.draw(len(x), tuple(x.shape[1:]), seeded())
        whole = step.apply(x, parameters)
        items = [step.apply(x[i : i + 1], parameters[i : i + 1]) for i in range(len(x))]
    # Sums of float32 (24 bits) in another order, relative to the largest value: up to 100 dB or 1.
    atol = 1e-6 * max(10.0, float(x.abs().max()))
    torch.testing.assert_close(whole, torch.cat(items), rtol=1e-5, atol=atol)


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


@pytest.mark.parametrize("name", [n for n in ALONE if not AUGMENTATIONS[n].facts.patches])
def test_the_chain_changes_whom_the_probability_picks(name) -> None:
    x = examples(name, n=8)

    def picked(p: float) -> list[bool]:
        options = {"p": p, **({"n_masks": 20} if "mask" in name else {})}  # one may be 0 wide
        chain = Chain([AUGMENTATIONS.choose(name, options)], stage(name), RATE_HZ)
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
    assert [name for name in AUGMENTATIONS if AUGMENTATIONS[name].facts.last] == [
        *names[-1:],
        "patches",
    ]


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


# Batches


def test_mixup_mixes_features_and_targets_alike() -> None:
    chain = Chain([AUGMENTATIONS.choose("mixup", {"alpha": 1.0})], "batch", RATE_HZ)
    targets = torch.eye(7)
    x = targets[:, None, :, None].repeat(1, 2, 1, 5)
    features, mixed = chain.mixed(x, targets, seeded())
    torch.testing.assert_close(features, mixed[:, None, :, None].expand_as(features))
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(7))
    assert ((mixed > 0).sum(dim=1) <= 2).all()
    assert not torch.equal(mixed, targets)


def test_mixup_leaves_alone_whom_it_does_not_pick() -> None:
    targets = torch.eye(50)
    _, mixed = Chain([AUGMENTATIONS.choose("mixup", {"p": 0.3, "alpha": 1.0})], "batch", 1).mixed(
        targets, targets, seeded()
    )
    untouched = (mixed == targets).all(dim=1)
    assert 25 <= untouched.sum() <= 45  # 35 are expected, with a standard deviation of 3.2
    none = Chain([AUGMENTATIONS.choose("mixup", {"p": 0.0})], "batch", 1)
    assert torch.equal(none.mixed(targets, targets, seeded())[1], targets)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixups_weights_follow_the_beta_distribution(alpha) -> None:
    weight = augmentation("mixup", alpha=alpha).draw(20_000, (1,), seeded())[:, 1]
    # Mean 1/2 and variance 1 / (4 (2 alpha + 1)); at 20 000 the mean scatters by at most 0.003.
    assert float(weight.mean()) == pytest.approx(0.5, abs=0.012)
    assert float(weight.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


# Variants


def test_lius_copies_make_the_training_set_five_times_as_large() -> None:
    augmentations = [augmentation(part.name) for part in PRESETS["liu"]]
    labels = [label for step in augmentations for label in step.labels]
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


def test_whole_copies_are_as_long_as_they_become_and_lose_nothing() -> None:
    x = tone(1000.0, 22_051)
    x[..., -2_000:] *= 3.0  # its end is louder
    whole = augmentation("tempo_variants", factors="0.93, 1.07", whole=True)
    cut = augmentation("tempo_variants", factors="0.93, 1.07")
    assert whole.labels == ["tempo 0.93, whole", "tempo 1.07, whole"]
    for k, factor in enumerate((0.93, 1.07)):
        copy = whole.apply(x, k)
        assert copy.shape[-1] == whole.n_samples(22_051, k) == round(22_051 / factor)
        assert cut.apply(x, k).shape[-1] == cut.n_samples(22_051, k) == 22_051
        n = min(copy.shape[-1], 22_051)
        assert torch.equal(copy[..., :n], cut.apply(x, k)[..., :n])
        assert copy[..., -1_000:].abs().max() > 2.0 * copy[..., :10_000].abs().max()


@pytest.mark.parametrize("text", ["", "1,,2", "one", "0", "1, 1", "nan", "25", "1;2", "1," * 17])
def test_copies_that_cannot_be_read_are_refused(text) -> None:
    with pytest.raises(UsageError, match=r"expected 1 to 16 different numbers from -24 to 24"):
        augmentation("pitch_variants", semitones=text)
    with pytest.raises(UsageError, match=r"expected 1 to 16 different numbers from 0.25 to 4"):
        augmentation("tempo_variants", factors=text.replace("1", "1.0").replace("25", "0.2"))
