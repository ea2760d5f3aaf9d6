"""Corpora of arrays of one's own: a vector a clip, or a sequence of vectors, its steps in order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genrecore.data.arrays import array_shape, read_array, size_in_words
from genrecore.data.corpus import Corpus, cached_values, content_digests
from genrecore.data.parallel import in_order
from genrecore.errors import GenrecoreError
from genrecore.store.progress import Phase, Report, silent
from genrecore.words import thousands

_FORMAT = 1


def build_arrays(
    clips: pd.DataFrame, array: str = "", time_axis: str = "automatic", report: Report = silent
) -> Corpus:
    """The arrays of these clips as one float32 array: vectors (clips, numbers), or all steps of
    all sequences (steps, numbers). Arrays that cannot be used are left out with their reason.

    Args:
        clips: A clip table of the medium `vector` or `sequence`.
        array: Which array of an `.npz`; empty for its only one.
        time_axis: Of sequences: `first`, `second`, or `automatic`: the one along which they differ.
        report: Called as `report(phase, done, total)`.

    Raises:
        GenrecoreError: Vectors among sequences; vectors or steps of different lengths; sequences
            of which nobody can tell which axis is time.
    """
    clip_ids, paths = clips["clip_id"].tolist(), clips["path"].tolist()
    contents = content_digests(clips, report)
    medium = str(clips["medium"].iloc[0])

    def fill(folder: Path) -> dict[str, Any]:
        usable: list[str] = []
        counts: list[int] = []
        skipped: list[dict[str, str]] = []
        width = 0
        axis = "first"
        if medium == "sequence":
            shapes = {} if time_axis != "automatic" else _shapes(paths, array, report)
            axis = _time_axis(shapes, time_axis)
        arrays = in_order(lambda path: _read(path, array), paths, report, Phase.READING_FILES)
        with open(folder / "values", "wb") as stream:
            for clip_id, path, values in zip(clip_ids, paths, arrays, strict=True):
                if isinstance(values, str):
                    skipped.append({"clip_id": clip_id, "reason": values})
                    continue
                _, width = _rows_of(path, values.shape, medium, axis, width)
                rows = values[None] if values.ndim == 1 else steps_first(values, axis)
                stream.write(rows.tobytes())
                usable.append(clip_id)
                counts.append(len(rows))
        return {"clip_ids": usable, "counts": counts, "shape": [width], "skipped": skipped}

    identity = [_FORMAT, medium, array, time_axis, list(zip(clip_ids, contents, strict=True))]
    return cached_values(identity, medium, fill, report)


def array_sizes(
    clips: pd.DataFrame, array: str = "", time_axis: str = "automatic"
) -> tuple[dict[str, int], tuple[int, ...]]:
    """Rows of each clip by its clip_id, and the shape of one, by the headers of the files alone;
    clips whose header cannot be read are absent. Arguments and errors as of `build_arrays`."""
    medium, paths = str(clips["medium"].iloc[0]), clips["path"].tolist()
    shapes = _shapes(paths, array, silent)
    axis = _time_axis(shapes, time_axis) if medium == "sequence" else "first"
    n_rows: dict[str, int] = {}
    width = 0
    for clip_id, path in zip(clips["clip_id"], paths, strict=True):
        if shapes[path]:
            n_rows[clip_id], width = _rows_of(path, shapes[path], medium, axis, width)
    return n_rows, (width,)


def _rows_of(
    path: str, shape: tuple[int, ...], medium: str, axis: str, before: int
) -> tuple[int, int]:
    """Rows of an array, and numbers of each, which must be `before` as in the arrays before it."""
    name = Path(path).name
    if len(shape) != (2 if medium == "sequence" else 1):
        raise GenrecoreError(
            f"{name} has the size {size_in_words(shape)}, but others are {medium}s; a dataset is "
            "of one kind."
        )
    n_rows, width = (1, *shape) if len(shape) == 1 else shape[:: -1 if axis == "second" else 1]
    if before and width != before:
        each = " a step" if medium == "sequence" else ""
        raise GenrecoreError(
            f"{name} has {thousands(width)} numbers{each}, the arrays before it "
            f"{thousands(before)}; all must have the same number."
        )
    return n_rows, width


def steps_first(values: np.ndarray, time_axis: str) -> np.ndarray:
    """A sequence as (steps, numbers); its time is the `first` or the `second` axis."""
    return np.ascontiguousarray(values.T if time_axis == "second" else values)


def _read(path: str, array: str) -> np.ndarray | str:
    try:
        return read_array(path, array=array)
    except GenrecoreError as error:
        return str(error)


def _shapes(paths: list[str], array: str, report: Report) -> dict[str, tuple[int, ...]]:
    """The shape of each array; empty for one that cannot be read."""

    def shape_of(path: str) -> tuple[int, ...]:
        try:
            return array_shape(path, array=array)
        except GenrecoreError:
            return ()  # left out later, with its reason

    return dict(zip(paths, in_order(shape_of, paths, report, Phase.READING_HEADERS), strict=True))


def _time_axis(shapes: Mapping[str, tuple[int, ...]], time_axis: str) -> str:
    """Which axis is time: the one along which the sequences differ."""
    if time_axis != "automatic":
        return time_axis
    sequences = {path: shape for path, shape in shapes.items() if len(shape) == 2}
    firsts, seconds = ({shape[axis] for shape in sequences.values()} for axis in (0, 1))
    if len(firsts) > 1 and len(seconds) > 1:
        example, other = list({shape: path for path, shape in sequences.items()}.items())[:2]
        raise GenrecoreError(
            f"The arrays differ along both axes, {Path(example[1]).name} "
            f"({size_in_words(example[0])}) and {Path(other[1]).name} ({size_in_words(other[0])}) "
            "for example; expected the same number of values for every step of every clip."
        )
    if len(firsts) == len(seconds) == 1:
        (a,), (b,) = firsts, seconds
        raise GenrecoreError(
            f"All arrays have the size {size_in_words((a, b))}, so nobody can tell which axis is "
            f"time; say so by the dataset's option time_axis: first ({thousands(a)} steps of "
            f"{thousands(b)} numbers) or second ({thousands(b)} steps of {thousands(a)})."
        )
    return "first" if len(firsts) > 1 else "second"
