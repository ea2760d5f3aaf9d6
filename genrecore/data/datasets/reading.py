"""Options that say how a dataset's files are read, shared by the datasets that have such files."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field


def image_size(options: Any) -> tuple[int, int] | None:
    """Height and width to which the options of a dataset have pictures resized, if they do."""
    return _parse_size(getattr(options, "image_size", ""))


def array_choice(options: Any) -> tuple[str, str]:
    """The array of an `.npz` and the axis that is time, as the options of a dataset say."""
    return getattr(options, "array", ""), getattr(options, "time_axis", "automatic")


def _parse_size(text: str) -> tuple[int, int] | None:
    """Height and width in pixels of a text such as `288x432`; None for an empty one."""
    if not text.strip():
        return None
    numbers = re.fullmatch(r"\s*(\d{1,4})\s*[x×]\s*(\d{1,4})\s*", text)
    height, width = map(int, numbers.groups()) if numbers else (0, 0)
    if not height or not width:
        raise ValueError("expected height x width in pixels, such as 288x432, or nothing")
    return height, width


def _canonical_size(text: str) -> str:
    size = _parse_size(text)
    return f"{size[0]}x{size[1]}" if size else ""


ImageSize = Annotated[
    str,
    AfterValidator(_canonical_size),
    Field(
        title="Size of pictures",
        description="Height x width in pixels, such as 288x432, to which every picture is resized; "
        "empty keeps them as they are, all of one size",
    ),
]

ArrayName = Annotated[
    str,
    Field(
        title="Array",
        description="Name of the array in each .npz that holds several; empty takes the only one",
        max_length=200,
    ),
]

TimeAxis = Annotated[
    Literal["automatic", "first", "second"],
    Field(
        title="Axis that is time",
        description="Of arrays with two axes: first where rows are steps, second where columns "
        "are; automatic takes the axis along which the clips differ",
    ),
]
