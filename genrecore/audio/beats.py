"""Where the beats of a wave lie, and how fast they follow one another."""

from __future__ import annotations

import numpy as np


def beats(wave: np.ndarray, sample_rate_hz: int) -> tuple[float, np.ndarray]:
    """Tempo in beats per minute and the times of the beats (n,) in s, of a wave (n_samples,).

    (0.0, nothing) where no beat is heard. The first call in a new environment compiles for up to a
    minute, because librosa does; it is imported here and not before.

    Source: Ellis (2007), Beat tracking by dynamic programming, as librosa.beat.beat_track.
    """
    import librosa

    tempo, times_s = librosa.beat.beat_track(y=wave, sr=sample_rate_hz, units="time")
    times_s = np.asarray(times_s, dtype=float)
    return (float(np.asarray(tempo).reshape(-1)[0]) if len(times_s) else 0.0), times_s
