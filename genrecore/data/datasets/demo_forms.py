"""The demo music in GTZAN's published forms: wav files, both tables of descriptors, images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from PIL import Image

from genrecore.data.datasets.gtzan_forms import IMAGES, TABLES
from genrecore.data.datasets.tables import DESCRIPTORS
from genrecore.data.parallel import in_order
from genrecore.store.progress import Phase, Report

FORMS = ("audio", "images", *TABLES)
"""As GTZAN's option `form` names them."""

IMAGE_SIZE = (432, 288)
"""Width and height of GTZAN's images, in pixels."""

N_PARTS = 10
"""Rows of a clip in the table of parts."""

# From quiet to loud; lightness rises all the way, so that grey images say the same.
_COLOURS = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))
_TOP_DB = 80.0


def write(clips: pd.DataFrame, form: str, folder: Path, report: Report) -> None:
    """Writes clips (wav files named `<genre>.NNNNN`) in one of `FORMS` into an existing folder,
    laid out and named as GTZAN is.

    Images are log-mel spectrograms (128 bands, 432 × 288 pixels, RGBA) without axes. The table
    of parts has ten rows a clip, each of a tenth of it.

    Raises:
        OSError: The folder cannot be written.
    """
    if form == "audio":
        for n_done, clip in enumerate(clips.itertuples()):
            report(Phase.WRITING_AUDIO, n_done, len(clips))
            copy = folder / "genres_original" / str(clip.genre) / f"{clip.clip_id}.wav"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(clip.path), copy)
    elif form == "images":
        _write_images(clips, folder, report)
    else:
        _write_table(clips, folder / TABLES[form], 1 if form == "table_30s" else N_PARTS, report)


def image_path(folder: Path, genre: str, clip_id: str) -> Path:
    """Where the image of a clip lies: blues/blues00000.png, as GTZAN's are named."""
    return folder / IMAGES / genre / f"{clip_id.replace('.', '')}.png"


def _write_images(clips: pd.DataFrame, folder: Path, report: Report) -> None:
    for genre in clips["genre"].unique():
        (folder / IMAGES / str(genre)).mkdir(parents=True, exist_ok=True)

    def draw(clip: tuple[str, str, str]) -> None:
        clip_id, source, genre = clip
        wave, rate_hz = soundfile.read(source, dtype="float32")
        path = image_path(folder, genre, clip_id)
        _spectrogram_image(wave, rate_hz).save(path, compress_level=3)

    list(in_order(draw, _items(clips), report, Phase.DRAWING_IMAGES))


def _spectrogram_image(wave: np.ndarray, rate_hz: int) -> Image.Image:
    import torch  # late: listing datasets must not wait for it

    from genrecore.audio import spectra

    with torch.inference_mode():
        power = spectra.power_spectrogram(torch.from_numpy(wave)[None], 2048, 512)
        mel = spectra.mel_filters(rate_hz, 2048, 128) @ power
        decibels = spectra.power_to_db(mel, _TOP_DB)[0].numpy()
    share = np.clip((decibels - decibels.max()) / _TOP_DB + 1.0, 0.0, 1.0)[::-1]  # low at the foot
    stops = np.linspace(0.0, 1.0, len(_COLOURS))
    channels = [np.interp(share, stops, [colour[k] for colour in _COLOURS]) for k in range(3)]
    rgb = np.rint(np.stack(channels, axis=2)).astype(np.uint8)
    return Image.fromarray(rgb).resize(IMAGE_SIZE, Image.Resampling.BILINEAR).convert("RGBA")


def _write_table(clips: pd.DataFrame, path: Path, n_parts: int, report: Report) -> None:
    from genrecore.audio.descriptors import descriptors

    def rows_of(clip: tuple[str, str, str]) -> list[dict[str, object]]:
        clip_id, source, genre = clip
        wave, rate_hz = soundfile.read(source, dtype="float32")
        length = len(wave) // n_parts
        rows: list[dict[str, object]] = []
        for part in range(n_parts):
            values = descriptors(wave[part * length : (part + 1) * length], rate_hz)
            name = f"{clip_id}.wav" if n_parts == 1 else f"{clip_id}.{part}.wav"
            numbers = dict(zip(DESCRIPTORS, values.tolist(), strict=True))
            rows.append({"filename": name, "length": length, **numbers, "label": genre})
        return rows

    results = in_order(rows_of, _items(clips), report, Phase.DESCRIPTORS)
    pd.DataFrame([row for rows in results for row in rows]).to_csv(path, index=False)


def _items(clips: pd.DataFrame) -> list[tuple[str, str, str]]:
    return list(clips[["clip_id", "path", "genre"]].itertuples(index=False, name=None))
