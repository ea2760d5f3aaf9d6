"""Which clips of a corpus hold the same recording: searched once per corpus, and kept."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from genrecore.data.audit import sound
from genrecore.data.audit.copies import same_digests
from genrecore.data.audit.near_copies import COLUMNS, near_copies
from genrecore.data.audit.sound import Measures
from genrecore.data.corpus import Corpus
from genrecore.store.files import read_json, write_json
from genrecore.store.progress import Report, silent

_VERSION = 1  # raised when the search changes


class Copies(NamedTuple):
    """Pairs of clips: `exact` with `clip_a, clip_b`, `near` with the columns of `near_copies`."""

    exact: pd.DataFrame
    near: pd.DataFrame


NO_COPIES = Copies(
    pd.DataFrame({"clip_a": [], "clip_b": []}, dtype="string"), pd.DataFrame(columns=list(COLUMNS))
)


def copies(corpus: Corpus, measures: Measures, report: Report = silent) -> Copies:
    """The copies among the clips measured in a corpus; of identical clips, only the first is
    compared with others."""
    clip_ids = measures.table["clip_id"].tolist()
    whole = len(clip_ids) == len(corpus.index)
    stored = kept_copies(corpus) if whole else None
    if stored is not None:
        return stored
    exact = same_digests(clip_ids, measures.table["digest"].tolist())
    again, prints = set(exact["clip_b"]), measures.fingerprints
    near = near_copies({name: prints[name] for name in prints if name not in again}, report)
    if whole:
        pairs = {"exact": exact.to_dict(orient="split"), "near": near.to_dict(orient="split")}
        write_json(_file(corpus), pairs)
    return Copies(exact, near)


def kept_copies(corpus: Corpus) -> Copies | None:
    """What `copies` found among all clips of a corpus before; None where it was not asked."""
    stored = read_json(_file(corpus))
    if not stored:
        return None
    exact, near = (
        pd.DataFrame(stored[kind]["data"], columns=stored[kind]["columns"])
        for kind in ("exact", "near")
    )
    return Copies(exact, near)


def kept_at(corpus: Corpus) -> int:
    """When the copies of a corpus were kept, in ns since 1970; 0 where they were not."""
    try:
        return _file(corpus).stat().st_mtime_ns
    except OSError:
        return 0


def _file(corpus: Corpus) -> Path:
    return sound.kept_file(corpus.key, f"copies-{_VERSION}")
