"""What a pretrained tagger says of a song before anything was trained here.

Several tags may hold at once, each with a probability of its own; they are words that listeners
wrote, and say how the songs of the encoder's training sounded to them. They are never averaged with
the genres of a run, nor compared with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from genrecore.audio import decode
from genrecore.errors import UsageError
from genrecore.inference.sources import Source, as_file, display_name, fault_of
from genrecore.models.encoders import EncoderCard
from genrecore.models.encoders.files import check_present, load
from genrecore.store.progress import Phase, Report, silent
from genrecore.words import decimals, plural

_PATCHES_AT_ONCE = 20  # a minute of musicnn


@dataclass(frozen=True)
class Tags:
    """The tags of one recording.

    Attributes:
        name: The file's name, for display only.
        card: Of the encoder that tagged it.
        proba: Mean probability of each tag of the card, (tags,) float64; they do not sum to 1.
        over_time: `start_s, end_s` and a column a tag, one row a patch of sound.
        duration_s: Length of the recording.
        warning: A sentence where the file is damaged, or shorter than a patch; else empty.
    """

    name: str
    card: EncoderCard
    proba: np.ndarray
    over_time: pd.DataFrame
    duration_s: float
    warning: str = ""

    @property
    def genres(self) -> dict[str, float]:
        """The tags that name a genre, the most probable first."""
        return self._ordered(self.card.genre_tags)

    @property
    def others(self) -> dict[str, float]:
        """All other tags, the most probable first."""
        return self._ordered([tag for tag in self.card.tags if tag not in self.card.genre_tags])

    def _ordered(self, tags: Any) -> dict[str, float]:
        values = dict(zip(self.card.tags, self.proba.tolist(), strict=True))
        return {tag: values[tag] for tag in sorted(tags, key=lambda tag: -values[tag])}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "encoder": self.card.name,
            "duration_s": self.duration_s,
            "warning": self.warning,
            "genres": self.genres,
            "tags": self.others,
            "over_time": self.over_time.to_dict("records"),
        }


def about(card: EncoderCard) -> str:
    """What the tags of an encoder are, in two sentences."""
    return (
        f"{card.title} was trained on {card.trained_on}. It knows {plural(len(card.tags), 'tag')}; "
        "several may hold at once, so they do not add up to 100 %."
    )


def tag(
    source: Source,
    encoder: str = "musicnn",
    name: str | None = None,
    sample_rate_hz: float | None = None,
    report: Report = silent,
) -> Tags:
    """The tags of a recording of any length, and how they change over time.

    Args:
        source: What `genrecore.classify` takes, audio only.
        encoder: The name of an encoder that tags.
        name: What messages call the recording; by default its file name.
        sample_rate_hz: Of an array of samples.
        report: Called as `report(phase, done, total)`, in seconds of sound.

    Raises:
        UsageError: There is no such encoder, its weights are not here, or it has no tags.
        AudioError: The file cannot be used.
    """
    card, label = check_present(encoder), name or display_name(source)
    if not card.tags:
        raise UsageError(f"The encoder {encoder} makes embeddings, but knows no tags.")
    network, hop = load(encoder), card.hop_samples()
    rows: list[list[float]] = []
    with (
        fault_of(label),
        as_file(source, "wave", sample_rate_hz) as file,
        decode.stream(file, card.sample_rate_hz, name=label, accept_damaged=True) as stream,
        torch.inference_mode(),
    ):
        total_s = round(stream.announced_s)
        for wave in _pieces(stream.blocks(), card, hop):
            report(Phase.CLASSIFYING, round(len(rows) * hop / card.sample_rate_hz), total_s)
            rows += network.tag_logits(torch.from_numpy(wave)[None], hop)[0].sigmoid().tolist()
        duration_s, warning = stream.duration_s, stream.warning
    if duration_s < card.patch_s:
        short = (
            f"{label} lasts {decimals(duration_s)} s, less than the {decimals(card.patch_s)} s "
            "that the encoder listens to at a time; it was repeated."
        )
        warning = f"{warning} {short}".strip()
    proba = np.array(rows)
    start_s = np.arange(len(rows)) * hop / card.sample_rate_hz
    times = {"start_s": start_s, "end_s": np.minimum(start_s + card.patch_s, duration_s)}
    table = pd.DataFrame(times | {tag: proba[:, k] for k, tag in enumerate(card.tags)})
    return Tags(label, card, proba.mean(axis=0), table, duration_s, warning)


def _pieces(blocks: Iterator[np.ndarray], card: EncoderCard, hop: int) -> Iterator[np.ndarray]:
    """Waves of whole patches each, a minute or so, so that hours need no more memory. What is left
    at the end is less than a patch; a recording shorter than one is repeated until it fills it."""
    waiting, n_pieces, size = np.zeros(0, np.float32), 0, _PATCHES_AT_ONCE * hop
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= size + card.patch_samples:
            yield waiting[:size]
            waiting, n_pieces = waiting[size:], n_pieces + 1
    if len(waiting) >= card.patch_samples:
        yield waiting
    elif not n_pieces:
        yield np.resize(waiting, card.patch_samples)
