"""The sounds of the demo music: notes of eleven instruments and strokes of six drum kits.

A pitched instrument is a scanned wavetable (rows of one period each, from the first moment of a
note to its end) or a frequency-modulated pair of sines; a drum is a swept sine and shaped noise.
Every artist has variants of these sounds of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 22_050

Wave = NDArray[np.float64]

_PERIOD = 1024  # samples a wavetable row
_N_ROWS = 12  # moments of a note that a wavetable holds
_ROW_S = 0.09  # seconds between them


@dataclass(frozen=True)
class Voicing:
    """What an instrument family sounds like before an artist makes it their own."""

    tilt: float  # amplitude of harmonic h is h ** -tilt
    attack_s: float
    decay_s: float  # time constant of the whole note; long ones sustain
    damping: float  # how much faster high harmonics fade, a second and harmonic
    detune_cents: float = 0.0  # distance of a second voice
    even: float = 1.0  # amplitude of even harmonics
    vibrato_cents: float = 0.0
    breath: float = 0.0
    ratio: float = 0.0  # above 0: frequency modulation at this ratio
    index: float = 0.0
    n_harmonics: int = 24
    level: float = 1.0


VOICINGS: dict[str, Voicing] = {
    "pad": Voicing(1.5, 0.25, 9.0, 0.05, detune_cents=11, level=0.9),
    "organ": Voicing(1.7, 0.012, 9.0, 0.0, n_harmonics=8, vibrato_cents=6),
    "reed": Voicing(0.9, 0.04, 9.0, 0.03, detune_cents=9, n_harmonics=16, level=0.7),
    "brass": Voicing(1.1, 0.05, 4.0, 0.12, n_harmonics=18, level=0.85),
    "string": Voicing(0.9, 0.003, 0.7, 0.9, level=1.2),
    "piano": Voicing(1.3, 0.004, 0.9, 0.5, n_harmonics=16, detune_cents=2, level=1.2),
    "pulse": Voicing(1.0, 0.003, 6.0, 0.0, even=0.15, level=0.5),
    "saw": Voicing(1.0, 0.005, 1.6, 0.5, detune_cents=7, level=0.7),
    "flute": Voicing(2.2, 0.05, 9.0, 0.0, n_harmonics=6, vibrato_cents=14, breath=0.04),
    "sub": Voicing(2.6, 0.008, 2.0, 0.1, n_harmonics=5, level=1.3),
    "bell": Voicing(0.0, 0.002, 0.9, 0.0, ratio=2.76, index=1.8, level=1.0),
}


@dataclass
class Instrument:
    """One artist's variant of an instrument family; notes are kept, music repeats them."""

    voicing: Voicing
    phases: Wave
    amplitudes: Wave
    _tables: dict[int, Wave] = field(default_factory=dict)

    @classmethod
    def draw(cls, family: str, rng: np.random.Generator, spread: float) -> Instrument:
        """A variant of `family`; `spread` 0 is the family itself, 1 differs clearly."""
        base = VOICINGS[family]

        def factor(octaves: float) -> float:
            return float(2 ** (spread * rng.uniform(-octaves, octaves)))

        voicing = Voicing(
            tilt=base.tilt * factor(0.45),
            attack_s=base.attack_s * factor(0.8),
            decay_s=base.decay_s * factor(0.8),
            damping=base.damping * factor(0.8),
            detune_cents=base.detune_cents * factor(1.0),
            even=min(1.0, base.even * factor(1.2)),
            vibrato_cents=base.vibrato_cents * factor(1.0),
            breath=base.breath * factor(1.0),
            ratio=base.ratio * factor(0.6),
            index=base.index * factor(0.8),
            n_harmonics=base.n_harmonics,
            level=base.level,
        )
        harmonics = np.arange(1, base.n_harmonics + 1)
        amplitudes = harmonics**-voicing.tilt * 2 ** (
            spread * rng.uniform(-1.2, 1.2, base.n_harmonics)
        )
        amplitudes[1::2] *= voicing.even
        return cls(voicing, rng.uniform(0, 2 * np.pi, base.n_harmonics), amplitudes)

    def note(self, pitch_hz: float, length_s: float, rng: np.random.Generator) -> Wave:
        """One note, shape (n_samples,), about -1 to 1, `length_s` and its release long."""
        voicing = self.voicing
        release_s = 0.03 + min(0.25, 0.4 * voicing.attack_s)
        n = int((length_s + release_s) * SAMPLE_RATE_HZ)
        time_s = np.arange(n) / SAMPLE_RATE_HZ
        cycles = pitch_hz * time_s
        if voicing.vibrato_cents:
            depth = voicing.vibrato_cents / 1200 * np.log(2) * pitch_hz / (2 * np.pi * 5.3)
            cycles = cycles + depth * np.sin(2 * np.pi * 5.3 * time_s)
        fade = np.exp(-time_s / voicing.decay_s)
        if voicing.ratio:
            depth = voicing.index * np.exp(-time_s / (0.35 * voicing.decay_s))
            # Sidebands beyond half the sample rate would fold back as noise.
            depth *= min(1.0, 2_500 / (pitch_hz * voicing.ratio))
            wave = np.sin(2 * np.pi * cycles + depth * np.sin(2 * np.pi * voicing.ratio * cycles))
        else:
            table = self._table(pitch_hz)
            wave = _scan(table, cycles, time_s)
            if voicing.detune_cents:
                detuned = cycles * 2 ** (voicing.detune_cents / 1200) + 0.37
                wave = 0.6 * (wave + _scan(table, detuned, time_s))
        if voicing.breath:
            wave = wave + voicing.breath * rng.standard_normal(n)
        wave = wave * fade
        n_attack = min(n // 2, max(66, int(voicing.attack_s * SAMPLE_RATE_HZ)))
        n_release = min(n // 2, int(release_s * SAMPLE_RATE_HZ))
        wave[:n_attack] *= 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, n_attack))
        wave[-n_release:] *= 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, n_release))
        return voicing.level * wave

    def _table(self, pitch_hz: float) -> Wave:
        """Wavetable, shape (rows, period + 1), with no harmonic above half the sample rate."""
        n_allowed = max(1, int(0.46 * SAMPLE_RATE_HZ / pitch_hz))
        # One table for all pitches that keep the same harmonics, to within a third of an octave.
        n_kept = min(len(self.amplitudes), int(2 ** (np.floor(3 * np.log2(n_allowed)) / 3)))
        if n_kept not in self._tables:
            harmonics = np.arange(1, n_kept + 1)
            moments_s = np.arange(_N_ROWS) * _ROW_S
            decay = np.exp(-self.voicing.damping * moments_s[:, None] * (harmonics - 1))
            spectrum = np.zeros((_N_ROWS, _PERIOD // 2 + 1), complex)
            spectrum[:, 1 : n_kept + 1] = (
                self.amplitudes[:n_kept] * decay * np.exp(1j * self.phases[:n_kept])
            )
            rows = np.fft.irfft(spectrum, _PERIOD, axis=1)
            # Equal power at the start, whatever the artist's spectrum.
            rows /= 2.5 * np.sqrt(np.mean(rows[0] ** 2))
            self._tables[n_kept] = np.concatenate([rows, rows[:, :1]], axis=1)
        return self._tables[n_kept]


def _scan(table: Wave, cycles: Wave, time_s: Wave) -> Wave:
    """Reads a wavetable at `cycles` (periods since the start), blending rows as time passes."""
    column = ((cycles % 1.0) * _PERIOD).astype(np.int64)
    row = np.minimum(time_s / _ROW_S, _N_ROWS - 1.001)
    low = row.astype(np.int64)
    weight = row - low
    flat = table.ravel()
    index = low * table.shape[1] + column
    below = flat[index]
    return below + weight * (flat[index + table.shape[1]] - below)


@dataclass(frozen=True)
class KitSound:
    """A drum kit: pitches in Hz, decays in seconds, levels of its three drums."""

    kick_hz: float
    kick_s: float
    snare_hz: float
    snare_s: float
    snare_noise: float
    hat_hz: float
    hat_s: float
    levels: tuple[float, float, float]


KITS: dict[str, KitSound] = {
    "electronic": KitSound(48, 0.22, 190, 0.14, 0.7, 6_500, 0.04, (1.5, 0.7, 0.4)),
    "acoustic": KitSound(62, 0.14, 210, 0.12, 0.6, 5_000, 0.07, (1.1, 0.8, 0.35)),
    "brushes": KitSound(58, 0.12, 260, 0.09, 0.9, 4_200, 0.05, (0.6, 0.4, 0.3)),
    "military": KitSound(66, 0.2, 240, 0.1, 0.75, 4_600, 0.22, (1.0, 0.9, 0.4)),
    "chip": KitSound(80, 0.08, 330, 0.07, 1.0, 3_200, 0.03, (1.0, 0.6, 0.4)),
    "hand": KitSound(95, 0.18, 380, 0.08, 0.2, 3_800, 0.06, (0.8, 0.5, 0.3)),
}


def drum_strokes(kit: str, rng: np.random.Generator, spread: float) -> dict[str, Wave]:
    """Three strokes of an artist's kit: `kick`, `snare`, `hat`, each of shape (n_samples,)."""
    base = KITS[kit]

    def vary(value: float, octaves: float = 0.5) -> float:
        return float(value * 2 ** (spread * rng.uniform(-octaves, octaves)))

    def decaying(length_s: float) -> tuple[Wave, Wave]:
        time_s = np.arange(int(6 * length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        envelope = np.exp(-time_s / length_s)
        envelope[:44] *= np.linspace(0, 1, 44)  # 2 ms: a stroke, not a click
        envelope[-200:] *= np.linspace(1, 0, 200)
        return time_s, envelope

    kick_hz, kick_s = vary(base.kick_hz), vary(base.kick_s)
    time_s, envelope = decaying(kick_s)
    sweep = kick_hz * time_s + 2.2 * kick_hz * 0.03 * (1 - np.exp(-time_s / 0.03))
    kick = np.sin(2 * np.pi * sweep) * envelope

    snare_hz, snare_s, hat_hz = vary(base.snare_hz), vary(base.snare_s, 0.8), vary(base.hat_hz)
    time_s, envelope = decaying(snare_s)
    noise = _band(rng.standard_normal(len(time_s)), 5 * snare_hz, 2.0)
    tone = np.sin(2 * np.pi * snare_hz * time_s)
    snare = (base.snare_noise * noise + (1.2 - base.snare_noise) * tone) * envelope

    time_s, envelope = decaying(vary(base.hat_s, 0.9))
    hat = _band(rng.standard_normal(len(time_s)), hat_hz, 0.6) * envelope
    return {
        name: vary(level, 0.5) * wave
        for name, level, wave in zip(
            ("kick", "snare", "hat"), base.levels, (kick, snare, hat), strict=True
        )
    }


def _band(noise: Wave, centre_hz: float, width_octaves: float) -> Wave:
    """Noise around a frequency, at the power it came with."""
    spectrum = np.fft.rfft(noise)
    frequency_hz = np.fft.rfftfreq(len(noise), 1 / SAMPLE_RATE_HZ)
    distance = np.log2(np.maximum(frequency_hz, 20) / centre_hz) / width_octaves
    shaped = np.fft.irfft(spectrum * np.exp(-0.5 * distance**2), len(noise))
    return shaped / max(1e-9, 2.5 * float(np.sqrt(np.mean(shaped**2))))
