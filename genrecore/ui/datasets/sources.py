"""How a dataset's files get here: a zip that is uploaded, a download that is started."""

from __future__ import annotations

import shutil
from pathlib import Path

import streamlit as st
from pydantic.fields import FieldInfo

from genrecore.data import uploads
from genrecore.data.datasets import DATASETS
from genrecore.data.datasets.gtzan import MIRROR
from genrecore.errors import UsageError
from genrecore.jobs import actions as jobs
from genrecore.jobs.actions import Task
from genrecore.ui.datasets.choice import Chosen
from genrecore.ui.datasets.tasks import is_working, latest, watch
from genrecore.ui.parts.choices import choose, chosen
from genrecore.ui.parts.fields import field
from genrecore.ui.parts.frame import command, empty, plain, sentences

UNFINISHED = ("stopped", "failed", "lost")


def upload(picked: Chosen) -> None:
    """A place for a zip; unpacked, it becomes the folder of the dataset `folder`."""
    with st.expander(
        "Upload a zip of genre folders",
        icon=":material/upload:",
        expanded=not picked.options.get("folder"),
    ):
        n = st.session_state.get("_uploads", 0)
        file = st.file_uploader(
            "A zip with one folder for each genre, audio files or pictures inside",
            type=["zip"],
            key=f"upload_{n}",
            help="It is unpacked on the machine that runs this dashboard. The same zip is unpacked "
            "only once. What is larger than the limit is unpacked there by hand, and its path "
            "given above.",
        )
        if file is not None:
            st.session_state["_uploads"] = n + 1  # a fresh uploader, so that it is taken once
            with sentences(), st.spinner("Taking the zip in …"):
                _take(file, file.name)
                st.rerun()
        _unpacking()


def _take(stream: object, name: str) -> None:
    received = uploads.receive(stream, name)  # type: ignore[arg-type]
    if uploads.place_of(received).is_dir():
        uploads.discard(received)
        _use(uploads.place_of(received))
        st.toast("This zip has been uploaded before; it is here already.")
        return
    words = ["datasets", "unpack", str(received)]
    task = latest(words)
    if task is None or not is_working(task):
        task = jobs.start_task([*words, "--remove", "--json"], f"Unpacking {received.name}")
    choose("upload", task.task_id)


def _unpacking() -> None:
    """How the upload in the address goes, and what became of it."""
    task = next((task for task in jobs.tasks() if task.task_id == chosen("upload")), None)
    arguments = task.status.get("arguments", []) if task else []
    if task is None or arguments[:2] != ["datasets", "unpack"]:
        return
    if is_working(task):
        watch(arguments)
    elif task.state == "done":
        _use(uploads.place_of(Path(arguments[2])))
        st.rerun()
    elif task.state == "stopped":
        st.info("Unpacking was stopped; nothing of it was kept.", icon=":material/stop_circle:")
    else:
        why = str(task.status.get("reason") or "Unpacking ended without saying why.")
        st.error(plain(why), icon=":material/error:")


def _use(folder: Path) -> None:
    choose("upload", "")
    choose("folder.folder", str(folder))


def how_to_get(picked: Chosen) -> None:
    """What to do where a dataset's files are not known to be anywhere."""
    entry = DATASETS[picked.name]
    words = "Give the path, as the machine that runs this dashboard knows it"
    if picked.name == "folder":
        words += ", or upload a zip"
    if entry.facts.archives:
        words += ", or download it below"
    words += "."
    if picked.name == "gtzan":
        words += (
            f" GTZAN has no licence, so genrecore does not fetch it; it is mirrored at [this "
            f"address]({MIRROR})."
        )
    empty(f"{plain(entry.title)} needs to know where its files lie.", words)
    download(picked)


def download(picked: Chosen) -> None:
    """Fetching a dataset that may be fetched: its size, a folder, a task that can go on later."""
    entry = DATASETS[picked.name]
    if not entry.facts.archives:
        return
    words = ["datasets", "download", picked.name]
    task = latest(words)
    with st.container(border=True, gap="small"):
        size = f"{entry.facts.download_gib:,.1f} GiB"
        st.markdown(f"**Download {size}**")
        wanted = FieldInfo(
            annotation=str,
            title="Into this folder",
            description="A full path on the machine that runs this dashboard; it is made if it is "
            "not there.",
        )
        folder = str(field("into", wanted, str(picked.options.get("folder") or _folder_of(task))))
        st.caption(
            "Checksums are compared before anything is unpacked, and unpacking needs about the "
            f"same space again. {_free(folder)}"
        )
        again = task is not None and task.state in UNFINISHED and _folder_of(task) == folder
        if st.button(
            "Go on with the download" if again else "Download",
            type="primary",
            icon=":material/download:",
            key="download",
            disabled=is_working(task),
            help="It goes on when you close this page, and after an interruption where it broke "
            "off.",
        ):
            with sentences():
                target = _target(folder)
                title = f"Downloading {entry.title}"
                jobs.start_task([*words, "--folder", str(target), "--json"], title)
                st.rerun()
        watch(words)
        command(["genrecore", *words, "--folder", folder or "FOLDER"])


def _target(folder: str) -> Path:
    path = Path(folder).expanduser()
    if not folder or not path.is_absolute():
        found = f"found {folder}" if folder else "nothing was given"
        raise UsageError(
            f"The download needs the full path of a folder, such as {Path.home() / 'music'}; "
            f"{found}."
        )
    return path


def _folder_of(task: Task | None) -> str:
    """The folder that a download was started for."""
    arguments = task.status.get("arguments", []) if task else []
    return str(arguments[4]) if len(arguments) > 4 else ""


def _free(folder: str) -> str:
    path = Path(folder).expanduser()
    if not folder or not path.is_absolute():
        return ""
    try:
        there = next(place for place in (path, *path.parents) if place.exists())
        return f"{shutil.disk_usage(there).free / 2**30:,.0f} GiB are free there."
    except (OSError, ValueError):  # no path that can be; the download will say so
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
