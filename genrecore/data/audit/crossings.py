"""Artists, albums and copies on both sides of a split. Arrays only, no loops over rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genrecore.data.audit import copies
from genrecore.data.audit.findings import Finding
from genrecore.data.clips import SPLITS, same_names
from genrecore.store.separation import Separation, judge
from genrecore.words import out_of, plural

PAIRS = (("train", "test", True), ("train", "valid", True), ("valid", "test", False))
"""Parts that may share something, and whether that is a leak. Sharing between validation and test
makes the chosen epoch look better than it is, but the network never learned from it."""

NOUNS = {
    "artist_crosses": ("artist", "artists"),
    "album_crosses": ("album", "albums"),
    "copy_crosses": ("recording with exact copies", "recordings with exact copies"),
    "near_copy_crosses": ("recording with near-duplicates", "recordings with near-duplicates"),
}
_PART = {"train": "training", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class Crossing:
    """Findings and summary of one kind of group, and which clips are concerned."""

    kind: str
    findings: list[Finding]
    summary: list[tuple[str, str, int, int, bool, str]]  # rows with the columns `CROSSINGS`
    touched: np.ndarray  # per clip: in validation or test, with a training clip of the same group


def crossing(kind: str, clips: pd.DataFrame, group: np.ndarray, titles: Sequence[str]) -> Crossing:
    """Groups whose clips lie in more than one part of the split.

    Args:
        kind: A key of `NOUNS`.
        clips: A clip table with its split.
        group: The number of each clip's group, in its order; negative where it is in none.
        titles: What sentences call each group.
    """
    part = parts(clips)
    used = (part >= 0) & (group >= 0)
    n_parts = len(SPLITS)
    flat = group[used].astype(np.int64) * n_parts + part[used]
    counts = np.bincount(flat, minlength=len(titles) * n_parts).reshape(len(titles), n_parts)

    summary = []
    for first, second, leak in PAIRS:
        i, j = SPLITS.index(first), SPLITS.index(second)
        both = (counts[:, i] > 0) & (counts[:, j] > 0)
        if both.any():
            n_groups, n_clips = int(both.sum()), int(counts[both, j].sum())
            sentence = (
                f"{plural(n_groups, *NOUNS[kind])} in {_PART[first]} and {_PART[second]}: "
                f"{out_of(n_clips, (part == j).sum())} {_PART[second]} clips "
                f"{'is' if n_clips == 1 else 'are'} concerned."
            )
            summary.append((kind, f"{first}–{second}", n_groups, n_clips, leak, sentence))

    # An example of each group in each part, for a person to listen to.
    clip_ids = clips["clip_id"].to_numpy()
    examples = np.full((len(titles), n_parts), -1)
    rows = np.flatnonzero(used)[::-1]  # the last one written is the first clip
    examples[group[rows], part[rows]] = rows
    findings: list[Finding] = []
    for k in np.flatnonzero((counts > 0).sum(axis=1) > 1).tolist():
        first_part, *others = np.flatnonzero(counts[k]).tolist()
        listed = plural(int(counts[k, first_part]), "clip") + f" in {_PART[SPLITS[first_part]]}"
        listed += "".join(f", {counts[k, i]} in {_PART[SPLITS[i]]}" for i in others)
        row, other_row = [examples[k, i] for i in (0, 2, 1) if counts[k, i]][:2]
        findings.append(
            Finding(
                kind,
                "problem" if counts[k, 0] else "warning",
                f"{titles[k]} is on both sides: {listed}.",
                str(clip_ids[row]),
                str(clip_ids[other_row]),
                float(counts[k, 1:].sum()),
            )
        )
    touched = np.zeros(len(clips), bool)
    touched[used] = (part[used] > 0) & (counts[group[used], 0] > 0)
    return Crossing(kind, findings, summary, touched)


def all_crossings(clips: pd.DataFrame, exact: pd.DataFrame, near: pd.DataFrame) -> list[Crossing]:
    """What crosses the split of a clip table: artists, albums, and pairs `clip_a, clip_b` of exact
    copies and of near-duplicates."""
    shared = [artist_crossings(clips), album_crossings(clips)]
    for kind, pairs in (("copy_crosses", exact), ("near_copy_crosses", near)):
        if len(pairs):
            family, titles = copies.families(clips["clip_id"], pairs)
            shared.append(crossing(kind, clips, family, titles))
    return shared


def artist_crossings(clips: pd.DataFrame) -> Crossing:
    """Artists on both sides; clips of unknown artists are ignored."""
    names = stripped_names(clips["artist"])
    number, keys = pd.factorize(same_names(names))
    first = names.groupby(number).first()  # of several spellings
    titles = [f"The artist {first[k]}" for k in range(len(keys))]
    return crossing("artist_crosses", clips, number, titles)


def album_crossings(clips: pd.DataFrame) -> Crossing:
    """Albums on both sides: the same title of the same artist, or of unknown artists."""
    album = stripped_names(clips["album"])
    name = stripped_names(clips["artist"]).fillna("") + "\0" + album
    number, keys = pd.factorize(same_names(name))
    first = name.groupby(number).first()
    titles = []
    for k in range(len(keys)):
        artist, _, title = str(first[k]).partition("\0")
        titles.append(f"The album {title}" + (f" of {artist}" if artist else ""))
    return crossing("album_crosses", clips, number, titles)


def shared_albums(clips: pd.DataFrame) -> list[Finding]:
    """Album titles of several artists that lie in training and elsewhere.

    A compilation, or one title ("Greatest Hits") of several records: no reason to refuse a split.
    """
    table = pd.DataFrame(
        {
            "album": stripped_names(clips["album"]),
            "artist": stripped_names(clips["artist"]),
            "split": clips["split"],
        }
    ).dropna()
    if table.empty:
        return []
    by_album = table.groupby("album", sort=False)
    several = by_album["artist"].nunique()
    n_train = (table["split"] == "train").groupby(table["album"], sort=False).sum()
    n_other = by_album.size() - n_train
    crosses = (several > 1) & (n_train > 0) & (n_other > 0)
    return [
        Finding(
            "shared_album",
            "note",
            f"The album title {album} belongs to {several[album]} artists and is in training and "
            "elsewhere: a compilation, or the same title by chance.",
            value=float(n_other[album]),
        )
        for album in several.index[crosses]
    ]


def parts(clips: pd.DataFrame) -> np.ndarray:
    """Each clip's part as an index into `SPLITS`, -1 where it has none."""
    return pd.Categorical(clips["split"], categories=list(SPLITS)).codes


def stripped_names(names: pd.Series) -> pd.Series:
    """Names without surrounding space, missing where there are none."""
    stripped = names.astype("string").str.strip().reset_index(drop=True)
    return stripped.mask(stripped == "")


def reason(crossings: Sequence[Crossing], clips: pd.DataFrame) -> tuple[str, np.ndarray]:
    """Why the split is refused ("" where it is not), and which clips share with training."""
    touched = np.zeros(len(clips), bool)
    nouns = []
    for item in crossings:
        if not item.touched.any():
            continue
        touched |= item.touched
        n_groups = sum(finding.severity == "problem" for finding in item.findings)
        nouns.append(plural(n_groups, *NOUNS[item.kind]))
    if not nouns:
        return "", touched
    part = parts(clips)
    shares = []
    for name in ("test", "valid"):
        inside = part == SPLITS.index(name)
        if (touched & inside).any():
            n_touched, n_all = int((touched & inside).sum()), int(inside.sum())
            shares.append(f"{out_of(n_touched, n_all)} {_PART[name]} clips")
    return (
        f"The split leaks: {' and '.join(shares)} share an artist, an album or a recording with "
        f"training clips ({', '.join(nouns)}).",
        touched,
    )


def separation(
    crossings: Sequence[Crossing], clips: pd.DataFrame, with_copies: bool
) -> Separation | None:
    """Whether the split keeps artists, albums and copies apart; None where there is no split.

    Args:
        crossings: What crosses the split, as `all_crossings` gives it.
        clips: A clip table with its split.
        with_copies: Whether copies were searched for.
    """
    takes_part = clips["split"].notna().to_numpy()
    if not takes_part.any():
        return None
    leak, touched = reason(crossings, clips)
    unknown = stripped_names(clips["artist"]).isna().to_numpy() & takes_part
    n_test = int((clips.loc[touched, "split"] == "test").sum())
    return judge(
        leak,
        int(takes_part.sum()),
        int(unknown.sum()),
        n_test or int(touched.sum()),
        bool(clips.attrs.get("published_apart")),
        with_copies,
    )
