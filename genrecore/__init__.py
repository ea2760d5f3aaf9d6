"""genrecore: train, watch, compare and hear music genre classifiers."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "load":  # exported lazily: it needs torch, most of the package does not
        from genrecore.inference.loaded import load

        return load
    raise AttributeError(f"module 'genrecore' has no attribute {name!r}")
