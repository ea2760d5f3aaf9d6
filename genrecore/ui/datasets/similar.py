"""Search by example on pages: the clips of a run's dataset that are nearest by an encoder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from genrecore.config.command import dataset_words
from genrecore.evaluation.embeddings import Embedding
from genrecore.inference.clip_embeddings import Embedder, by_encoder, kept, kept_in
from genrecore.inference.similar import similar
from genrecore.models.encoders.files import card_of
from genrecore.store.run import Run
from genrecore.ui.parts.cache import cached_by_files, in_runs, no_files
from genrecore.ui.parts.encoders import fetch_panel
from genrecore.ui.parts.tasks import task_panel

_N_NEAREST = 5
_NOT_EMBEDDED = (
    "This encoder has not heard the clips of the dataset yet.",
    "Each goes through it once, about half a second for 30 s of sound. It goes on when you close "
    "this page.",
)


def nearest_by_encoder(
    encoder: str, run: Run, path: Path, name: str, but: tuple[str, ...] = ()
) -> pd.DataFrame | None:
    """The clips of a run's dataset that are nearest to a recording, as of `similar`; None, and the
    button that helps, where the encoder or the embeddings of the clips are not here.

    Args:
        encoder: Its name.
        run: Whose clips are searched.
        path: The recording.
        name: What messages call it.
        but: Clips to leave out.

    Raises:
        AudioError: The recording cannot be used.
    """
    sha256 = card_of(encoder).sha256
    if not sha256:
        fetch_panel(encoder)
        return None
    if _embedding(run, encoder, sha256) is None:
        dataset = run.config.dataset
        words = ["similar", "--in", dataset.name, *dataset_words(dataset), "--encoder", encoder]
        title = f"Embedding the clips of {dataset.name}"
        icon = ":material/near_me:"
        task_panel("Embed the clips", words, title, "similar_start", icon, absent=_NOT_EMBEDDED)
        return None
    return _nearest(run, encoder, sha256, path, name, but)


@cached_by_files(no_files, max_entries=4, shared=True)
def _embedder(encoder: str, sha256: str) -> Embedder:
    return by_encoder(encoder)


def _files(run: Run, encoder: str, sha256: str, *_: object) -> list[Path]:
    return [*in_runs("clips.parquet")(run), *kept_in(_embedder(encoder, sha256))]


@cached_by_files(_files, spinner="Reading the embeddings …", max_entries=4, shared=True)
def _embedding(run: Run, encoder: str, sha256: str) -> Embedding | None:
    clips = run.clips
    if clips is None or "path" not in clips:
        return None
    return kept(clips[clips["path"].notna()], _embedder(encoder, sha256))


@cached_by_files(_files, spinner="Searching …", max_entries=64)
def _nearest(
    run: Run, encoder: str, sha256: str, path: Path, name: str, but: tuple[str, ...]
) -> pd.DataFrame:
    embedding = _embedding(run, encoder, sha256)
    if embedding is None:
        return pd.DataFrame()
    return similar(path, embedding, _embedder(encoder, sha256), _N_NEAREST, name, but)
