"""Augmentations, signals they are tried on and ways to measure these, as their tests share them."""

from __future__ import annotations

import math

import torch

from genrecore.augment import AUGMENTATIONS

RATE_HZ = 22_050
N_SAMPLES = 11_027
ONLINE = [name for name in AUGMENTATIONS if AUGMENTATIONS[name].facts.on != "variants"]
ALONE = [name for name in ONLINE if AUGMENTATIONS[name].facts.on != "batch"]
RANDOM = [name for name in ONLINE if name not in ("shift", "flip", "percussive")]


def augmentation(name: str, **options):
    """The augmentation with these options, the rest at their defaults."""
    choice = AUGMENTATIONS.choose(name, options)
    return choice.thing(choice.options, RATE_HZ)


def stage(name: str) -> str:
    """What it changes: `wave`, `image`, `batch` or `variants`."""
    return str(AUGMENTATIONS[name].facts.on)


def seeded(seed: int = 7) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def examples(name: str, n: int = 3) -> torch.Tensor:
    """Waves of noise, or images in dB of three channels."""
    if stage(name) in ("wave", "variants"):
        return 0.3 * torch.randn(n, 1, N_SAMPLES, generator=seeded())
    return 20.0 * torch.randn(n, 3, 41, 53, generator=seeded()) - 30.0


def changed(name: str, x: torch.Tensor, seed: int = 1, **options) -> torch.Tensor:
    """What the augmentation makes of x, as the chain uses it."""
    chosen = augmentation(name, **options)
    if stage(name) == "variants":
        return chosen.apply(x, 0)
    return chosen.apply(x, chosen.draw(len(x), tuple(x.shape[1:]), seeded(seed)))


def tone(hz: float, n: int = N_SAMPLES, amplitude: float = 0.3) -> torch.Tensor:
    """One wave of a sine, (1, 1, n)."""
    return amplitude * torch.sin(2 * math.pi * hz * torch.arange(n) / RATE_HZ)[None, None]


def level_db(x: torch.Tensor) -> float:
    """Mean power in dB; a square wave at full scale has 0 dB."""
    return 10 * math.log10(float(x.double().square().mean()))


def peak_hz(x: torch.Tensor) -> float:
    """The frequency with the most energy, in steps of RATE_HZ / samples."""
    spectrum = torch.fft.rfft(x.flatten()).abs()
    return float(spectrum.argmax()) * RATE_HZ / x.numel()
