"""Readers whose results are kept until the files that they read change."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, runtime_checkable

import streamlit as st

from genrecore.errors import GenrecoreError
from genrecore.evaluation import embeddings
from genrecore.store import allowed
from genrecore.store.about import ABOUT
from genrecore.store.files import changed
from genrecore.store.run import Run

P = ParamSpec("P")
T = TypeVar("T")


@runtime_checkable
class Keyed(Protocol):
    """A choice or a table that a text stands for."""

    @property
    def key(self) -> str:
        """Two objects with the same key are taken for the same."""


def cached_by_files(
    paths_of: Callable[..., Iterable[Path]],
    *,
    spinner: str | bool = False,
    max_entries: int = 64,
    shared: bool = False,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator: the function is called again only for other arguments or changed files.

    Arguments are runs (known by folder and by what is written about them; the function gets a fresh
    snapshot), objects with a `key`, what can be hashed, and lists, tuples and dictionaries of
    these.

    Args:
        paths_of: Gives the files that the function reads, from the same arguments.
        spinner: Text shown while the function works.
        max_entries: Results kept for all visitors together.
        shared: All visitors get the same object, which nobody may change; otherwise each call gets
            a copy, which takes time where the result is large.
    """
    cache: Any = st.cache_resource if shared else st.cache_data

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        def compute(key: str, _args: Any, _named: Any) -> T:
            return function(*map(_fresh, _args), **{k: _fresh(v) for k, v in _named.items()})

        # Streamlit tells its caches apart by these names.
        compute.__module__, compute.__qualname__ = function.__module__, function.__qualname__
        cached = cache(show_spinner=spinner, max_entries=max_entries)(compute)

        @functools.wraps(function)
        def reader(*args: P.args, **named: P.kwargs) -> T:
            changes = tuple(changed(path) for path in paths_of(*args, **named))
            key = repr((_key(args), _key(named), changes, allowed.folders()))
            result: T = cached(key, args, named)
            return result

        return reader

    return decorate


def in_runs(*names: str) -> Callable[..., Iterator[Path]]:
    """For `cached_by_files`: these files in the folder of every run among the arguments."""

    def paths(*args: Any, **named: Any) -> Iterator[Path]:
        return (run.folder / name for run in _runs([args, named]) for name in names)

    return paths


def embedding_files(run: Run, *args: Any, **named: Any) -> list[Path]:
    """For `cached_by_files`: the embedding and the map of a run."""
    try:
        return [embeddings.folder(run) / name for name in ("values.npy", "map.parquet")]
    except GenrecoreError:  # it can have none
        return []


def no_files(*args: Any, **named: Any) -> Iterable[Path]:
    """For `cached_by_files`: the function reads no files, its arguments say everything."""
    return ()


def _runs(value: Any) -> Iterator[Run]:
    if isinstance(value, Run):
        yield value
    elif isinstance(value, Mapping):
        yield from _runs(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _runs(item)


def _key(value: Any) -> Any:
    if isinstance(value, Run):
        return str(value.folder), changed(value.folder / ABOUT)
    if isinstance(value, Keyed):
        return value.key
    if isinstance(value, Mapping):
        return tuple((key, _key(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(_key(item) for item in value)
    hash(value)  # what can change has no place in a key
    return value


def _fresh(value: Any) -> Any:
    """The argument with runs read anew: a snapshot may be older than the files on disk."""
    if isinstance(value, Run):
        return Run(value.folder)
    if isinstance(value, Mapping):
        return {key: _fresh(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_fresh(item) for item in value]
    return value
