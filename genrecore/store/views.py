"""Saved views of comparisons: what is compared, and how, under a name.

They lie in the store's settings. A view names its runs, so that it means the same tomorrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from genrecore.errors import UsageError
from genrecore.store import settings

_NOUN, _KEY = "The saved views", "views"
_LONGEST = 100  # characters of a name


@dataclass(frozen=True)
class SavedView:
    """A comparison under a name.

    Attributes:
        name: Of the view.
        runs: Ids of the compared runs; of systems, a run of each.
        systems: Whether each run stands for its system.
        band: Differences smaller than so many points make no difference in practice.
        shared: Whether only clips count on which all were tested.
        members: Of systems, the runs that each had when the view was saved; empty in views of
            earlier versions, whose systems have all runs that there are.
    """

    name: str
    runs: tuple[str, ...]
    systems: bool = False
    band: float = 1.0
    shared: bool = False
    members: tuple[tuple[str, ...], ...] = ()

    @property
    def all_runs(self) -> tuple[str, ...]:
        """Ids of all runs that it names."""
        return tuple(dict.fromkeys(chain.from_iterable(self.members))) or self.runs


def saved(store: Path) -> list[SavedView]:
    """The saved views by name; what is damaged is left out."""
    entries = settings.read(store).get(_KEY)
    views = [_parsed(entry) for entry in entries] if isinstance(entries, list) else []
    return sorted((view for view in views if view), key=lambda view: view.name.casefold())


def find(store: Path, name: str) -> SavedView:
    """The view of this name.

    Raises:
        UsageError: There is none, and which there are.
    """
    views = {view.name: view for view in saved(store)}
    if name not in views:
        there = f"there are: {', '.join(views)}" if views else "none is saved yet"
        raise UsageError(f"There is no saved view called {name!r}; {there}.")
    return views[name]


def save(store: Path, view: SavedView) -> SavedView:
    """Keeps a view, in place of one of the same name; returns it with its name tidied.

    Raises:
        UsageError: It has no name, a very long one, or names fewer than two runs.
        GenrecoreError: The store cannot be written.
    """
    view = replace(view, name=_tidy(view.name), runs=tuple(dict.fromkeys(view.runs)))
    if len(view.runs) < 2:
        raise UsageError("A view compares at least two runs; name two or more.")
    others = [other for other in saved(store) if other.name != view.name]
    _write(store, [*others, view])
    return view


def rename(store: Path, name: str, new: str) -> SavedView:
    """Gives a view another name.

    Raises:
        UsageError: There is no such view, or the new name is taken, empty or very long.
        GenrecoreError: The store cannot be written.
    """
    view, new = find(store, name), _tidy(new)
    if new != name and any(other.name == new for other in saved(store)):
        raise UsageError(f"There is a saved view called {new!r} already; choose another name.")
    renamed = replace(view, name=new)
    _write(store, [renamed if other == view else other for other in saved(store)])
    return renamed


def delete(store: Path, name: str) -> None:
    """Forgets a view; its runs stay.

    Raises:
        UsageError: There is no such view.
        GenrecoreError: The store cannot be written.
    """
    view = find(store, name)
    _write(store, [other for other in saved(store) if other != view])


def _write(store: Path, views: Sequence[SavedView]) -> None:
    settings.change(store, _NOUN, **{_KEY: [asdict(view) for view in views] or None})


def _tidy(name: str) -> str:
    tidy = " ".join(name.split())
    if not tidy or len(tidy) > _LONGEST:
        found = "it has none" if not tidy else f"it has {len(tidy)} characters"
        raise UsageError(f"A saved view needs a name of 1 to {_LONGEST} characters; {found}.")
    return tidy


def _parsed(entry: Any) -> SavedView | None:
    """A view of the file, which somebody may have edited."""
    if not isinstance(entry, Mapping):
        return None
    name, runs = entry.get("name"), entry.get("runs")
    if not isinstance(name, str) or not isinstance(runs, list) or len(runs) < 2:
        return None
    band = entry.get("band")
    is_number = isinstance(band, (int, float)) and 0 <= band <= 100
    return SavedView(
        name,
        tuple(map(str, runs)),
        entry.get("systems") is True,
        float(band) if is_number else 1.0,  # type: ignore[arg-type]
        entry.get("shared") is True,
        _parsed_members(entry.get("members")),
    )


def _parsed_members(entry: Any) -> tuple[tuple[str, ...], ...]:
    if not isinstance(entry, list) or not all(isinstance(runs, list) for runs in entry):
        return ()
    return tuple(tuple(map(str, runs)) for runs in entry)
