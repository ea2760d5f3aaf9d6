"""Tables become figures: every function takes a table and returns a `Chart`.

A chart is a Plotly figure together with an alternative text and the table of its numbers, so that
a page (or a notebook) can show all three. Text and grid take their colours from the theme around
them; genres and runs bring their own (`palette`), the same on every page.
"""

from genrecore.plots.bars import leaderboard, per_genre, verdict
from genrecore.plots.chart import Chart
from genrecore.plots.curves import learning_curves, over_epochs
from genrecore.plots.matrices import confusion
from genrecore.plots.palette import RunStyle, genre_colours, run_styles
from genrecore.plots.sound import mel_spectrogram, verdict_over_time, waveform

__all__ = [
    "Chart",
    "RunStyle",
    "confusion",
    "genre_colours",
    "leaderboard",
    "learning_curves",
    "mel_spectrogram",
    "over_epochs",
    "per_genre",
    "run_styles",
    "verdict",
    "verdict_over_time",
    "waveform",
]
