"""A study's rows as runs: queued as a plan, and found again.

Importing this imports no torch; `start` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genrecore.experiments import plan as plans
from genrecore.experiments.papers.reading import PROTOCOLS, Study
from genrecore.experiments.papers.recipes import Music, Wanted
from genrecore.experiments.plan import Plan
from genrecore.store import run as runs
from genrecore.store.run import Run

_FACTS = "paper"  # what `plan.json` says of a study's plan


def title_of(study: Study, music: Music, protocols: Sequence[str]) -> str:
    """A plan of a study in short."""
    said = " and ".join(PROTOCOLS[one] for one in protocols)
    where = f" on {music.name_for(study)}" if music.dataset not in ("", study.dataset) else ""
    if music.is_rehearsal(study):
        return f"Rehearsal of {study.authors}{where}, scale {music.scale:g}: {said}"
    return f"{study.authors}: {said}"


def start(
    study: Study, todo: Sequence[Wanted], music: Music | None = None, store: Path | None = None
) -> Plan:
    """Writes a plan of these runs and queues those that are not there yet.

    Args:
        study: The study.
        todo: What `wanted` gave.
        music: On what.
        store: The folder of runs.

    Raises:
        GenrecoreError: The store cannot be written.
    """
    music = music or Music()
    there = runs.find_same([one.config for one in todo], store)
    axes = {
        key: list(dict.fromkeys(one.changes[key] for one in todo))
        for key in ("row", "protocol", "seed")
    }
    facts = {
        "grids": [axes],
        "runs": [
            {
                "changes": one.changes,
                "config": one.config.model_dump(),
                "reuses": run.run_id if run else "",
            }
            for one, run in zip(todo, there, strict=True)
        ],
        "left_out": [],
        _FACTS: {"study": study.name, "rehearsal": music.is_rehearsal(study)},
    }
    title = title_of(study, music, axes["protocol"])
    plan = plans.write(todo[0].config, title, facts, store, study.citation)
    plans.queue_missing(plan)
    return Plan(plan.folder)


@dataclass(frozen=True)
class Found:
    """The runs of a study in a store, of its dataset or of rehearsals, not both.

    Attributes:
        done: Finished runs by (row, protocol), then by seed.
        active: How many work or wait, by (row, protocol).
        ended: How many ended without a result, by (row, protocol).
    """

    done: Mapping[tuple[str, str], Mapping[int, Run]]
    active: Mapping[tuple[str, str], int]
    ended: Mapping[tuple[str, str], int]

    def of(self, row: str, protocol: str) -> list[Run]:
        """Finished runs of a row, by seed."""
        by_seed = self.done.get((row, protocol), {})
        return [by_seed[seed] for seed in sorted(by_seed)]


def found(study: Study, rehearsal: bool = False, store: Path | None = None) -> Found:
    """The runs of a study that its plans name, whoever trained them.

    Args:
        study: The study.
        rehearsal: Whether to look for rehearsals instead.
        store: The folder of runs.
    """
    done: dict[tuple[str, str], dict[int, Run]] = {}
    states: dict[tuple[str, str, int], str] = {}
    for plan in reversed(plans.all_plans(store)):  # the oldest first: the newest run counts
        said = plan.facts.get(_FACTS, {})
        if said.get("study") != study.name or bool(said.get("rehearsal")) != rehearsal:
            continue
        for member in plan.members:
            row, protocol = str(member.changes["row"]), str(member.changes["protocol"])
            seed = int(member.changes["seed"])
            if member.run is None:
                continue
            states[row, protocol, seed] = member.state
            if member.state == "done":
                done.setdefault((row, protocol), {})[seed] = member.run
    active: dict[tuple[str, str], int] = {}
    ended: dict[tuple[str, str], int] = {}
    for (row, protocol, _seed), state in states.items():
        if state == "queued" or state in runs.LIVE:
            active[row, protocol] = active.get((row, protocol), 0) + 1
        elif state != "done":
            ended[row, protocol] = ended.get((row, protocol), 0) + 1
    return Found(done, active, ended)
