"""The result of an audit, and its form as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from genrecore.store.separation import Separation, read_separation

SEVERITIES = ("problem", "warning", "note")

KINDS = {
    "artist_crosses": "Artists on both sides of the split",
    "album_crosses": "Albums on both sides of the split",
    "copy_crosses": "Exact copies on both sides of the split",
    "near_copy_crosses": "Near-duplicates on both sides of the split",
    "unseen_genre": "Genres tested but not trained",
    "exact_copy": "Exact copies",
    "near_copy": "Near-duplicates",
    "unreadable": "Files that cannot be read",
    "truncated": "Truncated files",
    "silent": "Silent clips",
    "too_short": "Clips that are too short",
    "left_out": "Clips the dataset itself leaves out",
    "near_silent": "Nearly silent clips",
    "clipped": "Clipped clips",
    "constant_noise": "Constant noise",
    "short": "Clips much shorter than the others",
    "sample_rate": "Unusual sample rates",
    "genre_spelling": "Genres written in several ways",
    "single_artist": "Genres with a single artist",
    "few_artists": "Genres with two artists",
    "artist_spelling": "Artists written in several ways",
    "shared_album": "Albums of several artists on both sides of the split",
    "untested_genre": "Genres trained but not tested",
    "imbalance": "Genres of unequal size",
    "artist_unknown": "Clips without an artist",
    "unused": "Clips in no part of the split",
    "remark": "What the dataset's loader says",
}
"""Every kind of finding with its title, the most serious first."""

COLUMNS = ("kind", "severity", "clip_id", "other_clip_id", "value", "sentence")
CROSSINGS = ("kind", "between", "n_groups", "n_clips", "leak", "sentence")


class Finding(NamedTuple):
    """A row of `Audit.findings`, which says what the fields mean."""

    kind: str
    severity: str
    sentence: str
    clip_id: str = ""
    other_clip_id: str = ""
    value: float = math.nan


MOST_STORED = 300
"""Findings of one kind that `as_dict` keeps: an audit is read by people, and polled by pages."""


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Attributes:
        findings: One row a finding, worst first. `kind` (a key of `KINDS`), `severity`, `clip_id`
            and `other_clip_id` (empty where it is about no single clip), `value` (what was
            measured, in the sentence with its unit; may be NaN) and `sentence`.
        crossings: One row a kind and pair of parts that share something. `kind`, `between`
            (`train–test`, `train–valid`, `valid–test`), `n_groups` (artists, albums or recordings
            on both sides), `n_clips` (their clips in the second part), `leak` (whether it touches
            training) and `sentence`.
        counts: Findings by kind, also those that a stored audit no longer lists.
        n_clips: Clips audited.
        n_crossing_clips: Validation and test clips that share an artist, an album or a recording
            with training clips.
        n_crossing_test_clips: Those of them in the test part.
        refused: Whether the split leaks, so that training on it needs to be overridden.
        reason: Why, in one sentence; empty where it is not refused.
        checked: What was checked and what could not be, in sentences.
        separation: Whether the split keeps artists, albums and copies apart; None without a split.
    """

    findings: pd.DataFrame
    crossings: pd.DataFrame
    counts: dict[str, int]
    n_clips: int
    n_crossing_clips: int = 0
    n_crossing_test_clips: int = 0
    refused: bool = False
    reason: str = ""
    checked: list[str] = field(default_factory=list)
    separation: Separation | None = None

    def n_of(self, severity: str) -> int:
        """How many of the listed findings are of this severity."""
        return int((self.findings["severity"] == severity).sum())

    def as_dict(self) -> dict[str, Any]:
        """The audit as JSON holds it; of every kind at most 300 findings, `counts` has all."""
        listed = self.findings[self.findings.groupby("kind").cumcount() < MOST_STORED]
        return {
            "n_clips": self.n_clips,
            "refused": self.refused,
            "reason": self.reason,
            "n_crossing_clips": self.n_crossing_clips,
            "n_crossing_test_clips": self.n_crossing_test_clips,
            "counts": self.counts,
            "crossings": self.crossings.to_dict(orient="records"),
            "findings": [
                row | {"value": None if row["value"] != row["value"] else row["value"]}
                for row in listed.to_dict(orient="records")
            ],
            "checked": self.checked,
            "separation": self.separation.as_dict() if self.separation else None,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Audit:
        """The audit that `as_dict` stored, in this version or an earlier one."""
        has_split = data["separation"] if "separation" in data else data.get("split")
        return cls(
            findings=finding_table(
                Finding(**{column: row[column] for column in COLUMNS}) for row in data["findings"]
            ),
            crossings=pd.DataFrame(data["crossings"], columns=list(CROSSINGS)),
            counts={kind: int(n) for kind, n in data["counts"].items()},
            n_clips=data["n_clips"],
            n_crossing_clips=data["n_crossing_clips"],
            n_crossing_test_clips=data["n_crossing_test_clips"],
            refused=data["refused"],
            reason=data["reason"],
            checked=list(data["checked"]),
            separation=read_separation(data) if has_split else None,
        )


def finding_table(findings: Iterable[Finding]) -> pd.DataFrame:
    """Findings as a table, worst first: by severity, kind, and the larger value."""
    table = pd.DataFrame(list(findings), columns=list(Finding._fields)).astype({"value": "float64"})
    table = table[list(COLUMNS)]
    order = pd.DataFrame(
        {
            "severity": table["severity"].map(SEVERITIES.index),
            "kind": table["kind"].map(list(KINDS).index),
            "value": -table["value"],
        }
    ).sort_values(["severity", "kind", "value"], kind="stable")
    return table.loc[order.index].reset_index(drop=True)
