"""Milliseconds of each augmentation for a 30 s clip, against librosa's or torchaudio's equivalent.

Both take turns for a few rounds on the same clips, ours a batch at once as training does it, theirs
a clip after the other as their users write it; the ratios are medians over the rounds. Last,
Belton's whole chain (noise, shift, pitch, speed, percussive component, 0.25 each) on a batch,
against the same chain of librosa's functions, which gets the same random numbers.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from genrecore.training import hardware

hardware.share_cores()  # as the command does, before torch is imported

import librosa  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torchaudio  # noqa: E402

from genrecore.augment import AUGMENTATIONS, PRESETS, Chain  # noqa: E402

RATE_HZ = 22_050
CLIP_S = 30.0


def main() -> None:
    """Prints milliseconds a clip, of the clock and of the processor, and ratios of the clock."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=4, help="clips in a batch")
    parser.add_argument("--chain-clips", type=int, default=32, help="clips in the chain's batch")
    parser.add_argument("--threads", type=int, default=0, help="0 is what torch takes by itself")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(f"{torch.get_num_threads()} threads, {RATE_HZ} Hz, {CLIP_S:g} s, one channel")

    waves, images = music(arguments.clips), random_images(arguments.clips)
    for name, entry in AUGMENTATIONS.items():
        if entry.facts.on in ("variants", "batch"):
            continue
        x = waves if entry.facts.on == "wave" else images
        augmentation = entry.thing(entry.options(), RATE_HZ)
        draws = augmentation.draw(len(x), tuple(x.shape[1:]), torch.Generator().manual_seed(1))
        label, reference = equivalents(x, draws, augmentation.options).get(name, ("", None))

        def ours(x=x, draws=draws, augmented=augmentation) -> None:
            augmented.apply(x, draws)

        report(name, label, ours, reference, len(x), arguments.rounds)

    waves = music(arguments.chain_clips)
    chain = Chain(
        [part.choose_from(AUGMENTATIONS) for part in PRESETS["belton"]],
        "wave",
        RATE_HZ,
    )
    seeds = iter(range(10**6))
    report(
        "Belton's chain",
        "librosa",
        lambda: chain(waves, torch.Generator().manual_seed(next(seeds) // 2)),
        lambda: librosas_chain(chain, waves, torch.Generator().manual_seed(next(seeds) // 2)),
        len(waves),
        arguments.rounds,
    )


def report(
    name: str,
    label: str,
    ours: Callable[[], object],
    reference: Callable[[], object] | None,
    n_clips: int,
    rounds: int,
) -> None:
    """Lets the two take turns and prints a line."""
    times: dict[str, list[float]] = {"ours": [], "reference": []}
    cpu: dict[str, list[float]] = {"ours": [], "reference": []}
    for turn in range(rounds + 1):
        for key, work in (("ours", ours), ("reference", reference)):
            if work is not None:
                began, began_cpu = time.perf_counter(), time.process_time()
                work()
                if turn:  # the first one warms up
                    times[key].append(1e3 * (time.perf_counter() - began) / n_clips)
                    cpu[key].append(1e3 * (time.process_time() - began_cpu) / n_clips)
    wall, busy = statistics.median(times["ours"]), statistics.median(cpu["ours"])
    line = f"{name:15s} {wall:7.2f} ms a clip (processor {busy:.1f})"
    if reference is not None:
        ratios = [b / a for a, b in zip(times["ours"], times["reference"], strict=True)]
        line += (
            f"; {label} {statistics.median(times['reference']):.1f} "
            f"(processor {statistics.median(cpu['reference']):.1f}): "
            f"{statistics.median(ratios):.1f} × ({min(ratios):.1f} to {max(ratios):.1f})"
        )
    print(line, flush=True)


def equivalents(
    x: torch.Tensor, draws: torch.Tensor, options: object
) -> dict[str, tuple[str, Callable[[], object]]]:
    """What else does the same to the same clips with the same numbers, by augmentation."""
    arrays = x[:, 0].numpy()
    numbers = draws.tolist()
    quality = getattr(options, "quality", 1.0)

    def each(of: Callable[[np.ndarray, list[float]], object]) -> Callable[[], object]:
        return lambda: [of(wave, row) for wave, row in zip(arrays, numbers, strict=True)]

    def equalised(wave: np.ndarray, row: list[float]) -> object:
        tensor = torch.from_numpy(wave)
        return torchaudio.functional.equalizer_biquad(tensor, RATE_HZ, row[0], row[1], quality)

    def masked(axis: int) -> Callable[[], object]:
        return lambda: torchaudio.functional.mask_along_axis_iid(x, x.shape[axis] // 5, 0.0, axis)

    generator = np.random.default_rng(0)
    return {
        "noise": (
            "numpy",
            each(lambda wave, _: wave + 0.005 * generator.standard_normal(len(wave))),
        ),
        "pitch": (
            "librosa",
            each(lambda wave, row: librosa.effects.pitch_shift(wave, sr=RATE_HZ, n_steps=row[0])),
        ),
        "speed": (
            "librosa",
            each(lambda wave, row: librosa.effects.time_stretch(wave, rate=row[0])),
        ),
        "percussive": ("librosa", each(lambda wave, _: librosa.effects.percussive(wave))),
        "equaliser": ("torchaudio", each(equalised)),
        "time_mask": ("torchaudio", masked(3)),
        "frequency_mask": ("torchaudio", masked(2)),
    }


def librosas_chain(chain: Chain, waves: torch.Tensor, generator: torch.Generator) -> np.ndarray:
    """Belton's chain as a user of librosa writes it, with the numbers that ours draws."""
    wave_copies = waves[:, 0].numpy().copy()
    noises = np.random.default_rng(0)
    for p, step in chain.steps:
        picked = torch.rand(len(waves), generator=generator) < p
        draws = step.draw(len(waves), tuple(waves.shape[1:]), generator)
        for row in picked.nonzero()[:, 0].tolist():
            wave = wave_copies[row]
            match type(step).__name__:
                case "Noise":
                    wave_copies[row] = wave + 0.005 * noises.standard_normal(len(wave))
                case "Shift":
                    wave_copies[row] = np.roll(wave, -1600)
                case "Pitch":
                    steps = float(draws[row, 0])
                    wave_copies[row] = librosa.effects.pitch_shift(wave, sr=RATE_HZ, n_steps=steps)
                case "Speed":
                    fast = librosa.effects.time_stretch(wave, rate=float(draws[row, 0]))
                    wave_copies[row] = librosa.util.fix_length(fast, size=len(wave))
                case "Percussive":
                    wave_copies[row] = librosa.effects.percussive(wave)
    return wave_copies


def music(n_clips: int) -> torch.Tensor:
    """Clips (n, 1, samples): chords of decaying tones, a blow every half second, some noise."""
    random = np.random.default_rng(5)
    time_s = np.arange(round(CLIP_S * RATE_HZ)) / RATE_HZ
    waves = []
    for _ in range(n_clips):
        within_s = time_s % 0.5
        wave = 0.01 * random.standard_normal(len(time_s))
        wave += 0.3 * np.exp(-60 * within_s) * random.standard_normal(len(time_s))
        for hz in random.uniform(80, 2000, size=6):
            wave += 0.05 * np.exp(-2 * within_s) * np.sin(2 * np.pi * hz * time_s)
        waves.append(wave.astype(np.float32))
    return torch.from_numpy(np.stack(waves))[:, None]


def random_images(n_clips: int) -> torch.Tensor:
    """Images (n, 1, 128, frames) in dB, as large as a clip's log-mel spectrogram."""
    n_frames = 1 + round(CLIP_S * RATE_HZ) // 512
    generator = torch.Generator().manual_seed(5)
    return 20.0 * torch.randn(n_clips, 1, 128, n_frames, generator=generator) - 40.0


if __name__ == "__main__":
    with torch.no_grad():
        main()
