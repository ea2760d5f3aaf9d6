"""Options that say how a dataset's files are read, shared by the datasets that have such files."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field


def parse_size(text: str) -> tuple[int, int] | None:
    """Height and width in pixels of a text such as `288x432`; None for an empty one.

    Raises:
        ValueError: Another text.
    """
    if not text.strip():
        return None
    numbers = re.fullmatch(r"\s*(\d{1,4})\s*[x×]\s*(\d{1,4})\s*", text)
    height, width = map(int, numbers.groups()) if numbers else (0, 0)
    if not height or not width:
        raise ValueError("expected height x width in pixels, such as 288x432, or nothing")
    return height, width


def _canonical_size(text: str) -> str:
    size = parse_size(text)
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
