"""The exceptions whose message is meant for a person: one sentence, no traceback."""


class GenrecoreError(Exception):
    """What was found, what was expected, and what there is to choose from, in one sentence."""


class UsageError(GenrecoreError):
    """The request itself is wrong: an unknown name, field or value (command line: exit code 2)."""


class AudioError(GenrecoreError):
    """A file that cannot be used as a music clip; the sentence says why."""
