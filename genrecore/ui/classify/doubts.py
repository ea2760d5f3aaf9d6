"""Doubts about a prediction, the nearest training clips, and how reliable a run is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.errors import GenrecoreError
from genrecore.evaluation import embeddings, metrics
from genrecore.evaluation.calibration import Calibration
from genrecore.evaluation.embeddings import Embedding
from genrecore.inference import doubts
from genrecore.inference.similar import copies
from genrecore.reporting import plots
from genrecore.store.run import Run
from genrecore.ui.classify.predictions import ClassifiedClip, embedded_at
from genrecore.ui.datasets.listening import show
from genrecore.ui.datasets.similar import nearest_by_encoder
from genrecore.ui.parts import readers
from genrecore.ui.parts.cache import cached_by_files, embedding_files, in_runs, no_files
from genrecore.ui.parts.choices import choose_one, chosen
from genrecore.ui.parts.encoders import encoder_titles
from genrecore.ui.parts.frame import chart, plain, section
from genrecore.ui.parts.tables import show_table
from genrecore.ui.parts.tasks import ButtonKind, is_working, task_panel

_ICONS = {
    doubts.SILENT: ":material/volume_off:",
    doubts.NOISE: ":material/grain:",
    doubts.SPEECH: ":material/record_voice_over:",
    doubts.UNLIKE: ":material/explore_off:",
    doubts.LEARNED: ":material/content_copy:",
    doubts.HELD_OUT: ":material/library_music:",
}
_NOT_EMBEDDED = (
    "The embeddings of this run's clips have not been computed yet.",
    "Every clip goes through the network once. Then you can hear the nearest ones, and the page "
    "warns of clips unlike all of them. It goes on when you close this page.",
)


def show_doubts(classified: ClassifiedClip) -> None:
    """Reasons not to believe a prediction, each once, with the runs concerned."""
    opened = classified.opened
    if opened.ensemble.loaded[0].medium != "wave":
        return
    caution = opened.in_titles(opened.ensemble.caution)
    of_dataset = (doubts.LEARNED, doubts.HELD_OUT)
    if caution and not any(doubt.kind in of_dataset for doubt in classified.doubts):
        st.info(plain(caution), icon=":material/toys:")
    for doubt in classified.doubts:
        about = opened.in_titles(", ".join(doubt.runs))
        head = f"{about}: " if about and len(opened.runs) > 1 else ""
        box = st.info if doubt.kind == doubts.HELD_OUT else st.warning
        box(plain(head + doubt.sentence), icon=_ICONS[doubt.kind])
    lacking = opened.finder.lacking
    if lacking and chosen("view") != "like":  # that view has a button of its own
        run = lacking[0]
        if not is_working(["embed", run.run_id]):
            st.caption(
                plain(
                    f"Whether the clip is unlike the training clips of {run.title}, or is one of "
                    "them, is not known: that takes the embeddings of its clips."
                )
            )
        _embed(run, "doubt_start", kind="tertiary")


def _embed(
    run: Run, key: str, kind: ButtonKind = "primary", absent: tuple[str, str] | None = None
) -> None:
    title, icon = f"Computing embeddings of {run.title}", ":material/scatter_plot:"
    task_panel("Compute embeddings", ["embed", run.run_id], title, key, icon, kind, absent)


@cached_by_files(embedding_files, max_entries=6, shared=True)
def _embedding(run: Run) -> Embedding:
    embedding = embeddings.read(run)
    if embedding is None:
        raise GenrecoreError("The embeddings of the run's clips are outdated: compute them again.")
    return embedding


@cached_by_files(no_files)
def _vector(classified: ClassifiedClip, k: int) -> np.ndarray:
    return classified.opened.finder.vector(k, classified.result.predictions[k].wave)


def show_similar_clips(classified: ClassifiedClip) -> None:
    """The clips whose embeddings are nearest to this clip's, by a run or by an encoder, to hear;
    copies of its recording are marked."""
    section("Sounds like", "The clips that are most similar to this one, for a run or an encoder.")
    runs = {run.run_id: run for run in classified.opened.runs}
    titles = {
        name: f"{title}, training clips" for name, title in readers.titles([*runs.values()]).items()
    }
    titles |= {name: f"{title}, all clips" for name, title in encoder_titles().items()}
    by = choose_one("By", titles, "like_run")
    run = runs.get(by, classified.opened.runs[0])
    if by in runs:
        rows = _nearest_by_run(classified, list(runs).index(by))
    else:
        clip = classified.clip
        rows = nearest_by_encoder(by, run, clip.path, clip.name)
    if rows is None:
        return
    if rows.empty or run.clips is None:
        st.caption("The training clips of this run are not known any more.")
        return
    counts = rows["genre"].value_counts()
    genres = ", ".join(f"{n} × {genre}" for genre, n in counts.items())
    st.markdown(plain(f"{genres} among the nearest."))
    labels = {
        clip_id: " · ".join([clip_id, genre, f"distance {distance:.3f}", *([how] if how else [])])
        for clip_id, genre, distance, how in rows[["clip_id", "genre", "distance", "how"]]
        .astype(object)
        .to_numpy()
        .tolist()
    }
    show(run.clips, choose_one("Clip", labels, "near"), "near")
    columns = ["clip_id", "genre", "distance", *(["how"] if rows["how"].any() else [])]
    show_table(rows[columns], special={"how": "Copy of this recording"})
    st.caption(
        "Cosine distance of embeddings about their mean: 0 is the same direction, 1 is unrelated, "
        "2 opposite."
    )


def _nearest_by_run(classified: ClassifiedClip, k: int) -> pd.DataFrame | None:
    """The training clips nearest for run k: `clip_id, genre, split, distance, how`; None, and the
    button that helps, where its embeddings are not computed."""
    run = classified.opened.runs[k]
    if not embedded_at(run):
        _embed(run, "embed_start", absent=_NOT_EMBEDDED)
        return None
    rows = _embedding(run).nearest(_vector(classified, k))
    if run.clips is None:
        return rows
    return rows.assign(how=_copies(classified, k, run, tuple(rows["clip_id"])))


@cached_by_files(no_files)
def _copies(classified: ClassifiedClip, k: int, run: Run, clip_ids: tuple[str, ...]) -> list[str]:
    clips = pd.DataFrame() if run.clips is None else run.clips.set_index("clip_id")
    heard, clip_s = classified.result.predictions[k], run.config.audio.clip_s
    rows = clips.loc[list(clip_ids), ["path"]].reset_index()
    return copies(heard.wave, heard.sample_rate_hz, clip_s, rows)


def show_reliability(classified: ClassifiedClip) -> None:
    """How each run was calibrated, and how often it is right when it is as sure as here."""
    section("How far to trust it", "How sure the run was of its validation clips, and how right.")
    opened, tables = classified.opened, []
    predictions = classified.result.predictions
    for run, loaded, prediction in zip(
        opened.runs, opened.ensemble.loaded, predictions, strict=True
    ):
        table = _diagram(run, loaded.calibration)
        head = f"**{plain(run.title)}**  \n" if len(opened.runs) > 1 else ""
        how_often = _as_sure_as_here(table, float(prediction.proba.max()))
        st.markdown(head + plain(f"{loaded.calibration.sentence} {how_often}"))
        tables.append(table.assign(run_id=run.run_id, title=run.title))
    diagram = pd.concat(tables, ignore_index=True)
    if len(diagram):
        chart(plots.calibration(diagram, readers.styles()), "reliability")
        fitted = {
            run.title: not loaded.calibration.note
            for run, loaded in zip(opened.runs, opened.ensemble.loaded, strict=True)
        }
        st.caption(plain(about_diagram(fitted)))


def about_diagram(fitted: Mapping[str, bool]) -> str:
    """What the diagram shows: by the title of each run whether a temperature was fitted."""
    what = "Probabilities of the validation clips"
    titles = [title for title, has_temperature in fitted.items() if has_temperature]
    if not titles:
        return f"{what}, as the network gives them."
    which = "" if len(titles) == len(fitted) else f" of {words.listed(titles)}"
    return (
        f"{what}, with the temperature{which}. It was fitted to these very clips, so it may fit "
        "new music less well."
    )


@cached_by_files(in_runs("predictions.parquet"), max_entries=32)
def _diagram(run: Run, calibration: Calibration) -> pd.DataFrame:
    """The reliability diagram of a run's validation clips after calibration."""
    if run.predictions is None:
        return metrics.reliability(pd.DataFrame({"genre": []}), [])
    valid = run.predictions[run.predictions["split"] == "valid"].reset_index(drop=True)
    genres = metrics.genres_in(valid)
    columns = [f"p_{genre}" for genre in genres]
    valid[columns] = calibration.apply(valid[columns].to_numpy(dtype=float))
    return metrics.reliability(valid, genres)


def _as_sure_as_here(table: pd.DataFrame, certainty: float) -> str:
    rows = table[(table["low"] < certainty) & (certainty <= table["high"])]
    if rows.empty:
        return "It was never this sure about a validation clip."
    row = rows.iloc[0]
    n, right = int(row["n_clips"]), round(float(row["accuracy"]) * int(row["n_clips"]))
    low, high = words.thousands(100 * row["low"]), words.thousands(100 * row["high"])
    return (
        f"When it was {low} to {high} % sure, as here, {right} of {n} validation clips were right."
    )
