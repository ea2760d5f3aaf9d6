"""Doubts about a verdict, and the training music that lies nearest, on the page Classify."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import streamlit as st

from genrecore.errors import GenrecoreError
from genrecore.evaluation import embedding as embedding_store
from genrecore.evaluation.embedding import Embedding
from genrecore.inference import doubt
from genrecore.inference import known_recordings as recognition
from genrecore.inference.doubter import Doubter, Told
from genrecore.inference.ensemble import Answer
from genrecore.inference.loaded import LoadedRun, Verdict
from genrecore.jobs.actions import start_task
from genrecore.store.run import Run
from genrecore.ui.datasets.listening import show
from genrecore.ui.datasets.readers import Dataset
from genrecore.ui.datasets.tasks import is_working, latest, watch
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose_one, chosen
from genrecore.ui.parts.frame import empty, plain, section, sentences

Keys = tuple[tuple[str, int], ...]

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
    answer: Answer,
    clip: str,
    caution: str,
) -> None:
    """Reasons not to believe a verdict, each said once, with the runs it is about; `caution` where
    the clip is none of their own."""
    if loaded[0].medium != "wave":
        return
    titles = readers.titles(runs)
    told = _told(keys, kept(runs), clip, _part(answer), runs, loaded, answer)
    if caution and not any(one.doubt.kind in (doubt.LEARNED, doubt.HELD_OUT) for one in told):
        st.info(plain(caution), icon=":material/toys:")
    for one in told:
        about = ", ".join(titles[run_id] for run_id in one.runs)
        head = f"{about}: " if about and len(runs) > 1 else ""
        box = st.info if one.doubt.kind == doubt.HELD_OUT else st.warning
        box(plain(head + one.doubt.sentence), icon=_ICONS[one.doubt.kind])
    lacking = _doubter(keys, kept(runs), runs, loaded).lacking
    if lacking and chosen("view") != "like":  # which has a button of its own
        _offer(lacking[0])


def kinds(
    keys: Keys, runs: Sequence[Run], loaded: Sequence[LoadedRun], answer: Answer
) -> list[str]:
    """The kinds of doubts about an answer, each once."""
    told = _doubter(keys, kept(runs), runs, loaded).of(answer)
    return list(dict.fromkeys(one.doubt.kind for one in told if one.doubt.kind != doubt.HELD_OUT))


def _part(answer: Answer) -> tuple[tuple[float, int], ...]:
    """Which part of the clip each run was shown."""
    return tuple((one.start_s, len(one.wave)) for one in answer.verdicts)


def kept(runs: Sequence[Run]) -> tuple[tuple[int, int], ...]:
    """When what is kept of the runs' clips was last written; zeros where nothing is."""
    return tuple((_embedded(run), recognition.kept_at(run)) for run in runs)


@st.cache_resource(max_entries=2, show_spinner=False)
def _doubter(
    keys: Keys,
    known: tuple[tuple[int, int], ...],
    _runs: Sequence[Run],
    _loaded: Sequence[LoadedRun],
) -> Doubter:
    return Doubter(_loaded)


@st.cache_data(max_entries=64, show_spinner="Looking whether to believe it …")
def _told(
    keys: Keys,
    known: tuple[tuple[int, int], ...],
    clip: str,
    part: tuple[tuple[float, int], ...],
    _runs: Sequence[Run],
    _loaded: Sequence[LoadedRun],
    _answer: Answer,
) -> list[Told]:
    return _doubter(keys, known, _runs, _loaded).of(_answer)


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


@st.cache_data(max_entries=64, show_spinner=False)
def _vector(
    keys: Keys,
    known: tuple[tuple[int, int], ...],
    clip: str,
    part: tuple[float, int],
    place: int,
    _runs: Sequence[Run],
    _loaded: Sequence[LoadedRun],
    _wave: np.ndarray,
) -> np.ndarray:
    return _doubter(keys, known, _runs, _loaded).vector(place, _wave)


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
    run, verdict = runs[place], verdicts[place]
    made = _embedded(run)
    if not made:
        _ask_for_embedding(run)
        return
    part = (verdict.start_s, len(verdict.wave))
    vector = _vector(keys, kept(runs), clip, part, place, runs, loaded, verdict.wave)
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
    if not is_working(latest(_words(run))):
        empty(
            "It is not known yet where this run puts its clips.",
            "Every clip goes through the network once; then the nearest ones can be heard, and a "
            "clip that is unlike all of them is told. That goes on when you close this page.",
        )
    _button(run, "embed_start", "primary")


def _offer(run: Run) -> None:
    """Says that doubts about a run are not complete, with the button that makes them so."""
    if not is_working(latest(_words(run))):
        st.caption(
            plain(
                f"Whether the clip is unlike what {run.title} learned from, or is among it, is not "
                "known: its clips have to be looked at first."
            )
        )
    _button(run, "doubt_start", "tertiary")


def _words(run: Run) -> list[str]:
    return ["embed", run.run_id]


def _button(run: Run, key: str, kind: Literal["primary", "tertiary"]) -> None:
    if st.button(
        "Look where its clips lie",
        type=kind,
        icon=":material/scatter_plot:",
        key=key,
        disabled=is_working(latest(_words(run))),
    ):
        with sentences():
            start_task(_words(run), f"Looking where the clips of {run.title} lie")
            st.rerun()
    watch(_words(run))
