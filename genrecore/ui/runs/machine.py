"""What a run takes of its machine: processor, memory and GPU now, speed and memory by epoch."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass

import psutil
import streamlit as st

from genrecore.store import run as runs
from genrecore.store.processes import living_processes
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.frame import pair, plain
from genrecore.ui.runs.curves import live_chart, over_epochs

_LEAST_APART_S = 1.0  # between two looks at a processor


@dataclass(frozen=True)
class Use:
    """What processes take now: cores, memory in MB, and how many there are."""

    cores: float
    memory_mb: float
    n_processes: int


_looks: dict[str, tuple[float, float, Use]] = {}  # time, processor seconds so far, what was found


def use_of(run: Run) -> Use | None:
    """What the run's processes take on this machine; None where none of them lives here.

    The cores are those since the last look, at least a second ago, or since it started.
    """
    place, now = str(run.folder), time.time()
    known = _looks.get(place)
    if known is not None and now - known[0] < _LEAST_APART_S:
        return known[2]
    busy_s, memory, born, found = 0.0, 0, now, 0
    for process in living_processes(run.folder):
        try:
            with process.oneshot():
                times = process.cpu_times()
                busy_s += times.user + times.system
                memory += process.memory_info().rss
                born = min(born, process.create_time())
                found += 1
        except psutil.Error:
            continue
    if not found:
        _looks.pop(place, None)
        return None
    since, before = (known[0], known[1]) if known else (born, 0.0)
    # A process that ended takes its seconds along.
    cores = max(0.0, busy_s - before) / max(now - since, 0.1)
    use = Use(cores, memory / 2**20, found)
    if len(_looks) > 64:
        _looks.clear()
    _looks[place] = (now, busy_s, use)
    return use


@dataclass(frozen=True)
class Gpu:
    """What a GPU does now: share of the time it works, memory in MB."""

    name: str
    busy: float
    used_mb: float
    total_mb: float


@st.cache_data(ttl=4, max_entries=1, show_spinner=False)
def gpus() -> list[Gpu]:
    """The NVIDIA GPUs of this machine, as their driver's tool tells; empty where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    fields = "name,utilization.gpu,memory.used,memory.total"
    try:
        said = subprocess.run(
            [tool, f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=3,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return parsed_gpus(said)


def parsed_gpus(said: str) -> list[Gpu]:
    """GPUs from the lines of `nvidia-smi`; what a GPU does not tell is nan."""

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:  # [N/A]
            return float("nan")

    rows = [[part.strip() for part in line.rsplit(",", 3)] for line in said.splitlines()]
    return [
        Gpu(row[0], number(row[1]) / 100, number(row[2]), number(row[3]))
        for row in rows
        if len(row) == 4
    ]


def run_machine(run: Run) -> None:
    """Tiles of what the run takes now, and charts of its speed and memory."""
    if run.state in runs.LIVE:
        _now(run)
    history = readers.history(run)
    if history.empty or "samples_per_s" not in history:
        st.caption("Speed and memory by epoch appear when the first epoch is done.")
        return
    left, right = pair("machine")
    with left:
        speed = over_epochs(run, "samples_per_s", "Training speed", "Segments per second")
        live_chart(speed, f"speed_{run.run_id}")
    with right:
        if "memory_mb" in history:
            columns = "memory_mb=Process"
            if "device_memory_mb" in history:
                columns += ";device_memory_mb=GPU, at most"
            memory = over_epochs(run, columns, "Memory", "MB")
            live_chart(memory, f"memory_{run.run_id}")
    took = over_epochs(run, "seconds", "Time of an epoch", "Seconds")
    live_chart(took, f"seconds_{run.run_id}")


def _now(run: Run) -> None:
    use = use_of(run)
    n_cores = psutil.cpu_count() or 1
    if use is None:
        st.caption("Its process works on another machine, or none lives: nothing to measure here.")
        return
    processes = f" in {use.n_processes} processes" if use.n_processes > 1 else ""
    cores = f"{use.cores:.1f} of {n_cores} cores"
    tiles = [("Processor", cores, f"Since the last look{processes}.")]
    total = psutil.virtual_memory()
    tiles.append(
        (
            "Memory",
            _gib(use.memory_mb),
            f"Of the process; of the machine's {_gib(total.total / 2**20)}, "
            f"{_gib(total.available / 2**20)} are free.",
        )
    )
    device = str(run.environment.get("device", ""))
    if device.startswith("cuda"):
        index = int(device.partition(":")[2] or 0)
        found = gpus()
        if index < len(found):
            gpu = found[index]
            busy = "–" if gpu.busy != gpu.busy else f"{gpu.busy:.0%} busy"
            tiles.append(("GPU", busy, plain(gpu.name)))
            tiles.append(
                ("GPU memory", _gib(gpu.used_mb), f"In use of {_gib(gpu.total_mb)}, by anybody.")
            )
    with st.container(key="tiles_machine"):
        columns = st.columns(len(tiles), gap="small")
    for column, (name, value, help_) in zip(columns, tiles, strict=True):
        column.metric(name, value, border=True, help=help_, height="stretch")


def _gib(mb: float) -> str:
    return f"{mb / 1024:.1f} GB" if mb >= 1000 else f"{mb:.0f} MB"
