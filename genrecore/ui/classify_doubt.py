"""Doubts about a verdict, and the training music that lies nearest, on the page Classify."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st

from genrecore import doubt, embedding, embedding_store, familiarity, recognition
from genrecore.doubt import Doubt
from genrecore.embedding_store import Embedding
from genrecore.errors import GenrecoreError
from genrecore.familiarity import Familiarity
from genrecore.inference import LoadedRun, Verdict
from genrecore.jobs import start_task
from genrecore.recognition import KnownClips
from genrecore.runs import Run
from genrecore.ui import readers
from genrecore.ui.choices import choose_one
from genrecore.ui.dataset_listening import show
from genrecore.ui.dataset_readers import Dataset
from genrecore.ui.dataset_tasks import is_working, latest, watch
from genrecore.ui.frame import empty, plain, section, sentences

Keys = tuple[tuple[str, int], ...]

_MOST_COMPARED = 1_000  # clips of a run whose fingerprints are looked up without being asked
_ICONS = {
    doubt.SILENT: ":material/volume_off:",
    doubt.NOISE: ":material/grain:",
    doubt.SPEECH: ":material/record_voice_over:",
    doubt.UNLIKE: ":material/explore_off:",
    doubt.LEARNED: ":material/content_copy:",
    doubt.HELD_OUT: ":material/library_music:",
}


def warnings(
    keys: Keys,
    runs: Sequence[Run],
    loaded: Sequence[LoadedRun],
    verdicts: Sequence[Verdict],
    clip: str,
) -> None:
    """Reasons not to believe a verdict, each said once, with the run it is about."""
    if loaded[0].medium != "wave":
        return
    longest = max(verdicts, key=lambda one: len(one.wave))
    said: dict[tuple[str, str], list[str]] = {}
    for one in _of_sound(clip, longest.start_s, len(longest.wave), longest):
        said[one.kind, one.sentence] = []
    for key, run, one_loaded, verdict in zip(keys, runs, loaded, verdicts, strict=True):
        for one in _of_run(key, run, one_loaded, verdict, clip):
            said.setdefault((one.kind, one.sentence), []).append(run.title)
    for (kind, sentence), titles in said.items():
        head = f"{', '.join(titles)}: " if titles and len(runs) > 1 else ""
        box = st.info if kind == doubt.HELD_OUT else st.warning
        box(plain(head + sentence), icon=_ICONS[kind])


@st.cache_data(max_entries=64, show_spinner=False)
def _of_sound(clip: str, start_s: float, n_samples: int, _verdict: Verdict) -> list[Doubt]:
    return doubt.of_sound(_verdict.wave, _verdict.sample_rate_hz)


def _of_run(
    key: tuple[str, int], run: Run, loaded: LoadedRun, verdict: Verdict, clip: str
) -> list[Doubt]:
    found = []
    made = _embedded(run)
    if made:
        vector = _vector(key, clip, verdict.start_s, len(verdict.wave), loaded, verdict)
        found += doubt.of_place(vector, _familiar(str(run.folder), made))
    table = run.clips
    if table is not None and len(table) <= _MOST_COMPARED:
        # The music it learned from may not be here any more to compare with.
        with (
            st.spinner("Looking whether the run learned from it …"),
            contextlib.suppress(GenrecoreError),
        ):
            found += _of_copies(key, clip, verdict.start_s, len(verdict.wave), run, verdict)
    return found


@st.cache_data(max_entries=64, show_spinner=False)
def _of_copies(
    key: tuple[str, int], clip: str, start_s: float, n_samples: int, _run: Run, _verdict: Verdict
) -> list[Doubt]:
    known = _known(key[0], readers.changed(_run, "clips.parquet"))
    copies = recognition.copies_of(_verdict.wave, _verdict.sample_rate_hz, known)
    return doubt.of_copies(copies, recognition.learned_from(_run, copies))


@st.cache_resource(max_entries=4, show_spinner=False)
def _known(folder: str, changed: int) -> KnownClips:
    return recognition.known_clips(Run(Path(folder)))


def _embedded(run: Run) -> int:
    """When the run's clips were put into its embedding; 0 where they were not yet."""
    try:
        return (embedding_store.folder(run) / "values.npy").stat().st_mtime_ns
    except (GenrecoreError, OSError):
        return 0


@st.cache_resource(max_entries=6, show_spinner=False)
def _embedding(folder: str, made: int) -> Embedding:
    found = embedding_store.read(Run(Path(folder)))
    if found is None:
        raise GenrecoreError("The run's clips have to be looked at again: draw its map anew.")
    return found


@st.cache_resource(max_entries=6, show_spinner=False)
def _familiar(folder: str, made: int) -> Familiarity:
    return familiarity.fit(_embedding(folder, made))


@st.cache_data(max_entries=64, show_spinner=False)
def _vector(
    key: tuple[str, int],
    clip: str,
    start_s: float,
    n_samples: int,
    _loaded: LoadedRun,
    _verdict: Verdict,
) -> np.ndarray:
    return embedding.of_wave(_loaded, _verdict.wave)


def choose_run(runs: Sequence[Run], name: str) -> int:
    """The place of one of the runs, chosen where there are several; `name` is in the address."""
    if len(runs) == 1:
        return 0
    ids = [run.run_id for run in runs]
    return ids.index(choose_one("Run", ids, name, words=readers.titles(runs).__getitem__))


def sounds_like(
    keys: Keys,
    runs: Sequence[Run],
    loaded: Sequence[LoadedRun],
    verdicts: Sequence[Verdict],
    clip: str,
) -> None:
    """The training clips that a run puts nearest to this one, to hear."""
    section("Sounds like", "The training clips that lie nearest to this one, as a run hears them.")
    place = choose_run(runs, "like_run")
    run, key = runs[place], keys[place]
    made = _embedded(run)
    if not made:
        _ask_for_embedding(run)
        return
    vector = _vector(
        key,
        clip,
        verdicts[place].start_s,
        len(verdicts[place].wave),
        loaded[place],
        verdicts[place],
    )
    rows = _embedding(str(run.folder), made).nearest(vector)
    table = run.clips
    if rows.empty or table is None:
        st.caption("Nothing is known any more of what the run learned from.")
        return
    counts = rows["genre"].value_counts()
    st.markdown(
        plain(f"{', '.join(f'{n} × {genre}' for genre, n in counts.items())} among the nearest.")
    )
    missing = {name: None for name in ("artist", "album", "medium", "path") if name not in table}
    everything = Dataset(table.assign(**missing), (), (), "", "")
    labels = {
        str(row.clip_id): f"{row.clip_id} · {row.genre} · distance {row.distance:.3f}"
        for row in rows.itertuples()
    }
    picked = choose_one("Clip", list(labels), "near", words=labels.__getitem__)
    show(everything, picked, "near")
    st.dataframe(
        rows[["clip_id", "genre", "distance"]],
        hide_index=True,
        column_config={
            "clip_id": "Clip",
            "genre": "Genre",
            "distance": st.column_config.NumberColumn("Distance", format="%.3f"),
        },
    )
    st.caption("0 is the same direction in the network's last layer, 1 is unrelated, 2 opposite.")


def _ask_for_embedding(run: Run) -> None:
    """The button that has the run's clips looked at, once."""
    words = ["embed", run.run_id]
    working = is_working(latest(words))
    if not working:
        empty(
            "It is not known yet where this run puts its clips.",
            "Every clip goes through the network once; then the nearest ones can be heard, and a "
            "clip that is unlike all of them is told. That goes on when you close this page.",
        )
    if st.button(
        "Look where its clips lie",
        type="primary",
        icon=":material/scatter_plot:",
        key="embed_start",
        disabled=working,
    ):
        with sentences():
            start_task(words, f"Drawing the map of {run.title}")
            st.rerun()
    watch(words)
