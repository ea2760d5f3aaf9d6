"""Arrays in a checkpoint that TensorFlow wrote, read without TensorFlow.

A checkpoint is two files. The index is a table of LevelDB: blocks of sorted keys, each with the
bytes it does not share with the key before. A variable's key leads to a small protobuf message with
its type, its shape and where its values lie in the data file.

Source: LevelDB's table_format.md; TensorFlow's tensor_bundle.proto and tensor_shape.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from genrecore.errors import GenrecoreError

_MAGIC = 0xDB4775248B80FB57  # the last eight bytes of a table
_FOOTER = 48
_UNCOMPRESSED = 0
_FLOAT32 = 1  # TensorFlow's DT_FLOAT
_VARINT, _BYTES, _FIXED32 = 0, 2, 5  # wire types of protobuf


def read_checkpoint(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """The float32 variables of a checkpoint, each with its own shape, by name.

    Variables of other types, such as counters, are left out.

    Args:
        index: The content of the `.index` file, its table uncompressed.
        data: The content of the only `.data-00000-of-00001` file.

    Raises:
        GenrecoreError: It is no such checkpoint, or cut off.
    """
    try:
        arrays = {}
        for key, value in _entries(index):
            if key:  # the empty key belongs to the header
                array = _array(value, data)
                if array is not None:
                    arrays[key.decode()] = array
        return arrays
    except (IndexError, ValueError, KeyError, struct.error):
        raise GenrecoreError(
            "The weights are no TensorFlow checkpoint that can be read: expected an uncompressed "
            ".index of version 2 and one complete .data file."
        ) from None


def _entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a LevelDB table, in order."""
    (magic,) = struct.unpack("<Q", table[-8:])
    if magic != _MAGIC:
        raise ValueError
    footer, position = table[-_FOOTER:], 0
    for _ in range(2):  # the list of metadata, which is empty
        _, position = _varint(footer, position)
    for _, handle in _block(table, footer[position:]):
        yield from _block(table, handle)


def _block(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the block to which a handle (its place and size) points."""
    start, position = _varint(handle, 0)
    n_bytes, _ = _varint(handle, position)
    block = table[start : start + n_bytes]
    if len(block) < n_bytes or table[start + n_bytes] != _UNCOMPRESSED:
        raise ValueError
    (n_restarts,) = struct.unpack("<I", block[-4:])
    end, position, key = len(block) - 4 - 4 * n_restarts, 0, b""
    while position < end:
        n_shared, position = _varint(block, position)
        n_own, position = _varint(block, position)
        n_value, position = _varint(block, position)
        key = key[:n_shared] + block[position : position + n_own]
        position += n_own
        yield key, block[position : position + n_value]
        position += n_value


def _array(message: bytes, data: bytes) -> np.ndarray | None:
    """The array that an entry of a bundle describes; None where it is not of float32."""
    fields = _fields(message)
    if fields.get(1) != [_FLOAT32]:
        return None
    shape = [_fields(size)[1][0] for size in _fields(fields[2][0]).get(2, [])]
    start, n_bytes = fields.get(4, [0])[0], fields[5][0]
    if start + n_bytes > len(data):
        raise ValueError
    return np.frombuffer(data[start : start + n_bytes], "<f4").reshape(shape).astype(np.float32)


def _fields(message: bytes) -> dict[int, list[Any]]:
    """The values of a protobuf message by the numbers of their fields: integers or bytes."""
    fields: dict[int, list[Any]] = {}
    position = 0
    value: int | bytes
    while position < len(message):
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, position = _varint(message, position)
        elif kind == _BYTES:
            length, position = _varint(message, position)
            value, position = message[position : position + length], position + length
        elif kind == _FIXED32:
            value, position = message[position : position + 4], position + 4
        else:
            raise ValueError
        fields.setdefault(number, []).append(value)
    return fields


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """An integer of seven bits a byte, the lowest first, and the position behind it."""
    value = shift = 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position
