"""A trained run as a folder for others: weights, configuration and a model card.

The files have the names and forms of a model repository of the Hugging Face Hub: `config.json` with
the genres, `preprocessor_config.json` with the sample rate, `model.safetensors` (`model.skops` of a
classical model), and `README.md` with a header that the Hub reads. `load` makes of it what
`genrecore.load` makes of a run.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

from genrecore import __version__
from genrecore.errors import GenrecoreError, describe
from genrecore.evaluation.calibration import Calibration
from genrecore.evaluation.scores import run_scores
from genrecore.inference.loaded import LoadedRun
from genrecore.models import MODELS
from genrecore.store.files import new_folder, read_json, write_json, write_text
from genrecore.store.run import Run
from genrecore.training.weights import load_classifier

_FORMAT = 1


def to_bundle(loaded: LoadedRun, folder: Path) -> Path:
    """Writes a run as a bundle; the folder gets its name when it is complete.

    Args:
        loaded: The run.
        folder: A new or an empty folder, or an older bundle, which is replaced.

    Raises:
        GenrecoreError: The folder holds something else, or cannot be written.
    """
    folder = folder.absolute()
    if folder.is_dir() and any(folder.iterdir()) and not _is_bundle(folder):
        raise GenrecoreError(
            f"The folder {folder} holds something that is no bundle; give a new or empty one."
        )
    if folder.exists() and not folder.is_dir():
        raise GenrecoreError(f"{folder} is a file; give a new folder.")
    try:
        with new_folder(folder) as hidden:
            weights = loaded.run.weights
            shutil.copyfile(weights, hidden / f"model{weights.suffix}")
            write_json(hidden / "config.json", _config(loaded))
            if loaded.medium == "wave":
                write_json(hidden / "preprocessor_config.json", _preprocessor(loaded))
            write_text(hidden / "README.md", card(loaded, folder.name))
            if folder.exists():
                shutil.rmtree(folder)
    except OSError as error:
        raise GenrecoreError(f"{folder} cannot be written: {describe(error)}") from None
    return folder


def load(folder: str | Path) -> LoadedRun:
    """The classifier in a bundle.

    Raises:
        GenrecoreError: It is no bundle, or a file in it cannot be read.
    """
    place = Path(folder).absolute()
    if not _is_bundle(place):
        raise GenrecoreError(f"The folder {place} is no bundle of genrecore.")
    given = read_json(place / "config.json")["genrecore"]
    weights = next((p for p in sorted(place.glob("model.*")) if p.suffix in _WEIGHTS), None)
    if weights is None:
        raise GenrecoreError(f"The bundle {place} holds no model.safetensors.")
    if given.get("format") != _FORMAT:
        raise GenrecoreError(
            f"The bundle {place} has the form {given.get('format')}; this version reads {_FORMAT}."
        )
    try:
        calibrated = Calibration.from_json(given["calibration"])
    except (KeyError, TypeError, AttributeError):
        raise GenrecoreError(f"The bundle {place} does not say how it is calibrated.") from None
    return LoadedRun(Run(place), load_classifier(weights), calibrated)


_WEIGHTS = (".safetensors", ".skops")


def _is_bundle(folder: Path) -> bool:
    return isinstance(read_json(folder / "config.json").get("genrecore"), dict)


def _config(loaded: LoadedRun) -> dict[str, Any]:
    return {
        "model_type": "genrecore",
        "architectures": [loaded.config.model.name],
        "id2label": {str(k): genre for k, genre in enumerate(loaded.genres)},
        "label2id": {genre: k for k, genre in enumerate(loaded.genres)},
        "genrecore": {
            "format": _FORMAT,
            "version": __version__,
            "run": loaded.run.run_id,
            "medium": loaded.medium,
            "calibration": loaded.calibration.as_json(),
            "config": loaded.config.model_dump(mode="json"),
        },
    }


def _preprocessor(loaded: LoadedRun) -> dict[str, Any]:
    return {
        "sampling_rate": loaded.config.audio.sample_rate_hz,
        "feature_size": 1,
        "padding_value": 0.0,
        "clip_s": loaded.config.audio.clip_s,
        "segment_s": loaded.config.segments.segment_s,
        "overlap": loaded.config.segments.overlap,
    }


def card(loaded: LoadedRun, name: str = "model") -> str:
    """The model card in Markdown: what it is, how it was trained and tested, how to use it."""
    run, config = loaded.run, loaded.config
    entry = MODELS[config.model.name]
    measured = _measured(run)
    lines = ["---", *_header(loaded, measured, name), "---", ""]
    lines += [f"# {entry.title}, trained to tell {len(loaded.genres)} genres of music apart", ""]
    source = f" ({entry.source})" if entry.source else ""
    lines += [
        f"The model `{config.model.name}`{source} on the feature `{config.feature.name}`, trained "
        f"by genrecore {__version__} as run `{run.run_id}`.",
        "",
        f"Genres: {', '.join(loaded.genres)}.",
        "",
        "## Training and test",
        "",
        f"- Dataset `{config.dataset.name}`, split `{config.split.name}`, seed {config.seed}.",
    ]
    if measured:
        low, high = (f"{100 * measured[k]:.1f}" for k in ("accuracy_low", "accuracy_high"))
        lines += [
            f"- Test accuracy {100 * measured['accuracy']:.1f} % (95 % interval {low} to {high}) "
            f"on {int(measured['n_clips'])} clips; macro F1 {measured['macro_f1']:.3f}."
        ]
    else:
        lines += ["- It was not tested."]
    if run.badge:
        lines += [f"- **{run.badge}**: the accuracy is higher than on music it has not heard."]
    lines += [f"- {loaded.calibration.sentence}", "", "## Use", ""]
    lines += [
        "```python",
        "from genrecore import bundle",
        "",
        f'verdict = bundle.load("{name}").classify("clip.mp3")',
        "print(verdict.genre, verdict.proba)",
        "```",
        "",
    ]
    if loaded.medium == "wave":
        lines += [
            f"A clip is decoded to mono at {config.audio.sample_rate_hz} Hz; its middle "
            f"{config.audio.clip_s:g} s are judged in segments of "
            f"{config.segments.segment_s:g} s. The standardisation of the features was fitted on "
            "the training clips and is part of the weights.",
            "",
        ]
    else:
        _, height, width = loaded.classifier.given_shape
        lines += [f"It takes pictures of {width} × {height} pixels as its dataset has them.", ""]
    lines += [
        "Genres are what a dataset's makers called them. Music unlike its training clips, speech "
        "and noise get a genre as well.",
        "",
    ]
    return "\n".join(lines)


def _measured(run: Run) -> dict[str, float]:
    try:
        found = run_scores(run)
    except GenrecoreError:
        return {}
    return found if found["n_clips"] else {}


def _header(loaded: LoadedRun, measured: dict[str, float], name: str) -> list[str]:
    """The card's YAML, whose texts are written as JSON: every JSON text is one of YAML, too."""

    def text(value: str) -> str:
        return json.dumps(value, ensure_ascii=False)

    task = "audio-classification" if loaded.medium == "wave" else "image-classification"
    lines = [
        "library_name: genrecore",
        f"pipeline_tag: {task}",
        "tags:",
        "- music",
        "- music-genre-classification",
        f"- {text(loaded.config.model.name)}",
    ]
    if not measured:
        return lines
    lines += [
        "metrics:", "- accuracy", "- f1",
        "model-index:",
        f"- name: {text(name)}",
        "  results:",
        "  - task:",
        f"      type: {task}",
        "    dataset:",
        f"      name: {text(loaded.config.dataset.name)}",
        f"      type: {text(loaded.config.dataset.name)}",
        "      split: test",
        "    metrics:",
    ]  # fmt: skip
    for kind, value in (("accuracy", measured["accuracy"]), ("f1", measured["macro_f1"])):
        if math.isfinite(value):
            lines += [f"    - type: {kind}", f"      value: {value:.4f}"]
    return lines
