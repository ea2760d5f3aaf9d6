"""The audit: every check in turn, and whether the split is refused."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from genrecore.audio import decode, fingerprint
from genrecore.data.audit import copies, crossings, genres, recordings, sound
from genrecore.data.audit.crossings import Crossing
from genrecore.data.audit.findings import CROSSINGS, Audit, Finding, finding_table
from genrecore.data.corpus import Corpus
from genrecore.data.parallel import in_order
from genrecore.errors import AudioError
from genrecore.store.progress import Phase, Report, silent
from genrecore.store.separation import Separation
from genrecore.words import decimals, listed, out_of, plural

LOW_RATE_HZ = 16_000
"""Sample rate below which a file holds less than the features use."""


def audit(
    clips: pd.DataFrame,
    corpus: Corpus | None = None,
    report: Report = silent,
    *,
    headers: bool = False,
) -> Audit:
    """What is wrong with these clips and with their split, where they have one.

    Without a corpus only the clip table is checked; 100,000 rows take seconds. With one, every
    clip is measured once (about 0.05 s for 30 s; kept in the cache folder).

    Args:
        clips: A clip table. An empty column `split` means that no split is checked. Its attribute
            `published_apart`, which `splits.apply` sets, says that the split was published as one
            that keeps artists apart.
        corpus: The decoded audio, images or rows; clips that the table lacks are ignored.
        report: Called as `report(phase, done, total)`.
        headers: Read every file's header for its sample rate as well.

    Raises:
        Stopped: A stop was asked for by way of `report`.
    """
    clips = clips.reset_index(drop=True)
    checked = [f"The clip table: {plural(len(clips), 'clip')}, genres, artists, albums, lengths."]
    findings = genres.findings(clips)
    findings += [
        Finding("left_out", "note", str(item["reason"]), str(item["clip_id"]))
        for item in clips.attrs.get("left_out", [])
    ]
    findings += [Finding("remark", "note", str(note)) for note in clips.attrs.get("notes", [])]
    skipped = {item["clip_id"]: item["reason"] for item in corpus.skipped} if corpus else {}
    findings += [_unusable(clip_id, reason) for clip_id, reason in skipped.items()]
    for item in corpus.warnings if corpus else ():
        findings.append(_unusable(item["clip_id"], item["reason"], otherwise="remark"))
    if headers:
        findings += _headers(clips[~clips["clip_id"].isin(skipped)], report)
        checked.append("Sample rates in the headers of the files.")

    exact, near = recordings.NO_COPIES
    if corpus is None or corpus.medium != "audio":
        if corpus is not None:
            rows = corpus.index[corpus.index["clip_id"].isin(clips["clip_id"])]
            spans = zip(rows["start"], rows["n_samples"], strict=True)
            contents = (corpus.values[start : start + n] for start, n in spans)
            exact = copies.identical(rows["clip_id"].tolist(), contents)
            checked.append("Identical rows or pixels.")
        checked.append("Not checked, without decoded audio: levels, noise and near-duplicates.")
    else:
        measures = _measures(clips, corpus, report)
        findings += sound.findings(measures)
        exact, near = recordings.copies(corpus, measures, report)
        checked.append("The decoded audio: level, clipping, noise, identical samples.")
        sentence = "Near-duplicates, by acoustic fingerprints."
        n_mute = sum(not fingerprint.is_usable(p) for p in measures.fingerprints.values())
        if n_mute:
            verb = "holds" if n_mute == 1 else "hold"
            sentence += f" {plural(n_mute, 'clip')} {verb} too little change to have one."
        checked.append(sentence)
    findings += _copies(clips, exact, near)

    if not clips["split"].notna().any():
        checked.append("No split was given, so nothing crosses one.")
        return _result(clips, findings, [], checked)
    crossing = ["artists", "albums"]
    if corpus is not None:
        crossing += ["exact copies"] + ["near-duplicates"] * (corpus.medium == "audio")
    checked.append(f"What crosses the split: {listed(crossing)}.")
    shared = crossings.all_crossings(clips, exact, near)
    findings += crossings.shared_albums(clips)
    separation = crossings.separation(shared, clips, with_copies=corpus is not None)
    return _result(clips, findings, shared, checked, separation)


def _measures(clips: pd.DataFrame, corpus: Corpus, report: Report) -> sound.Measures:
    """Measures of the clips of the table that the corpus holds."""
    measures = sound.measure(corpus, report)
    table = measures.table[measures.table["clip_id"].isin(clips["clip_id"])]
    prints = {clip_id: measures.fingerprints[clip_id] for clip_id in table["clip_id"]}
    return sound.Measures(table.reset_index(drop=True), prints)


def _result(
    clips: pd.DataFrame,
    findings: list[Finding],
    shared: list[Crossing],
    checked: list[str],
    separation: Separation | None = None,
) -> Audit:
    reason, touched = crossings.reason(shared, clips)
    table = finding_table(findings + [finding for item in shared for finding in item.findings])
    summary = [row for item in shared for row in item.summary]
    return Audit(
        findings=table,
        crossings=pd.DataFrame(summary, columns=list(CROSSINGS)),
        counts=dict(Counter(table["kind"].tolist())),
        n_clips=len(clips),
        n_crossing_clips=int(touched.sum()),
        n_crossing_test_clips=int((clips.loc[touched, "split"] == "test").sum()),
        refused=bool(reason),
        reason=reason,
        checked=checked,
        separation=separation,
    )


def _unusable(clip_id: str, reason: str, otherwise: str = "unreadable") -> Finding:
    """The finding about a clip that cannot be used, or only in part; its kind follows from the
    reason."""
    kinds = {"truncated": "truncated", "is silent": "silent", "s are needed": "too_short"}
    kind = next((kind for phrase, kind in kinds.items() if phrase in reason), otherwise)
    return Finding(kind, "warning", f"{clip_id}: {reason}", clip_id)


def _headers(clips: pd.DataFrame, report: Report) -> list[Finding]:
    """Files whose header cannot be read, and sample rates that are low or unlike most others."""

    def rate_or_reason(path: str) -> int | str:
        try:
            return decode.inspect(path).sample_rate_hz
        except AudioError as error:
            return str(error)

    paths = clips["path"].tolist()
    results = in_order(rate_or_reason, paths, report, Phase.READING_HEADERS)
    findings: list[Finding] = []
    rates = {}
    for clip_id, result in zip(clips["clip_id"], results, strict=True):
        if isinstance(result, str):
            findings.append(_unusable(clip_id, result))
        else:
            rates[clip_id] = result
    if not rates:
        return findings
    usual, n_usual = Counter(rates.values()).most_common(1)[0]
    if usual < LOW_RATE_HZ:
        sentence = f"{out_of(n_usual, len(rates))} files are sampled at {usual} Hz only."
        findings.append(Finding("sample_rate", "warning", sentence, value=float(usual)))
    for clip_id, rate in rates.items():
        if rate != usual:
            severity = "warning" if rate < LOW_RATE_HZ else "note"
            sentence = f"{clip_id} is sampled at {rate} Hz, most others at {usual} Hz."
            findings.append(Finding("sample_rate", severity, sentence, clip_id, "", float(rate)))
    return findings


def _copies(clips: pd.DataFrame, exact: pd.DataFrame, near: pd.DataFrame) -> list[Finding]:
    genre = dict(zip(clips["clip_id"], clips["genre"], strict=True))

    def finding(kind: str, a: str, b: str, value: float, sentence: str) -> Finding:
        if genre[a] == genre[b]:
            return Finding(kind, "warning", f"{sentence}.", a, b, value)
        labels = f", but labelled {genre[a]} and {genre[b]}"
        return Finding(kind, "problem", f"{sentence}{labels}.", a, b, value)

    findings = [
        finding("exact_copy", a, b, 1.0, f"{a} and {b} are identical")
        for a, b in zip(exact["clip_a"], exact["clip_b"], strict=True)
    ]
    for row in near.to_dict(orient="records"):
        a, b, likeness = row["clip_a"], row["clip_b"], float(row["similarity"])
        shift = f", {decimals(abs(row['offset_s']))} s apart" if abs(row["offset_s"]) >= 0.1 else ""
        sentence = (
            f"{a} and {b} share {decimals(row['overlap_s'])} s of the same recording{shift} "
            f"(similarity {decimals(likeness, 2)} of 1)"
        )
        findings.append(finding("near_copy", a, b, likeness, sentence))
    return findings
