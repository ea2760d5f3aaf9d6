"""Corpora of images and tables of descriptors that come with a dataset.

Each is one memory-mapped array (images uint8, tables float32) with an index of the same columns as
the audio corpus, keyed by content, so that everything after it treats all media alike.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from genrecore.data.corpus import Corpus, cached_values, content_digests
from genrecore.data.datasets.tables import read_table
from genrecore.data.parallel import in_order
from genrecore.errors import GenrecoreError, first_line
from genrecore.store.files import open_named
from genrecore.store.progress import Phase, Report, silent

_FORMAT = 1
_MOST_PIXELS = 16_000_000  # 4 000 × 4 000: no rendered spectrogram needs more, a bomb does


def build_images(
    clips: pd.DataFrame, report: Report = silent, size: tuple[int, int] | None = None
) -> Corpus:
    """The images of these clips as one uint8 array (clips, 3, height, width), red green blue.

    Transparency is dropped, palettes and grey are spread over three channels, 16 bits are scaled to
    8. Images that cannot be read are left out with their reason.

    Args:
        clips: A clip table.
        report: Called as `report(phase, done, total)`.
        size: Height and width to which every image is resized; None leaves them as they are.

    Raises:
        GenrecoreError: Images of different sizes that are not resized, named with both.
    """
    clip_ids, paths = clips["clip_id"].tolist(), clips["path"].tolist()
    contents = content_digests(clips, report)

    def fill(folder: Path) -> dict[str, Any]:
        usable: list[str] = []
        skipped: list[dict[str, str]] = []
        shape: tuple[int, ...] = ()

        def read(path: str) -> np.ndarray | str:
            image = read_image(path)
            return image if isinstance(image, str) or size is None else resize(image, size)

        images = in_order(read, paths, report, Phase.READING_IMAGES)
        with open(folder / "values", "wb") as stream:
            for clip_id, path, image in zip(clip_ids, paths, images, strict=True):
                if isinstance(image, str):
                    skipped.append({"clip_id": clip_id, "reason": image})
                    continue
                shape = _same_size(path, image.shape, shape)
                stream.write(image.tobytes())
                usable.append(clip_id)
        return {"clip_ids": usable, "counts": [1] * len(usable), "shape": shape, "skipped": skipped}

    identity = [_FORMAT, "images", list(zip(clip_ids, contents, strict=True))]
    identity += [size] if size else []
    return cached_values(identity, "image", fill, report)


def image_sizes(
    clips: pd.DataFrame, size: tuple[int, int] | None = None
) -> tuple[dict[str, int], tuple[int, ...]]:
    """1 for each clip_id whose image has a header, and the shape (3, height, width) of all images,
    by their headers alone. Arguments and errors as of `build_images`."""

    def size_of(path: str) -> tuple[int, ...]:
        try:
            with Image.open(path) as image:
                return 3, image.height, image.width
        except (OSError, ValueError, Image.DecompressionBombError):
            return ()  # left out later, with its reason

    shape: tuple[int, ...] = () if size is None else (3, *size)
    paths, readable = clips["path"].tolist(), {}
    shapes = in_order(size_of, paths, silent, Phase.READING_HEADERS)
    for clip_id, path, own in zip(clips["clip_id"], paths, shapes, strict=True):
        if own:
            readable[clip_id] = 1
            shape = shape if size else _same_size(path, own, shape)
    return readable, shape


def _same_size(path: str, shape: tuple[int, ...], before: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an image, which must be that of the images before it."""
    if before and shape != before:
        raise GenrecoreError(
            f"{Path(path).name} has {shape[2]} × {shape[1]} pixels, the images before it "
            f"{before[2]} × {before[1]}; all must have one size, or be given one by the dataset's "
            f"option image_size (height x width, such as {before[1]}x{before[2]})."
        )
    return shape


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image (3, height, width) uint8 resized to this height and width, bilinear, smoothed where
    it becomes smaller."""
    resized = Image.fromarray(image.transpose(1, 2, 0)).resize(
        (size[1], size[0]), Image.Resampling.BILINEAR
    )
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def read_image(source: str | Path | bytes | BinaryIO, name: str = "") -> np.ndarray | str:
    """An image as (3, height, width) uint8, or the sentence that says why it cannot be used.

    Args:
        source: A path, a file's bytes, or an open file.
        name: What the sentence calls it; by default the path's last part.
    """
    if not name:
        name = Path(source).name if isinstance(source, (str, Path)) else "The image"
    try:
        if isinstance(source, (str, Path)):
            with open_named(source, name) as stream:
                return read_image(stream, name)
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if image.width * image.height > _MOST_PIXELS:
                return f"{name} has {image.width} × {image.height} pixels: too large."
            if image.mode.startswith("I"):  # 16 bits: Pillow would cut them off at 255
                values = np.asarray(image, dtype=np.float64) / 257.0
                grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
                return np.ascontiguousarray(np.broadcast_to(grey, (3, *grey.shape)))
            rgb = np.asarray(image.convert("RGBA").convert("RGB"), dtype=np.uint8)
            return np.ascontiguousarray(rgb.transpose(2, 0, 1))
    except GenrecoreError as error:
        return str(error)
    except UnidentifiedImageError:
        return f"{name} cannot be read as an image: its content is of no kind that is known."
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return f"{name} cannot be read as an image: {first_line(error)}."


def build_tables(clips: pd.DataFrame, report: Report = silent) -> Corpus:
    """The rows of these clips in their tables as one float32 array (rows, descriptors).

    Raises:
        GenrecoreError: The table cannot be read or does not name these clips.
    """
    paths = sorted(set(clips["path"]))
    identity: list[Any] = [_FORMAT, "table", list(clips["clip_id"])]
    identity.append(content_digests(clips.drop_duplicates("path").sort_values("path"), report))

    def fill(folder: Path) -> dict[str, Any]:
        report(Phase.READING_TABLES, 0, len(paths))
        table = pd.concat([read_table(Path(path)) for path in paths], ignore_index=True)
        names = _descriptors_in(table)
        order = {clip_id: row for row, clip_id in enumerate(clips["clip_id"])}
        table = table[table["clip_id"].isin(order)]
        table = table.assign(row=table["clip_id"].map(order)).sort_values(["row", "part"])
        counts = table.groupby("clip_id", sort=False).size()
        skipped = [
            {"clip_id": clip_id, "reason": f"{clip_id} has no row in the table."}
            for clip_id in clips["clip_id"]
            if clip_id not in counts.index
        ]
        (folder / "values").write_bytes(table[names].to_numpy(np.float32).tobytes())
        return {
            "clip_ids": counts.index.tolist(),
            "counts": counts.tolist(),
            "shape": [len(names)],
            "skipped": skipped,
            "names": names,
        }

    return cached_values(identity, "table", fill, report)


def table_sizes(clips: pd.DataFrame) -> tuple[dict[str, int], tuple[int, ...]]:
    """Rows of each clip in the tables, by its clip_id, and the number of descriptors; errors as of
    `build_tables`."""
    table = pd.concat([read_table(Path(path)) for path in sorted(set(clips["path"]))])
    n_rows = table.loc[table["clip_id"].isin(clips["clip_id"]), "clip_id"].value_counts()
    return {str(name): int(n) for name, n in n_rows.items()}, (len(_descriptors_in(table)),)


def _descriptors_in(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if name not in ("clip_id", "part")]
