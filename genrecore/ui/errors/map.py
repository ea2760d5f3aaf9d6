"""The embedding map of the page Errors: where a run puts its clips, each to be heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from genrecore.errors import GenrecoreError
from genrecore.evaluation import embedding as embedding_store
from genrecore.evaluation import mistakes, projection
from genrecore.evaluation.projection import Projection
from genrecore.jobs.actions import start_task
from genrecore.reporting.plots import mistakes as drawn
from genrecore.reporting.plots.chart import percent
from genrecore.store.run import Run
from genrecore.ui.datasets.tasks import is_working, latest, watch
from genrecore.ui.errors import lists as error_lists
from genrecore.ui.errors.lists import Listed
from genrecore.ui.parts.choices import choose, choose_one, chosen
from genrecore.ui.parts.frame import chart, command, empty, pair, plain, section, sentences

CLICKED = "_clicked_clip"
"""Where the session keeps a clip that was clicked on the map and is to be played."""

_PLANES = {"tsne": "t-SNE", "pca": "PCA"}
_SHOWN = {
    "test": "Test clips",
    "held": "Test and validation",
    "all": "Training clips as well",
}
_PARTS = {"test": ["test"], "held": ["test", "valid"], "all": ["test", "valid", "train"]}


def clip_map(run: Run) -> Listed | None:
    """The map with a click on every clip, and the clips on it as a list; None without a map."""
    section(
        "Where this run puts its clips",
        "What its network makes of a clip right before it decides, laid out on a plane: clips that "
        "lie together sound alike to it.",
    )
    found = _made(run)
    if found is None:
        return None
    left, right = pair("map", left=2, right=3)
    with left:
        plane = choose_one("Map", list(_PLANES), "map", _PLANES.__getitem__, radio=True)
    with right:
        shown = choose_one("Clips", list(_SHOWN), "shown", _SHOWN.__getitem__, radio=True)
    rows = _rows(run, found, _PARTS[shown])
    points = rows.assign(x=rows[f"{plane}_x"], y=rows[f"{plane}_y"])
    picked = chosen("clip")
    picked = picked if picked in set(points["clip_id"]) else str(points["clip_id"].iloc[0])

    def heard(data: list[Any]) -> None:
        choose("clip", str(data[0]))
        st.session_state[CLICKED] = str(data[0])

    title = f"{len(points)} clips by {_PLANES[plane]}"
    chart(
        drawn.clip_map(points, title, _axes(plane, found), picked),
        f"map_{run.run_id}_{plane}_{shown}",
        on_click=heard,
    )
    st.caption(plain(_reading(plane, found)))
    ids = [str(name) for name in points["clip_id"]]
    choose_one("Clip on the map", ids, "clip", help="A click on a point picks it as well.")
    n_wrong = int((points["mark"] == "wrong").sum())
    words = f"{len(points)} clips on the map, {n_wrong} of them taken for another genre."
    return Listed(rows, error_lists.COLUMNS, words, f"genrecore embed {run.run_id}")


def _made(run: Run) -> Projection | None:
    """The map, or the button that has it made."""
    found = stored(run)
    if found is not None:
        return found
    try:
        embedding_store.folder(run)
    except GenrecoreError as error:
        empty("There is no map of this run.", plain(error))
        return None
    words = ["embed", run.run_id]
    working = is_working(latest(words))
    if not working:
        empty(
            "The map has not been drawn yet.",
            "Every clip goes through the network once; that goes on when you close this page.",
        )
    if st.button(
        "Draw the map",
        type="primary",
        icon=":material/scatter_plot:",
        key="map_start",
        disabled=working,
    ):
        with sentences():
            start_task(words, f"Drawing the map of {run.title}")
            st.rerun()
    watch(words)
    command(["genrecore", *words])
    return None


def stored(run: Run) -> Projection | None:
    """The map of a run as it is kept, shared between visitors: never changed."""
    try:
        made = (embedding_store.folder(run) / "map.parquet").stat().st_mtime_ns
    except (GenrecoreError, OSError):
        return None
    return _stored(str(run.folder), made)


@st.cache_resource(max_entries=8, show_spinner=False)
def _stored(folder: str, made: int) -> Projection | None:
    return projection.read(Run(Path(folder)))


def _rows(run: Run, found: Projection, parts: list[str]) -> pd.DataFrame:
    """The clips on the map with their verdicts; of training clips these are missing."""
    judged = [error_lists.verdicts(run)]
    if "valid" in parts:
        try:
            judged.append(mistakes.verdicts(run, "valid"))
        except GenrecoreError:  # a run without validation clips
            parts = [part for part in parts if part != "valid"]
    verdicts = pd.concat(judged, ignore_index=True).drop(columns="genre")
    points = found.points[found.points["split"].isin(parts)]
    rows = points.merge(verdicts, on="clip_id", how="left")
    clips = run.clips
    if clips is not None and "artist" in clips:
        rows["artist"] = rows["clip_id"].map(clips.set_index("clip_id")["artist"])
    right = rows["right"].map({True: "right", False: "wrong"})
    return rows.assign(mark=right.fillna("learned")).reset_index(drop=True)


def _axes(plane: str, found: Projection) -> tuple[str, str]:
    if plane == "tsne":
        return ("", "")
    first, second = found.explained
    return (
        f"First component ({percent(first)} of the variance)",
        f"Second component ({percent(second)})",
    )


def _reading(plane: str, found: Projection) -> str:
    left_out = f" {found.n_left_out} training clips are left out." if found.n_left_out else ""
    if plane == "tsne":
        return (
            "t-SNE keeps who lies near whom. How large a group is and how far it lies from another "
            f"means nothing.{left_out}"
        )
    share = percent(float(np.sum(found.explained)))
    return (
        f"PCA keeps distances as well as a plane can: {share} of the variance is seen here."
        f"{left_out}"
    )


def neighbours(run: Run, clip_id: str, n: int = 5) -> pd.DataFrame:
    """The training clips that lie nearest to a clip: `clip_id, genre, split, distance`; empty
    where the run's clips were not looked at yet."""
    try:
        made = (embedding_store.folder(run) / "values.npy").stat().st_mtime_ns
    except (GenrecoreError, OSError):
        return pd.DataFrame()
    return _neighbours(str(run.folder), made, clip_id, n)


@st.cache_data(max_entries=256, show_spinner=False)
def _neighbours(folder: str, made: int, clip_id: str, n: int) -> pd.DataFrame:
    kept = embedding_store.read(Run(Path(folder)))
    if kept is None or clip_id not in set(kept.clips["clip_id"]):
        return pd.DataFrame()
    place = int(kept.clips["clip_id"].eq(clip_id).to_numpy(dtype=bool).argmax())
    return kept.nearest(kept.values[place], n, but=(clip_id,))
