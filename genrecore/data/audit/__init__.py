"""Audits of a dataset and its split: faults, copies, and what training shares with the test.

`audit(clips, corpus)` returns an `Audit`: findings as a table of sentences, a summary of what
crosses the split, and whether the split is refused. `Audit.separation` is the answer to whether the
split keeps artists, albums and copies apart: kept apart, crosses, or cannot be known.
"""

from genrecore.data.audit.checks import audit
from genrecore.data.audit.copies import identical
from genrecore.data.audit.findings import KINDS, SEVERITIES, Audit
from genrecore.store.separation import Answer, Separation

__all__ = ["KINDS", "SEVERITIES", "Answer", "Audit", "Separation", "audit", "identical"]
