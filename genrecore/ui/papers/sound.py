"""A clip as a study draws it, on the page Papers."""

from __future__ import annotations

import streamlit as st

from genrecore.augment import AUGMENTATIONS
from genrecore.errors import AudioError
from genrecore.features import FEATURES
from genrecore.reporting import feature_charts, plots
from genrecore.reporting.plots import papers as paper_plots
from genrecore.store.run import Run
from genrecore.ui.datasets.listening import SoundExcerpt, cut, play, source_of
from genrecore.ui.parts.frame import chart, empty, pair, plain
from genrecore.ui.sound.augment import changed_wave
from genrecore.ui.sound.features import compute

_GENRE = "blues"
_SHOWN_S = 30.0


def _excerpt(run: Run) -> SoundExcerpt | None:
    """A clip of blues, or of the first genre there is, of the run's own music."""
    clips = run.clips
    if clips is None or (clips["medium"] != "audio").any():
        empty("This run has no sound.", "It was trained on images or tables.")
        return None
    of_genre = clips[clips["genre"] == _GENRE]
    clip = (of_genre if len(of_genre) else clips).iloc[0]
    try:
        excerpt = cut(source_of(clip), 0.0, _SHOWN_S, run.config.audio.sample_rate_hz)
    except AudioError as error:
        st.error(plain(error), icon=":material/error:")
        return None
    st.caption(f"The clip {plain(clip['clip_id'])} ({plain(clip['genre'])}).")
    return excerpt


def three_ways(run: Run) -> None:
    """Waveform, spectrum and mel spectrogram of one clip."""
    excerpt = _excerpt(run)
    if excerpt is None:
        return
    wave, rate = excerpt.wave, excerpt.sample_rate_hz
    play(wave, rate)
    chart(plots.waveform(wave, rate, title="(a) Raw audio signal"), "figure_wave")
    chart(paper_plots.spectrum(wave, rate, "(b) Magnitude of frequencies"), "figure_spectrum")
    values = run.config.feature.options
    values = {key: value for key, value in values.items() if key not in ("frames", "fit")}
    options = FEATURES["log_mel"].read_options(values, "feature")
    output = compute("log_mel", options, excerpt)
    chart(feature_charts.charts(("image",), output.axes, output.parts)[0][0], "figure_mel")


def augmented(run: Run) -> None:
    """The waveforms of one clip before and after each of the run's augmentations."""
    excerpt = _excerpt(run)
    if excerpt is None:
        return
    rate = excerpt.sample_rate_hz
    waves = {"Original": excerpt.wave}
    for part in run.config.augment:
        choice = AUGMENTATIONS.choose(part.name, part.options)
        waves[choice.entry.title] = changed_wave(excerpt, part.name, choice.options)
    titles = list(waves)
    for first in range(0, len(titles), 2):
        for column, title in zip(pair(f"waves_{first}"), titles[first : first + 2], strict=False):
            with column:
                chart(plots.waveform(waves[title], rate, title=title), f"wave_{title}")
