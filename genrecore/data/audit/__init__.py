"""Audits of a dataset and its split: faults, copies, and what training shares with the test.

`audit(clips, corpus)` returns an `Audit`: findings as a table of sentences, a summary of what
crosses the split, and whether the split is refused.
"""

from genrecore.data.audit.checks import audit
from genrecore.data.audit.copies import identical
from genrecore.data.audit.findings import KINDS, SEVERITIES, Audit

__all__ = ["KINDS", "SEVERITIES", "Audit", "audit", "identical"]
