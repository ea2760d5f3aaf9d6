"""The leak laboratory: what a split that shares artists adds to the accuracy of the same system.

The same configuration is trained on every fold of a leaky split (by clip) and of a clean one (by
artist) of the same clips. Over all folds every clip is tested once in each, so the gap is a paired
difference on all clips; its interval resamples artists, because clips of one artist are not
independent of one another.

An experiment is planned (`plan`), its missing runs are queued (`submit`), and it is found again in
the store (`experiments`), where `gap` says what its runs found.
"""

from genrecore.experiments.leaks.pairing import CLEAN, LEAKY, Gap, gap, points
from genrecore.experiments.leaks.planning import (
    Experiment,
    check,
    command_of,
    experiments,
    plan,
    run_s,
    submit,
)

__all__ = [
    "CLEAN",
    "LEAKY",
    "Experiment",
    "Gap",
    "check",
    "command_of",
    "experiments",
    "gap",
    "plan",
    "points",
    "run_s",
    "submit",
]
