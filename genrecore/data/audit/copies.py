"""Exact copies: contents that are the same, bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def identical(names: Sequence[str], contents: Iterable[np.ndarray]) -> pd.DataFrame:
    """Pairs of clips whose contents are identical: one row a pair, columns `clip_a, clip_b`.

    Works for rows of numbers (a table's descriptors: pass `table.to_numpy()`), for pixels and for
    waves. Shape and kind of number count. Of three and more that are the same, each is paired with
    the first.
    """
    return same_digests(names, [digest(content) for content in contents])


def digest(content: np.ndarray) -> str:
    """32 hexadecimal digits that name the numbers in an array, their kind and its shape."""
    content = np.ascontiguousarray(content)
    if content.dtype.kind == "f":
        content = content + content.dtype.type(0)  # −0 equals 0
    name = f"{content.dtype.str}{content.shape}".encode()
    return hashlib.blake2b(content.tobytes(), digest_size=16, key=name[:64]).hexdigest()


def same_digests(names: Sequence[str], digests: Sequence[str]) -> pd.DataFrame:
    """Pairs of names with equal digests, each with the first of its kind."""
    table = pd.DataFrame({"clip_b": list(names), "digest": list(digests)})
    table["clip_a"] = table.groupby("digest", sort=False)["clip_b"].transform("first")
    again = table["digest"].duplicated()
    return table.loc[again, ["clip_a", "clip_b"]].reset_index(drop=True)


def families(clip_ids: pd.Series, pairs: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Each clip's family of copies (−1 where it has none), and what to call each family."""
    position = pd.Series(np.arange(len(clip_ids)), index=clip_ids.to_numpy())
    a = position.reindex(pairs["clip_a"]).to_numpy().astype(int)
    b = position.reindex(pairs["clip_b"]).to_numpy().astype(int)
    links = coo_array((np.ones(len(a)), (a, b)), shape=(len(clip_ids), len(clip_ids)))
    _, component = connected_components(links, directed=False)
    numbers = np.full(len(clip_ids), -1)
    members = np.unique(np.concatenate([a, b]))
    first, numbers[members] = np.unique(component[members], return_inverse=True)
    titles = [""] * len(first)
    for member in members[::-1]:
        titles[numbers[member]] = f"The recording in {clip_ids.iloc[member]}"
    return numbers, titles
