"""A trained run as a folder for others: weights, configuration and a model card.

The files have the names and forms of a model repository of the Hugging Face Hub: `config.json` with
the genres, `preprocessor_config.json` with the sample rate, `model.safetensors` (`model.skops` of a
classical model), and `README.md` with a header that the Hub reads. Where the run stands on a
pretrained encoder whose licence allows passing it on, that lies in the folder `encoder`; where the
run trained it on, without its weights, since `model.safetensors` holds those that it has now.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from genrecore import __version__
from genrecore.errors import GenrecoreError, UsageError, describe
from genrecore.evaluation.calibration import Calibration
from genrecore.evaluation.scores import run_scores
from genrecore.evaluation.thresholds import Thresholds
from genrecore.inference.loaded import FILES, LoadedRun
from genrecore.models import MODELS
from genrecore.models.encoders import EncoderCard
from genrecore.models.encoders.files import carry, check_present, copy_encoder
from genrecore.models.encoders.options import EncoderOptions
from genrecore.store.files import new_folder, read_json, write_json, write_text
from genrecore.store.run import Run
from genrecore.training.weights import load_classifier
from genrecore.words import decimals, percent, plural

_FORMAT = 1
_WEIGHTS = ("model.safetensors", "model.skops")
_ENCODER = "encoder"


def to_bundle(loaded: LoadedRun, folder: Path, precision: float | None = None) -> Path:
    """Writes a run as a bundle; the folder gets its name when it is complete.

    Args:
        loaded: The run.
        folder: A new or an empty folder, or an older bundle, which is replaced.
        precision: For which thresholds are written, in `config.json` and in the card.

    Raises:
        GenrecoreError: The folder holds something else, or cannot be written; or no such precision
            can be promised; or the encoder is missing, or may not be passed on where the run
            trained it.
    """
    encoder = loaded.classifier.resolved.encoder
    if encoder and not _is_frozen(loaded):
        refuse_unshared(loaded.run.run_id, encoder)
    elif encoder:
        check_present(encoder.name, encoder.sha256)
    thresholds = None if precision is None else loaded.thresholds(precision)
    folder = folder.absolute()
    if folder.exists() and not folder.is_dir():
        raise GenrecoreError(f"{folder} is a file; give a new folder.")
    if folder.is_dir() and any(folder.iterdir()) and not _is_bundle(folder):
        raise GenrecoreError(
            f"The folder {folder} holds something that is no bundle; give a new or empty one."
        )
    try:
        with new_folder(folder) as hidden:
            weights = loaded.run.weights
            shutil.copyfile(weights, hidden / f"model{weights.suffix}")
            write_json(hidden / "config.json", _config(loaded, thresholds))
            if loaded.medium == "wave":
                write_json(hidden / "preprocessor_config.json", _preprocessor(loaded))
            if encoder and encoder.may_be_shared and encoder.sha256:
                copy_encoder(encoder, hidden / _ENCODER, _is_frozen(loaded))
            write_text(hidden / "README.md", card(loaded, folder.name, thresholds))
            if folder.exists():
                shutil.rmtree(folder)
    except OSError as error:
        raise GenrecoreError(f"{folder} cannot be written: {describe(error)}") from None
    return folder


def refuse_unshared(run_id: str, encoder: EncoderCard) -> None:
    """Refuses to pass on what holds the weights of an encoder.

    Raises:
        GenrecoreError: Its licence does not allow it, or is unknown.
    """
    if not encoder.may_be_shared:
        raise GenrecoreError(
            f"What is written of the run {run_id} would hold weights of the encoder "
            f"{encoder.name}, and {_forbidden(encoder)}."
        )


def _forbidden(encoder: EncoderCard) -> str:
    if encoder.licence == "unknown":
        return "nobody knows whether they may be passed on: its licence is unknown"
    return f"its licence ({encoder.licence_note}) is none that is known to allow passing them on"


def _is_frozen(loaded: LoadedRun) -> bool:
    """Whether the run's weights are without those of its encoder."""
    return isinstance(loaded.classifier.resolved.feature.options, EncoderOptions)


def load(folder: str | Path) -> LoadedRun:
    """The classifier in a bundle, as `genrecore.load` gives that of a run.

    Raises:
        GenrecoreError: It is no bundle, or a file in it cannot be read.
    """
    folder = Path(folder).absolute()
    if not _is_bundle(folder):
        raise GenrecoreError(f"The folder {folder} is no bundle of genrecore.")
    values = read_json(folder / "config.json")["genrecore"]
    weights = next((folder / name for name in _WEIGHTS if (folder / name).exists()), None)
    if weights is None:
        raise GenrecoreError(f"The bundle {folder} holds no model.safetensors.")
    if values.get("format") != _FORMAT:
        raise GenrecoreError(
            f"The bundle {folder} has the form {values.get('format')}; this version reads "
            f"{_FORMAT}."
        )
    carry(folder / _ENCODER)
    if needed := values.get("encoder"):
        _check_encoder(needed)
    try:
        calibration = Calibration.from_json(values["calibration"])
    except (KeyError, TypeError, AttributeError):
        raise GenrecoreError(f"The bundle {folder} does not say how it is calibrated.") from None
    loaded = LoadedRun(Run(folder), load_classifier(weights), calibration)
    kept = values.get("selective")
    loaded.bundled = () if kept is None else (Thresholds.from_json(kept),)
    return loaded


def _check_encoder(needed: Any) -> None:
    """
    Raises:
        GenrecoreError: The encoder that a bundle needs is neither here nor part of it.
    """
    try:
        encoder = EncoderCard.model_validate(needed)
        check_present(encoder.name, encoder.sha256)
    except ValidationError:
        raise GenrecoreError("The bundle does not say which encoder it needs.") from None
    except UsageError:
        raise GenrecoreError(
            f"The bundle needs the encoder {encoder.name} with the checksum "
            f"{encoder.sha256[:8]} under the licence {encoder.licence_note}, which is not part of "
            f"it; {encoder.how_to_get}"
        ) from None


def _is_bundle(folder: Path) -> bool:
    return isinstance(read_json(folder / "config.json").get("genrecore"), dict)


def _config(loaded: LoadedRun, thresholds: Thresholds | None) -> dict[str, Any]:
    encoder = loaded.classifier.resolved.encoder
    needed = {}
    if encoder and encoder.sha256 and _is_frozen(loaded):
        needed = {"encoder": encoder.model_dump()}
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
            **({} if thresholds is None else {"selective": thresholds.as_json()}),
            **needed,
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


def card(loaded: LoadedRun, name: str = "model", thresholds: Thresholds | None = None) -> str:
    """The model card in Markdown: what it is, how it was trained and tested, how to use it, and
    from which confidence on its answers are to be believed."""
    run, config = loaded.run, loaded.config
    try:
        scores = run_scores(run)
    except GenrecoreError:
        scores = {"n_clips": 0}
    tested = "It was not tested."
    if scores["n_clips"]:
        low, high = (percent(scores[f"accuracy_{end}"]) for end in ("low", "high"))
        tested = (
            f"Test accuracy {percent(scores['accuracy'])} (95 % interval {low} to {high}) on "
            f"{plural(int(scores['n_clips']), 'clip')}; macro-F1 "
            f"{decimals(scores['macro_f1'], 3)}."
        )
    caveats = "".join(f"- **{caveat}**\n" for caveat in run.caveats)
    takes = (
        f"A clip is decoded to mono at {config.audio.sample_rate_hz} Hz; its middle "
        f"{config.audio.clip_s:g} s are classified in segments of {config.segments.segment_s:g} s. "
        "The standardisation of the features was fitted on the training clips and is part of the "
        "weights."
    )
    if loaded.medium == "image":
        _, height, width = loaded.classifier.given_shape
        takes = f"It takes images of {width} × {height} pixels as its dataset has them."
    elif loaded.medium != "wave":
        width = loaded.classifier.given_shape[-1]
        takes = f"It takes {FILES[loaded.medium].several} of {width} numbers (.npy, .npz)."
    model = MODELS[config.model.name]
    source = f" ({model.source})" if model.source else ""
    return f"""---
{_header(loaded, scores, name)}
---

# {model.title}, trained to tell {len(loaded.genres)} genres of music apart

The model `{config.model.name}`{source} on the feature `{config.feature.name}`, trained by
{run.trained_by} as run `{run.run_id}`. These files were written by genrecore {__version__}.

Genres: {", ".join(loaded.genres)}.

{_on_encoder(loaded)}## Training and test

- Dataset `{config.dataset.name}`, split `{config.split.name}`, seed {config.seed}.
- {tested}
{caveats}- {loaded.calibration.sentence}

## Use

```python
from genrecore.inference import bundle

prediction = bundle.load("{name}").classify("clip.mp3")
print(prediction.genre, prediction.proba)
```

{takes}
{_not_sure(thresholds)}
Genres are what a dataset's makers called them. Music unlike its training clips, speech and noise
get a genre as well.
"""


def _on_encoder(loaded: LoadedRun) -> str:
    """The encoder as a section of the card; empty without any."""
    encoder = loaded.classifier.resolved.encoder
    if encoder is None:
        return ""
    carried = "It lies in the folder `encoder`."
    if not encoder.may_be_shared:
        carried = f"It is not part of this model, since {_forbidden(encoder)}; {encoder.how_to_get}"
    elif not encoder.sha256:
        carried = "Its weights are not part of this model."
    elif not _is_frozen(loaded):
        carried = "Its weights are part of this model; the folder `encoder` says how it is built."
    how = "with frozen weights" if _is_frozen(loaded) else "and trained it on"
    limit = "**For non-commercial use only.** " if encoder.non_commercial else ""
    return f"""## Encoder

It stands on the pretrained encoder `{encoder.name}` ({encoder.title}; {encoder.made_by}) {how}.

- {limit}Licence: {encoder.licence_note}. {carried}
- Trained on: {encoder.trained_on}.

"""


def _not_sure(thresholds: Thresholds | None) -> str:
    """The thresholds as a section of the card; empty without any."""
    if thresholds is None:
        return ""
    rows = "".join(
        f"| {genre} | {'never answered' if least is None else decimals(least, 6)} |\n"
        for genre, least in thresholds.of_genre.items()
    )
    return f"""
## When it is not sure

So that {percent(thresholds.precision)} of the answers are right, take a genre for an answer only
from this calibrated probability on (`classify("clip.mp3", precision={thresholds.precision:g})`):

| genre | least probability |
|---|---|
{rows}"""


def _header(loaded: LoadedRun, scores: dict[str, Any], name: str) -> str:
    """The card's YAML; its values are written as JSON, which is YAML too."""
    tasks = {"wave": "audio-classification", "image": "image-classification"}
    task = tasks.get(loaded.medium, "tabular-classification")
    header: dict[str, Any] = {
        "library_name": "genrecore",
        "pipeline_tag": task,
        "tags": ["music", "music-genre-classification", loaded.config.model.name],
    }
    if scores["n_clips"]:
        dataset = loaded.config.dataset.name
        metrics = {"accuracy": scores["accuracy"], "f1": scores["macro_f1"]}
        result = {
            "task": {"type": task},
            "dataset": {"name": dataset, "type": dataset, "split": "test"},
            "metrics": [
                {"type": metric, "value": round(value, 4)}
                for metric, value in metrics.items()
                if math.isfinite(value)
            ],
        }
        header["metrics"] = list(metrics)
        header["model-index"] = [{"name": name, "results": [result]}]
    return "\n".join(
        f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in header.items()
    )
