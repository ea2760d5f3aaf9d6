"""The audit: every check in turn, and the verdict about the split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from genrecore.audio import decode as audio
from genrecore.audio import fingerprint
from genrecore.data.audit import copies, crossings, genres, sound
from genrecore.data.audit.crossings import Crossing
from genrecore.data.audit.findings import CROSSINGS, Audit, Finding, finding_table
from genrecore.data.audit.near_copies import near_copies
from genrecore.data.clips import SPLITS
from genrecore.data.corpus import Corpus
from genrecore.errors import AudioError
from genrecore.store.progress import Phase, Report, silent
from genrecore.words import plural

TEST = SPLITS.index("test")

LOW_RATE_HZ = 16_000
"""Below this a file holds less than the features look at."""


def audit(
    clips: pd.DataFrame,
    corpus: Corpus | None = None,
    report: Report = silent,
    *,
    skipped: Iterable[Mapping[str, str]] | None = None,
    contents: Mapping[str, np.ndarray] | None = None,
    headers: bool = False,
    near: bool = True,
) -> Audit:
    """What is wrong with these clips and with their split, where they have one.

    Without a corpus only the clip table is looked at; 100 000 rows take seconds. With one, every
    clip is measured once (about 0.05 s for 30 s; kept in the cache folder).

    Args:
        clips: A clip table. Its column `split` may be empty: then nothing is said about a split.
        corpus: The decoded audio, images or rows; only the clips of the table are looked at.
        report: Called as `report(phase, done, total)`.
        skipped: `clip_id, reason` of what could not be used, where the corpus does not know it.
        contents: By clip_id the numbers of a table's rows or the pixels of images: identical ones
            are exact copies.
        headers: Read every file's header for its sample rate as well.
        near: Search near-copies by their acoustic fingerprints.

    Raises:
        Stopped: A stop was asked for by way of `report`.
    """
    clips = clips.reset_index(drop=True)
    checked = [f"The clip table: {plural(len(clips), 'clip')}, genres, artists, albums, lengths."]
    found = genres.findings(clips)

    left_out = clips.attrs.get("left_out", [])
    found += [
        ("left_out", "note", str(item["clip_id"]), "", np.nan, str(item["reason"]))
        for item in left_out
    ]
    unusable = [*(corpus.skipped if corpus else []), *(skipped or [])]
    found += [_unusable(item) for item in {item["clip_id"]: item for item in unusable}.values()]
    if headers:
        known_bad = {item["clip_id"] for item in unusable}
        found += _headers(clips[~clips["clip_id"].isin(known_bad)], report)
        checked.append("Sample rates in the headers of the files.")

    if corpus is not None and corpus.medium != "audio":
        rows = corpus.index[corpus.index["clip_id"].isin(clips["clip_id"])]
        spans = zip(rows["clip_id"], rows["start"], rows["n_samples"], strict=True)
        contents = {name: corpus.values[start : start + n] for name, start, n in spans}
        corpus = None
    exact = _pairs()
    near_pairs = _pairs()
    if corpus is not None:
        measures = sound.measure(corpus, report)
        mine = measures.table["clip_id"].isin(clips["clip_id"]).to_numpy()
        measures = sound.Measures(
            measures.table[mine].reset_index(drop=True),
            {name: measures.fingerprints[name] for name in measures.table["clip_id"][mine]},
        )
        found += sound.findings(measures)
        exact = copies.same_digests(
            measures.table["clip_id"].tolist(), measures.table["digest"].tolist()
        )
        checked.append("The decoded audio: level, clipping, noise, identical samples.")
        if near:
            near_pairs = _near_pairs(measures, exact, report)
            n_mute = sum(not fingerprint.is_usable(p) for p in measures.fingerprints.values())
            sentence = "Near-copies, by acoustic fingerprints."
            if n_mute:
                sentence += (
                    f" {plural(n_mute, 'clip')} {'holds' if n_mute == 1 else 'hold'} too little "
                    "change to have one."
                )
            checked.append(sentence)
    if contents is not None:
        exact = pd.concat([exact, copies.identical(list(contents), contents.values())])
        exact = exact[exact.isin(set(clips["clip_id"])).all(axis=1)]
        exact = exact.drop_duplicates(ignore_index=True)
        checked.append("Identical rows or pixels.")
    if corpus is None:
        checked.append("Not looked at, without decoded audio: levels, noise and near-copies.")
    found += _copies(clips, exact, near_pairs)

    if not clips["split"].notna().any():
        checked.append("No split was given, so nothing crosses one.")
        return _verdict(clips, found, [], checked)
    checked.append("What crosses the split: artists, albums, exact copies and near-copies.")
    crossing = [crossings.artist_crossings(clips), crossings.album_crossings(clips)]
    for kind, pairs in (("copy_crosses", exact), ("near_copy_crosses", near_pairs)):
        if len(pairs):
            family, titles = copies.families(clips["clip_id"], pairs)
            crossing.append(crossings.crossing(kind, clips, pd.Series(family), titles))
    return _verdict(clips, found + crossings.shared_albums(clips), crossing, checked)


def _verdict(
    clips: pd.DataFrame, found: list[Finding], crossing: list[Crossing], checked: list[str]
) -> Audit:
    reason, touched = crossings.reason(crossing, clips)
    table = finding_table(found + [finding for item in crossing for finding in item.findings])
    summary = [row for item in crossing for row in item.summary]
    return Audit(
        findings=table,
        crossings=pd.DataFrame(summary, columns=list(CROSSINGS)),
        counts=dict(Counter(table["kind"].tolist())),
        n_clips=len(clips),
        n_crossing_clips=int(touched.sum()),
        n_crossing_test_clips=int((touched & (crossings.parts(clips) == TEST)).sum()),
        refused=bool(reason),
        reason=reason,
        checked=checked,
    )


def _unusable(item: Mapping[str, str]) -> Finding:
    """A clip that was left out, of the kind its reason tells."""
    reason = item["reason"]
    kind = "unreadable"
    for words, candidate in (
        ("truncated", "truncated"),
        ("is silent", "silent"),
        ("s are needed", "too_short"),
    ):
        if words in reason:
            kind = candidate
            break
    return (kind, "warning", item["clip_id"], "", np.nan, f"{item['clip_id']}: {reason}")


def _headers(clips: pd.DataFrame, report: Report) -> list[Finding]:
    """Files whose header cannot be read, and sample rates that are low or not those of most."""

    def rate_or_reason(path: str) -> int | str:
        try:
            return audio.inspect(path).sample_rate_hz
        except AudioError as error:
            return str(error)

    found: list[Finding] = []
    rates = {}
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="headers")
    try:
        results = pool.map(rate_or_reason, clips["path"])
        for n_done, (clip_id, result) in enumerate(zip(clips["clip_id"], results, strict=True)):
            report(Phase.READING_HEADERS, n_done, len(clips))
            if isinstance(result, str):
                found.append(_unusable({"clip_id": clip_id, "reason": result}))
            else:
                rates[clip_id] = result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if not rates:
        return found
    usual, n_usual = Counter(rates.values()).most_common(1)[0]
    if usual < LOW_RATE_HZ:
        sentence = f"{n_usual} of {len(rates)} files are sampled at {usual} Hz only."
        found.append(("sample_rate", "warning", "", "", float(usual), sentence))
    for clip_id, rate in rates.items():
        if rate != usual:
            severity = "warning" if rate < LOW_RATE_HZ else "note"
            sentence = f"{clip_id} is sampled at {rate} Hz, most others at {usual} Hz."
            found.append(("sample_rate", severity, clip_id, "", float(rate), sentence))
    return found


def _pairs() -> pd.DataFrame:
    return pd.DataFrame({"clip_a": [], "clip_b": []}, dtype="string")


def _near_pairs(measures: sound.Measures, exact: pd.DataFrame, report: Report) -> pd.DataFrame:
    """Near-copies among the clips; of identical ones only the first takes part."""
    again = set(exact["clip_b"])
    prints = {name: p for name, p in measures.fingerprints.items() if name not in again}
    return near_copies(prints, report)


def _copies(clips: pd.DataFrame, exact: pd.DataFrame, near: pd.DataFrame) -> list[Finding]:
    genre = dict(zip(clips["clip_id"], clips["genre"], strict=True))

    def labels(a: str, b: str) -> str:
        return "" if genre[a] == genre[b] else f", but labelled {genre[a]} and {genre[b]}"

    found: list[Finding] = [
        (
            "exact_copy",
            "warning" if genre[a] == genre[b] else "problem",
            a,
            b,
            1.0,
            f"{a} and {b} are identical{labels(a, b)}.",
        )
        for a, b in zip(exact["clip_a"], exact["clip_b"], strict=True)
    ]
    for row in near.to_dict(orient="records"):
        a, b = row["clip_a"], row["clip_b"]
        shift = f", {abs(row['offset_s']):.1f} s apart" if abs(row["offset_s"]) >= 0.1 else ""
        sentence = (
            f"{a} and {b} share {row['overlap_s']:.1f} s of the same recording{shift} (likeness "
            f"{row['similarity']:.2f} of 1){labels(a, b)}."
        )
        severity = "warning" if genre[a] == genre[b] else "problem"
        found.append(("near_copy", severity, a, b, float(row["similarity"]), sentence))
    return found
