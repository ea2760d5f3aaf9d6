"""How a dataset's files get here: a zip that is uploaded, or a download."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st
from pydantic.fields import FieldInfo

from genrecore import words
from genrecore.data import uploads
from genrecore.data.datasets import DATASETS
from genrecore.errors import UsageError
from genrecore.jobs import actions as jobs
from genrecore.jobs.access import visitor
from genrecore.jobs.actions import Task
from genrecore.store import allowed
from genrecore.store.allowed import expanded
from genrecore.ui.parts.choices import choose, chosen
from genrecore.ui.parts.fields import field
from genrecore.ui.parts.frame import command, empty, plain, sentences, work_button
from genrecore.ui.parts.tasks import is_working, latest, watch

_RESUMABLE = ("stopped", "failed", "lost")


def upload(expanded: bool) -> None:
    """A place for a zip; unpacked, it becomes the folder of the dataset `folder`."""
    with st.expander("Upload a zip of genre folders", icon=":material/upload:", expanded=expanded):
        n = st.session_state.get("_uploads", 0)
        file = st.file_uploader(
            "A zip with one folder for each genre, audio files or images inside",
            type=["zip"],
            key=f"upload_{n}",
            disabled=not visitor().may_work,
            help="It is unpacked on the machine that runs this dashboard; the same zip only once. "
            "Unpack a larger one there by hand and give its path above.",
        )
        if file is not None and visitor().may_work:
            st.session_state["_uploads"] = n + 1  # a fresh uploader: the file is taken once
            with sentences(), st.spinner("Receiving the zip …"):
                _receive(file, file.name)
                st.rerun()
        _unpacking()


def _receive(stream: object, name: str) -> None:
    zip_path = uploads.receive(stream, name)  # type: ignore[arg-type]
    folder = uploads.unpacked_folder(zip_path)
    if folder.is_dir():
        uploads.discard(zip_path)
        _use(folder)
        st.toast("This zip was uploaded before; its files are here already.")
        return
    arguments = ["datasets", "unpack", str(zip_path)]
    task = latest(arguments)
    if task is None or not is_working(arguments):
        task = jobs.start_task([*arguments, "--remove", "--json"], f"Unpacking {zip_path.name}")
    choose("upload", task.task_id)


def _unpacking() -> None:
    """The progress of the upload in the URL, or what became of it."""
    task = next((task for task in jobs.tasks() if task.task_id == chosen("upload")), None)
    arguments = task.status.get("arguments", []) if task else []
    if task is None or arguments[:2] != ["datasets", "unpack"]:
        return
    if is_working(arguments):
        watch(arguments)
    elif task.state == "done":
        _use(uploads.unpacked_folder(Path(arguments[2])))
        st.rerun()
    elif task.state == "stopped":
        st.info("Unpacking was stopped; no file was kept.", icon=":material/stop_circle:")
    else:
        reason = str(task.status.get("reason") or "Unpacking ended without a reason.")
        st.error(plain(reason), icon=":material/error:")


def _use(folder: Path) -> None:
    choose("upload", "")
    choose("folder.folder", str(folder))


def how_to_get(name: str) -> None:
    """What to do as long as it is not known where a dataset's files are."""
    entry = DATASETS[name]
    sentence = "Give the path, as the machine that runs this dashboard knows it"
    sentence += ", or upload a zip" if entry.facts.takes_zip else ""
    sentence += ", or download it below." if entry.facts.archives else "."
    if entry.facts.not_fetched:
        sentence += f" {entry.facts.not_fetched}; [this address]({entry.facts.mirror}) has a copy."
    empty(f"{plain(entry.title)} needs to know where its files lie.", sentence)
    download(name, {})


def download(name: str, options: Mapping[str, Any]) -> None:
    """The download of a dataset that may be downloaded: its size, a folder, a button.

    A folder among its options so far is proposed.
    """
    entry = DATASETS[name]
    if not entry.facts.archives:
        return
    arguments = ["datasets", "download", name]
    task = latest(arguments)
    with st.container(border=True, gap="small"):
        st.markdown(f"**Download {words.decimals(entry.facts.download_gib)} GiB**")
        info = FieldInfo(
            annotation=str,
            title="Into this folder",
            description="A full path on the machine that runs this dashboard; a new folder is "
            "made.",
        )
        folder = str(field("into", info, str(options.get("folder") or _folder_of(task))))
        st.caption(
            "Checksums are compared before anything is unpacked. Unpacking needs about the same "
            f"space again. {_free_space(folder)}"
        )
        resumes = task is not None and task.state in _RESUMABLE and _folder_of(task) == folder
        if work_button(
            "Continue the download" if resumes else "Download",
            type="primary",
            icon=":material/download:",
            key="download",
            disabled=is_working(arguments),
            help="It goes on when you close this page, and resumes after an interruption.",
        ):
            with sentences():
                target = str(_target(folder))
                title = f"Downloading {entry.title}"
                jobs.start_task([*arguments, "--folder", target, "--json"], title)
                st.rerun()
        watch(arguments)
        command(["genrecore", *arguments, "--folder", folder or "FOLDER"])


def _target(folder: str) -> Path:
    if folder:
        allowed.refuse_outside(folder)
    path = expanded(folder)
    if not folder or not path.is_absolute():
        problem = f"found {folder}" if folder else "nothing was given"
        raise UsageError(
            f"The download needs the full path of a folder, such as {Path.home() / 'music'}; "
            f"{problem}."
        )
    return path


def _folder_of(task: Task | None) -> str:
    """The folder that a download was started for."""
    arguments = task.status.get("arguments", []) if task else []
    return str(arguments[4]) if len(arguments) > 4 else ""


def _free_space(folder: str) -> str:
    path = expanded(folder)
    if not path.is_absolute() or not allowed.may_be_named(path):
        return ""
    try:
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        return f"{words.thousands(shutil.disk_usage(existing).free / 2**30)} GiB are free there."
    except (OSError, ValueError):  # an impossible path; the download will say so
        return ""


def own_music() -> None:
    """The way to a dataset of one's own."""
    st.button(
        "Use your own music",
        icon=":material/upload:",
        type="tertiary",
        key="own_music",
        on_click=choose,
        args=("dataset", "folder"),
        help="A folder of genre folders, or a zip of it.",
    )
