"""The page Papers: a study's rows queued, with the time they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from pydantic.fields import FieldInfo

from genrecore import words
from genrecore.config.run import signature
from genrecore.data.datasets import DATASETS, check_folder
from genrecore.data.datasets.remembered import remembered_options
from genrecore.experiments import papers
from genrecore.experiments.papers import Music, Study
from genrecore.experiments.plan import all_plans
from genrecore.store.run import Run
from genrecore.ui.datasets.sources import how_to_get
from genrecore.ui.parts import fields
from genrecore.ui.parts.choices import choose_many, choose_one
from genrecore.ui.parts.forms import checked
from genrecore.ui.parts.frame import link_to, pair, section
from genrecore.ui.plans.panel import plan_panel

_ON = {"own": "The study's dataset", "demo": "A rehearsal on the demo music"}
_SCALES = {"0.1": "a tenth", "0.25": "a quarter", "0.5": "a half"}


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


def show_panel(study: Study, runs: Sequence[Run]) -> None:
    """The choice of rows and music, and the button that queues them; `runs` are all of the
    store."""
    left, right = pair("papers_run", left=5, right=3)
    with left:
        request = _choose(study)
    with right:
        section("This study's runs")
        if request is None:
            st.caption("They can be queued once it is known where the dataset lies.")
            return
        _queue(request, runs)


def _choose(study: Study) -> _Request | None:
    section("What to run", "Rows of the study, each under the protocols chosen.")
    titles = {row.name: study.title_of(row.name) for row in study.rows}
    rows = choose_many("Rows", titles, "rows", placeholder="All of them")
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
    remembered = remembered_options().get(study.dataset, {})
    options = fields.options(DATASETS, study.dataset, remembered, only=("folder",))
    folder = str(options["folder"] or "")
    if not folder:
        how_to_get(study.dataset)
        return None
    return _Request(study, rows, protocols, n_seeds, Music("", {"folder": folder}))


def _queue(request: _Request, runs: Sequence[Run]) -> None:
    study, music = request.study, request.music
    with checked("Queue the runs", "queue"):
        check_folder(music.name_for(study), music.options or {})
        rows, refused = papers.trainable(
            papers.study_runs(study, request.rows, request.protocols, request.n_seeds, music)
        )

        def start(_: object, on: list[str]) -> None:
            st.session_state["paper_plan"] = papers.start(study, rows, music, on=on).plan_id
            st.rerun()

        # Protocols may be alike, and then share a run.
        configs = list({signature(row.config): row.config for row in rows}.values())
        line = ["genrecore", *request.words]
        plan_panel(configs, runs, start, line, nothing_new="Show them all", refused=refused)
        _show_queued()


def _show_queued() -> None:
    """The progress of the runs that this visitor queued."""
    plan_id = st.session_state.get("paper_plan", "")
    plan = next((plan for plan in all_plans() if plan.plan_id == plan_id), None)
    if plan is not None:
        st.success(
            f"{words.plural(len(plan.active), 'run')} in progress or waiting, {len(plan.done)} "
            "done.",
            icon=":material/check_circle:",
        )
        link_to("plans", "Watch them", ":material/grid_view:", {"plan": plan_id})
