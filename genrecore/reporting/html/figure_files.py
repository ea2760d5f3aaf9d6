"""The figures of a comparison as image files, drawn by a headless browser."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genrecore.errors import GenrecoreError
from genrecore.evaluation.comparison import Comparison
from genrecore.reporting.html.figures import figures, template
from genrecore.store.files import output_folder

FORMATS = ("svg", "png")
_WIDTH = 900  # pixels; a PNG has twice as many
_EDGE = 20


def write_figures(
    compared: Comparison, folder: Path, formats: Sequence[str] = FORMATS
) -> list[Path]:
    """Every figure of a comparison as `<name>.svg` and `<name>.png`, on white.

    Args:
        compared: The comparison.
        folder: Folder of the files; created if missing.
        formats: From `FORMATS`; Plotly's others work as well.

    Raises:
        GenrecoreError: No Chromium or Chrome is found, or the folder cannot be written.
    """
    with (
        output_folder(folder, "figures") as target,
        tempfile.TemporaryDirectory(prefix=".drawing-", dir=target) as drawing,
    ):
        images = _images(compared, Path(drawing), formats)
        _draw(images)
        return [image["path"].replace(target / image["path"].name) for image in images]


def _images(compared: Comparison, folder: Path, formats: Sequence[str]) -> list[dict[str, Any]]:
    """Figure, path and size of each image that the browser draws."""
    images = []
    for figure in figures(compared):
        spec = figure.spec
        layout = spec["layout"]
        layout |= {"template": template("light"), "paper_bgcolor": "#ffffff"}
        layout["margin"] = layout.get("margin", {}) | {"l": _EDGE, "r": _EDGE, "b": _EDGE}
        layout["title"] = layout.get("title", {}) | {"pad": {"l": _EDGE}}
        height = int(layout.get("height", 400))
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", figure.name)
        for format_ in formats:
            size = {"width": _WIDTH, "height": height, "scale": 2 if format_ == "png" else 1}
            path = folder / f"{name}.{format_}"
            images.append({"fig": spec, "path": path, "opts": {"format": format_, **size}})
    return images


def _draw(images: list[dict[str, Any]]) -> None:
    import kaleido
    from choreographer import errors

    failures = (
        errors.BrowserFailedError, errors.BrowserClosedError, errors.BrowserDepsError,
        errors.ChannelClosedError, errors.DevtoolsProtocolError, TimeoutError,
    )  # fmt: skip
    try:
        # Without MathJax, which it would download.
        kaleido.write_fig_from_object_sync(images, kopts={"mathjax": False}, cancel_on_error=True)
    except errors.ChromeNotFoundError:
        raise GenrecoreError(
            "Figures are drawn by Chromium or Chrome, and none is installed; 'apt-get install "
            "chromium' installs it. In the report each figure has a button that saves it."
        ) from None
    except failures as error:
        raise GenrecoreError(
            f"The browser that draws figures does not work ({type(error).__name__}); see what "
            "'chromium --version' says."
        ) from None
