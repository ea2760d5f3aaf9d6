"""The studies that the models and presets come from, as recipes with their printed numbers.

Each `<study>.toml` beside this file is a study: its settings, each with the section that states it
or the reason of our choice; every system of its tables and figures; every number that its text
prints. A row becomes a run under one of two protocols: *as published*, which leaks where the study
did, and then is marked, and *honest*: artists kept apart, validation clips for every choice, test
clips for every report.
"""

from genrecore.experiments.papers.findings import (
    VERDICTS,
    Cell,
    Ours,
    ProtocolGap,
    cells,
    gaps,
    runs_of,
)
from genrecore.experiments.papers.printed import MEASURES, Printed
from genrecore.experiments.papers.recipes import (
    MarkedValue,
    Music,
    RunsOfStudy,
    StudyRun,
    config_of,
    find_runs,
    marked_values,
    model_config,
    row_of_model,
    start,
    study_runs,
    trainable,
)
from genrecore.experiments.papers.study import PROTOCOLS, Study, studies, study, study_names

__all__ = [
    "MEASURES",
    "PROTOCOLS",
    "VERDICTS",
    "Cell",
    "MarkedValue",
    "Music",
    "Ours",
    "Printed",
    "ProtocolGap",
    "RunsOfStudy",
    "Study",
    "StudyRun",
    "cells",
    "config_of",
    "find_runs",
    "gaps",
    "marked_values",
    "model_config",
    "row_of_model",
    "runs_of",
    "start",
    "studies",
    "study",
    "study_names",
    "study_runs",
    "trainable",
]
