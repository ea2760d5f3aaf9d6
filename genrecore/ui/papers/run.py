"""The page Papers: a study's rows queued, with the time they take. Importing this imports torch."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from pydantic.fields import FieldInfo

from genrecore.data.datasets import DATASETS, known
from genrecore.errors import GenrecoreError
from genrecore.experiments import estimates, papers
from genrecore.experiments import plan as plans
from genrecore.experiments.papers import Music, Study, Wanted
from genrecore.jobs import actions as jobs
from genrecore.store import run as runs
from genrecore.ui.datasets import readers as reading
from genrecore.ui.datasets.choice import Chosen
from genrecore.ui.datasets.sources import how_to_get
from genrecore.ui.parts import fields, readers
from genrecore.ui.parts.choices import choose_many, choose_one
from genrecore.ui.parts.frame import command, link_to, pair, plain, section, sentences
from genrecore.ui.parts.live import task_list

_ON = {"own": "The study's dataset", "demo": "A rehearsal on the demo music"}
_SCALES = {"0.1": "a tenth", "0.25": "a quarter", "0.5": "a half"}
_MEASURING = "measuring_paper"


def panel(study: Study) -> None:
    """Which rows, on what, and the button that queues them."""
    left, right = pair("papers_run", left=5, right=3)
    with left:
        picked = _choices(study)
    with right:
        section("This study's runs")
        if picked is None:
            st.caption("They can be queued once it is known where the dataset lies.")
            return
        with sentences():
            _queue(study, *picked)


def _choices(study: Study) -> tuple[list[str], list[str], int, Music] | None:
    section("What is run", "Rows of the study, each under the protocols chosen.")
    rows = choose_many(
        "Rows",
        [row.name for row in study.rows],
        "rows",
        words=study.title_of,
        placeholder="All of them",
    )
    left, right = st.columns(2, gap="medium")
    with left:
        words = {"both": "Both", **{k: v.capitalize() for k, v in papers.PROTOCOLS.items()}}
        protocol = choose_one("Protocol", list(words), "run_protocol", words=words.__getitem__)
    with right:
        info = FieldInfo(
            annotation=int,
            title="Seeds",
            description="Runs of each row; an honest result takes several.",
        )
        n_seeds = max(1, min(20, int(fields.field("seeds", info, 1))))
    on = choose_one("On", list(_ON), "on", words=_ON.__getitem__, radio=True)
    protocols = list(papers.PROTOCOLS) if protocol == "both" else [protocol]
    if on == "demo":
        scale = choose_one("Scale", list(_SCALES), "scale", words=_SCALES.__getitem__, radio=True)
        st.caption(
            "Fewer and shorter clips and fewer epochs, on music that genrecore makes itself: the "
            "whole recipe to its end, in minutes. Such runs are marked as rehearsals."
        )
        return rows, protocols, n_seeds, Music("demo", {}, float(scale))
    remembered = known.known().get(study.dataset, {})
    given = fields.options(DATASETS, study.dataset, remembered, only=("folder",))
    folder = str(given["folder"] or "")
    if not folder:
        how_to_get(Chosen(study.dataset, {}))
        return None
    return rows, protocols, n_seeds, Music("", {"folder": folder})


def _queue(
    study: Study, rows: Sequence[str], protocols: Sequence[str], n_seeds: int, music: Music
) -> None:
    try:
        todo = papers.wanted(study, rows, protocols, n_seeds, music)
        if DATASETS[music.name_for(study)].facts.needs_folder:
            reading.check_folder(Chosen(study.dataset, dict(music.options or {})))
    except GenrecoreError as error:
        st.error(plain(error), icon=":material/error:")
        st.button("Queue the runs", type="primary", width="stretch", disabled=True, key="queue")
        return
    there = runs.find_same([one.config for one in todo])
    new = [one for one, run in zip(todo, there, strict=True) if run is None]
    with st.container(border=True, gap="small"):
        st.markdown(f"**{len(todo)} run{'s' if len(todo) != 1 else ''}**")
        if len(new) < len(todo):
            n = len(todo) - len(new)
            st.caption(f"{n} of them {'is' if n == 1 else 'are'} there already and not run again.")
        unknown = _expected(new)
        st.caption("They go on when you close this page.")
    words = _words(study, rows, protocols, n_seeds, music)
    if st.button(
        f"Queue {len(new)} run{'s' if len(new) != 1 else ''}" if new else "Show them all",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        key="queue",
    ):
        plan = papers.start(study, todo, music)
        st.session_state["paper_plan"] = plan.plan_id
        st.rerun()
    _queued()
    if unknown and st.button(
        "Measure how long it takes",
        icon=":material/timer:",
        width="stretch",
        key="measure",
        help="Takes a few training steps of each system on random numbers; nothing is queued.",
    ):
        task = jobs.start_task([*words, "--dry-run", "--json"], "Measuring training steps")
        st.session_state[_MEASURING] = task.task_id
    shown = [one for one in jobs.tasks()[:20] if one.task_id == st.session_state.get(_MEASURING)]
    if shown and shown[0].state != "done":
        task_list(shown)
        st.button("Look again", icon=":material/refresh:", type="tertiary", key="look")
    command(["genrecore", *words])


def _queued() -> None:
    """What became of the runs that this visitor queued."""
    plan_id = st.session_state.get("paper_plan", "")
    found = next((one for one in plans.all_plans() if one.plan_id == plan_id), None)
    if found is not None:
        st.success(
            f"{len(found.active)} runs are at work or wait, {len(found.done)} are done.",
            icon=":material/check_circle:",
        )
        link_to("plans", "Watch them", ":material/grid_view:", {"plan": plan_id})


def _expected(todo: Sequence[Wanted]) -> bool:
    """Says how long these runs take; returns whether measuring could tell more."""
    if not todo:
        return False
    configs = [one.config for one in todo]
    earlier = estimates.Known(readers.all_runs())
    for config in earlier.unread(configs):
        picked = Chosen(config.dataset.name, dict(config.dataset.options))
        if reading.is_made(picked):
            with sentences():
                earlier.tell(config, reading.read(picked).clips)
    found = earlier.of_all(configs)
    unknown = bool(earlier.unmeasured(configs))
    more = " Measuring a few training steps tells." if unknown else ""
    st.caption(plain(found.sentence(readers.duration(found.seconds)) + more))
    return unknown


def _words(
    study: Study, rows: Sequence[str], protocols: Sequence[str], n_seeds: int, music: Music
) -> list[str]:
    """The command after `genrecore`."""
    words = ["papers", "run", study.name]
    words += ["--rows", ",".join(rows)] if rows else []
    words += ["--protocol", protocols[0]] if len(protocols) == 1 else []
    words += ["--seeds", str(n_seeds)]
    if music.dataset:
        words += ["--dataset", music.dataset, "--scale", f"{music.scale:g}"]
    folder = (music.options or {}).get("folder")
    return [*words, *(["--folder", str(folder)] if folder else [])]
