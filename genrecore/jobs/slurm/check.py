"""Whether a cluster would take a profile's jobs: asked with a script like the real one, of which
nothing is submitted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genrecore.jobs.slurm import states
from genrecore.jobs.slurm.commands import NoAnswer, Refused
from genrecore.jobs.slurm.partitions import minutes, named_partitions, partitions
from genrecore.jobs.slurm.profiles import Profile
from genrecore.jobs.slurm.script import script
from genrecore.store.run import Run

_TRIED = ("memory", "gpus", "cpus", "nodes", "constraint", "time", "flags")


@dataclass(frozen=True)
class ProfileCheck:
    """What a cluster says of a profile.

    Attributes:
        accepted: Whether it takes its jobs; None where it does not answer.
        says: Its own sentence, or ours where a job would wait for ever.
        field: The field of the profile that stands in the way; empty where none is known.
    """

    accepted: bool | None
    says: str
    field: str = ""

    @property
    def sentence(self) -> str:
        """What it says, with the field that it concerns."""
        return f"{self.says.rstrip('.')}{states.field_words(self.field)}."


def check_profile(profile: Profile, store: Path) -> ProfileCheck:
    """Hands the script of a run to `sbatch --test-only`.

    Slurm's refusals seldom name what they concern; then each field is left out in turn, and the
    first without which the rest is accepted is named.
    """
    try:
        says = _test(profile, store)
    except NoAnswer as error:
        return ProfileCheck(None, str(error))
    except Refused as error:
        return ProfileCheck(False, str(error), states.field(str(error)) or _culprit(profile, store))
    too_long = _too_long(profile)
    return ProfileCheck(False, too_long, "time") if too_long else ProfileCheck(True, says)


def _test(profile: Profile, store: Path) -> str:
    return profile.login.test(script(Run(store / "check"), profile, 0))


def _culprit(profile: Profile, store: Path) -> str:
    """The first field without which the cluster accepts the rest."""
    defaults = Profile(name=profile.name)
    for name in _TRIED:
        value = getattr(defaults, name)
        if getattr(profile, name) != value:
            try:
                _test(profile.model_copy(update={name: value}), store)
            except Refused:
                continue
            except NoAnswer:
                return ""
            return name
    return ""


def _too_long(profile: Profile) -> str:
    """Why its jobs would wait for ever: Slurm takes a time that is longer than the partition's."""
    asked = minutes(profile.time)
    if asked is None:
        return ""
    try:
        named = named_partitions(profile.partition, partitions(profile.login))
    except (NoAnswer, Refused):
        return ""
    limits = [minutes(partition.time) for partition in named]
    if not named or any(limit is None or asked <= limit for limit in limits):
        return ""
    names = ", ".join(partition.name for partition in named)
    return (
        f"The partition {names} allows {named[0].time} at most, so a job of {profile.time} would "
        "wait for ever."
    )
