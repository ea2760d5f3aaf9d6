"""Leaving genres out and merging them in a clip table, and the sentences that say so.

Both are written as a person would in a form: `Rock, Folk` leaves two genres out;
`Vocal = Pop, Folk; Beats = Hip-Hop, Electronic` merges four into two. A name that holds a comma,
a semicolon, an equals sign or a quote stands in double quotes, quotes in it doubled.
"""

from __future__ import annotations

import re

import pandas as pd

from genrecore.data.clips import genres_of
from genrecore.errors import UsageError

_TOKEN = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([,;=])|([^",;=]+))')
_SPECIAL = frozenset(',;="')


def apply(clips: pd.DataFrame, leave_out: str, merge: str) -> tuple[pd.DataFrame, list[str]]:
    """The clip table with genres left out and merged, and a sentence on each thing done.

    Genres are left out first, then merged. The table is a copy, sorted by genre and clip_id as
    clip tables are; `attrs` stay. With both texts empty it comes back as it was, without notes.

    Args:
        clips: A clip table (`genrecore.data.clips`).
        leave_out: Genres whose clips go, with commas between.
        merge: `New = Old, Other; …`; a new name may be that of a genre it merges.

    Raises:
        UsageError: A text that cannot be read, a genre that is not there (with those that are),
            one named twice, a new name that another genre bears, or fewer than two genres left.
    """
    gone, merges = parse_leave_out(leave_out), parse_merge(merge)
    if not gone and not merges:
        return clips, []
    genres = genres_of(clips)
    merged = {old: new for new, olds in merges.items() for old in olds}
    _check(genres, gone, merges, merged)

    numbers = clips["genre"].value_counts()
    notes = []
    if gone:
        n_gone = sum(int(numbers[genre]) for genre in gone)
        verb = "is" if len(gone) == 1 else "are"
        listed = _listed(gone, numbers)
        notes.append(
            f"{len(gone)} of {len(genres)} genres {verb} left out with {_clips(n_gone)}: {listed}."
        )
    notes += [
        f"{_listed(olds, numbers)} are merged into {new} "
        f"({_clips(sum(int(numbers[old]) for old in olds))})."
        for new, olds in merges.items()
    ]
    table = clips[~clips["genre"].isin(gone)]
    genre = table["genre"].map(lambda name: merged.get(name, name)).astype("string")
    table = table.assign(genre=genre).sort_values(["genre", "clip_id"], ignore_index=True)
    return table, notes


def fewer(clips: pd.DataFrame, n: int) -> pd.DataFrame:
    """About `n` clips of each genre, by as many artists as there are, each part of the split in its
    share and with one clip of each genre at least; clips in no part stay away.

    Nothing is drawn: the same table gives the same clips.

    Args:
        clips: A clip table with its split.
        n: Clips of each genre.
    """
    clips = clips[clips["split"].notna()]
    artist = clips["artist"].fillna("\0" + clips["clip_id"])
    turn = clips.groupby(["genre", "split", artist]).cumcount()  # an artist's first, second, … clip
    ordered = clips.assign(turn=turn).sort_values(["turn", "clip_id"])
    parts = ordered.groupby(["genre", "split"])
    share = n / clips.groupby("genre")["clip_id"].transform("size")
    wanted = (share * parts["clip_id"].transform("size")).round().clip(lower=1)
    return clips[parts.cumcount().reindex(clips.index) < wanted].reset_index(drop=True)


def canonical(leave_out: str, merge: str) -> tuple[str, str]:
    """Both texts as they are written once and for all: names sorted, quotes only where needed.

    Texts that mean the same become equal, so that equal configurations have equal signatures.

    Raises:
        UsageError: A text that cannot be read, or a genre named twice.
    """
    gone, merges = parse_leave_out(leave_out), parse_merge(merge)
    parts = [
        f"{_quoted(new)} = {', '.join(_quoted(old) for old in sorted(olds))}"
        for new, olds in sorted(merges.items())
    ]
    return ", ".join(_quoted(genre) for genre in sorted(gone)), "; ".join(parts)


def parse_leave_out(text: str) -> list[str]:
    """The genres named in `Rock, Folk`, in that order; none for an empty text.

    Raises:
        UsageError: Something else than names and commas, or a genre named twice.
    """
    tokens = _tokens(text, "leave_out")
    names = [] if not tokens else _names(tokens, "leave_out", text)
    _refuse_twice(names, "left out")
    return names


def parse_merge(text: str) -> dict[str, list[str]]:
    """The genres to merge by new name in `Vocal = Pop, Folk; …`; none for an empty text.

    Raises:
        UsageError: A text of another form, a new name used twice, fewer than two genres under one,
            or a genre merged twice.
    """
    merges: dict[str, list[str]] = {}
    tokens = _tokens(text, "merge")
    if len(tokens) > 1 and tokens[-1] == (False, ";"):
        tokens = tokens[:-1]
    for one in _between(tokens, ";") if tokens else []:
        sides = _between(one, "=")
        if len(sides) != 2:
            raise _unreadable("merge", text)
        (new, *more), olds = _names(sides[0], "merge", text), _names(sides[1], "merge", text)
        if more:
            raise _unreadable("merge", text)
        if new in merges:
            raise UsageError(f"The merged genre {new!r} is defined twice; list its genres once.")
        if len(olds) < 2:
            raise UsageError(
                f"The merged genre {new!r} has one genre only ({olds[0]}); merging needs two."
            )
        merges[new] = olds
    _refuse_twice([old for olds in merges.values() for old in olds], "merged")
    return merges


def _check(
    genres: list[str], gone: list[str], merges: dict[str, list[str]], merged: dict[str, str]
) -> None:
    for what, names in (("left out", gone), ("merged", list(merged))):
        unknown = [name for name in names if name not in genres]
        if unknown:
            raise UsageError(
                f"The genre {unknown[0]!r}, to be {what}, is not in the dataset; "
                f"there are: {', '.join(genres)}."
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
    left = {merged.get(genre, genre) for genre in genres if genre not in gone}
    if len(left) < 2:
        raise UsageError(
            f"Of {len(genres)} genres {'only ' + left.pop() if left else 'none'} would be left; "
            "a classifier needs at least two."
        )


Token = tuple[bool, str]  # whether it is a name, and the name or the sign


def _tokens(text: str, field: str) -> list[Token]:
    found: list[Token] = []
    place = 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:  # a quote that is never closed
            raise _unreadable(field, text)
        quoted, sign, plain = match.groups()
        if sign:
            found.append((False, sign))
        else:
            name = plain if quoted is None else quoted.replace('""', '"')
            found.append((True, name.strip()))
        place = match.end()
    return found


def _between(tokens: list[Token], sign: str) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token == (False, sign):
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _names(tokens: list[Token], field: str, text: str) -> list[str]:
    """Names with single commas between them."""
    names = []
    for part in _between(tokens, ","):
        if len(part) != 1 or not part[0][0] or not part[0][1]:
            raise _unreadable(field, text)
        names.append(part[0][1])
    return names


def _unreadable(field: str, text: str) -> UsageError:
    expected = {
        "leave_out": "genres with commas between, as in Rock, Folk",
        "merge": "a new name, an equals sign and genres with commas between, as in "
        "Vocal = Pop, Folk; Beats = Hip-Hop, Electronic",
    }[field]
    return UsageError(f"genres.{field} is {text!r}; it needs {expected}.")


def _refuse_twice(names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"The genre {name!r} is {what} twice; name it once.")


def _quoted(name: str) -> str:
    if _SPECIAL.isdisjoint(name):
        return name
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _listed(names: list[str], numbers: pd.Series) -> str:
    texts = [f"{name} ({_clips(int(numbers[name]))})" for name in names]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _clips(n: int) -> str:
    return f"{n} clip" if n == 1 else f"{n} clips"
