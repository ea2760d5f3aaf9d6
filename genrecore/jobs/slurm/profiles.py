"""Profiles: what a run asks of a cluster, under a name, in the store's `settings.json`."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from genrecore.errors import GenrecoreError, UsageError
from genrecore.jobs.access import visitor, work
from genrecore.jobs.slurm.commands import Login
from genrecore.jobs.slurm.partitions import minutes, partitions
from genrecore.store import settings
from genrecore.words import listed, plural, seconds

PLACE = "slurm:"
POLL_S = 30.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_WORD = r"^[^\s'\"\\;|&$`<>]*$"  # one word of an option
_EXPECTED = {
    "gpus": "a number, or a kind and a number, as a100:2",
    "memory": "a number with its unit, as 16G",
}


class Profile(BaseModel):
    """What a run asks for. An empty field is left to the cluster's own defaults."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(title="Name", description="By which it is chosen, as slurm:NAME.")
    partition: str = Field(
        "", title="Partition", description="The cluster's default one if empty.", pattern=_WORD
    )
    gpus: str = Field(
        "",
        title="GPUs",
        description="On each node: a number, or a kind and a number, as a100:2.",
        pattern=r"^(([\w.-]+:)?\d+)?$",
    )
    time: str = Field(
        "",
        title="Time limit",
        description="At most so long: minutes, H:MM:SS or D-HH:MM:SS. A run that needs longer "
        "saves and is queued again.",
    )
    cpus: int | None = Field(
        None, title="CPUs", description="On each node, for decoding as well.", ge=1, le=4096
    )
    memory: str = Field(
        "",
        title="Memory",
        description="On each node, with its unit, as 16G.",
        pattern=r"^(\d+[KMGT]?)?$",
    )
    account: str = Field(
        "", title="Account", description="To which the time is charged.", pattern=_WORD
    )
    qos: str = Field("", title="QoS", description="The quality of service.", pattern=_WORD)
    constraint: str = Field(
        "",
        title="Constraint",
        description="Features that a node must have, as a100|h100.",
        pattern=r"^[^\s'\"\\;$`<>]*$",
    )
    nodes: int = Field(
        1,
        title="Nodes",
        description="A run of several processes is spread over them.",
        ge=1,
        le=1024,
    )
    lines: list[str] = Field(
        [],
        title="Lines before the start",
        description="Of the shell, as module load cuda, or the activation of a virtual "
        "environment.",
    )
    flags: list[str] = Field(
        [], title="Further options of sbatch", description="Each with its dashes, as --exclusive."
    )
    command: str = Field(
        "",
        title="Command",
        description="What starts genrecore on a node; by default the Python that this one runs "
        "on, or python -m genrecore through ssh.",
    )
    host: str = Field(
        "",
        title="Login node",
        description="Whose Slurm commands are called through ssh; those of this machine if empty.",
        pattern=_WORD,
    )
    store: str = Field(
        "",
        title="Folder of the runs there",
        description="As the cluster's nodes see it, where that is another path than here.",
    )
    requeue: bool = Field(
        True,
        title="Goes on by itself",
        description="After its time limit or the failure of a node; otherwise it waits to be "
        "resumed.",
    )
    warn_s: int = Field(
        90,
        title="Warning before the time limit",
        description="Seconds that a run has to save.",
        ge=5,
        le=3600,
    )
    ahead: int = Field(
        20,
        title="Most jobs that wait there",
        description="Further runs wait here, so that a plan keeps within the site's limits.",
        ge=1,
        le=1000,
    )

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("a name is letters, digits, dots, dashes; 40 at most")
        return name

    @field_validator("host")
    @classmethod
    def _is_host(cls, host: str) -> str:
        if host.startswith("-"):
            raise ValueError("a host does not begin with a dash")
        return host

    @field_validator("time")
    @classmethod
    def _is_time(cls, time: str) -> str:
        if time and minutes(time) is None:
            raise ValueError("expected minutes, H:MM:SS or D-HH:MM:SS")
        return time

    @property
    def place(self) -> str:
        """How it is named where a run is sent: `slurm:NAME`."""
        return PLACE + self.name

    @property
    def login(self) -> Login:
        """Where its commands are called."""
        return Login(self.host)

    @property
    def n_gpus(self) -> int:
        """How many GPUs it asks for on each node."""
        return int(self.gpus.rpartition(":")[2] or 0)

    def options(self) -> list[str]:
        """The options of `sbatch` that say what a run asks for."""
        values = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "time": self.time,
            "gpus-per-node": self.gpus if self.n_gpus else "",
            "cpus-per-task": self.cpus,
            "mem": self.memory,
            "constraint": self.constraint,
            "nodes": self.nodes,
        }
        return [f"--{name}={value}" for name, value in values.items() if value] + self.flags

    def in_words(self) -> str:
        """What it asks for, as one reads it."""
        kind = self.gpus.rpartition(":")[0]
        limit, each = minutes(self.time), " each" if self.nodes > 1 else ""
        parts = [
            f"partition {self.partition}" if self.partition else "",
            f"{self.nodes} nodes" if self.nodes > 1 else "",
            plural(self.n_gpus, f"{kind} GPU".strip()) + each if self.n_gpus else "",
            plural(self.cpus, "CPU") + each if self.cpus else "",
            f"{self.memory} of memory{each}" if self.memory else "",
            f"at most {seconds(60 * limit)}" if limit is not None else "",
            f"through {self.host}" if self.host else "",
        ]
        return ", ".join(part for part in parts if part) or "the cluster's defaults"


def checked(values: dict[str, Any]) -> Profile:
    """A profile of these values.

    Raises:
        UsageError: A value is not possible; the sentence names the field.
    """
    try:
        profile = Profile.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str((*first["loc"], "profile")[0])
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "string_pattern_mismatch":
            reason = f"expected {_EXPECTED.get(name, 'one word without signs of the shell')}"
        raise UsageError(
            f"The profile's field {name} cannot be {first['input']!r}: {reason}."
        ) from None
    for text in [*profile.lines, *profile.flags, profile.store, profile.command]:
        if any(not char.isprintable() for char in text):
            raise UsageError("The lines, flags, store and command of a profile are plain text.")
    if any(not flag.startswith("-") for flag in profile.flags):
        raise UsageError("Each flag of a profile begins with a dash, as --exclusive.")
    return profile


def profiles(store: Path) -> dict[str, Profile]:
    """The profiles by name; what does not fit is left out."""
    found = {}
    for values in _entries(store):
        with contextlib.suppress(UsageError):
            profile = checked(values)
            found[profile.name] = profile
    return found


def name_of(place: str) -> str:
    """The name of the profile in `slurm:NAME`; empty where it is no such place."""
    return place.removeprefix(PLACE) if place.startswith(PLACE) else ""


def find(place: str, store: Path) -> Profile:
    """The profile of `slurm:NAME`.

    Raises:
        UsageError: There is none, or it was edited by hand and does not fit.
    """
    known, name = profiles(store), name_of(place)
    if name in known:
        return known[name]
    for values in _entries(store):
        if values.get("name") == name:
            return checked(values)
    there = (
        f"there are: {listed([profile.place for profile in known.values()])}"
        if known
        else "there is none yet; make one with: genrecore cluster profiles add NAME"
    )
    raise UsageError(f"Runs cannot be sent to {place!r}: no such profile; {there}.")


def poll_s(store: Path) -> float:
    """Seconds between two questions to a scheduler."""
    value = _section(store).get("poll_s")
    return float(value) if isinstance(value, (int, float)) and 1 <= value <= 3600 else POLL_S


@work("change the profiles of clusters")
def keep(profile: Profile, store: Path) -> str:
    """Keeps a profile, in place of one of the same name; returns a sentence.

    Raises:
        GenrecoreError: The store cannot be written, or the visitor comes from outside: a profile
            holds commands.
    """
    _refuse_outsiders()
    _write(store, [*_others(store, profile.name), profile.model_dump(exclude_defaults=True)])
    return f"Runs can be sent to {profile.place}: {profile.in_words()}."


@work("change the profiles of clusters")
def remove(name: str, store: Path) -> str:
    """Forgets a profile; returns a sentence. Errors as `find` and `keep`."""
    _refuse_outsiders()
    profile = find(PLACE + name.removeprefix(PLACE), store)
    _write(store, _others(store, profile.name))
    return f"The profile {profile.name} is forgotten; jobs that were sent with it go on."


@work("set how often schedulers are asked")
def set_poll_s(every_s: float, store: Path) -> str:
    """Sets the time between two questions to a scheduler; returns a sentence.

    Raises:
        UsageError: It is not between 1 and 3600.
    """
    if not 1 <= every_s <= 3600:
        raise UsageError(f"A scheduler is asked every 1 to 3,600 seconds, not {every_s}.")
    section = _section(store) | {"poll_s": every_s}
    settings.change(store, "The cluster's settings", cluster=section)
    return poll_sentence(every_s)


def poll_sentence(every_s: float) -> str:
    """How often schedulers are asked."""
    return f"Schedulers are asked every {every_s:g} s while a job lives."


def suggested(login: Login) -> Profile:
    """A profile for a cluster: its default partition, and a GPU where that has some.

    Raises:
        NoAnswer: The scheduler did not answer.
        Refused: It refused to.
    """
    found = partitions(login)
    if not found:
        raise GenrecoreError(f"The cluster of {login} has no partition that is up.")
    best = max(found, key=lambda partition: (partition.is_default, partition.n_gpus > 0))
    gpus = "1" if best.n_gpus else ""
    return Profile(name="default", host=login.host, partition=best.name, gpus=gpus)


def _refuse_outsiders() -> None:
    if visitor().is_from_outside:
        raise GenrecoreError(
            "Profiles hold commands that are carried out on the cluster, so only a user of this "
            "machine may change them: genrecore cluster profiles."
        )


def _section(store: Path) -> dict[str, Any]:
    section = settings.read(store).get("cluster")
    return section if isinstance(section, dict) else {}


def _entries(store: Path) -> list[dict[str, Any]]:
    """The profiles as the file holds them, whether they fit or not."""
    entries = _section(store).get("profiles")
    entries = entries if isinstance(entries, list) else []
    return [values for values in entries if isinstance(values, dict)]


def _others(store: Path, name: str) -> list[dict[str, Any]]:
    return [values for values in _entries(store) if values.get("name") != name]


def _write(store: Path, entries: list[dict[str, Any]]) -> None:
    section = _section(store) | {"profiles": entries}
    settings.change(store, "The profiles", cluster=section)
