"""The page Papers: a study's rows queued, with the time they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from pydantic.fields import FieldInfo

from genrecore import words
from genrecore.data.datasets import DATASETS, check_folder, known
from genrecore.errors import GenrecoreError
from genrecore.experiments import estimates, papers
from genrecore.experiments import plan as plans
from genrecore.experiments.papers import Music, Study, StudyRun
from genrecore.jobs import actions as jobs
from genrecore.store import run as runs
from genrecore.ui.datasets import readers as dataset_readers
from genrecore.ui.datasets.choice import DatasetChoice
from genrecore.ui.datasets.sources import how_to_get
from genrecore.ui.parts import fields, readers
from genrecore.ui.parts.choices import choose_many, choose_one
from genrecore.ui.parts.frame import command, link_to, pair, plain, section, sentences
from genrecore.ui.parts.live import task_list

_ON = {"own": "The study's dataset", "demo": "A rehearsal on the demo music"}
_SCALES = {"0.1": "a tenth", "0.25": "a quarter", "0.5": "a half"}
_MEASURING = "measuring_paper"


@dataclass(frozen=True)
class _Request:
    """Which rows of a study are run, how often, and on what music."""

    study: Study
    rows: list[str]
    protocols: list[str]
    n_seeds: int
    music: Music

    @property
    def words(self) -> list[str]:
        """The command after `genrecore`."""
        music, folder = self.music, (self.music.options or {}).get("folder")
        return [
            *("papers", "run", self.study.name),
            *(["--rows", ",".join(self.rows)] if self.rows else []),
            *(["--protocol", *self.protocols] if len(self.protocols) == 1 else []),
            *("--seeds", str(self.n_seeds)),
            *(["--dataset", music.dataset, "--scale", f"{music.scale:g}"] if music.dataset else []),
            *(["--folder", str(folder)] if folder else []),
        ]


def panel(study: Study) -> None:
    """Which rows, on what, and the button that queues them."""
    left, right = pair("papers_run", left=5, right=3)
    with left:
        request = _choose(study)
    with right:
        section("This study's runs")
        if request is None:
            st.caption("They can be queued once it is known where the dataset lies.")
            return
        with sentences():
            _queue(request)


def _choose(study: Study) -> _Request | None:
    section("What is run", "Rows of the study, each under the protocols chosen.")
    names = [row.name for row in study.rows]
    rows = choose_many("Rows", names, "rows", words=study.title_of, placeholder="All of them")
    left, right = st.columns(2, gap="medium")
    with left:
        titles = {"both": "Both", **{k: v.capitalize() for k, v in papers.PROTOCOLS.items()}}
        protocol = choose_one("Protocol", titles, "run_protocol")
    with right:
        info = FieldInfo(
            annotation=int,
            title="Seeds",
            description="Runs of each row; an honest result takes several.",
        )
        n_seeds = max(1, min(20, int(fields.field("seeds", info, 1))))
    on = choose_one("On", _ON, "on", radio=True)
    protocols = list(papers.PROTOCOLS) if protocol == "both" else [protocol]
    if on == "demo":
        scale = choose_one("Scale", _SCALES, "scale", radio=True)
        st.caption(
            "The whole recipe in minutes, with fewer and shorter clips and fewer epochs, on music "
            "that genrecore makes itself. Such runs are marked as rehearsals."
        )
        return _Request(study, rows, protocols, n_seeds, Music("demo", {}, float(scale)))
    remembered = known.known().get(study.dataset, {})
    options = fields.options(DATASETS, study.dataset, remembered, only=("folder",))
    folder = str(options["folder"] or "")
    if not folder:
        how_to_get(study.dataset)
        return None
    return _Request(study, rows, protocols, n_seeds, Music("", {"folder": folder}))


def _queue(request: _Request) -> None:
    study, music = request.study, request.music
    try:
        wanted = papers.study_runs(study, request.rows, request.protocols, request.n_seeds, music)
        check_folder(music.name_for(study), music.options or {})
    except GenrecoreError as error:
        st.error(plain(error), icon=":material/error:")
        st.button("Queue the runs", type="primary", width="stretch", disabled=True, key="queue")
        return
    there = runs.find_same([one.config for one in wanted])
    new = [one for one, run in zip(wanted, there, strict=True) if run is None]
    with st.container(border=True, gap="small"):
        st.markdown(f"**{words.plural(len(wanted), 'run')}**")
        if n_there := len(wanted) - len(new):
            verb = "is" if n_there == 1 else "are"
            st.caption(f"{n_there} of them {verb} there already and not run again.")
        can_measure = _show_estimate(new)
        st.caption("They go on when you close this page.")
    if st.button(
        f"Queue {words.plural(len(new), 'run')}" if new else "Show them all",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        key="queue",
    ):
        plan = papers.start(study, wanted, music)
        st.session_state["paper_plan"] = plan.plan_id
        st.rerun()
    _show_queued()
    if can_measure and st.button(
        "Measure how long it takes",
        icon=":material/timer:",
        width="stretch",
        key="measure",
        help="Takes a few training steps of each system on random numbers; nothing is queued.",
    ):
        arguments = [*request.words, "--dry-run", "--json"]
        task = jobs.start_task(arguments, "Measuring training steps")
        st.session_state[_MEASURING] = task.task_id
    measuring = st.session_state.get(_MEASURING)
    tasks = [task for task in jobs.tasks()[:20] if task.task_id == measuring]
    if tasks and tasks[0].state != "done":
        task_list(tasks)
        st.button("Refresh", icon=":material/refresh:", type="tertiary", key="look")
    command(["genrecore", *request.words])


def _show_queued() -> None:
    """The progress of the runs that this visitor queued."""
    plan_id = st.session_state.get("paper_plan", "")
    plan = next((plan for plan in plans.all_plans() if plan.plan_id == plan_id), None)
    if plan is not None:
        st.success(
            f"{words.plural(len(plan.active), 'run')} in progress or waiting, {len(plan.done)} "
            "done.",
            icon=":material/check_circle:",
        )
        link_to("plans", "Watch them", ":material/grid_view:", {"plan": plan_id})


def _show_estimate(new: Sequence[StudyRun]) -> bool:
    """Says how long these runs take; returns whether measuring could tell more."""
    if not new:
        return False
    configs = [one.config for one in new]
    earlier = estimates.Estimator(readers.all_runs())
    for config in earlier.uncounted(configs):
        dataset = DatasetChoice(config.dataset.name, dict(config.dataset.options))
        if dataset_readers.is_made(dataset):
            with sentences():
                earlier.add_clips(config, dataset_readers.read(dataset).clips)
    estimate = earlier.total(configs)
    can_measure = bool(earlier.unmeasured(configs))
    more = " Measure a few training steps to find out." if can_measure else ""
    st.caption(plain(estimate.sentence + more))
    return can_measure
