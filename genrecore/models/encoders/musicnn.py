"""musicnn: a network trained to tag songs, whose inner values describe music well.

Its first filters are as tall as timbres are wide and as long as rhythms last.

Source: Pons & Serra, musicnn: Pre-trained convolutional neural networks for music audio tagging,
ISMIR 2019 late-breaking; Pons et al., End-to-end learning for music audio tagging at scale, ISMIR
2018. Ours differs from the published program in keeping float32 where it takes its mel powers to
float16, which overflows in loud music.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from genrecore.audio.spectra import FilterBank, full_precision, mel_filters
from genrecore.errors import GenrecoreError
from genrecore.models.encoders.registered import (
    ENCODER_KINDS,
    PUBLISHED,
    Encoder,
    EncoderCard,
    EncoderKind,
)
from genrecore.models.encoders.tensorflow_checkpoint import read_checkpoint
from genrecore.store.files import file_sha256
from genrecore.store.zips import bounded_zip

_WEIGHTS = "weights.safetensors"
SAMPLE_RATE_HZ = 16_000
N_FFT, HOP = 512, 256
N_MELS = 96
PATCH_FRAMES = 187
_FRONT = ((204, 7, 38), (204, 7, 67), (51, 128, 1), (51, 64, 1), (51, 32, 1))
"""Maps, frames and bands of the first filters: two for timbre, three for time."""
_AT_ONCE = 10  # patches, on a processor
LAYERS = {"penultimate": 200, "pooled": 1506}
"""Layers that serve as an embedding, and their numbers: the 200 units before the tags, and the
maxima and means over time below them."""


def _tags(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


MSD_TAGS = _tags(
    "rock, pop, alternative, indie, electronic, female vocalists, dance, 00s, alternative "
    "rock, jazz, beautiful, metal, chillout, male vocalists, classic rock, soul, indie rock, "
    "Mellow, electronica, 80s, folk, 90s, chill, instrumental, punk, oldies, blues, hard "
    "rock, ambient, acoustic, experimental, female vocalist, guitar, Hip-Hop, 70s, party, "
    "country, easy listening, sexy, catchy, funk, electro, heavy metal, Progressive rock, "
    "60s, rnb, indie pop, sad, House, happy"
)
"""Tags of the Million Song Dataset, in the order of the network's outputs."""

MTT_TAGS = _tags(
    "guitar, classical, slow, techno, strings, drums, electronic, rock, fast, piano, ambient, "
    "beat, violin, vocal, synth, female, indian, opera, male, singing, vocals, no vocals, "
    "harpsichord, loud, quiet, flute, woman, male vocal, no vocal, pop, soft, sitar, solo, "
    "man, classic, choir, voice, new age, dance, male voice, female vocal, beats, harp, "
    "cello, no voice, weird, country, metal, female voice, choral"
)
"""Tags of MagnaTagATune, in the order of the network's outputs."""

GENRE_TAGS = frozenset(
    _tags(
        "rock, pop, alternative, indie, electronic, dance, alternative rock, jazz, metal, classic "
        "rock, soul, indie rock, electronica, folk, punk, blues, hard rock, ambient, Hip-Hop, "
        "country, funk, electro, heavy metal, Progressive rock, rnb, indie pop, House, classical, "
        "techno, new age, opera, classic, indian"
    )
)
"""The tags of both sets that name a genre."""


class Musicnn(Encoder):
    """Waves at 16 kHz → embeddings, and logits of 50 tags, of patches of 187 frames, 2.98 s."""

    def __init__(self) -> None:
        super().__init__()
        self.mel = FilterBank(mel_filters(SAMPLE_RATE_HZ, N_FFT, N_MELS), N_FFT, HOP)
        self.normalise = _norm2d(1)
        self.front = nn.ModuleList(nn.Conv2d(1, n, (time, bands)) for n, time, bands in _FRONT)
        self.front_norms = nn.ModuleList(_norm2d(n) for n, _, _ in _FRONT)
        n_front = sum(n for n, _, _ in _FRONT)
        self.middle = nn.ModuleList(nn.Conv1d(n, 64, 7, padding=3) for n in (n_front, 64, 64))
        self.middle_norms = nn.ModuleList(nn.BatchNorm1d(64, eps=1e-3) for _ in range(3))
        self.pooled_norm: nn.Module = nn.BatchNorm1d(LAYERS["pooled"], eps=1e-3)
        self.dense: nn.Module = nn.Linear(LAYERS["pooled"], LAYERS["penultimate"])
        self.dense_norm: nn.Module = nn.BatchNorm1d(LAYERS["penultimate"], eps=1e-3)
        self.tags: nn.Module = nn.Linear(LAYERS["penultimate"], len(MSD_TAGS))
        self.mel.to(next(self.parameters()).device)

    def embeddings(self, waves: Tensor, layers: tuple[str, ...], hop_samples: int) -> Tensor:
        patches = self.log_mel(waves).unfold(1, PATCH_FRAMES, hop_samples // HOP).transpose(2, 3)
        values = self.patch_embeddings(patches.flatten(0, 1), layers)
        return values.float().unflatten(0, patches.shape[:2])

    def tag_logits(self, waves: Tensor, hop_samples: int) -> Tensor:
        units = self.embeddings(waves, ("penultimate",), hop_samples)
        return self.tags(self.dense_norm(units.flatten(0, 1))).unflatten(0, units.shape[:2])

    def _front(self, image: Tensor) -> Tensor:
        """Maps (patches, 561, frames) of the first filters, the maximum over the bands, of images
        (patches, 1, frames, bands)."""
        values = []
        for convolution, norm, (_, length, _) in zip(
            self.front, self.front_norms, _FRONT, strict=True
        ):
            n = length - 1
            maps = convolution(functional.pad(image, (0, 0, n // 2, n - n // 2)))
            if self.training:  # the statistics are those of all bands
                values.append(norm(maps.relu()).amax(dim=3))
                continue
            # Rectifying and normalising keep the order of a map's values, or turn it around.
            rises = norm.get_parameter("weight")[:, None] >= 0
            extreme = torch.where(rises, maps.amax(dim=3), maps.amin(dim=3))
            values.append(norm(extreme.relu()[..., None])[..., 0])
        return torch.cat(values, dim=1)

    def only(self, layers: tuple[str, ...]) -> Self:
        self.dense_norm, self.tags = nn.Identity(), nn.Identity()
        if "penultimate" not in layers:
            self.pooled_norm, self.dense = nn.Identity(), nn.Identity()
        return self

    def log_mel(self, waves: Tensor) -> Tensor:
        """Logarithms of mel powers (batch, frames, bands) of waves (batch, n_samples)."""
        power = self.mel(waves).transpose(1, 2)
        with full_precision(power):
            return torch.log10(1.0 + 10_000.0 * power)

    def patch_embeddings(
        self, patches: Tensor, layers: tuple[str, ...] = ("penultimate",)
    ) -> Tensor:
        """One embedding (patches, numbers) of each patch (patches, frames, bands)."""
        if self.training or patches.device.type != "cpu" or torch.compiler.is_exporting():
            return self._embeddings(self._front(self.normalise(patches[:, None])), layers)
        # The maps of a filter stay in the processor's cache patch by patch (2.1 times as fast), and
        # what comes above them ten patches at a time (1.2 times as fast as eighty).
        parts = []
        for some in patches.split(_AT_ONCE):
            images = self.normalise(some[:, None]).split(1)
            parts.append(self._embeddings(torch.cat([*map(self._front, images)]), layers))
        return torch.cat(parts)

    def _embeddings(self, values: Tensor, layers: tuple[str, ...]) -> Tensor:
        """Embeddings (patches, numbers) of the first filters' values (patches, 561, frames)."""
        levels = [values]
        for convolution, norm in zip(self.middle, self.middle_norms, strict=True):
            made = norm(convolution(values).relu())
            values = made if len(levels) == 1 else made + values
            levels.append(values)
        every = torch.cat(levels, dim=1)
        pooled = torch.stack([every.amax(dim=2), every.mean(dim=2)], dim=2).flatten(1)
        if layers == ("pooled",):
            return pooled
        units = self.dense(self.pooled_norm(pooled)).relu()
        return torch.cat([pooled if layer == "pooled" else units for layer in layers], dim=1)


def _norm2d(n: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(n, eps=1e-3)  # TensorFlow's


def tensors_from(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The state dict of `Musicnn` from the variables of its published TensorFlow checkpoint.

    Raises:
        KeyError: A variable is missing.
    """
    state = {}
    for target, name in zip(_targets("front", 5) + _targets("middle", 3), range(8), strict=True):
        source = _numbered("conv2d", name)
        kernel = arrays[f"{source}/kernel"]  # time, band, 1, maps
        if target.startswith("middle"):  # whose bands are the maps below
            state[f"{target}.weight"] = kernel[:, :, 0].transpose(2, 1, 0)
        else:
            state[f"{target}.weight"] = kernel.transpose(3, 2, 0, 1)
        state[f"{target}.bias"] = arrays[f"{source}/bias"]
    for target, source in (("dense", "dense"), ("tags", "dense_1")):
        state[f"{target}.weight"] = arrays[f"{source}/kernel"].T
        state[f"{target}.bias"] = arrays[f"{source}/bias"]
    norms = ["normalise", *_targets("front_norms", 5), *_targets("middle_norms", 3)]
    for k, target in enumerate([*norms, "pooled_norm", "dense_norm"]):
        for ours, theirs in _NORM.items():
            source = _numbered("batch_normalization", k)
            state[f"{target}.{ours}"] = arrays[f"{source}/{theirs}"]
        state[f"{target}.num_batches_tracked"] = np.zeros((), np.int64)
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in state.items()}


_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def _targets(name: str, n: int) -> list[str]:
    return [f"{name}.{k}" for k in range(n)]


def _numbered(name: str, k: int) -> str:
    """How TensorFlow numbers layers of one kind: the first has no number."""
    return f"{name}_{k}" if k else name


_WHEEL = "musicnn-0.1.0-py3-none-any.whl"
_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"


def _card(name: str, title: str, trained_on: str, tags: tuple[str, ...]) -> EncoderCard:
    return EncoderCard(
        name=name,
        title=title,
        kind="musicnn",
        made_by="Pons & Serra, Universitat Pompeu Fabra; musicnn: Pre-trained convolutional neural "
        "networks for music audio tagging, 2019",
        licence="ISC",
        may_be_shared=True,
        sample_rate_hz=SAMPLE_RATE_HZ,
        patch_s=(PATCH_FRAMES - 1) * HOP / SAMPLE_RATE_HZ,
        hop_s=PATCH_FRAMES * HOP / SAMPLE_RATE_HZ,
        hop_multiple=HOP,
        layers=LAYERS,
        n_parameters=787_159,
        trained_on=trained_on,
        tags=tags,
        genre_tags=tuple(tag for tag in tags if tag in GENRE_TAGS),
    )


_MODELS = {"musicnn": "MSD_musicnn", "musicnn_mtt": "MTT_musicnn"}
_CARDS = {
    card.name: card
    for card in (
        _card(
            "musicnn",
            "musicnn (Million Song Dataset)",
            "200,000 songs of the Million Song Dataset with 50 tags of Last.fm; they may hold "
            "songs of GTZAN",
            MSD_TAGS,
        ),
        _card(
            "musicnn_mtt",
            "musicnn (MagnaTagATune)",
            "19,000 excerpts of MagnaTagATune with 50 tags",
            MTT_TAGS,
        ),
    )
}
for _each in _CARDS.values():
    PUBLISHED.register(
        _each.name,
        title=_each.title,
        source=_each.made_by,
        package="musicnn==0.1.0",
        file_sha256=_SHA256,
        n_bytes=29_292_476,
    )(_each)


def _find(path: Path, name: str) -> list[tuple[EncoderCard, Callable[[Path], object]]]:
    """Both networks in the published wheel.

    Raises:
        GenrecoreError: It is another file than the published one.
    """
    if file_sha256(path) != _SHA256:
        raise GenrecoreError(
            f"{path.name} is not the published file {_WHEEL}: its SHA-256 checksum is another. "
            "Fetch it again."
        )
    found: list[tuple[EncoderCard, Callable[[Path], object]]] = []
    with open(path, "rb") as stream, bounded_zip(stream, 1000) as archive:
        for card in _CARDS.values():
            folder = f"musicnn/{_MODELS[card.name]}"
            index = archive.read(f"{folder}/.index")
            data = archive.read(f"{folder}/.data-00000-of-00001")
            state = tensors_from(read_checkpoint(index, data))
            found.append((card, partial(_write, state)))
    return found


def _write(state: dict[str, Tensor], folder: Path) -> None:
    save_file(state, folder / _WEIGHTS)


def _read(folder: Path, card: EncoderCard) -> Encoder:
    network = Musicnn()
    network.load_state_dict(load_file(folder / _WEIGHTS))
    return network


ENCODER_KINDS.register("musicnn", title="musicnn")(
    EncoderKind(
        expects=f"{_WHEEL} of Python's package index",
        files=(_WEIGHTS,),
        takes=lambda path: path.name.startswith("musicnn-") and path.suffix == ".whl",
        find=_find,
        read=_read,
        blank=lambda folder, card: Musicnn(),
        in_torch=True,
    )
)
