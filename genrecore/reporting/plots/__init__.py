"""Tables become figures: every function takes a table and returns a `Chart`.

A chart is a Plotly figure together with an alternative text and the table of its numbers, so that
a page (or a notebook) can show all three. Text and grid take their colours from the theme around
them; genres and runs bring their own (`palette`), the same on every page.
"""

from genrecore.reporting.plots.bars import (
    leaderboard,
    per_genre,
    probabilities,
    probabilities_side_by_side,
)
from genrecore.reporting.plots.chart import Chart
from genrecore.reporting.plots.curves import (
    learning_curves,
    losses_by_step,
    over_epochs,
    overlaid_curves,
    study_curves,
)
from genrecore.reporting.plots.matrices import (
    agreement,
    confusion,
    confusions,
    difference,
    pair_matrix,
    recall_map,
)
from genrecore.reporting.plots.merits import (
    calibration,
    cost,
    critical_difference,
    dependence,
    risk_coverage,
)
from genrecore.reporting.plots.palette import RunStyle, genre_colours, run_styles
from genrecore.reporting.plots.sound import (
    mel_spectrogram,
    probabilities_over_time,
    tags_over_time,
    waveform,
)
from genrecore.reporting.plots.training_sizes import size_curves

__all__ = [
    "Chart",
    "RunStyle",
    "agreement",
    "calibration",
    "confusion",
    "confusions",
    "cost",
    "critical_difference",
    "dependence",
    "difference",
    "genre_colours",
    "leaderboard",
    "learning_curves",
    "losses_by_step",
    "mel_spectrogram",
    "over_epochs",
    "overlaid_curves",
    "pair_matrix",
    "per_genre",
    "probabilities",
    "probabilities_over_time",
    "probabilities_side_by_side",
    "recall_map",
    "risk_coverage",
    "run_styles",
    "size_curves",
    "study_curves",
    "tags_over_time",
    "waveform",
]
