"""Run folders that cost no training: the real classifier with random weights, in the real files.

For tests of what is done with a trained run, where what it has learned does not matter.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from conftest import TINY

from genrecore.config.run import RunConfig, with_values
from genrecore.evaluation.calibration import tempered
from genrecore.store import runs
from genrecore.store.run import Run
from genrecore.store.status import Status
from genrecore.training.classifier import Classifier
from genrecore.training.parts import ResolvedConfig
from genrecore.training.resolve import resolve
from genrecore.training.weights import save_classifier, weights_name

GENRES = ["blues", "hip hop", "jazz", "metal", "pop"]


def untrained_run(
    store: Path,
    genres: list[str] | None = None,
    shape: tuple[int, ...] = (),
    temperature: float = 0.0,
    seed: int = 7,
    **values: object,
) -> Run:
    """A finished run whose network was never trained.

    Args:
        store: The folder of the runs.
        genres: Sorted names.
        shape: Of an image, where the run takes those.
        temperature: Of stored validation predictions that ask for about this one; 0 stores none.
        seed: Of the weights.
        values: Settings that differ from those of the tiny run, `__` for a dot.
    """
    dotted = {key.replace("__", "."): value for key, value in values.items()}
    config = resolve(with_values(with_values(RunConfig(), TINY), dotted)).config
    return untrained_run_of(store, config, genres or GENRES, shape, temperature, seed)


def untrained_run_of(
    store: Path,
    config: RunConfig,
    genres: list[str],
    shape: tuple[int, ...] = (),
    temperature: float = 0.0,
    seed: int = 7,
) -> Run:
    """As `untrained_run`, of a resolved configuration."""
    run, lock = runs.create_held_run(config, store)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = Classifier(ResolvedConfig(config), genres, shape, pretrained=False).eval()
        _spread(classifier, config)
    save_classifier(classifier, run.folder / weights_name(classifier))
    if temperature:
        _predictions(genres, temperature).to_parquet(run.folder / "predictions.parquet")
    Status(run.folder).move("done")
    os.close(lock)
    return Run(run.folder)


@torch.inference_mode()
def _spread(classifier: Classifier, config: RunConfig) -> None:
    """Standardises on a few noises and makes the last layer decided: of a network as it is built,
    all genres are about equally probable, and a test would see little."""
    rate = config.audio.sample_rate_hz
    if classifier.given_shape:
        noises = torch.randint(0, 256, (8, *classifier.given_shape), dtype=torch.uint8)
    else:
        noises = 0.1 * torch.randn(8, 1, round(config.segments.segment_s * rate))
    features = classifier.feature(noises)
    classifier.fit_standardisation(lambda: [features])
    last = [layer for layer in classifier.network.modules() if isinstance(layer, torch.nn.Linear)][
        -1
    ]
    logits = classifier.logits(features)
    last.weight.data *= 2.0 / logits.std(dim=1).mean().clamp(min=1e-6)


def _predictions(genres: list[str], temperature: float, n: int = 400) -> pd.DataFrame:
    """Validation predictions of a network that is wrong about itself by this temperature."""
    generator = np.random.default_rng(1)
    honest = tempered(generator.dirichlet(np.ones(len(genres)), n), 0.5)
    right = [int(generator.choice(len(genres), p=row)) for row in honest]
    proba = tempered(honest, 1.0 / temperature)
    table = pd.DataFrame(
        {
            "clip_id": [f"c{k}" for k in range(n)],
            "split": "valid",
            "genre": [genres[k] for k in right],
        }
    )
    return table.assign(**{f"p_{genre}": proba[:, k] for k, genre in enumerate(genres)})
