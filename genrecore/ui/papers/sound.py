"""The page Papers: a clip as a study shows it, a network's layers. Importing this imports torch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st
import torch

from genrecore.augment import AUGMENTATIONS
from genrecore.errors import AudioError
from genrecore.experiments import papers
from genrecore.experiments.papers import Study
from genrecore.features import FEATURES
from genrecore.reporting import feature_charts as depiction
from genrecore.reporting import plots
from genrecore.reporting.plots import papers as drawn
from genrecore.store.run import Run
from genrecore.training import card as cards
from genrecore.ui.parts.frame import chart, empty, pair, plain
from genrecore.ui.sound.clip import Excerpt, cut, file_of
from genrecore.ui.sound.features import computed

_GENRE = "blues"
_SHOWN_S = 30.0


def _excerpt(run: Run) -> Excerpt | None:
    """A clip of blues, or of the first genre there is, of the run's own music."""
    clips = run.clips
    if clips is None or (clips["medium"] != "audio").any():
        empty("This run knows no sound.", "It was trained on pictures or tables.")
        return None
    of_genre = clips[clips["genre"] == _GENRE]
    clip = (of_genre if len(of_genre) else clips).iloc[0]
    try:
        found = cut(file_of(clip), 0.0, _SHOWN_S, run.config.audio.sample_rate_hz)
    except AudioError as error:
        st.error(plain(error), icon=":material/error:")
        return None
    st.caption(f"The clip {plain(clip['clip_id'])} ({plain(clip['genre'])}).")
    return found


def three_ways(run: Run) -> None:
    """Wave, magnitudes of its frequencies and mel spectrogram of one clip."""
    excerpt = _excerpt(run)
    if excerpt is None:
        return
    st.audio(excerpt.wav, format="audio/wav")
    rate = excerpt.sample_rate_hz
    chart(plots.waveform(excerpt.wave, rate, title="(a) Raw audio signal"), "figure_wave")
    chart(drawn.spectrum(excerpt.wave, rate, "(b) Magnitude of frequencies"), "figure_spectrum")
    given = run.config.feature.options
    kept = {key: value for key, value in given.items() if key not in ("frames", "fit")}
    options = FEATURES["log_mel"].read_options(kept, "feature")
    made = computed("log_mel", options, excerpt)
    pictures = depiction.charts("image", options, rate, len(excerpt.wave), made.parts)
    chart(pictures[0][0], "figure_mel")


def augmented(run: Run) -> None:
    """The waves of one clip before and after each of the run's augmentations."""
    excerpt = _excerpt(run)
    if excerpt is None:
        return
    rate = excerpt.sample_rate_hz
    waves = {"Original": excerpt.wave}
    for part in run.config.augment:
        choice = AUGMENTATIONS.choose(part.name, part.options)
        thing = choice.thing(choice.options, rate)
        waves[choice.entry.title] = _changed(
            excerpt.key, part.model_dump_json(), thing, excerpt.wave
        )
    names = list(waves)
    for first in range(0, len(names), 2):
        for column, name in zip(pair(f"waves_{first}"), names[first : first + 2], strict=False):
            with column:
                chart(plots.waveform(waves[name], rate, title=name), f"wave_{name}")


@st.cache_data(max_entries=16, show_spinner="Changing the sound …")
def _changed(key: str, what: str, _thing: object, _wave: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(_wave)[None, None]
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        drawn_ = _thing.draw(1, tuple(x.shape[1:]), generator)  # type: ignore[attr-defined]
        return np.asarray(_thing.apply(x, drawn_)[0, 0])  # type: ignore[attr-defined]


def layers(study: Study, row: str) -> None:
    """What comes out of each layer of a row's network on the study's input."""
    config = papers.config_of(study, row, "published")
    card = cards.card(config.model.name, config)
    table = pd.DataFrame(
        {
            "Layer": [layer.name for layer in card.layers],
            "What it is": [layer.what for layer in card.layers],
            "What comes out": [
                cards.shape_in_words(layer.shape) or "only in training" for layer in card.layers
            ],
            "Parameters": [layer.n_parameters for layer in card.layers],
        }
    )
    st.caption(plain(f"{study.title_of(row)}, on {card.input.words}"))
    st.dataframe(
        table,
        hide_index=True,
        height=38 + 35 * len(table),
        column_config={"Parameters": st.column_config.NumberColumn(format="localized")},
    )
