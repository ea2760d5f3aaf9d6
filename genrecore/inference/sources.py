"""What Python may hand over to be classified: paths, bytes, open files, arrays and tensors.

An array becomes a file in memory, so that it meets the checks that any file meets.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, BinaryIO, cast

import numpy as np
import soundfile
import torch
from PIL import Image

from genrecore.audio.decode import RATES_HZ
from genrecore.data.arrays import size_in_words
from genrecore.errors import AudioError, GenrecoreError, UsageError, describe
from genrecore.store.progress import Stopped
from genrecore.words import thousands

File = str | Path | bytes | BinaryIO
"""What the decoder takes."""
Source = File | os.PathLike[str] | bytearray | memoryview | IO[bytes] | np.ndarray | torch.Tensor

_IN_MEMORY = 2**23  # bytes of what cannot be read twice; more lies on the disk meanwhile
_MOST_CHANNELS = 64
_LARGEST_WAV = 2**31  # bytes of samples; above that a wav counts in 64 bits (RF64)
_SAMPLES = {"int16": "PCM_16", "int32": "PCM_32", "uint8": "FLOAT"}


@contextlib.contextmanager
def as_file(source: Source, medium: str, sample_rate_hz: float | None = None) -> Iterator[File]:
    """A source as a file that can be read more than once.

    Args:
        source: A path; a file's bytes; a file that is open for reading bytes, which is read from
            its beginning, or from where it is if it cannot seek; or an array or a tensor. Of an
            array of samples the shorter axis holds the channels; they are floats in [-1, 1], or
            int16, int32 or uint8 at their full scale.
        medium: What the run classifies, a key of `loaded.FILES`.
        sample_rate_hz: Of an array of samples, which needs it; of nothing else.

    Raises:
        UsageError: It is nothing of these, or the rate is missing or not wanted.
        AudioError: The array cannot be used.
    """
    if sample_rate_hz is not None and not (is_array(source) and medium == "wave"):
        raise UsageError("sample_rate_hz goes with an array of samples; a file tells its own rate.")
    with contextlib.ExitStack() as stack:
        if is_array(source):
            yield _array_file(_values(source), medium, sample_rate_hz)
        elif isinstance(source, (bytes, bytearray, memoryview)):
            yield bytes(source)
        elif isinstance(source, (str, os.PathLike)):
            yield Path(os.fsdecode(source))
        elif hasattr(source, "read") and not isinstance(source, io.TextIOBase):
            yield _seekable(source, stack)
        else:
            text = isinstance(source, io.TextIOBase)
            what = "a file that is open as text" if text else f"a {type(source).__name__}"
            raise UsageError(
                "Expected a path, a file's bytes, a file open for reading bytes (mode 'rb'), or a "
                f"NumPy array or torch tensor; found {what}."
            )


def is_array(source: Source) -> bool:
    """Whether a source is an array or a tensor."""
    return isinstance(source, (np.ndarray, np.generic, torch.Tensor))


@contextlib.contextmanager
def fault_of(name: str) -> Iterator[None]:
    """Whatever goes wrong inside is the fault of the file that is called so, in one sentence: no
    file ends the work on others."""
    try:
        yield
    except (GenrecoreError, Stopped):
        raise
    except Exception as error:
        raise AudioError(f"{name} cannot be used: {describe(error).rstrip('.')}.") from error


def display_name(source: Source) -> str:
    """What to call a source that was given no name."""
    path = source if isinstance(source, (str, os.PathLike)) else getattr(source, "name", None)
    if isinstance(path, (str, os.PathLike)):
        return Path(os.fsdecode(path)).name or "clip"
    return "clip"


def _seekable(source: Any, stack: contextlib.ExitStack) -> BinaryIO:
    """The open file, or a copy of what it still holds where it cannot go back."""
    if getattr(source, "closed", False):
        raise UsageError(f"{display_name(source)} is closed; expected a file open for reading.")
    if source.seekable() if hasattr(source, "seekable") else hasattr(source, "seek"):
        return cast(BinaryIO, source)
    with_copy = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
    copy = stack.enter_context(with_copy)
    shutil.copyfileobj(source, copy)
    return cast(BinaryIO, copy)


def _values(source: Any) -> np.ndarray:
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu()
        return (source.float() if source.dtype == torch.bfloat16 else source).numpy()
    return np.asarray(source)


def _array_file(values: np.ndarray, medium: str, sample_rate_hz: float | None) -> BinaryIO:
    stream = io.BytesIO()
    if medium == "wave":
        _write_wave(stream, values, sample_rate_hz)
    elif medium == "image":
        _write_image(stream, values)
    else:
        if values.dtype.hasobject:
            raise AudioError("The array holds Python objects; expected real numbers.")
        np.save(stream, values, allow_pickle=False)
    stream.seek(0)
    return stream


def _write_wave(stream: BinaryIO, values: np.ndarray, sample_rate_hz: float | None) -> None:
    """A wav file of an array (samples,), (channels, samples) or (samples, channels)."""
    low, high = RATES_HZ
    if sample_rate_hz is None:
        raise UsageError(
            "An array of samples does not tell its rate; give sample_rate_hz as well, such as "
            "classify(wave, sample_rate_hz=44_100)."
        )
    if not low <= sample_rate_hz <= high or sample_rate_hz != int(sample_rate_hz):
        raise UsageError(
            f"sample_rate_hz is {sample_rate_hz}; expected a whole number from {thousands(low)} to "
            f"{thousands(high)}."
        )
    size = size_in_words(values.shape) or "1 number"
    if values.ndim not in (1, 2) or not values.size:
        raise AudioError(
            f"The array has the shape {values.shape}; expected samples (n,), (channels, n) or "
            "(n, channels)."
        )
    if values.ndim == 2 and values.shape[0] < values.shape[1]:
        values = values.T
    if values.ndim == 2 and values.shape[1] > _MOST_CHANNELS:
        raise AudioError(
            f"The array ({size}) would have {values.shape[1]} channels, at most {_MOST_CHANNELS} "
            "are read; expected a recording, and neither a batch nor a spectrogram."
        )
    kind = values.dtype.name
    if values.dtype.kind != "f" and kind not in _SAMPLES:
        raise AudioError(
            f"The array holds {kind}; expected samples as floats in [-1, 1], or int16, int32 or "
            "uint8 at full scale."
        )
    if kind == "uint8":
        values = (values.astype(np.float32) - 128) / 128
    elif kind not in _SAMPLES:
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
    form = "WAV" if values.nbytes < _LARGEST_WAV else "RF64"
    subtype = _SAMPLES.get(kind, "FLOAT")
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    soundfile.write(stream, native, int(sample_rate_hz), subtype, format=form)


def _write_image(stream: BinaryIO, values: np.ndarray) -> None:
    """A PNG of an array (height, width), (height, width, 3 or 4) or (3, height, width)."""
    if values.ndim == 3 and values.shape[0] == 3 and values.shape[2] not in (3, 4):
        values = values.transpose(1, 2, 0)
    is_image = values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))
    if not is_image or values.dtype != np.uint8 or not values.size:
        raise AudioError(
            f"The array has the shape {values.shape} and holds {values.dtype.name}; expected an "
            "image (height, width, 3), (3, height, width) or (height, width) of uint8."
        )
    Image.fromarray(np.ascontiguousarray(values)).save(stream, "PNG", compress_level=1)
