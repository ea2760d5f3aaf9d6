"""A study's rows as runs: queued as a plan, and found again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genrecore.experiments.draft import Draft
from genrecore.experiments.papers.recipes import Music, StudyRun
from genrecore.experiments.papers.study import PROTOCOLS, Study
from genrecore.experiments.plan import Plan, all_plans
from genrecore.experiments.plan import start as start_plan
from genrecore.store.run import Run

_FACT = "paper"  # what `plan.json` says of a study's plan


def start(
    study: Study,
    study_runs: Sequence[StudyRun],
    music: Music | None = None,
    store: Path | None = None,
) -> Plan:
    """Writes a plan of these runs, made for `music`, and queues those that are not there yet.

    Raises:
        GenrecoreError: The store cannot be written.
    """
    music = music or Music()
    changes = [run.changes for run in study_runs]
    grid = {key: list(dict.fromkeys(change[key] for change in changes)) for key in changes[0]}
    configs = [run.config for run in study_runs]
    facts = {_FACT: {"study": study.name, "rehearsal": music.is_rehearsal(study)}}
    title = f"{study.authors}: "
    if music.is_rehearsal(study):
        where = f" on {music.dataset}" if music.dataset not in ("", study.dataset) else ""
        title = f"Rehearsal of {study.authors}{where}, scale {music.scale:g}: "
    title += " and ".join(PROTOCOLS[protocol] for protocol in grid["protocol"])
    draft = Draft(configs[0], [grid], changes, configs, [])
    return start_plan(draft, store, title, study.citation, facts=facts)


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
        return [run for _, run in sorted(self.done.get((row, protocol), {}).items())]


def find_runs(study: Study, rehearsal: bool = False, store: Path | None = None) -> RunsOfStudy:
    """The runs that a study's plans name, or its rehearsals, whoever trained them."""
    done: dict[tuple[str, str], dict[int, Run]] = {}
    newest: dict[tuple[str, str, int], Run] = {}
    for plan in reversed(all_plans(store)):  # the oldest first: the newest run counts
        fact = plan.facts.get(_FACT, {})
        if fact.get("study") != study.name or bool(fact.get("rehearsal")) != rehearsal:
            continue
        for member in plan.members:
            if member.run is None:
                continue
            row, protocol = str(member.changes["row"]), str(member.changes["protocol"])
            seed = int(member.changes["seed"])
            newest[row, protocol, seed] = member.run
            if member.state == "done":
                done.setdefault((row, protocol), {})[seed] = member.run
    active = Counter(key[:2] for key, run in newest.items() if run.is_active)
    ended = Counter(
        key[:2] for key, run in newest.items() if not run.is_active and run.state != "done"
    )
    return RunsOfStudy(done, active, ended)
