"""A run's use of its machine: processor, memory and GPU now, speed and memory by epoch."""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from dataclasses import dataclass

import psutil
import streamlit as st

from genrecore import words
from genrecore.store.processes import living_processes
from genrecore.store.run import LIVE, Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.frame import chart, ink, pair, plain, tiles
from genrecore.ui.runs.charts import over_epochs

_LEAST_APART_S = 1.0  # between two looks at a processor
_MIB = 2**20


@dataclass(frozen=True)
class Use:
    """What a run's processes use now; memory in bytes."""

    cores: float
    memory: int
    n_processes: int


_looks: dict[str, tuple[float, float, Use]] = {}  # by folder: time, processor seconds, the use


def use_of(run: Run) -> Use | None:
    """What the run's processes use on this machine; None where none of them runs here.

    The cores are the mean since the last look, at least a second ago, or since the run started.
    """
    folder, now = str(run.folder), time.time()
    last = _looks.get(folder)
    if last is not None and now - last[0] < _LEAST_APART_S:
        return last[2]
    busy_s, memory, started, n = 0.0, 0, now, 0
    for process in living_processes(run.folder):
        try:
            with process.oneshot():
                times = process.cpu_times()
                busy_s += times.user + times.system
                memory += process.memory_info().rss
                started = min(started, process.create_time())
                n += 1
        except psutil.Error:
            continue
    if not n:
        _looks.pop(folder, None)
        return None
    since, before_s = (last[0], last[1]) if last else (started, 0.0)
    # A process that ended takes its seconds along, hence no less than 0.
    use = Use(max(0.0, busy_s - before_s) / max(now - since, 0.1), memory, n)
    if len(_looks) > 64:
        _looks.clear()
    _looks[folder] = (now, busy_s, use)
    return use


@dataclass(frozen=True)
class Gpu:
    """A GPU now: share of the time it works, memory in MiB."""

    name: str
    busy: float
    used_mb: float
    total_mb: float


@st.cache_data(ttl=4, max_entries=1, show_spinner=False)
def gpus() -> list[Gpu]:
    """The NVIDIA GPUs of this machine, as `nvidia-smi` reports them; empty where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    fields = "name,utilization.gpu,memory.used,memory.total"
    command = [tool, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=3, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parsed_gpus(done.stdout)


def parsed_gpus(lines: str) -> list[Gpu]:
    """GPUs from the lines of `nvidia-smi`; what a GPU does not report is nan."""

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:  # [N/A]
            return math.nan

    rows = [[cell.strip() for cell in line.rsplit(",", 3)] for line in lines.splitlines()]
    return [
        Gpu(row[0], number(row[1]) / 100, number(row[2]), number(row[3]))
        for row in rows
        if len(row) == 4
    ]


def run_use(run: Run) -> None:
    """What a live run uses of its machine now."""
    if run.state not in LIVE:
        return
    use = use_of(run)
    if use is None:
        st.caption("Its process runs on another machine, or has ended: nothing to measure here.")
        return
    processes = f" in {use.n_processes} processes" if use.n_processes > 1 else ""
    memory = psutil.virtual_memory()
    cores = f"{words.decimals(use.cores)} of {words.plural(psutil.cpu_count() or 1, 'core')}"
    free = f"{words.size(memory.available)} of {words.size(memory.total)}"
    numbers = [
        ("Processor", cores, "", f"Mean since the last measurement{processes}."),
        ("Memory", words.size(use.memory), "", f"Of this run. The machine has {free} free."),
    ]
    device = str(run.environment.get("device", ""))
    index = int(device.partition(":")[2] or 0)
    if device.startswith("cuda") and index < len(gpus()):
        gpu = gpus()[index]
        used, total = (
            words.DASH if math.isnan(mb) else words.size(_MIB * mb)
            for mb in (gpu.used_mb, gpu.total_mb)
        )
        numbers += [
            ("GPU", f"{words.percent(gpu.busy)} busy", "", plain(gpu.name)),
            ("GPU memory", used, "", f"Used of {total}, by all programs."),
        ]
    tiles(numbers, "machine")


def run_speed(run: Run) -> None:
    """Charts of speed, memory and time by epoch."""
    history = readers.history(run)
    if history.empty or "samples_per_s" not in history:
        st.caption("Speed and memory by epoch appear after the first epoch.")
        return
    memory = {"memory_mb": "Process", "device_memory_mb": "GPU, at most"}
    memory = {column: name for column, name in memory.items() if column in history}
    left, right = pair("machine")
    with left:
        _chart(run, {"samples_per_s": "Training speed"}, "Training speed", "Segments per second")
    with right:
        if memory:
            _chart(run, memory, "Memory", "MB")
    _chart(run, {"seconds": "Time of an epoch"}, "Time of an epoch", "Seconds")


def _chart(run: Run, columns: dict[str, str], title: str, unit: str) -> None:
    key = f"{next(iter(columns))}_{run.run_id}"
    chart(over_epochs(run, columns, title, unit, ink()), key, is_live=True)
