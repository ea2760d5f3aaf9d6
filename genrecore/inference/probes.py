"""Is it the music or a trick? A run classifies its test clips again, each changed a little.

No probe makes a clip another genre; each undoes one trick. It takes a wave (n_samples,) float32 in
[-1, 1], its sample rate and a seed. Nothing is trained. The run folder's `probes.parquet` holds the
predictions, `probe, clip_id, genre, p_<genre>…`, one row a clip and probe, with the clips as they
are under the name `unchanged`. Scores are computed when they are read. Importing this imports no
torch.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from genrecore.config.registry import Registry
from genrecore.data.corpus import Corpus
from genrecore.data.parallel import in_order
from genrecore.errors import GenrecoreError
from genrecore.evaluation import clustered, metrics, verdicts
from genrecore.evaluation.pooling import pool_segments
from genrecore.evaluation.scores import with_artists
from genrecore.store.files import Unreadable, write_bytes
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.run import Run
from genrecore.store.tables import check_predictions, read_parquet
from genrecore.words import beside, percent, plural, points, signed_points

if TYPE_CHECKING:
    from genrecore.inference.loaded import LoadedRun

FILE = "probes.parquet"
UNCHANGED = "unchanged"
LOSES, GAINS, HOLDS, OPEN = "loses", "gains", "holds", "open"
_BATCH = 64
_MP3_KBIT = 64

Effect = Callable[[np.ndarray, int, int], np.ndarray]


@dataclass(frozen=True)
class ProbeFacts:
    """`reveals` says what a run that loses by the probe has listened to."""

    reveals: str


PROBES = Registry("probe", ProbeFacts)
"""Probes by name: `f(wave, sample_rate_hz, seed) -> wave`."""


def change(name: str, wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    """A wave as a probe changes it, float32 and as long as before; where it became shorter it
    begins again, because silence at the end would be a trick of its own.

    Raises:
        UsageError: There is no such probe.
    """
    changed = PROBES[name].thing(wave, sample_rate_hz, seed)
    return np.resize(changed, len(wave)).astype(np.float32, copy=False)


def _gain(gain_db: float) -> Effect:
    return lambda wave, sample_rate_hz, seed: wave * np.float32(10 ** (gain_db / 20))


def _with_torch(effect: Callable[[Any, Any, int], Any]) -> Effect:
    """`effect(audio.effects, waves (1, n_samples), sample_rate_hz)`, which import torch."""

    def changed(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
        import torch

        from genrecore.audio import effects

        waves = torch.from_numpy(np.ascontiguousarray(wave))[None]
        return effect(effects, waves, sample_rate_hz)[0].numpy()

    return changed


def _equaliser(middle_hz: float, gain_db: float) -> Effect:
    def peaking(effects: Any, waves: Any, sample_rate_hz: int) -> Any:
        middle, gain = waves.new_tensor([middle_hz]), waves.new_tensor([gain_db])
        return effects.peaking(waves, sample_rate_hz, middle, gain, quality=0.7)

    return _with_torch(peaking)


def _filter(cutoff_hz: float, kind: str) -> Effect:
    def filtered(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
        from scipy import signal  # half a second that reading results does without

        sections = signal.butter(8, cutoff_hz, kind, fs=sample_rate_hz, output="sos")
        return signal.sosfilt(sections, wave)

    return filtered


def _tempo(factor: float) -> Effect:
    return _with_torch(lambda effects, waves, rate: effects.time_stretch(waves, [factor]))


def _pitch(semitones: float) -> Effect:
    return _with_torch(lambda effects, waves, rate: effects.pitch_shift(waves, [semitones]))


def mp3(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    """The wave written as MP3 at 64 kbit/s and read again."""
    import soundfile

    # libsndfile takes a position between the lowest and the highest rate that its MP3 can have.
    low, high = (32, 320) if sample_rate_hz >= 32_000 else (0, 160)
    peak = max(1.0, float(np.abs(wave).max(initial=0.0)))  # an encoder cuts off at full scale
    file = io.BytesIO()
    soundfile.write(
        file,
        wave / peak,
        sample_rate_hz,
        "MPEG_LAYER_III",
        format="MP3",
        bitrate_mode="CONSTANT",
        compression_level=(high - _MP3_KBIT) / (high - low),
    )
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return decoded * np.float32(peak)


def _noise(wave: np.ndarray, sample_rate_hz: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed).standard_normal(len(wave), dtype=np.float32)
    level = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0
    return wave + np.float32(level * 10 ** (-20 / 20)) * random


_LEVEL, _TEMPO, _PITCH = "the level of the recording", "the exact tempo", "exact pitches"
_PEAKING = "Bristow-Johnson's peaking filter at {}"
_BUTTERWORTH = "Butterworth's filter, scipy.signal.butter"
_LAME = "LAME, by way of libsndfile; mono, at the run's sample rate"
_ABOVE = "what lies above 4 kHz, where encoders and old recordings leave their mark"
_BELOW = "what lies below 200 Hz: bass, but hum and rumble too"

for _name, _title, _effect, _reveals, _source in (
    ("quieter", "10 dB quieter", _gain(-10), _LEVEL, ""),
    ("louder", "6 dB louder", _gain(6), _LEVEL, ""),
    ("bass", "Bass raised by 9 dB", _equaliser(100.0, 9.0), "how much bass a recording was given",
     _PEAKING.format("100 Hz")),
    ("treble", "Treble lowered by 9 dB", _equaliser(5000.0, -9.0), "how bright a recording is",
     _PEAKING.format("5 kHz")),
    ("low_pass", "Nothing above 4 kHz", _filter(4000.0, "lowpass"), _ABOVE, _BUTTERWORTH),
    ("high_pass", "Nothing below 200 Hz", _filter(200.0, "highpass"), _BELOW, _BUTTERWORTH),
    ("mp3", "MP3 at 64 kbit/s", mp3, "traces of how a file was encoded", _LAME),
    ("slower", "Tempo 6 % slower", _tempo(0.94), _TEMPO, ""),
    ("faster", "Tempo 6 % faster", _tempo(1.06), _TEMPO, ""),
    ("lower", "1 semitone lower", _pitch(-1.0), _PITCH, ""),
    ("higher", "1 semitone higher", _pitch(1.0), _PITCH, ""),
    ("noise", "White noise 20 dB below", _noise, "silence: how quiet the quietest sounds are", ""),
):  # fmt: skip
    PROBES.register(_name, title=_title, source=_source, reveals=_reveals)(_effect)


@dataclass(frozen=True)
class ProbeResults:
    """The effect of probes on a run's accuracy.

    Attributes:
        table: One row a probe: `probe, title, reveals, n_clips, accuracy, difference, low, high`
            (its 95 % interval), `p` (adjusted for the number of probes), `n_broken` and `n_mended`
            (clips right before and wrong now, and the other way round), `word` (`LOSES`, `GAINS`,
            `HOLDS` or `OPEN`) and `sentence`.
        accuracy: On the unchanged clips.
        n_clips: How many clips.
        summary: All of it in plain words.
        note: What makes the comparison doubtful, in a sentence; empty where nothing does.
    """

    table: pd.DataFrame
    accuracy: float
    n_clips: int
    summary: str
    note: str


def why_not(run: Run) -> str:
    """Why a run cannot be probed, as a sentence; empty where it can."""
    if run.predictions is None or not run.weights.exists():
        return (
            f"The run {run.run_id} is {run.state}; only a run that has been tested can be probed."
        )
    clips = run.clips
    media = set() if clips is None else set(clips["medium"]) if "medium" in clips else {"audio"}
    if media - {"audio"}:
        names = {"image": "images", "table": "tables"}
        medium = names.get(min(media - {"audio"}), "arrays")
        return (
            f"The run {run.run_id} was trained on a dataset's own {medium}: there is no sound to "
            "change, so it cannot be probed."
        )
    return ""


def probe(run: Run, only: Sequence[str] = (), report: Report = silent) -> ProbeResults:
    """Classifies a run's test clips under every probe, or under those named, and stores the
    predictions of each probe as soon as it is done. Those of other probes stay.

    Args:
        run: A tested run on audio.
        only: Names in `PROBES`; all without any.
        report: Called as `report(phase, done, total)`; it may raise `Stopped`.

    Raises:
        UsageError: There is no such probe.
        GenrecoreError: The run cannot be probed, or its dataset is gone.
    """
    names = [PROBES[name].name for name in only] or list(PROBES)
    reason = why_not(run)
    if run.predictions is None or reason:
        raise GenrecoreError(reason)
    from genrecore.data import prepare
    from genrecore.inference.loaded import load

    loaded = load(run)
    prepared = prepare.decode(run.config, report)
    if run.clips is not None:
        prepare.refuse_other_content(run.clips, prepared, run.config.audio.clip_s, report)
    corpus = prepared.corpus
    tested = run.predictions[run.predictions["split"] == "test"]
    tested = tested[tested["clip_id"].isin(corpus.index["clip_id"])]
    if tested.empty:
        raise GenrecoreError(f"None of the test clips of the run {run.run_id} are there any more.")
    stored = _stored(run)
    if stored is None or set(stored["clip_id"]) != set(tested["clip_id"]):
        stored = None  # predictions for other clips do not compare
        names = [UNCHANGED, *names]
    clip_ids, columns = tested["clip_id"].tolist(), [f"p_{genre}" for genre in loaded.genres]
    n_done, n_all = 0, len(names) * len(clip_ids)
    for name in names:
        title = "As they are" if name == UNCHANGED else PROBES[name].title
        rows = []
        for proba in _predictions(loaded, corpus, clip_ids, name):
            report(Phase.PROBING.on(title), n_done, n_all)
            rows.append(proba)
            n_done += 1
        table = tested[["clip_id", "genre"]].reset_index(drop=True)
        table = pd.concat([table, pd.DataFrame(np.stack(rows), columns=columns)], axis=1)
        table.insert(0, "probe", name)
        if stored is not None:
            table = pd.concat([stored[stored["probe"] != name], table], ignore_index=True)
        stored = table
        write_bytes(run.folder / FILE, stored.to_parquet(index=False))
    report(Phase.PROBING, n_all, n_all)
    results = read(run)
    if results is None:
        raise GenrecoreError(f"The probes of the run {run.run_id} cannot be read.")
    return results


def _predictions(
    loaded: LoadedRun, corpus: Corpus, clip_ids: list[str], name: str
) -> Iterator[np.ndarray]:
    """Probabilities (genres,) float32 of each clip as a probe changes it."""
    import torch

    def changed(clip_id: str) -> np.ndarray:
        wave = corpus.wave(clip_id)
        if name == UNCHANGED:
            return wave
        rate = loaded.config.audio.sample_rate_hz
        return change(name, wave, rate, zlib.crc32(clip_id.encode()))  # its own noise, always

    for wave in in_order(changed, clip_ids):
        batches = loaded.segmenter.batches(torch.from_numpy(wave), _BATCH)
        with torch.inference_mode():
            proba = torch.cat([loaded.classifier(batch).softmax(1) for batch in batches]).numpy()
        of_clip = np.zeros(len(proba), np.int64)
        yield pool_segments(proba, of_clip, 1, loaded.config.segments.pooling)[0]


def read(run: Run, band: float = verdicts.BAND) -> ProbeResults | None:
    """A run's stored probes with their scores, or None where it was not probed.

    Intervals and p-values take clips of one artist for alike (`clustered`); p is adjusted by Holm.

    Args:
        run: The run.
        band: Differences below this share count as none.
    """
    stored = _stored(run)
    if stored is None or UNCHANGED not in set(stored["probe"]):
        return None
    right = _right(stored)
    before = right[UNCHANGED].to_numpy()
    names = [name for name in PROBES if name in right]
    unchanged = stored[stored["probe"] == UNCHANGED]
    clips = unchanged.set_index("clip_id").loc[right.index].reset_index()
    groups = clustered.artist_groups(with_artists(clips, run))
    rows = []
    for name in names:
        now = right[name].to_numpy()
        gap = clustered.difference(now, before, groups)
        n_broken, n_mended = int((before & ~now).sum()), int((now & ~before).sum())
        rows.append(
            {
                "probe": name,
                "title": PROBES[name].title,
                "reveals": PROBES[name].facts.reveals,
                "n_clips": len(before),
                "accuracy": float(now.mean()),
                "difference": float(now.mean() - before.mean()),
                "low": gap.low,
                "high": gap.high,
                "resolved": verdicts.resolvable(gap),
                "p": gap.p,
                "n_broken": n_broken,
                "n_mended": n_mended,
            }
        )
    table = pd.DataFrame(rows)
    if len(table):
        table["p"] = verdicts.holm(table["p"].tolist())
        table["word"] = [_word(row, band) for _, row in table.iterrows()]
        table["sentence"] = [_sentence(row) for _, row in table.iterrows()]
    accuracy = float(before.mean())
    note = _note(run, right[UNCHANGED])
    return ProbeResults(table, accuracy, len(before), _summary(table, band), note)


def broken(run: Run, name: str) -> list[str]:
    """The clips that a run recognises as they are, and not under a probe."""
    stored = _stored(run)
    right = None if stored is None else _right(stored)
    if right is None or not {name, UNCHANGED} <= set(right):
        return []
    return [str(clip_id) for clip_id in right.index[right[UNCHANGED] & ~right[name]]]


def _stored(run: Run) -> pd.DataFrame | None:
    """The stored predictions under probes, a cache: None where there are none that fit the run."""
    path = run.folder / FILE
    try:
        table = read_parquet(path)
        if table is None or not {"probe", "clip_id"} <= set(table.columns):
            return None
        check_predictions(path, table)
        if table.duplicated(["clip_id", "probe"]).any():
            return None
    except Unreadable:
        return None
    return table


def _right(table: pd.DataFrame) -> pd.DataFrame:
    """Whether each clip is recognised under each probe: a row a clip, a column a probe."""
    genre_index, proba = metrics.as_arrays(table, metrics.genres_in(table))
    table = table.assign(right=metrics.predicted_index(proba) == genre_index)
    return table.pivot(index="clip_id", columns="probe", values="right")


def _word(row: pd.Series, band: float) -> str:
    if -band <= row["low"] and row["high"] <= band:
        return HOLDS
    if row["p"] < 0.05 and row["high"] < 0:
        return LOSES
    return GAINS if row["p"] < 0.05 and row["low"] > 0 else OPEN


def _sentence(row: pd.Series) -> str:
    compared = beside(row["difference"], "the unchanged clips")
    interval = f"95 %: {signed_points(row['low'])} to {signed_points(row['high'])}"
    endings = {
        LOSES: f"it has listened to {row['reveals']}.",
        GAINS: "it does better so.",
        HOLDS: "it makes no difference.",
        OPEN: "whether it makes a difference cannot be told; these clips resolve about "
        f"{points(row['resolved'])}.",
    }
    ending = endings[row["word"]]
    return f"{row['title']}: {percent(row['accuracy'])}, {compared} ({interval}): {ending}"


def _summary(table: pd.DataFrame, band: float) -> str:
    if table.empty:
        return "No probe has been made yet."
    loses = table[table["word"] == LOSES].sort_values("difference")
    if loses.empty:
        n_clips = plural(int(table["n_clips"].iloc[0]), "clip")
        summary = f"No probe lowers the accuracy as far as {n_clips} show."
    else:
        worst = loses.iloc[0]
        summary = (
            f"{len(loses)} of {len(table)} probes lower{'s' if len(loses) == 1 else ''} the "
            f"accuracy, most of all “{worst['title']}” ({signed_points(worst['difference'])} "
            f"points): this run has listened to {'; '.join(loses['reveals'].unique())}."
        )
    n_holds, n_open = ((table["word"] == word).sum() for word in (HOLDS, OPEN))
    if n_holds:
        summary += f" {n_holds} make{'s' if n_holds == 1 else ''} less than {points(band)}."
    if n_open:
        summary += f" {n_open} remain{'s' if n_open == 1 else ''} undecided."
    return summary


def _note(run: Run, before: pd.Series) -> str:
    """What has changed since the test, by the predictions for the unchanged clips."""
    if run.predictions is None:
        return ""
    tested = run.predictions[run.predictions["split"] == "test"]
    then = _right(tested.assign(probe=UNCHANGED))[UNCHANGED]
    shared = before.index.intersection(then.index)
    n_other = int((before[shared] != then[shared]).sum())
    sentences = []
    if len(then) > len(before):
        sentences.append(
            f"{len(then) - len(before)} of its {len(then)} test clips are not there any more."
        )
    if n_other > 0.02 * len(shared):
        sentences.append(
            f"{n_other} clips are classified differently than in the test although nothing was "
            "done to them: the dataset has changed since."
        )
    return " ".join(sentences)
