"""A study's rows as runs: queued as a plan, and found again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genrecore.experiments import plan as plans
from genrecore.experiments.draft import Draft
from genrecore.experiments.papers.recipes import Music, StudyRun
from genrecore.experiments.papers.study import PROTOCOLS, Study
from genrecore.experiments.plan import Plan
from genrecore.store.run import Run

_FACT = "paper"  # what `plan.json` says of a study's plan


def start(
    study: Study, todo: Sequence[StudyRun], music: Music | None = None, store: Path | None = None
) -> Plan:
    """Writes a plan of these runs and queues those that are not there yet.

    Args:
        study: The study.
        todo: What `study_runs` returned.
        music: On what.
        store: The folder of runs.

    Raises:
        GenrecoreError: The store cannot be written.
    """
    music = music or Music()
    changes = [run.changes for run in todo]
    grid = {key: list(dict.fromkeys(change[key] for change in changes)) for key in changes[0]}
    draft = Draft(todo[0].config, [grid], changes, [run.config for run in todo], [])
    facts = {_FACT: {"study": study.name, "rehearsal": music.is_rehearsal(study)}}
    title = plan_title(study, music, grid["protocol"])
    return plans.start(draft, store, title, study.citation, facts=facts)


def plan_title(study: Study, music: Music, protocols: Sequence[str]) -> str:
    """What a plan of a study is called."""
    named = " and ".join(PROTOCOLS[protocol] for protocol in protocols)
    where = f" on {music.name_for(study)}" if music.dataset not in ("", study.dataset) else ""
    if music.is_rehearsal(study):
        return f"Rehearsal of {study.authors}{where}, scale {music.scale:g}: {named}"
    return f"{study.authors}: {named}"


@dataclass(frozen=True)
class RunsOfStudy:
    """The runs of a study in a store, of its dataset or of rehearsals, not both.

    Attributes:
        done: Finished runs by (row, protocol), then by seed.
        active: How many work or wait, by (row, protocol).
        ended: How many ended without a result, by (row, protocol).
    """

    done: Mapping[tuple[str, str], Mapping[int, Run]]
    active: Mapping[tuple[str, str], int]
    ended: Mapping[tuple[str, str], int]

    def of_row(self, row: str, protocol: str) -> list[Run]:
        """Finished runs of a row, by seed."""
        by_seed = self.done.get((row, protocol), {})
        return [by_seed[seed] for seed in sorted(by_seed)]


def find_runs(study: Study, rehearsal: bool = False, store: Path | None = None) -> RunsOfStudy:
    """The runs of a study that its plans name, whoever trained them.

    Args:
        study: The study.
        rehearsal: Whether to look for rehearsals instead.
        store: The folder of runs.
    """
    done: dict[tuple[str, str], dict[int, Run]] = {}
    newest: dict[tuple[str, str, int], Run] = {}
    for plan in reversed(plans.all_plans(store)):  # the oldest first: the newest run counts
        fact = plan.facts.get(_FACT, {})
        if fact.get("study") != study.name or bool(fact.get("rehearsal")) != rehearsal:
            continue
        for member in plan.members:
            row, protocol = str(member.changes["row"]), str(member.changes["protocol"])
            seed = int(member.changes["seed"])
            if member.run is None:
                continue
            newest[row, protocol, seed] = member.run
            if member.state == "done":
                done.setdefault((row, protocol), {})[seed] = member.run
    active = Counter(key[:2] for key, run in newest.items() if run.is_active)
    ended = Counter(
        key[:2] for key, run in newest.items() if not run.is_active and run.state != "done"
    )
    return RunsOfStudy(done, active, ended)
