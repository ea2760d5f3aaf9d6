"""The choice of runs and clips on the page Classify."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from genrecore import words
from genrecore.audio import decode
from genrecore.data import uploads
from genrecore.errors import GenrecoreError
from genrecore.evaluation.thresholds import check_precision
from genrecore.inference.loaded import FILES
from genrecore.jobs.access import working
from genrecore.store.run import Run
from genrecore.training.parts import ResolvedConfig
from genrecore.ui.datasets.choice import choose_dataset
from genrecore.ui.datasets.listening import choose_row
from genrecore.ui.datasets.opening import open_dataset
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import choose, choose_many, choose_one, chosen, is_fresh
from genrecore.ui.parts.frame import empty, plain, run_badges, sentences, upload_types, work_button

_MOST_RUNS = 6
_MICROPHONE_HZ = 44_100  # the widget's default would cut off half of the spectrum
LIBRARY = "library"
"""The source that is a whole folder, classified by a task."""
_SOURCES = {
    "files": "Files",
    "folder": "Folder",
    "microphone": "Microphone",
    "dataset": "Dataset",
    LIBRARY: "Library",
}


@dataclass(frozen=True)
class InputClip:
    """A clip to classify; `key` names its content, `genre` is its label where there is one."""

    key: str
    name: str
    path: Path
    genre: str = ""


def choose_runs(usable: Sequence[Run]) -> list[Run]:
    """One to six runs, by default the best; the warnings about them stand below."""
    by_id = {run.run_id: run for run in usable}
    for name in (chosen("run"), *chosen("runs").split(",")):
        if name and name not in by_id:
            st.warning(
                plain(f"The run {name} is not there any more, or has no weights; others are shown.")
            )
    picked = choose_many(
        "Runs",
        readers.titles(usable),
        "runs",
        default=[chosen("run") if chosen("run") in by_id else readers.to_ask(usable).run_id],
        placeholder="One to six runs",
        pinned=True,
    )
    if len(picked) > _MOST_RUNS:
        st.warning(f"At most {_MOST_RUNS} runs classify at once; the first {_MOST_RUNS} do.")
    runs = [by_id[run_id] for run_id in picked[:_MOST_RUNS]]
    for run in runs:
        run_badges(run)
    return runs


def choose_precision() -> float | None:
    """The share of the answers that shall be right; None where every clip shall have an answer."""
    always, titles = "always", {"always": "Always"}
    shares = {0.8, 0.9, 0.95}
    with suppress(ValueError, GenrecoreError):
        shares.add(check_precision(float(chosen("precision"))))
    titles |= {f"{share:g}": f"{100 * share:g} % right" for share in sorted(shares)}
    text = choose_one(
        "Answer",
        titles,
        "precision",
        radio=True,
        help="Share of the answers that shall be right. Where that cannot be promised, the answer "
        "is “not sure”. The run's page shows what it costs.",
    )
    return None if text == always else float(text)


def choose_clips(runs: Sequence[Run]) -> list[InputClip]:
    """The uploaded, recorded or picked clips; uploads are stored until somebody clears them."""
    medium = runs[0].medium or ResolvedConfig(runs[0].config).needed if runs else "wave"
    kind = FILES.get(medium, FILES["wave"])
    sources = _SOURCES
    if kind is not FILES["wave"]:
        st.info(
            f"This run was trained on {kind.several} that came with its dataset. How they were "
            "made of sound is not known, so the run cannot classify audio; give it such "
            f"{kind.one}.",
            icon=":material/image:",
        )
        sources = {name: _SOURCES[name] for name in ("files", LIBRARY)}
    source = choose_one("From", sources, "from", radio=True)
    if source == LIBRARY:
        return []
    if kind is not FILES["wave"]:
        return _stored(_upload(kind.several.capitalize(), kind.formats, medium))
    if source == "dataset":
        return _choose_from_dataset()
    if source == "microphone":
        recorded = st.audio_input("Record", sample_rate=_MICROPHONE_HZ, key="microphone")
        return _stored([recorded] if recorded else [])
    label, key = ("Folder", "folder") if source == "folder" else ("Clips", "clips")
    return _stored(_upload(label, decode.FORMATS, key))


def _upload(label: str, formats: Sequence[str], key: str) -> list[Any]:
    several: Any = "directory" if key == "folder" else True
    types = upload_types(formats)
    return list(st.file_uploader(label, type=types, accept_multiple_files=several, key=key))


def _stored(files: list[Any]) -> list[InputClip]:
    """The files, or those that the URL names, with the button that clears all stored uploads."""
    ids = tuple(file.file_id for file in files)
    if is_fresh():  # nobody has taken files away: the address says which clips are heard
        st.session_state["_classified"] = ids
    elif ids != st.session_state.get("_classified", ()):
        st.session_state["_classified"] = ids
        with sentences():
            received = [(file.name, file.getvalue()) for file in files]
            choose("heard", uploads.keep_clips(received) if received else "")
    stored = uploads.kept_clips(chosen("heard"))
    if chosen("heard") and not stored:
        st.info("The clips of this address have been cleared away.", icon=":material/delete:")
    if n_stored := uploads.n_kept_clips():
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            count = words.plural(n_stored, "uploaded clip")
            st.caption(f"{count} of all visitors stored on this machine.", width="content")
            if work_button(
                "Clear them all", key="clear", icon=":material/delete:", type="tertiary"
            ):
                with working("clear the uploaded clips"):
                    uploads.clear_clips()
                choose("heard", "")
                st.rerun()
    clips: dict[str, InputClip] = {}
    for file in stored:
        if file.digest not in clips:
            clips[file.digest] = InputClip(file.digest, file.name, file.path)
            continue
        first = clips[file.digest].name
        same = "was given twice" if first == file.name else f"is the same file as {first}"
        st.caption(plain(f"{file.name} {same}; it is classified once."))
    return list(clips.values())


def _choose_from_dataset() -> list[InputClip]:
    data = open_dataset(choose_dataset())
    row = None if data is None else choose_row(data.clips)
    if row is None:
        return []
    if row["medium"] != "audio":
        empty("This dataset ships no sound.", "Choose its form audio, or another dataset.")
        return []
    path = Path(str(row["path"]))
    changed = os.stat(path).st_mtime_ns if path.exists() else 0
    return [InputClip(f"{path}|{changed}", str(row["clip_id"]), path, str(row["genre"]))]
