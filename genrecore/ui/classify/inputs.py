"""What is classified, and by which runs. Nothing here imports torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from genrecore.audio import decode as audio
from genrecore.data import recordings
from genrecore.store.run import Run
from genrecore.training.parts import ResolvedConfig
from genrecore.ui.datasets.form import choose_dataset
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose, choose_many, choose_one, chosen
from genrecore.ui.parts.frame import empty, plain, sentences, upload_types
from genrecore.ui.parts.live import leak_badge
from genrecore.ui.sound.clip import choose_row, file_of, opened

MOST_RUNS = 6
SAMPLE_RATE_HZ = 44_100  # of the microphone: half of what a voice recorder takes would be cut off

_FROM = {
    "files": "Files",
    "folder": "A folder",
    "microphone": "Microphone",
    "dataset": "A clip of a dataset",
}
_PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Given:
    """A clip to be judged.

    Attributes:
        key: Names its content.
        name: What its owner calls it.
        path: Where it lies.
        genre: Its label in a dataset; empty for any other.
    """

    key: str
    name: str
    path: Path
    genre: str = ""


def choose_runs(found: Sequence[Run]) -> list[Run]:
    """One to six runs, by default the newest; what keeps them from being believed stands below."""
    ids = [run.run_id for run in found]
    known = set(ids)
    wanted = [chosen("run")] if chosen("run") in known else ids[:1]
    for name in (chosen("run"), *chosen("runs").split(",")):
        if name and name not in known:
            st.warning(
                plain(f"The run {name} is not there any more, or has no weights; others are shown.")
            )
    picked = choose_many(
        "Runs",
        ids,
        "runs",
        words=readers.titles(found).__getitem__,
        default=wanted,
        placeholder="One to six runs",
    )
    if len(picked) > MOST_RUNS:
        st.warning(f"At most {MOST_RUNS} runs are asked at once; the first {MOST_RUNS} are.")
        picked = picked[:MOST_RUNS]
    chosen_runs = [run for name in picked for run in found if run.run_id == name]
    for run in chosen_runs:
        leak_badge(run)
    return chosen_runs


def judges_pictures(run: Run) -> bool:
    """Whether the run was trained on pictures that its dataset ships."""
    return ResolvedConfig(run.config).medium == "image"


def choose_clips(picked: Sequence[Run]) -> list[Given]:
    """What is uploaded, recorded or picked; kept outside the session until it is cleared."""
    if picked and judges_pictures(picked[0]):
        st.info(
            "This run was trained on pictures that came with its dataset. How they were drawn from "
            "sound is not known, so it cannot judge audio; give it such a picture.",
            icon=":material/image:",
        )
        return _kept(_upload("Pictures", _PICTURES, "pictures"))
    where = choose_one("From", list(_FROM), "from", words=_FROM.__getitem__, radio=True)
    if where == "dataset":
        return _of_a_dataset()
    if where == "microphone":
        recorded = st.audio_input("Record", sample_rate=SAMPLE_RATE_HZ, key="microphone")
        return _kept([recorded] if recorded else [])
    if where == "folder":
        return _kept(_upload("A folder", audio.FORMATS, "folder"))
    return _kept(_upload("Clips", audio.FORMATS, "clips"))


def _upload(label: str, formats: Sequence[str], key: str) -> list[Any]:
    many: Any = "directory" if key == "folder" else True
    return list(
        st.file_uploader(label, type=upload_types(formats), accept_multiple_files=many, key=key)
    )


def _kept(files: list[Any]) -> list[Given]:
    """The files, or those that the address names, with the button that clears everything kept."""
    ids = tuple(file.file_id for file in files)
    last = st.session_state.get("_classified", ())
    if ids != last:
        st.session_state["_classified"] = ids
        with sentences():
            given = [(file.name, file.getvalue()) for file in files]
            choose("heard", recordings.keep(given) if given else "")
    found = recordings.kept(chosen("heard"))
    if chosen("heard") and not found:
        st.info("The clips of this address have been cleared away.", icon=":material/delete:")
    if recordings.n_kept():
        _clearing()
    seen: dict[str, Given] = {}
    for one in found:
        if one.digest in seen:
            same = seen[one.digest].name
            words = (
                f"{one.name} was given twice; it is judged once."
                if same == one.name
                else f"{one.name} is the same file as {same}; it is judged once."
            )
            st.caption(plain(words))
        else:
            seen[one.digest] = Given(one.digest, one.name, one.path)
    return list(seen.values())


def _clearing() -> None:
    n = recordings.n_kept()
    words = f"{n} uploaded clip{'s' if n != 1 else ''} kept on the machine of this dashboard"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"{words}, whoever uploaded them.", width="content")
        if st.button("Clear them all", key="clear", icon=":material/delete:", type="tertiary"):
            recordings.clear()
            choose("heard", "")
            st.rerun()


def _of_a_dataset() -> list[Given]:
    data = opened(choose_dataset())
    row = None if data is None else choose_row(data)
    if row is None:
        return []
    if row["medium"] != "audio":
        empty("This dataset ships no sound.", "Choose its form audio, or another dataset.")
        return []
    file = file_of(row)
    try:
        changed = os.stat(file.key).st_mtime_ns
    except OSError:
        changed = 0
    return [Given(f"{file.key}|{changed}", file.name, Path(file.key), file.genre)]
