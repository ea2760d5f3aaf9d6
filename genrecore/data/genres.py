"""Leaving genres out and merging them in a clip table, and sentences about it.

Both are written as in a form: `Rock, Folk` leaves two genres out; `Vocal = Pop, Folk; Beats =
Hip-Hop, Electronic` merges four into two. A name that holds a comma, a semicolon, an equals sign or
a quote, or begins or ends with a space, stands in double quotes, with quotes in it doubled. Names
compare in Unicode's composed form (NFC), whatever the disk's.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from genrecore import words
from genrecore.data.folders import is_of_system
from genrecore.errors import UsageError
from genrecore.words import plural

_SPECIAL = frozenset(',;="')
_UNSAID = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Pd", "Pc"})
_NAME = r'\s*(?:"(?:[^"]|"")*"\s*|[^\s",;=][^",;=]*)'
_NAMES = rf"{_NAME}(?:,{_NAME})*"
_MERGE = rf"({_NAME})=({_NAMES})"
_MERGES = rf"{_NAME}={_NAMES}(?:;{_NAME}={_NAMES})*(?:;\s*)?"


def apply(clips: pd.DataFrame, leave_out: str, merge: str) -> tuple[pd.DataFrame, list[str]]:
    """The clip table with genres left out, then merged, and a sentence about each change.

    The table is a copy, sorted by genre and clip_id; `attrs` stay. With both texts empty it comes
    back as it was, without notes.

    Args:
        clips: A clip table (`genrecore.data.clips`).
        leave_out: Genres whose clips go, with commas between; folders of systems (`@eaDir`), which
            no dataset takes for genres, may be among them.
        merge: `New = Old, Other; …`; a new name may be that of a genre it merges.

    Raises:
        UsageError: A text that cannot be read, a genre that does not exist (with those that do),
            one named twice, a new name that another genre bears, or fewer than two genres left.
    """
    gone, merges = parse_leave_out(leave_out), parse_merge(merge)
    if not gone and not merges:
        return clips, []
    names = clips["genre"].map(composed, na_action="ignore")
    genres, numbers = sorted(names.dropna().unique()), names.value_counts()
    gone = [name for name in gone if name in genres or not is_of_system(name)]
    merged = {old: new for new, olds in merges.items() for old in olds}
    _check(genres, gone, merges, merged)

    notes = []
    if gone:
        n_gone = sum(int(numbers[genre]) for genre in gone)
        verb = "is" if len(gone) == 1 else "are"
        notes.append(
            f"{len(gone)} of {len(genres)} genres {verb} left out with {plural(n_gone, 'clip')}: "
            f"{_listed(gone, numbers)}."
        )
    notes += [
        f"{_listed(olds, numbers)} are merged into {new} "
        f"({plural(sum(int(numbers[old]) for old in olds), 'clip')})."
        for new, olds in merges.items()
    ]
    table = clips[~names.isin(gone)]
    genre = names[table.index].map(lambda name: merged.get(name, name)).astype("string")
    table = table.assign(genre=genre).sort_values(["genre", "clip_id"], ignore_index=True)
    return table, notes


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): é as one character, as most disks and people write
    it."""
    return unicodedata.normalize("NFC", name)


def with_composed_names(clips: pd.DataFrame) -> pd.DataFrame:
    """The clip table with the genres' names composed; `attrs["notes"]` names those that were there
    in two forms, which look the same and are one genre now."""
    names = clips["genre"].map(composed, na_action="ignore").astype("string")
    if names.equals(clips["genre"]):
        return clips
    before, after = sorted(clips["genre"].dropna().unique()), Counter[str]()
    after.update(map(composed, before))
    double = [name for name, n in after.items() if n > 1]
    table = clips.assign(genre=names).sort_values(["genre", "clip_id"], ignore_index=True)
    if double:
        note = (
            f"{words.listed(double)}: the same name in two forms of Unicode (composed and "
            "decomposed), which count as one genre."
        )
        table.attrs["notes"] = [*clips.attrs.get("notes", []), note]
    return table


def counted(clips: pd.DataFrame) -> dict[str, int]:
    """Numbers of clips by genre."""
    return {str(genre): int(n) for genre, n in clips["genre"].value_counts().items()}


def look_alikes(genres: Mapping[str, int]) -> list[list[str]]:
    """Groups of genres that only case, spaces, hyphens, underscores or forms of Unicode tell apart,
    each with the most frequent spelling first.

    Args:
        genres: Numbers of clips by genre, as `counted` gives them.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(genres, key=lambda name: (-genres[name], name != name.strip(), name)):
        groups.setdefault(_look(name), []).append(name)
    return sorted(group for group in groups.values() if len(group) > 1)


def _look(name: str) -> str:
    """What is alike of names that look alike: letters, digits and signs in small letters."""
    text = unicodedata.normalize("NFKC", name).casefold()
    # Separators, control and invisible characters, dashes and connectors say nothing.
    kept = (c for c in text if unicodedata.category(c) not in _UNSAID)
    return "".join(kept) or text


def look_alike_sentence(group: Sequence[str], counts: Mapping[str, int]) -> str:
    """That a group of `look_alikes` may be one genre."""
    named = [f"{name!r} ({plural(counts[name], 'clip')})" for name in group]
    return (
        f"{words.listed(named)} differ in case, spaces or hyphens only and count as "
        f"{len(group)} genres; merge them if they are one."
    )


def merge_of(groups: Sequence[Sequence[str]], merge: str = "") -> str:
    """The text that also merges each group under its first name, without spaces at its ends.

    Args:
        groups: As `look_alikes` finds them in clips on which `merge` was applied.
        merge: What is merged already.
    """
    merges = parse_merge(merge)
    for group in groups:
        olds = [old for name in group for old in merges.pop(name, [name])]
        merges[group[0].strip() or group[0]] = olds
    return _merge_text(merges)


def fewer(clips: pd.DataFrame, n: int) -> pd.DataFrame:
    """About `n` clips of each genre, by as many artists as possible.

    Each part of the split keeps its share and at least one clip of each genre; clips without a part
    are dropped. Nothing is drawn: the same table gives the same clips.
    """
    clips = clips[clips["split"].notna()]
    artist = clips["artist"].fillna("\0" + clips["clip_id"])
    turn = clips.groupby(["genre", "split", artist]).cumcount()  # an artist's first, second, … clip
    ordered = clips.assign(turn=turn).sort_values(["turn", "clip_id"])
    parts = ordered.groupby(["genre", "split"])
    share = n / clips.groupby("genre")["clip_id"].transform("size")
    quota = (share * parts["clip_id"].transform("size")).round().clip(lower=1)
    return clips[parts.cumcount().reindex(clips.index) < quota].reset_index(drop=True)


def canonical(leave_out: str, merge: str) -> tuple[str, str]:
    """Both texts in one spelling (names sorted, quotes only where needed), so that configurations
    that mean the same have the same signature.

    Raises:
        UsageError: A text that cannot be read, or a genre named twice.
    """
    gone, merges = parse_leave_out(leave_out), parse_merge(merge)
    return written(sorted(gone)), _merge_text(merges)


def _merge_text(merges: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(
        f"{_quoted(new)} = {', '.join(_quoted(old) for old in sorted(olds))}"
        for new, olds in sorted(merges.items())
    )


def written(names: Sequence[str]) -> str:
    """Genres with commas between, as `parse_leave_out` reads them."""
    return ", ".join(map(_quoted, names))


def also_left_out(leave_out: str, genres: Sequence[str]) -> str:
    """The text that leaves these genres out, too."""
    gone = parse_leave_out(leave_out)
    return written(sorted({*gone, *genres}))


def parse_leave_out(text: str) -> list[str]:
    """The genres named in `Rock, Folk`, in that order; none for an empty text.

    Raises:
        UsageError: Something else than names and commas, or a genre named twice.
    """
    if not text.strip():
        return []
    names = _names(text) if re.fullmatch(_NAMES, text) else []
    if not all(names) or not names:
        raise UsageError(
            f"genres.leave_out is {text!r}; it needs genres with commas between, as in Rock, Folk."
        )
    _refuse_twice(names, "left out")
    return names


def parse_merge(text: str) -> dict[str, list[str]]:
    """The genres to merge by new name in `Vocal = Pop, Folk; …`; none for an empty text.

    Raises:
        UsageError: A text of another form, a new name used twice, fewer than two genres under one,
            or a genre merged twice.
    """
    if not text.strip():
        return {}
    pairs = re.findall(_MERGE, text) if re.fullmatch(_MERGES, text) else []
    merges: dict[str, list[str]] = {}
    for new_text, old_texts in pairs:
        (new,), olds = _names(new_text), _names(old_texts)
        if new in merges:
            raise UsageError(f"The merged genre {new!r} is defined twice; list its genres once.")
        merges[new] = olds
    if not pairs or not all(all([new, *olds]) for new, olds in merges.items()):
        raise UsageError(
            f"genres.merge is {text!r}; it needs a new name, an equals sign and genres with commas "
            "between, as in Vocal = Pop, Folk; Beats = Hip-Hop, Electronic."
        )
    for new, olds in merges.items():
        if len(olds) < 2:
            raise UsageError(
                f"The merged genre {new!r} has one genre only ({olds[0]}); merging needs two."
            )
    _refuse_twice([old for olds in merges.values() for old in olds], "merged")
    return merges


def _names(text: str) -> list[str]:
    """The names in a text of names and commas, without their quotes."""
    names = [composed(name.strip()) for name in re.findall(_NAME, text)]
    return [name[1:-1].replace('""', '"') if name.startswith('"') else name for name in names]


def _check(
    genres: list[str], gone: list[str], merges: dict[str, list[str]], merged: dict[str, str]
) -> None:
    for change, names in (("left out", gone), ("merged", list(merged))):
        unknown = [name for name in names if name not in genres]
        if unknown:
            raise UsageError(
                f"The genre {unknown[0]!r}, to be {change}, is not in the dataset; "
                f"there are: {written(genres)}."
            )
    both = [name for name in gone if name in merged]
    if both:
        raise UsageError(f"The genre {both[0]!r} is both left out and merged; choose one.")
    for new, olds in merges.items():
        if new in genres and new not in olds and new not in gone and new not in merged:
            raise UsageError(
                f"The merged genre {new!r} bears the name of a genre that is not among those "
                f"merged ({', '.join(olds)}); add it to them or choose another name."
            )
    remaining = {merged.get(genre, genre) for genre in genres if genre not in gone}
    if len(remaining) < 2:
        left_over = f"only {remaining.pop()}" if remaining else "none"
        raise UsageError(
            f"Of {len(genres)} genres {left_over} would be left; a classifier needs at least two."
        )


def _refuse_twice(names: list[str], change: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"The genre {name!r} is {change} twice; name it once.")


def _quoted(name: str) -> str:
    if _SPECIAL.isdisjoint(name) and name == name.strip():
        return name
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _listed(names: list[str], numbers: pd.Series) -> str:
    return words.listed([f"{name} ({plural(int(numbers[name]), 'clip')})" for name in names])
