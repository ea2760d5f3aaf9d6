"""The five studies that the models and presets come from, as recipes with their printed numbers.

Each `<study>.toml` beside this file holds a study: what it states, with the section or the reason
of our choice; every system of its tables and figures; every number that its text prints. A row
becomes a run under one of two protocols: *as published*, which breaks this package's rules where
the study did and then wears the red badge, and *honest*: artists kept apart, validation clips for
every choice, test clips for every report.

Importing this imports no torch.
"""

from genrecore.experiments.papers.findings import VERDICTS, Cell, Gap, Ours, cells, gaps, runs_of
from genrecore.experiments.papers.printed import MEASURES, Printed
from genrecore.experiments.papers.reading import PROTOCOLS, STUDIES, Study, studies, study
from genrecore.experiments.papers.recipes import Music, Wanted, config_of, wanted
from genrecore.experiments.papers.running import Found, found, start

__all__ = [
    "MEASURES",
    "PROTOCOLS",
    "STUDIES",
    "VERDICTS",
    "Cell",
    "Found",
    "Gap",
    "Music",
    "Ours",
    "Printed",
    "Study",
    "Wanted",
    "cells",
    "config_of",
    "found",
    "gaps",
    "runs_of",
    "start",
    "studies",
    "study",
    "wanted",
]
