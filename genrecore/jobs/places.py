"""Places: where runs can be carried out, as people name them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genrecore.jobs.slurm import profiles
from genrecore.store.run import store_dir

HERE = "local"
"""The name of this machine among places; a run's folder has an empty text for it."""
ELSEWHERE = (
    "That is the time on this machine; on a cluster it depends on its GPUs and on the jobs before "
    "yours."
)


def read_place(name: str | None, store: Path | None = None) -> str | None:
    """The place of this name (`local`, `slurm:NAME`), as a run's folder has it; None where none is
    named.

    Raises:
        UsageError: There is no such place.
    """
    if name is None or name == HERE:
        return None if name is None else ""
    return profiles.find(name, store or store_dir()).place


def read_places(names: Sequence[str], store: Path | None = None) -> list[str]:
    """As `read_place`, of several names."""
    return [read_place(name, store) or "" for name in names]


def place_titles(store: Path | None = None) -> dict[str, str]:
    """Each place where runs can be sent, as forms name it, this machine first."""
    known = profiles.profiles(store or store_dir()).values()
    return {HERE: "This machine", **{profile.place: profile.place for profile in known}}


def on_words(places: Sequence[str]) -> list[str]:
    """The flags of a command that sends runs to these places; none for this machine alone."""
    if not any(places):
        return []
    return [word for place in places for word in ("--on", place or HERE)]
