"""Whether a split keeps artists, albums and copies apart: three answers, and when each is given.

| answer | when |
|---|---|
| *crosses* | a validation or test clip shares an artist, an album or a recording with training |
| *cannot be known* | nothing is seen to cross, but clips of the split have no artist |
| *kept apart* | nothing crosses, and every clip of the split names its artist |

A clip without an artist may be by any artist of the other side, whichever part it is in; so a few
such clips suffice. Its album does not help, since an artist makes several; and where the artists of
two clips are known to differ, no album has to be known. Clips in no part of the split do not
matter. What the clips are (audio, images, rows of a table) does not either. A split that was
published with its dataset as one that keeps artists apart is believed: its authors knew them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from genrecore.words import out_of, thousands


class Answer(StrEnum):
    """Whether artists, albums and copies are kept apart."""

    KEPT_APART = "kept apart"
    CROSSES = "crosses"
    CANNOT_BE_KNOWN = "cannot be known"


@dataclass(frozen=True)
class Separation:
    """One of the three answers about a split.

    Attributes:
        answer: Which.
        sentence: Why, for people.
        n_clips: Clips that take part in the split; 0 where nobody counted them.
        n_unknown: Those of them without an artist.
        n_shared: Test clips that share something with training, or validation clips where no test
            clip does.
    """

    answer: Answer
    sentence: str
    n_clips: int = 0
    n_unknown: int = 0
    n_shared: int = 0

    @property
    def unknown(self) -> str:
        """In a few words, that it cannot be known; empty where it can."""
        if self.answer != Answer.CANNOT_BE_KNOWN:
            return ""
        number = f"{out_of(self.n_unknown, self.n_clips)} clips" if self.n_clips else "no audit"
        return f"Artists unknown: {number}"

    def as_dict(self) -> dict[str, Any]:
        """The answer as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Separation:
        """The answer that `as_dict` stored."""
        known = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        return cls(**{**known, "answer": Answer(data["answer"])})


def judge(
    leak: str,
    n_clips: int,
    n_unknown: int,
    n_shared: int = 0,
    published_apart: bool = False,
    with_copies: bool = True,
) -> Separation:
    """The answer about a split.

    Args:
        leak: What crosses it, in a sentence; empty where nothing does.
        n_clips: Clips that take part in it.
        n_unknown: Those of them without an artist.
        n_shared: Clips outside training that share something with it.
        published_apart: Whether it was published as one that keeps artists apart.
        with_copies: Whether copies were searched for as well.
    """
    answer = Answer.KEPT_APART
    nouns = "artist, album or copy" if with_copies else "artist or album"
    apart = f"No {nouns} of a training clip is in validation or test"
    if leak:
        answer, sentence = Answer.CROSSES, leak
    elif not n_unknown:
        sentence = f"{apart}."
    elif published_apart:
        sentence = (
            f"{apart}, as far as they are known ({out_of(n_unknown, n_clips)} clips have no "
            "artist); the split was published as one that keeps artists apart."
        )
    else:
        answer = Answer.CANNOT_BE_KNOWN
        if n_unknown == n_clips:
            without = f"None of the {thousands(n_clips)} clips has an artist"
        else:
            verb = "has" if n_unknown == 1 else "have"
            without = f"{out_of(n_unknown, n_clips)} clips {verb} no artist"
        sentence = f"{without}: nobody can tell whether an artist is on both sides of the split."
    return Separation(answer, sentence, n_clips, n_unknown, n_shared)


NOT_AUDITED = Separation(
    Answer.CANNOT_BE_KNOWN,
    "Its folder holds no audit: nobody can tell whether an artist is on both sides of the split.",
)


def read_separation(
    audit: Mapping[str, Any], published_apart: bool = False, n_unknown: int | None = None
) -> Separation:
    """The answer in a stored audit of a split, also in one of an earlier version, which has counts
    only.

    Args:
        audit: What `audit.json` holds.
        published_apart: As for `judge`, for an audit that does not say.
        n_unknown: Clips of the split without an artist, where the caller counted them.
    """
    if audit.get("separation"):
        return Separation.from_dict(audit["separation"])
    if n_unknown is None:
        unknown = (row for row in audit.get("findings", []) if row["kind"] == "artist_unknown")
        n_unknown = int(next(unknown, {"value": 0})["value"] or 0)
    return judge(
        str(audit.get("reason") or "The split leaks.") if audit.get("refused") else "",
        int(audit.get("n_clips") or 0),
        n_unknown,
        int(audit.get("n_crossing_test_clips") or audit.get("n_crossing_clips") or 0),
        published_apart,
    )
