"""Arrays that NumPy saved (`.npy`, `.npz`), read without trusting them.

Nothing is unpickled, no more is read than the header promises, and that is bounded.
"""

from __future__ import annotations

import contextlib
import io
import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from genrecore.errors import GenrecoreError, first_line
from genrecore.store.files import open_named
from genrecore.store.zips import bounded_zip
from genrecore.words import listed, plural, thousands

ARRAY_FORMATS = (".npy", ".npz")
"""Extensions of arrays."""

Source = str | Path | bytes | BinaryIO

_MOST_NUMBERS = 2**26  # of a clip: an embedding of 4 096 numbers every 10 ms for three minutes
_MOST_ARRAYS = 1_000  # in one file
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What parsing a header that was made to fail may raise.
_NO_HEADER = (ValueError, SyntaxError, TypeError, tokenize.TokenError, RecursionError, MemoryError)
_DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)
_KINDS = {"c": "complex numbers", "U": "text", "S": "text", "V": "records"}


def read_array(source: Source, name: str = "", array: str = "") -> np.ndarray:
    """A vector (n,) or a sequence (rows, columns) of a file, float32, whatever numbers it holds.

    Args:
        source: A path, a file's bytes, or an open file.
        name: What sentences call it; by default the path's last part.
        array: Which array of an `.npz`; empty for its only one.

    Raises:
        GenrecoreError: No such array, pickled objects, other than real numbers, NaN or infinite,
            empty, too large, cut off, or not of one or two dimensions.
    """
    name = name or _name(source)
    with _array_in(source, name, array) as stream:
        shape, by_columns, dtype = _header(stream, name)
        n_bytes = math.prod(shape) * dtype.itemsize
        content = stream.read(n_bytes)
    if len(content) < n_bytes:
        raise GenrecoreError(
            f"{name} is cut off: its header promises {thousands(n_bytes)} bytes of numbers, and "
            f"there are {thousands(len(content))}."
        )
    numbers = np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")
    with np.errstate(over="ignore"):
        values = numbers.astype(np.float32, order="C")
    bad = ~np.isfinite(values)
    if bad.any():
        place = tuple(np.argwhere(bad)[0].tolist())
        raise GenrecoreError(
            f"{name} holds {numbers[place]:g} at [{', '.join(map(str, place))}] "
            f"({plural(int(bad.sum()), 'such number')} in all); expected finite numbers that "
            "float32 can hold."
        )
    return values


def array_shape(source: Source, name: str = "", array: str = "") -> tuple[int, ...]:
    """The shape that `read_array` would give, from the header alone; errors as there."""
    name = name or _name(source)
    with _array_in(source, name, array) as stream:
        return _header(stream, name)[0]


def size_in_words(shape: tuple[int, ...]) -> str:
    """`20 × 1,292`."""
    return " × ".join(map(thousands, shape))


def _name(source: Source) -> str:
    return Path(source).name if isinstance(source, (str, Path)) else "The array"


@contextlib.contextmanager
def _array_in(source: Source, name: str, array: str) -> Iterator[BinaryIO]:
    """The stream of the one array, of a file that is an array or holds several."""
    with contextlib.ExitStack() as stack:
        stream = _opened(source, name, stack)
        is_zip = stream.read(2) == b"PK"
        stream.seek(0)
        try:
            if is_zip:
                archive = stack.enter_context(bounded_zip(stream, _MOST_ARRAYS))
                stream = stack.enter_context(archive.open(_member(archive, name, array)))  # type: ignore[assignment]
            yield stream
        except _DAMAGED_ZIP as error:
            raise GenrecoreError(f"{name} is damaged: {first_line(error)}.") from None
        except RuntimeError as error:  # zipfile's, for what is encrypted
            raise GenrecoreError(f"{name} cannot be read: {first_line(error)}.") from None


def _opened(source: Source, name: str, stack: contextlib.ExitStack) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if not isinstance(source, (str, Path)):
        source.seek(0)
        return source
    return stack.enter_context(open_named(source, name))


def _member(archive: zipfile.ZipFile, name: str, array: str) -> str:
    """The name in the archive of the array that is asked for, or of the only one."""
    arrays = {entry.removesuffix(".npy"): entry for entry in archive.namelist()}
    there = f"it holds {listed([repr(key) for key in list(arrays)[:8]]) or 'nothing'}"
    if array and array not in arrays:
        raise GenrecoreError(f"{name} holds no array {array!r}; {there}.")
    if not array and len(arrays) != 1:
        raise GenrecoreError(
            f"{name} holds {plural(len(arrays), 'array')}; expected one, or the dataset's option "
            f"array to name it: {there}."
        )
    return arrays[array] if array else next(iter(arrays.values()))


def _header(stream: BinaryIO, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and the kind of numbers; refuses what is no clip."""
    expected = "expected real numbers in one dimension (a vector) or two (a sequence)"
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _READERS:  # 3.0, for records with names that are not ASCII
            raise ValueError(f"it is of version {version[0]}.{version[1]} of the format")
        shape, by_columns, dtype = _READERS[version](stream)
    except _NO_HEADER as error:
        raise GenrecoreError(
            f"{name} is not an array that NumPy saved: {first_line(error).rstrip('.')}; {expected}."
        ) from None
    if dtype.hasobject:
        raise GenrecoreError(
            f"{name} holds pickled Python objects, which are never opened; {expected}."
        )
    if dtype.kind not in "biuf":
        kind = _KINDS.get(dtype.kind, f"values of the type {dtype}")
        raise GenrecoreError(f"{name} holds {kind}; {expected}.")
    if len(shape) not in (1, 2):
        size = f" ({size_in_words(shape)})" if shape else ""
        raise GenrecoreError(f"{name} has {plural(len(shape), 'dimension')}{size}; {expected}.")
    if not 0 < math.prod(shape) <= _MOST_NUMBERS:
        size = size_in_words(shape)
        raise GenrecoreError(
            f"{name} is {'empty' if 0 in shape else 'too large'} ({size}); expected 1 to "
            f"{thousands(_MOST_NUMBERS)} numbers."
        )
    return shape, by_columns, dtype
