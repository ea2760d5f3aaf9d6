"""The embedding map of the page Errors: a point for every clip; a click plays it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.errors import GenrecoreError
from genrecore.evaluation import embeddings, mistakes
from genrecore.evaluation.embeddings import Projection
from genrecore.reporting.plots import mistakes as plots
from genrecore.store.run import Run
from genrecore.ui.errors.lists import CLICKED, ClipList, predictions
from genrecore.ui.parts.cache import cached_by_files, embedding_files
from genrecore.ui.parts.choices import choose, choose_one, chosen
from genrecore.ui.parts.frame import chart, command, empty, pair, plain, section
from genrecore.ui.parts.tasks import task_panel

_NOT_DRAWN = (
    "The map has not been drawn yet.",
    "Every clip goes through the network once; that goes on when you close this page.",
)
_N_NEAREST = 5
_METHODS = {"tsne": "t-SNE", "pca": "PCA"}
_PARTS = {
    "test": ("Test clips", ["test"]),
    "held": ("Test and validation", ["test", "valid"]),
    "all": ("Training clips as well", ["test", "valid", "train"]),
}


def show_map(run: Run, tested: Sequence[Run]) -> ClipList | None:
    """The map with a click on every clip, and its clips as a list; None without a map."""
    section(
        "Embedding map",
        "The run's embeddings of the clips on a plane. Clips that lie together are similar for the "
        "run.",
    )
    stored = _stored_map(run)
    if stored is None:
        _compute(run)
        return None
    left, right = pair("map", left=2, right=3)
    with left:
        method = choose_one("Map", _METHODS, "map", radio=True)
    with right:
        parts = choose_one("Clips", {k: v[0] for k, v in _PARTS.items()}, "shown", radio=True)
    rows = _rows(run, stored, _PARTS[parts][1])
    points = rows.assign(x=rows[f"{method}_x"], y=rows[f"{method}_y"])
    ids = [str(clip_id) for clip_id in points["clip_id"]]
    picked = chosen("clip") if chosen("clip") in ids else ids[0]

    def hear(data: list[Any]) -> None:
        choose("clip", str(data[0]))
        st.session_state[CLICKED] = str(data[0])

    axes = ("", "")
    if method == "pca":
        first, second = map(words.percent, stored.explained)
        axes = (f"First component ({first} of the variance)", f"Second component ({second})")
    figure = plots.clip_map(points, f"{len(points)} clips by {_METHODS[method]}", axes, picked)
    chart(figure, f"map_{run.run_id}_{method}_{parts}", on_click=hear)
    if method == "tsne":
        caption = (
            "t-SNE keeps neighbours together. The size of a group and the distance between groups "
            "mean nothing."
        )
    else:
        share = words.percent(float(np.sum(stored.explained)))
        caption = f"PCA keeps distances as well as a plane can: it shows {share} of the variance."
    if stored.n_left_out:
        caption += f" {words.plural(stored.n_left_out, 'training clip')} left out."
    st.caption(plain(caption))
    choose_one("Clip on the map", ids, "clip", help="A click on a point picks it as well.")
    n_wrong = int((points["mark"] == "wrong").sum())
    description = f"{len(points)} clips on the map, {n_wrong} of them taken for another genre."
    return ClipList(rows, description, f"genrecore embed {run.run_id}")


def _compute(run: Run) -> None:
    """The button that computes the map."""
    try:
        embeddings.folder(run)
    except GenrecoreError as error:
        empty("There is no map of this run.", plain(error))
        return
    arguments = ["embed", run.run_id]
    title, icon = f"Drawing the map of {run.title}", ":material/scatter_plot:"
    task_panel("Draw the map", arguments, title, "map_start", icon, absent=_NOT_DRAWN)
    command(["genrecore", *arguments])


@cached_by_files(embedding_files, max_entries=8, shared=True)
def _stored_map(run: Run) -> Projection | None:
    with contextlib.suppress(GenrecoreError):  # a run that can have none
        return embeddings.read_map(run)
    return None


def _rows(run: Run, stored: Projection, parts: list[str]) -> pd.DataFrame:
    """The clips on the map with their predictions; training clips have none."""
    tables = [predictions(run)]
    if "valid" in parts:
        try:
            tables.append(mistakes.clip_predictions(run, "valid"))
        except GenrecoreError:  # a run without validation clips
            parts = [part for part in parts if part != "valid"]
    table = pd.concat(tables, ignore_index=True).drop(columns="genre")
    points = stored.points[stored.points["split"].isin(parts)]
    rows = points.merge(table, on="clip_id", how="left")
    if run.clips is not None and "artist" in run.clips:
        rows["artist"] = rows["clip_id"].map(run.clips.set_index("clip_id")["artist"])
    mark = rows["right"].map({True: "right", False: "wrong"}).fillna("learned")
    return rows.assign(mark=mark).reset_index(drop=True)


@cached_by_files(embedding_files, max_entries=256)
def neighbours(run: Run, clip_id: str) -> pd.DataFrame:
    """The training clips nearest to a clip: `clip_id, genre, split, distance`; empty where the
    embeddings are not computed yet."""
    embedding = None
    with contextlib.suppress(GenrecoreError):  # a run that can have none
        embedding = embeddings.read(run)
    ids = [] if embedding is None else embedding.clips["clip_id"].to_list()
    if embedding is None or clip_id not in ids:
        return pd.DataFrame()
    return embedding.nearest(embedding.values[ids.index(clip_id)], _N_NEAREST, but=(clip_id,))
