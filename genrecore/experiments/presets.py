"""The tables of the studies that vary a setting, as plans.

An entry's thing is a `Table`: what all its runs share, and grids of values. Importing this imports
torch (it reads the studies' inputs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genrecore.config.registry import Registry
from genrecore.experiments.draft import Grid
from genrecore.features import PRESETS


@dataclass(frozen=True)
class PlanFacts:
    """What there is to know of a table.

    Attributes:
        published: The figures that the study prints.
        notes: A sentence on each thing that it leaves open, and on what is chosen here.
    """

    published: str
    notes: tuple[str, ...]


PLANS = Registry("plan", PlanFacts)

_LIU = "Liu, Vetshchaizer & Yip, Music Genre Classification using CNN-Hybrid Architectures"
_QIN = "Qin, Zhuo & Ren, Research of RNNs: LSTM, CNNs: ResNet-18, and MNNs, UMass Amherst"
_BELTON = "Belton, COMP47650 Deep Learning Project, University College Dublin"


@dataclass(frozen=True)
class Table:
    """A table of a study as a plan.

    Attributes:
        values: Dotted fields that all its runs share.
        grids: What varies.
    """

    values: dict[str, Any]
    grids: Sequence[Grid]


def source_of(name: str) -> str:
    """Where a table stands and what the study prints in it, as sentences."""
    entry = PLANS[name]
    return f"{entry.source}. {entry.facts.published}"


_LEAKS = (
    "The study's split keeps no artists apart, so its runs are allowed to leak and wear the badge; "
    "with the split by_artist and without allowed leaks the same table is a clean one."
)
_AS_PUBLISHED = {"allow_leaks": True}

_LIU_NETWORKS = ["cnn", "dcnn", "crnn", "dcrnn"]
_LIU_VALUES = {
    **PRESETS["liu_mel"].thing,
    **_AS_PUBLISHED,
    "dataset": "fma_small",
    "split": "liu",
    "augment": "pitch_variants,tempo_variants",
    "training.optimiser": "adam",
    "training.lr": 1e-3,
    "training.batch_size": 64,
    "training.epochs": 50,
}
_LIU_NOTES = (
    "The study trains on the clips and four changed copies of each; that its tables do, too, is "
    "understood, not printed.",
    "Its figures show 50 epochs; the epoch with the best validation accuracy is tested here.",
    _LEAKS,
)

PLANS.register(
    "liu_batch_sizes",
    title="Liu, Table 1: batch sizes",
    source=f"{_LIU}, sections 3.3 and 4.1.1, Table 1",
    published="Test accuracy with batches of 4, 16, 32, 64: CNN 35.49, 27.37, 35.37, 37.75 %; DCNN "
    "38.12, 35.00, 37.87, 36.50 %; CRNN 26.37, 41.85, 41.25, 38.12 %; DCRNN 42.50, 40.63, 44.12, "
    "42.63 %.",
    notes=(
        "The learning rate of this table is not printed; 0.001 is the rate of Adam in the "
        "library's defaults and the highest one of the study's cycles.",
        *_LIU_NOTES,
    ),
)(Table(_LIU_VALUES, [{"model": _LIU_NETWORKS, "training.batch_size": [4, 16, 32, 64]}]))

PLANS.register(
    "liu_cyclic",
    title="Liu, Table 2: constant and cyclic learning rates",
    source=f"{_LIU}, sections 3.5 and 4.1.2, Table 2",
    published="Test accuracy with a standard and with a cyclic learning rate: CNN 37.75 and "
    "36.63 %; DCNN 36.50 and 41.63 %; CRNN 38.13 and 43.38 %; DCRNN 42.63 and 40.00 %.",
    notes=(
        "The batch size of this table is not printed; its standard column equals Table 1's with "
        "batches of 64, which is taken.",
        "The study prints the cycle (steps of 8 epochs, 0.0005 to 0.001) and not the standard "
        "rate; 0.001 is taken.",
        *_LIU_NOTES,
    ),
)(
    Table(
        {**_LIU_VALUES, "training.lr_low": 5e-4, "training.cycle_epochs": 8},
        [{"model": _LIU_NETWORKS, "training.schedule": ["constant", "cyclic"]}],
    )
)

PLANS.register(
    "liu_optimisers",
    title="Liu, Figure 6: optimisers",
    source=f"{_LIU}, sections 3.4 and 4.1.3, Figure 6",
    published="Curves only: Adam is best for all four networks, RMSprop close behind.",
    notes=(
        "Neither the learning rates nor the batch size of these runs are printed; 0.001 and 64 are "
        "taken for all four.",
        "SGD has no momentum here, as in the study's formula.",
        *_LIU_NOTES,
    ),
)(
    Table(
        {**_LIU_VALUES, "training.momentum": 0.0},
        [
            {
                "model": _LIU_NETWORKS,
                "training.optimiser": ["adadelta", "adam", "rmsprop", "sgd"],
            }
        ],
    )
)

_QIN_VALUES = {**_AS_PUBLISHED, "split": "qin", "training.optimiser": "adam"}
_QIN_NOTES = (
    "Optimiser, batch size and epochs are not printed; Adam, 32 and 20 are taken.",
    "The study chooses the rate by the clips it then reports, and its split has no validation "
    "clips: the accuracy of the rate chosen so is flattered.",
    _LEAKS,
)

PLANS.register(
    "qin_resnet18_rates",
    title="Qin, section 3.4.1: learning rates of ResNet-18",
    source=f"{_QIN}, section 3.4.1",
    published="Of 6e-6, 8e-6, 1e-5 and 3e-5 the best is 1e-5, with 69.8 %; the others' accuracies "
    "are not printed.",
    notes=(
        "The study starts from ImageNet weights, which are fetched on first use, or taken from a "
        "file: model.weights_file.",
        *_QIN_NOTES,
    ),
)(
    Table(
        {
            **PRESETS["qin_images"].thing,
            **_QIN_VALUES,
            "model": "resnet18",
            "model.pretrained": True,
            "training.output": "softmax",
        },
        [{"training.lr": [6e-6, 8e-6, 1e-5, 3e-5]}],
    )
)

PLANS.register(
    "qin_mlp_rates",
    title="Qin, section 3.4.2: learning rates of the perceptron",
    source=f"{_QIN}, section 3.4.2",
    published="Of 1e-5, 3e-5, 5e-5, 8e-5 and 1e-4 the best is 8e-5, with 56.5 %; the others' "
    "accuracies are not printed.",
    notes=_QIN_NOTES,
)(
    Table(
        {
            **PRESETS["qin_table"].thing,
            **_QIN_VALUES,
            "model": "mlp",
            "training.output": "log_sigmoid",
        },
        [{"training.lr": [1e-5, 3e-5, 5e-5, 8e-5, 1e-4]}],
    )
)

PLANS.register(
    "belton_mlp",
    title="Belton, Figure 2: layers, batch sizes and rates of the perceptron",
    source=f"{_BELTON}, section 4.2, Figure 2",
    published="Validation accuracy with one layer of 32, one of 100, and 128 and 64: batches of 32 "
    "at 0.001 47.0, 46.0, 46.5 %; batches of 8 at 0.001 47.0, 49.5, 46.5 %; one layer of 32 with "
    "batches of 8 at 0.0001 46.0 %.",
    notes=(
        "The optimiser of these runs is not named; Adam, that of the study's other experiments, is "
        "taken.",
        "At most 300 epochs, of which the one with the best validation accuracy counts, as in the "
        "study.",
        _LEAKS,
    ),
)(
    Table(
        {
            **PRESETS["belton_table"].thing,
            **_AS_PUBLISHED,
            "split": "belton",
            "model": "mlp",
            "model.activation": "relu",
            "training.optimiser": "adam",
            "training.lr": 1e-3,
            "training.epochs": 300,
        },
        [
            {"training.batch_size": [32, 8], "model.hidden": ["32", "100", "128, 64"]},
            {
                "training.batch_size": [8],
                "model.hidden": ["32"],
                "training.lr": [1e-4],
            },
        ],
    )
)
