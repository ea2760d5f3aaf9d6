"""Setting a plan or a search up. Importing this imports torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st
from pydantic.fields import FieldInfo

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig
from genrecore.data.datasets import check_folder
from genrecore.data.splits import SPLITS
from genrecore.errors import GenrecoreError
from genrecore.experiments import draft as plan_drafts
from genrecore.experiments import plan as plans
from genrecore.experiments import search as searching
from genrecore.experiments.draft import Draft, Grid
from genrecore.experiments.estimates import Estimator
from genrecore.experiments.papers.recipes import find_sweep, sweep_source, sweep_values, sweeps
from genrecore.experiments.search import Strategy, check, may_vary, typical
from genrecore.experiments.values import read_ranges, typed_list
from genrecore.jobs import actions as jobs
from genrecore.models import MODELS
from genrecore.store import run as runs
from genrecore.training.parts import fits
from genrecore.training.resolve import resolve
from genrecore.ui.datasets import readers as reading
from genrecore.ui.datasets.choice import DatasetChoice
from genrecore.ui.parts import fields, forms, readers
from genrecore.ui.parts.choices import choose, choose_many, choose_one, chosen
from genrecore.ui.parts.frame import command, plain, section
from genrecore.ui.parts.live import live, task_list
from genrecore.ui.plans.view import open_plan

_WAYS = {"all": "Every combination", "random": "Random search", "tpe": "TPE search"}
_MOST_LEFT_OUT = 4
_VALUES = "values."  # before a field's name in the address


@dataclass(frozen=True)
class Wanted:
    """What the form says.

    Attributes:
        values: Dotted values that all runs share.
        texts: What varies, as typed.
        way: `all`, `random` or `tpe`.
        search: How a search chooses; None for every combination.
        table: The table of a study it started from; may be empty.
        again: Whether to train also what is there already.
    """

    values: Mapping[str, Any]
    texts: Mapping[str, str]
    way: str
    search: Strategy | None
    table: str
    again: bool


def choices() -> Wanted:
    """The whole form."""
    base = RunConfig()
    table = _table_part()
    section("1 · Data", "What all runs learn from.")
    values = forms.data_part(base)
    section("2 · Model and training", "What all runs share; what differs is said below.")
    values |= forms.model_part(base, values)
    values |= forms.augment_part(base, values)
    values |= forms.training_part(base)
    section("3 · What varies")
    way = choose_one(
        "Which runs", list(_WAYS), "way", words=_WAYS.__getitem__, radio=True, default="all"
    )
    st.caption(
        "Every combination of the values below is a run."
        if way == "all"
        else "Some combinations are tried, one after the other"
        + (", drawn at random." if way == "random" else ", the next by what earlier ones scored.")
        + " The validation clips decide; the test clips are not looked at."
    )
    texts = _varied(values, way)
    search = None
    again = False
    if way == "all":
        again = bool(
            fields.field(
                "again",
                FieldInfo(
                    annotation=bool,
                    title="Train again what is there already",
                    description="Otherwise a finished run with the same settings counts.",
                ),
                False,
            )
        )
    else:
        search = _way(way)
    return Wanted(values, texts, way, search, table if way == "all" else "", again)


def _table_part() -> str:
    """Offers the tables of the studies: choosing one fills the form in."""
    titles = {"": "None", **{name: sweep.title for name, (_, sweep) in sweeps().items()}}
    at = chosen("table") if chosen("table") in titles else ""
    st.selectbox(
        "Start from a table of a study",
        list(titles),
        index=list(titles).index(at),
        format_func=titles.__getitem__,
        key="table",
        on_change=_fill_in,
        help="Fills in everything as the study had it, and the values that its table compares; "
        "all of it can still be changed.",
    )
    if at:
        study, sweep = find_sweep(at)
        source = f"{study.citation}, {sweep.source}"
        with st.expander("What the study prints, what it leaves open, and what is chosen here"):
            st.markdown(f"**{plain(source)}**")
            st.markdown("\n".join(f"- {plain(t)}" for t in (sweep.published, *sweep.notes)))
        if len(sweep.grids) > 1:
            st.caption(
                "The table is no full product: what this form cannot say, the command does: "
                f"`genrecore sweep --table {at}`"
            )
    return at


def _fill_in() -> None:
    picked = str(st.session_state.get("table") or "")
    choose("table", picked)
    if not picked:
        return
    grid = _one_grid(find_sweep(picked)[1].grids)
    models = [str(name) for name in grid.pop("model", [])]
    forms.fill_in(({"model": models[0]} if models else {}) | sweep_values(picked))
    choose("models", models)
    choose("vary", list(grid))
    for dotted, listed in grid.items():
        choose(_VALUES + dotted, typed_list(listed))
    choose("way", "")


def _one_grid(grids: Sequence[Grid]) -> dict[str, list[Any]]:
    """The first grid: what further ones add is trained only from the table as it stands."""
    return {key: list(values) for key, values in grids[0].items()}


def _varied(values: Mapping[str, Any], way: str) -> dict[str, str]:
    """What varies, as typed, by dotted field."""
    texts: dict[str, str] = {}
    fitting = [name for name in MODELS if not fits(values["feature"], name)]
    several = choose_many(
        "Models",
        fitting,
        "models",
        words=lambda name: MODELS[name].title,
        placeholder="Only the one above",
    )
    if several:
        texts["model"] = ",".join(several)
    if way == "all":
        left, right = st.columns(2, gap="medium")
        with left:
            seeds = _text("seed", "Seeds", "Numbers with commas between, or 0..4 for all of them.")
        with right:
            dealt = choose_many(
                "Splits",
                list(SPLITS),
                "splits",
                words=lambda name: SPLITS[name].title,
                placeholder="Only the one above",
            )
        texts |= {"seed": seeds} if seeds else {}
        texts |= {"split": ",".join(dealt)} if dealt else {}
    titles = forms.varying()
    drawn = ("model", "seed", *(("split",) if way == "all" else ()))
    offered = [name for name in titles if name not in drawn]
    if way != "all":
        offered = [name for name in offered if may_vary(name)]
    picked = choose_many(
        "Other settings that vary",
        offered,
        "vary",
        words=titles.__getitem__,
        placeholder="Learning rate, batch size, anything",
    )
    hint = "Values with commas between"
    hint += "." if way == "all" else ", or a range: 2..6, or 1e-5..1e-2:log for one in factors."
    for name, _ in fields.grid({name: name for name in picked}):
        text = _text(name, titles[name], hint)
        if text:
            texts[name] = text
    return texts


def _text(dotted: str, title: str, hint: str) -> str:
    info = FieldInfo(annotation=str, title=title, description=hint)
    return str(fields.field(_VALUES + dotted, info, ""))


def _way(way: str) -> Strategy:
    left, right = st.columns(2, gap="medium")
    with left:
        number = FieldInfo(
            annotation=int,
            title="Trials",
            description="How many runs are tried.",
        )
        n = fields.field("trials", number, 20)
    with right:
        line = {
            "none": "No run is ended early",
            "median": "End runs below the median",
            "hyperband": "Hyperband",
        }
        pruner = choose_one(
            "Pruning",
            list(line),
            "prune",
            words=line.__getitem__,
            default="median",
            help="Runs whose validation score falls behind that of earlier ones at the same epoch "
            "are stopped and marked as pruned.",
        )
    return Strategy("random" if way == "random" else "tpe", int(n), pruner)  # type: ignore[arg-type]


def panel(wanted: Wanted) -> None:
    """Checks what is wanted, says how many runs it makes and how long they take, and begins."""
    try:
        folder = wanted.values.get("dataset.folder")
        check_folder(str(wanted.values["dataset"]), {"folder": folder})
        base = configuration.with_values(RunConfig(), dict(wanted.values))
        if wanted.search:
            _search_panel(wanted, base, wanted.search)
        else:
            _plan_panel(wanted, base)
    except GenrecoreError as error:
        st.error(plain(error), icon=":material/error:")
        st.button("Queue the runs", type="primary", width="stretch", disabled=True, key="queue")
    _measuring()


def _plan_panel(wanted: Wanted, base: RunConfig) -> None:
    base, grids = plan_drafts.spread(base, [{}], wanted.texts)
    made = _drafted(base.model_dump_json(), json.dumps(grids))
    there = runs.find_same(made.configs)
    todo = [c for c, run in zip(made.configs, there, strict=True) if wanted.again or run is None]
    n, n_new = len(made.configs), len(todo)
    with st.container(border=True, gap="small"):
        st.markdown(f"**{n} run{'s' if n != 1 else ''}**")
        if n_new < n:
            k = n - n_new
            st.caption(f"{k} of them {'is' if k == 1 else 'are'} there already and not run again.")
        unknown = _expected(todo)
        st.caption("Closing this page stops nothing.")
        for sentence in made.left_out[:_MOST_LEFT_OUT]:
            st.caption(f":material/block: Left out: {plain(sentence)}")
        if len(made.left_out) > _MOST_LEFT_OUT:
            st.caption(f"… and {len(made.left_out) - _MOST_LEFT_OUT} more reasons.")
    line = _words(wanted, made)
    if st.button(
        f"Queue {n_new} run{'s' if n_new != 1 else ''}" if n_new else "Keep them as a plan",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        key="queue",
    ):
        named, source = "", ""
        if wanted.table:
            named, source = find_sweep(wanted.table)[1].title, sweep_source(wanted.table)
        plan = plans.start(made, title=named, source=source, again=wanted.again)
        open_plan(plan.plan_id)
    _measure_button(line, unknown)
    command(line)


def _words(wanted: Wanted, made: Draft) -> list[str]:
    several = {key for grid in made.grids for key in grid}
    texts = {key: text for key, text in wanted.texts.items() if key in several}
    return plan_drafts.sweep_command(made.base, texts, ["--again"] if wanted.again else [])


@st.cache_data(show_spinner="Checking the combinations …", max_entries=32)
def _drafted(base: str, grids: str) -> Draft:
    return plan_drafts.draft(configuration.read_config(json.loads(base)), json.loads(grids))


def _search_panel(wanted: Wanted, base: RunConfig, way: Strategy) -> None:
    base, ranges = read_ranges(base, wanted.texts)
    base = check(base, ranges, way)
    with st.container(border=True, gap="small"):
        st.markdown(f"**{way.n_trials} runs**, chosen by the search")
        one = resolve(typical(base, ranges)).config
        unknown = _expected([one] * way.n_trials)
        if way.pruner != "none":
            st.caption("Pruned runs end earlier.")
        st.caption("The search goes on when you close this page.")
    more = ["--search", way.sampler, "--trials", str(way.n_trials)]
    if way.pruner != "none":
        more += ["--prune", "--pruner", way.pruner]
    texts = {key: text for key, text in wanted.texts.items() if key in ranges}
    line = plan_drafts.sweep_command(base, texts, more)
    if st.button(
        f"Start {way.n_trials} trials",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        key="queue",
    ):
        plan = searching.create(base, ranges, way)
        searching.start(plan)
        open_plan(plan.plan_id)
    _measure_button(line, unknown)
    command(line)


def _expected(todo: Sequence[RunConfig]) -> bool:
    """Says how long these runs take; returns whether measuring could tell more."""
    if not todo:
        return False
    known = Estimator(readers.all_runs())
    for config in known.uncounted(todo):
        picked = DatasetChoice(config.dataset.name, dict(config.dataset.options))
        if reading.is_made(picked):
            known.add_clips(config, reading.read(picked).clips)
    found = known.total(todo)
    unknown = bool(known.unmeasured(todo))
    more = " Measuring a few training steps tells." if unknown else ""
    st.caption(plain(found.sentence + more))
    return unknown


def _measure_button(line: list[str], unknown: bool) -> None:
    if unknown and st.button(
        "Measure how long it takes",
        icon=":material/timer:",
        width="stretch",
        key="measure",
        help="Takes a few training steps of each model on random numbers; nothing is queued.",
    ):
        task = jobs.start_task([*line[1:], "--dry-run"], "Measuring training steps")
        st.session_state["measuring"] = task.task_id


def _measuring() -> None:
    """The measurement that this visitor started, until it has ended well."""
    shown = [t for t in jobs.tasks()[:20] if t.task_id == st.session_state.get("measuring")]
    working = any(task.state in runs.LIVE for task in shown)
    if working:
        live(_measured, while_true=True)
    elif shown and shown[0].state != "done":
        task_list(shown)


def _measured() -> None:
    """How the measurement goes; what it found is in the estimate, once the page is drawn anew."""
    shown = [t for t in jobs.tasks()[:20] if t.task_id == st.session_state.get("measuring")]
    if not any(task.state in runs.LIVE for task in shown):
        st.rerun()
    task_list(shown)
