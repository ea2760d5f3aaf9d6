"""Is it the music or a trick? A finished run judges its test clips again, each changed a little.

Nothing is trained. The run folder's `probes.parquet` holds what it said, `probe, clip_id, genre,
p_<genre>…`, one row a clip and probe, with the clips as they are under the name `unchanged`. Scores
are computed when they are read. Importing this imports no torch.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from genrecore.data import clips as clip_tables
from genrecore.errors import GenrecoreError
from genrecore.evaluation import bootstrap, metrics, significance, verdicts
from genrecore.evaluation.pooling import pool_segments
from genrecore.inference.probe_effects import PROBES, change
from genrecore.store.files import write_bytes
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.run import Run
from genrecore.words import points, signed_points

if TYPE_CHECKING:
    from genrecore.inference.loaded import LoadedRun

FILE = "probes.parquet"
UNCHANGED = "unchanged"
LOSES, GAINS, HOLDS, OPEN = "loses", "gains", "holds", "open"
_BATCH = 64


@dataclass(frozen=True)
class Probed:
    """What became of a run's accuracy.

    Attributes:
        table: One row a probe: `probe, title, reveals, n_clips, accuracy, difference, low, high`
            (its 95 % interval), `p` (adjusted for the number of probes), `n_broken` and `n_mended`
            (clips right before and wrong now, and the other way round), `word` (`LOSES`, `GAINS`,
            `HOLDS` or `OPEN`) and `sentence`.
        accuracy: Of the clips as they are.
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
        given = "pictures" if "image" in media else "tables"
        return (
            f"The run {run.run_id} was trained on a dataset's own {given}: there is no sound to "
            "change, so it cannot be probed."
        )
    return ""


def probe(run: Run, only: Sequence[str] = (), report: Report = silent) -> Probed:
    """Judges a run's test clips under every probe, or under those named, and keeps what it says.

    What is kept of other probes stays; each probe is kept as soon as it is done.

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
    if reason:
        raise GenrecoreError(reason)
    from genrecore.data import prepare as preparation
    from genrecore.inference import loaded as inference

    loaded = inference.load(run)
    corpus = preparation.decode(run.config, report).corpus
    tested = run.predictions
    if tested is None:
        raise GenrecoreError(f"The run {run.run_id} has no test predictions yet.")
    tested = tested[(tested["split"] == "test") & tested["clip_id"].isin(corpus.index["clip_id"])]
    if tested.empty:
        raise GenrecoreError(f"None of the test clips of the run {run.run_id} are there any more.")
    kept = _stored(run)
    if kept is None or set(kept["clip_id"]) != set(tested["clip_id"]):
        kept = None  # of other clips nothing compares
        names = [UNCHANGED, *names]
    n_clips = len(tested)
    for place, name in enumerate(names):
        title = "As they are" if name == UNCHANGED else PROBES[name].title
        rows = []
        for n_done, proba in enumerate(_judged(loaded, corpus, tested["clip_id"].tolist(), name)):
            report(Phase.PROBING.on(title), place * n_clips + n_done, len(names) * n_clips)
            rows.append(proba)
        columns = [f"p_{genre}" for genre in loaded.genres]
        said = pd.DataFrame(np.stack(rows), columns=columns)
        said.insert(0, "genre", tested["genre"].to_numpy())
        said.insert(0, "clip_id", tested["clip_id"].to_numpy())
        said.insert(0, "probe", name)
        others = kept[kept["probe"] != name] if kept is not None else None
        kept = said if others is None else pd.concat([others, said], ignore_index=True)
        write_bytes(run.folder / FILE, kept.to_parquet(index=False))
    report(Phase.PROBING, len(names) * n_clips, len(names) * n_clips)
    found = read(run)
    if found is None:
        raise GenrecoreError(f"The probes of the run {run.run_id} cannot be read.")
    return found


def _judged(loaded: LoadedRun, corpus: Any, clip_ids: list[str], name: str) -> Any:
    """Probabilities (genres,) of each clip as a probe changes it, in order."""
    from genrecore.data.parallel import in_order

    rate = loaded.config.audio.sample_rate_hz

    def changed(clip_id: str) -> np.ndarray:
        wave = corpus.wave(clip_id)
        if name == UNCHANGED:
            return wave
        return change(name, wave, rate, zlib.crc32(clip_id.encode()))  # its own noise, always

    for wave in in_order(changed, clip_ids):
        yield _proba(loaded, wave)


def _proba(loaded: LoadedRun, wave: np.ndarray) -> np.ndarray:
    """(genres,) float32 of a wave (samples,), in the segments that the corpus' clips have."""
    import torch

    waves = loaded.segmenter.batches(torch.from_numpy(wave), _BATCH)
    with torch.inference_mode():
        parts = [loaded.classifier(some).softmax(1) for some in waves]
    proba = torch.cat(parts).numpy()
    one = np.zeros(len(proba), np.int64)
    return pool_segments(proba, one, 1, loaded.config.segments.pooling)[0]


def read(run: Run, band: float = verdicts.BAND) -> Probed | None:
    """What is kept of a run's probes with its scores, or None where it was not probed.

    The interval of each difference draws whole artists, where they are known, and is at least as
    wide as Newcombe's for pairs; p is McNemar's, adjusted by Holm.

    Args:
        run: The run.
        band: Differences below this share count as none.
    """
    kept = _stored(run)
    if kept is None or UNCHANGED not in set(kept["probe"]):
        return None
    right = _right(kept)
    before = right.pop(UNCHANGED)
    groups = _groups(run, before.index)
    names = [name for name in PROBES if name in right]
    drawn = (
        bootstrap.Resamples(
            [rows[before.index].to_numpy()[None] for rows in (before, *(right[n] for n in names))],
            groups,
        )
        if len(before)
        else None
    )
    rows = []
    for place, name in enumerate(names):
        now, then = right[name][before.index].to_numpy(), before.to_numpy()
        low = high = error = p = nan
        if drawn is not None:
            gap = drawn.difference(place + 1, 0)
            _, least, most = significance.paired_difference(now, then)
            low, high = min(gap.low, least), max(gap.high, most)
            error = max(gap.error, (high - low) / (2 * 1.96))
        broken, mended = int((then & ~now).sum()), int((now & ~then).sum())
        p = significance.mcnemar_mid_p(mended, broken)
        rows.append(
            {
                "probe": name,
                "title": PROBES[name].title,
                "reveals": PROBES[name].facts.reveals,
                "n_clips": len(before),
                "accuracy": float(now.mean()),
                "difference": float(now.mean() - then.mean()),
                "low": low,
                "high": high,
                "error": error,
                "p": p,
                "n_broken": broken,
                "n_mended": mended,
            }
        )
    table = pd.DataFrame(rows)
    if len(table):
        table["p"] = verdicts.holm(table["p"].tolist())
        table["word"] = [_word(row, band) for _, row in table.iterrows()]
        table["sentence"] = [_sentence(row, float(before.mean())) for _, row in table.iterrows()]
    accuracy = float(before.mean())
    return Probed(table, accuracy, len(before), _summary(table, band), _note(run, before))


def broken(run: Run, name: str) -> list[str]:
    """The clips that a run recognises as they are, and not under a probe."""
    kept = _stored(run)
    if kept is None:
        return []
    right = _right(kept)
    if name not in right or UNCHANGED not in right:
        return []
    before, now = right[UNCHANGED], right[name]
    return [str(clip_id) for clip_id in before.index if before[clip_id] and not now[clip_id]]


def _stored(run: Run) -> pd.DataFrame | None:
    try:
        return pd.read_parquet(run.folder / FILE)
    except (OSError, ValueError):
        return None


def _right(kept: pd.DataFrame) -> dict[str, pd.Series]:
    """For each probe whether each clip is recognised, by clip_id."""
    genres = metrics.genres_in(kept)
    labelled, proba = metrics.as_arrays(kept, genres)
    right = pd.Series(metrics.predicted_index(proba) == labelled, index=kept["clip_id"])
    return {str(name): right[(kept["probe"] == name).to_numpy()] for name in kept["probe"].unique()}


def _groups(run: Run, clip_ids: pd.Index) -> np.ndarray:
    """Each clip's artist, or the clip itself."""
    alone = pd.Series("\0" + clip_ids.astype(str), index=clip_ids)
    clips = run.clips
    if clips is None or "artist" not in clips:
        return alone.to_numpy(dtype=str)
    known = clips.dropna(subset=["artist"]).drop_duplicates("clip_id").set_index("clip_id")
    artists = clip_tables.same_names(known["artist"]).reindex(clip_ids)
    return artists.astype(object).fillna(alone).to_numpy(dtype=str)


def _word(row: pd.Series, band: float) -> str:
    low, high = row["low"], row["high"]
    if -band <= low and high <= band:
        return HOLDS
    if row["p"] < 0.05 and high < 0:
        return LOSES
    return GAINS if row["p"] < 0.05 and low > 0 else OPEN


def _sentence(row: pd.Series, before: float) -> str:
    size = points(abs(row["difference"]))
    side = "below" if row["difference"] < 0 else "above"
    between = f"95 %: {signed_points(row['low'])} to {signed_points(row['high'])}"
    start = f"{row['title']}: {100 * row['accuracy']:.1f} %, {size} {side} the unchanged clips"
    if row["difference"] == 0:
        start = f"{row['title']}: {100 * before:.1f} %, as the unchanged clips"
    endings = {
        LOSES: f"it has listened to {row['reveals']}.",
        GAINS: "it does better so.",
        HOLDS: "it makes no difference.",
        OPEN: "whether it makes a difference cannot be told; these clips resolve about "
        f"{points(verdicts.resolvable(row['error']))}.",
    }
    return f"{start} ({between}): {endings[row['word']]}"


def _summary(table: pd.DataFrame, band: float) -> str:
    if table.empty:
        return "No probe has been made yet."
    loses = table[table["word"] == LOSES].sort_values("difference")
    n_open = int((table["word"] == OPEN).sum())
    if loses.empty:
        said = f"No probe lowers the accuracy as far as {int(table['n_clips'].iloc[0])} clips show."
    else:
        worst = loses.iloc[0]
        heard = list(dict.fromkeys(loses["reveals"]))
        said = (
            f"{len(loses)} of {len(table)} probes lower{'s' if len(loses) == 1 else ''} the "
            "accuracy, most of all "
            f"“{worst['title']}” ({signed_points(worst['difference'])} points): "
            f"this run has listened to {_listed(heard)}."
        )
    holds = int((table["word"] == HOLDS).sum())
    if holds:
        said += f" {holds} make{'s' if holds == 1 else ''} less than {points(band)}."
    if n_open:
        said += f" Of {n_open} it cannot be told."
    return said


def _listed(words: list[str]) -> str:
    if len(words) < 3:
        return " and ".join(words)
    return f"{'; '.join(words[:-1])}; and {words[-1]}"


def _note(run: Run, before: pd.Series) -> str:
    """Whether the unchanged clips are still judged as they were in the test."""
    tested = run.predictions
    if tested is None:
        return ""
    tested = tested[tested["split"] == "test"]
    then = _right(tested.assign(probe=UNCHANGED))[UNCHANGED]
    gone = len(then) - len(before)
    shared = before.index.intersection(then.index)
    n_other = int((before[shared] != then[shared]).sum())
    said = []
    if gone > 0:
        said.append(f"{gone} of its {len(then)} test clips are not there any more.")
    if n_other > 0.02 * len(shared):
        said.append(
            f"{n_other} clips are judged otherwise than in the test although nothing was done to "
            "them: the dataset has changed since."
        )
    return " ".join(said)
