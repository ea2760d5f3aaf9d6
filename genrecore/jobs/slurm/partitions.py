"""The partitions of a cluster: limits, and what is idle now."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from genrecore.jobs.slurm.commands import Login
from genrecore.words import listed, plural, seconds, size

_COLUMNS = ("Partition", "Available", "Time", "NodeList", "StateCompact", "CPUsState",
            "Memory", "Gres", "GresUsed")  # fmt: skip
_TIME = re.compile(r"\d+|(\d+-)?\d{1,2}:\d{2}(:\d{2})?|\d+-\d{1,2}")
_UP = ("idle", "mix", "alloc", "comp")


@dataclass(frozen=True)
class Partition:
    """One partition.

    Attributes:
        name: As `--partition` takes it.
        is_default: Whether jobs go there that name none.
        time: Its time limit, as Slurm writes it; `infinite` where it has none.
        n_nodes: How many there are.
        n_up: How many of them take jobs.
        n_cpus: Of all nodes.
        idle_cpus: That no job has.
        n_gpus: Of all nodes.
        idle_gpus: That no job has, on nodes that take jobs.
        memory_mb: Of its largest node.
        gpu_kinds: Names of its GPUs, where the site gave them some.
    """

    name: str
    is_default: bool
    time: str
    n_nodes: int
    n_up: int
    n_cpus: int
    idle_cpus: int
    n_gpus: int
    idle_gpus: int
    memory_mb: int
    gpu_kinds: tuple[str, ...]

    def in_words(self) -> str:
        """Its limits and what is idle, in a sentence."""
        most = minutes(self.time)
        limit = "no time limit" if most is None else f"at most {seconds(60 * most)}"
        gpus = (
            f"{self.idle_gpus} of {plural(self.n_gpus, 'GPU')} idle" if self.n_gpus else "no GPUs"
        )
        return (
            f"Partition {self.name}: {gpus}, {self.idle_cpus} of {plural(self.n_cpus, 'CPU')} idle "
            f"on {plural(self.n_up, 'node')}; {limit}, {size(self.memory_mb * 2**20)} on a node."
        )


def partitions(login: Login) -> list[Partition]:
    """The partitions that are up, in one call, the default one first.

    Raises:
        NoAnswer: The scheduler did not answer.
        Refused: It refused to.
    """
    form = ",".join(f"{column}:|" for column in _COLUMNS)
    text = login.call("sinfo", "--noheader", "--Node", "--Format", form)
    nodes: dict[str, list[dict[str, str]]] = {}
    for line in text.splitlines():
        cells = line.split("|")
        if len(cells) >= len(_COLUMNS):
            node = dict(zip(_COLUMNS, (cell.strip() for cell in cells), strict=False))
            if node["Available"] == "up":
                nodes.setdefault(node["Partition"].rstrip("*"), []).append(node)
    found = [_partition(name, rows) for name, rows in nodes.items()]
    return sorted(found, key=lambda partition: (not partition.is_default, partition.name))


def named_partitions(names: str, known: Sequence[Partition]) -> list[Partition]:
    """Those that a profile names, with commas between, or the default one where it names none."""
    return [
        partition
        for partition in known
        if (partition.name in names.split(",") if names else partition.is_default)
    ]


def partition_words(names: str, known: Sequence[Partition]) -> str:
    """Limits of these partitions and what is idle there, in sentences; or that there are none."""
    named = named_partitions(names, known)
    there = listed([partition.name for partition in known]) or "none"
    return (
        " ".join(partition.in_words() for partition in named)
        or f"No partition {names or 'by default'} is up; there are: {there}."
    )


def _partition(name: str, rows: list[dict[str, str]]) -> Partition:
    up = [row for row in rows if row["StateCompact"].rstrip("*~#!%$@^-").startswith(_UP)]
    cpus = [[int(n) for n in re.findall(r"\d+", row["CPUsState"])] for row in rows]
    return Partition(
        name=name,
        is_default=rows[0]["Partition"].endswith("*"),
        time=rows[0]["Time"],
        n_nodes=len(rows),
        n_up=len(up),
        n_cpus=sum(counts[3] for counts in cpus if len(counts) == 4),
        idle_cpus=sum(counts[1] for counts in cpus if len(counts) == 4),
        n_gpus=sum(_n_gpus(row["Gres"]) for row in rows),
        idle_gpus=sum(_n_gpus(row["Gres"]) - _n_gpus(row["GresUsed"]) for row in up),
        memory_mb=max(int(re.sub(r"\D", "", row["Memory"]) or 0) for row in rows),
        gpu_kinds=tuple(sorted({kind for row in rows for kind in _kinds(row["Gres"])})),
    )


def _n_gpus(gres: str) -> int:
    """How many GPUs `gpu:2`, `gpu:a100:4(S:0-1)` or `gpu:a100:1(IDX:0),gpu:v100:2` are."""
    return sum(int(n) for n in re.findall(r"gpu(?::[A-Za-z][\w.-]*)?:(\d+)", gres))


def _kinds(gres: str) -> list[str]:
    return re.findall(r"gpu:([A-Za-z][\w.-]*):\d+", gres)


def minutes(time: str) -> float | None:
    """A time limit as Slurm writes it (`30`, `1:00:00`, `2-12`, `1-00:00:00`) in minutes; None
    where there is none."""
    if not _TIME.fullmatch(time):
        return None
    days, dash, rest = time.rpartition("-")
    numbers = [int(part) for part in rest.split(":")]
    # After a dash come hours first; else minutes, unless there are three numbers.
    in_minutes = (60.0, 1.0, 1 / 60) if dash or len(numbers) == 3 else (1.0, 1 / 60)
    parts = zip(numbers, in_minutes, strict=False)
    return 1440.0 * int(days or 0) + sum(number * unit for number, unit in parts)
