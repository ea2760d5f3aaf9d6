"""Which genres swallow strangers: a run classifies sound that is none of its genres.

The strangers are made here: noise, something like speech, near silence, random notes, and the demo
music of genres that the run does not know. The run folder's `strangers.parquet` holds the
probabilities, `kind, p_<genre>…`, a row a stranger; what is answered is computed when it is read.
Importing this imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.fft
import soxr

from genrecore.data.datasets import synthesis
from genrecore.data.datasets.demo_genres import GENRES
from genrecore.data.datasets.instruments import SAMPLE_RATE_HZ, VOICINGS, Instrument
from genrecore.errors import GenrecoreError
from genrecore.evaluation.calibration import calibrate
from genrecore.evaluation.thresholds import check_precision, select
from genrecore.store.files import Unreadable, write_bytes
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.run import Run
from genrecore.store.tables import read_parquet
from genrecore.words import DASH, listed, percent, plural

FILE = "strangers.parquet"
N_EACH = 25
"""Strangers of each kind."""

_LONGEST_S = 10.0
_SEED = 9

Maker = Callable[[np.random.Generator, int], np.ndarray]


def _noise(rng: np.random.Generator, n: int) -> np.ndarray:
    """Noise whose level falls or rises by up to 9 dB an octave."""
    spectrum = scipy.fft.rfft(rng.standard_normal(n))
    octaves = np.log2(np.maximum(1, np.arange(len(spectrum))) / len(spectrum))
    return scipy.fft.irfft(spectrum * 10 ** (rng.uniform(-9, 3) * octaves / 20), n)


def _near_silence(rng: np.random.Generator, n: int) -> np.ndarray:
    return 10 ** (rng.uniform(-90, -60) / 20) * _unit(_noise(rng, n))


def _speech(rng: np.random.Generator, n: int) -> np.ndarray:
    """Phrases of syllables, about four a second: a hiss, then a voice that glides through three
    formants (source and filter: Fant 1960, Acoustic theory of speech production)."""
    out, at = np.zeros(n), 0
    usual_hz = rng.uniform(90, 230)
    while at < n:
        for _ in range(rng.integers(4, 11)):
            hiss = np.diff(rng.standard_normal(round(rng.uniform(0.02, 0.08) * SAMPLE_RATE_HZ) + 1))
            length = round(rng.uniform(0.1, 0.24) * SAMPLE_RATE_HZ)
            start, end = rng.uniform(-0.4, 0.4, 2)
            pitch_hz = usual_hz * 2 ** np.linspace(start, end, length)
            cycles = np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
            formants_hz = rng.uniform((280, 850, 2300), (800, 2200, 3100))[:, None]
            voice = np.zeros(length)
            for harmonic in range(1, int(4_000 / pitch_hz.max())):
                distance = np.log2(harmonic * pitch_hz / formants_hz) / 0.15
                voice += np.exp(-0.5 * distance**2).sum(axis=0) * np.sin(
                    2 * np.pi * harmonic * cycles
                )
            for part in (0.03 * hiss, _unit(voice * np.hanning(length))):
                room = out[at : at + len(part)]
                room += part[: len(room)]
                at += len(part)
        at += round(rng.uniform(0.2, 0.6) * SAMPLE_RATE_HZ)
    return out


def _random_notes(rng: np.random.Generator, n: int) -> np.ndarray:
    """Notes of three instruments at any pitch and any time."""
    names = list(VOICINGS)
    players = [Instrument.draw(names[rng.integers(len(names))], rng, 1.0) for _ in range(3)]
    out = np.zeros(n)
    for _ in range(round(rng.uniform(2, 6) * n / SAMPLE_RATE_HZ)):
        note = players[rng.integers(3)].note(
            60 * 2 ** rng.uniform(0, 4.5), rng.uniform(0.1, 1.5), rng
        )
        at = int(rng.integers(n))
        out[at : at + len(note)] += note[: n - at]
    return out


KINDS: dict[str, tuple[str, Maker]] = {
    "noise": ("Noise", _noise),
    "speech": ("Like speech", _speech),
    "silence": ("Near silence", _near_silence),
    "notes": ("Random notes", _random_notes),
}
"""Title and maker `f(rng, n_samples) -> (n_samples,)` at `SAMPLE_RATE_HZ` of each kind of stranger
to every run."""

MUSIC = "music"
_TITLES = {kind: title for kind, (title, _) in KINDS.items()} | {MUSIC: "Other music"}


def _unit(wave: np.ndarray) -> np.ndarray:
    return wave / max(1e-9, float(np.abs(wave).max()))


def make(kind: str, k: int, seconds: float, genres: list[str]) -> np.ndarray:
    """The k-th stranger of a kind at `SAMPLE_RATE_HZ`, (n_samples,) in [-1, 1].

    Args:
        kind: A key of `KINDS`, or `MUSIC`.
        k: From 0; the same number is the same sound.
        seconds: Its length.
        genres: Of the run, which other music has none of.
    """
    rng = np.random.default_rng([_SEED, *kind.encode(), k])
    if kind == MUSIC:
        others = _other_genres(genres)
        genre = others[k % len(others)]
        artist = synthesis.make_artist(genre, k, _SEED)
        return synthesis.make_clip(artist, genre, k, _SEED, seconds) / 32_768
    wave = KINDS[kind][1](rng, round(seconds * SAMPLE_RATE_HZ))
    return wave if kind == "silence" else rng.uniform(0.1, 0.9) * _unit(wave)


def _other_genres(genres: list[str]) -> list[int]:
    """The numbers of the demo music's genres that are none of these."""
    return [k for k, rule in enumerate(GENRES) if rule.name not in genres]


def why_not(run: Run) -> str:
    """Why a run cannot classify strangers, as a sentence; empty where it can."""
    clips = run.clips
    if run.predictions is None or not run.weights.exists():
        return f"The run {run.run_id} is {run.state}; only a tested run can be asked."
    if clips is not None and "medium" in clips and set(clips["medium"]) - {"audio"}:
        return f"The run {run.run_id} was not trained on audio: no sound is a stranger to it."
    return ""


def classify(run: Run, report: Report = silent) -> None:
    """Classifies `N_EACH` strangers of each kind and stores the probabilities in the run's folder.

    Raises:
        GenrecoreError: The run cannot do that.
    """
    if reason := why_not(run):
        raise GenrecoreError(reason)
    from genrecore.data.corpus import quantise
    from genrecore.inference.loaded import Excerpt, load

    loaded = load(run)
    rate_hz, seconds = loaded.config.audio.sample_rate_hz, loaded.config.audio.clip_s
    kinds = [*KINDS, *([MUSIC] if _other_genres(loaded.genres) else [])]
    strangers = [(kind, k) for kind in kinds for k in range(N_EACH)]
    rows = []
    for done, (kind, k) in enumerate(strangers):
        report(Phase.CLASSIFYING, done, len(strangers))
        wave = make(kind, k, min(seconds, _LONGEST_S), loaded.genres)
        if rate_hz != SAMPLE_RATE_HZ:
            wave = soxr.resample(wave, SAMPLE_RATE_HZ, rate_hz, "HQ")
        excerpt = Excerpt(kind, quantise(wave.astype(np.float32)), 0.0, seconds)
        rows.append(loaded.predict([excerpt])[0].uncalibrated)
    table = pd.DataFrame(np.stack(rows), columns=[f"p_{genre}" for genre in loaded.genres])
    table.insert(0, "kind", [kind for kind, _ in strangers])
    write_bytes(run.folder / FILE, table.to_parquet(index=False))
    report(Phase.CLASSIFYING, len(strangers), len(strangers))


@dataclass(frozen=True)
class Strangers:
    """What a run takes strangers for.

    Attributes:
        precision: The wanted precision, a share.
        table: `kind, title, n, genre`, the share `predicted` of the kind whose likeliest genre is
            that, and the share `answered` so with the thresholds for the precision.
    """

    precision: float
    table: pd.DataFrame

    @property
    def sentence(self) -> str:
        """How many strangers get an answer, and which genres swallow most of them."""
        kinds = self.table.drop_duplicates("kind").set_index("kind")["n"]
        weights = self.table["kind"].map(kinds) / kinds.sum()
        shares = self.table[["predicted", "answered"]].mul(weights, axis=0)
        by_genre = shares.groupby(self.table["genre"]).sum()
        most = by_genre["predicted"].nlargest(2)
        total = by_genre["answered"].sum()
        text = (
            f"Of {plural(int(kinds.sum()), 'stranger')} most are called "
            f"{listed([f'{genre} ({percent(share)})' for genre, share in most.items()])}."
        )
        if total == 0:
            return f"{text} With a wanted precision of {percent(self.precision)} none is answered."
        worst = by_genre["answered"].idxmax()
        return (
            f"{text} With a wanted precision of {percent(self.precision)} {percent(total)} are "
            f"still answered, most often as {worst}: thresholds are fitted on music of these "
            "genres and promise nothing about other sound."
        )


def read(run: Run, precision: float) -> Strangers | None:
    """What a run's stored strangers are taken for, or None where it has classified none.

    Raises:
        UsageError: The precision cannot be promised.
        GenrecoreError: The run has no predictions.
    """
    thresholds = select([run], check_precision(precision)).thresholds
    genres = list(thresholds.of_genre)
    columns = [f"p_{genre}" for genre in genres]
    try:
        table = read_parquet(run.folder / FILE)
        if table is None or list(table.columns) != ["kind", *columns]:
            return None
        proba = calibrate(run).apply(table[columns].to_numpy(dtype=float))
    except (Unreadable, ValueError):  # a cache: damaged, it is made again
        return None
    if not len(table) or not np.isfinite(proba).all() or not set(table["kind"]) <= set(_TITLES):
        return None
    best = [genres[k] for k in proba.argmax(axis=1)]
    answers = [thresholds.answer(*each) or "" for each in zip(best, proba.max(axis=1), strict=True)]
    table = table[["kind"]].assign(best=best, answer=answers)
    rows = [
        {"kind": kind, "title": _TITLES[str(kind)], "n": len(part), "genre": genre}
        | {"predicted": float((part["best"] == genre).mean())}
        | {"answered": float((part["answer"] == genre).mean())}
        for kind, part in table.groupby("kind", sort=False)
        for genre in genres
    ]
    return Strangers(precision, pd.DataFrame(rows))


def as_rows(result: Strangers) -> list[dict[str, str]]:
    """A row a genre, a column a kind: the share of its strangers predicted as the genre, and
    answered so."""
    titles = result.table.drop_duplicates("kind").set_index("title")["n"]
    heads = {title: f"{title} ({n})" for title, n in titles.items()}
    return [
        {"genre": str(genre)}
        | {
            heads[row["title"]]: f"{percent(row['predicted'])} → {percent(row['answered'])}"
            if row["predicted"]
            else DASH
            for row in part.to_dict("records")
        }
        for genre, part in result.table.groupby("genre", sort=False)
    ]
