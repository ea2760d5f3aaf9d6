"""The form of a plan or a search: what all runs share, as on Train, and what varies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st
from pydantic.fields import FieldInfo

from genrecore.config.run import RunConfig
from genrecore.data.splits import SPLITS
from genrecore.experiments import draft as drafts
from genrecore.experiments import plan as plans
from genrecore.experiments import search
from genrecore.experiments.draft import Draft
from genrecore.experiments.papers.recipes import find_sweep, sweep_source, sweep_values, sweeps
from genrecore.experiments.search import Strategy
from genrecore.experiments.values import read_ranges, typed_list
from genrecore.jobs.places import ELSEWHERE
from genrecore.models import MODELS
from genrecore.store.run import Run
from genrecore.store.runs import find_same
from genrecore.training.check import check
from genrecore.training.parts import REGISTRIES, fits
from genrecore.training.resolve import resolve
from genrecore.ui.datasets.choice import usual_config
from genrecore.ui.parts import fields, forms
from genrecore.ui.parts.choices import choose, choose_flag, choose_many, choose_one, chosen
from genrecore.ui.parts.fitting import allowed, check_of, fill_in
from genrecore.ui.parts.frame import pair, plain, section, separation_box
from genrecore.ui.parts.places import choose_places
from genrecore.ui.plans.panel import buttons, plan_panel, show_estimate
from genrecore.ui.plans.progress import open_entry

_WAYS = {"all": "Every combination", "random": "Random search", "tpe": "TPE search"}
_VALIDATION_DECIDES = " The validation clips decide; the search never sees the test clips."
_ABOUT_WAYS = {
    "all": "Every combination of the values below is a run.",
    "random": "The search draws combinations at random." + _VALIDATION_DECIDES,
    "tpe": "The search chooses each combination by the scores of earlier ones."
    + _VALIDATION_DECIDES,
}
_PRUNERS = {
    "none": "No run is ended early",
    "median": "End runs below the median",
    "hyperband": "Hyperband",
}
_VALUES = "values."  # before a field's name in the address


def new_plan(runs: Sequence[Run]) -> None:
    """The form, and beside it the runs that it makes; `runs` are all of the store."""
    left, right = pair("plan", left=5, right=3)
    with left:
        table = _table_part()
        values = forms.run_form(usual_config())
        section("4 · What varies", "All runs share the settings above, except those given here.")
        way = choose_one("Which runs", _WAYS, "way", radio=True, default="all")
        st.caption(_ABOUT_WAYS[way])
        texts = _varying(values, way)
        if way == "all":
            again = choose_flag(
                "Train again what is there already",
                "again",
                help="Otherwise a finished run with the same settings counts.",
            )
        else:
            strategy = _choose_strategy(way)
    with right:
        section("This plan")
        with forms.checked("Queue the runs", "queue"):
            config = forms.configuration(values)
            trial = check(config).split
            if trial and trial.separation:
                separation_box(trial.separation)
            if way == "all":
                _plan(config, runs, texts, table, again)
            else:
                _search(config, runs, texts, strategy)


def _table_part() -> str:
    """Offers the tables of the studies, and says what they leave open."""
    table = forms.start_from(
        "Start from a table of a study",
        {name: sweep.title for name, (_, sweep) in sweeps().items()},
        "table",
        _fill_in,
        "Fills in everything as the study had it, and the values that its table compares. You can "
        "still change all of it.",
    )
    if table:
        study, sweep = find_sweep(table)
        with st.expander("What the study prints, what it leaves open, and what is chosen here"):
            st.markdown(f"**{plain(f'{study.citation}, {sweep.source}')}**")
            st.markdown("\n".join(f"- {plain(t)}" for t in (sweep.published, *sweep.notes)))
        if len(sweep.rows) > 1:
            st.caption(
                "This table is not every combination of its values, so this form covers only a "
                f"part of it. The whole table: `genrecore sweep --table {table}`"
            )
    return table


def _fill_in(table: str) -> None:
    # What further grids add is trained only from the table as it stands.
    study, sweep = find_sweep(table)
    grid = study.grids(sweep)[0]
    alike = {key: values[0] for key, values in grid.items() if len(values) == 1}
    grid = {key: values for key, values in grid.items() if key not in alike}
    models = [str(name) for name in grid.pop("model", [])]
    fill_in(({"model": models[0]} if models else {}) | sweep_values(table) | alike)
    choose("models", models)
    choose("vary", list(grid))
    for dotted, values in grid.items():
        choose(_VALUES + dotted, typed_list(values))
    choose("way", "")


def _varying(values: Mapping[str, Any], way: str) -> dict[str, str]:
    """What varies, as typed, by dotted field."""
    picked = {
        "model": choose_many(
            "Models",
            {name: MODELS[name].title for name in MODELS if not fits(values["feature"], name)},
            "models",
            placeholder="Only the one above",
        )
    }
    texts: dict[str, str] = {}
    if way == "all":
        left, right = st.columns(2, gap="medium")
        with left:
            texts["seed"] = _text("seed", "Seeds", "Numbers with commas between, or 0..4 for all.")
        with right:
            picked["split"] = choose_many(
                "Splits", _splits(values), "splits", placeholder="Only the one above"
            )
    titles = {
        name: title
        for name, title in _titles().items()
        if name not in ("seed", *picked) and (way == "all" or search.may_vary(name))
    }
    others = choose_many(
        "Other settings that vary",
        titles,
        "vary",
        placeholder="Learning rate, batch size, anything",
    )
    hint = "Values with commas between"
    hint += "." if way == "all" else ", or a range: 2..6, or 1e-5..1e-2:log for a logarithmic one."
    for name, _ in fields.grid(dict.fromkeys(others)):
        texts[name] = _text(name, titles[name], hint)
    texts = {name: ",".join(names) for name, names in picked.items()} | texts
    return {name: text for name, text in texts.items() if text}


def _splits(values: Mapping[str, Any]) -> dict[str, str]:
    """The titles of the splits that can be made of these clips without a leak; of all where nobody
    knows."""
    trials = check_of(values, RunConfig()).splits
    return {
        name: title
        for name, title in SPLITS.titles.items()
        if not trials or trials[name].outcome in ("works", "cannot be known")
    }


def _titles() -> dict[str, str]:
    """The title of every field that may vary, by dotted name: options are those of the chosen
    parts, and of all models."""
    titles = {dotted: info.title or dotted for dotted, info in forms.flat_fields().items()}
    for part, registry in REGISTRIES.items():
        titles[part] = RunConfig.model_fields[part].title or part
        name = chosen(part) or getattr(RunConfig(), part).name
        for entry in registry.values() if part == "model" else [registry[name]]:
            for key, info in entry.options.model_fields.items():
                title = info.title or key.replace("_", " ").capitalize()
                titles[f"{part}.{key}"] = f"{titles[part]}: {title}"
    return titles | {"augment": RunConfig.model_fields["augment"].title or "augment"}


def _text(dotted: str, title: str, hint: str) -> str:
    info = FieldInfo(annotation=str, title=title, description=hint)
    return str(fields.field(_VALUES + dotted, info, ""))


def _choose_strategy(way: str) -> Strategy:
    left, right = st.columns(2, gap="medium")
    with left:
        info = FieldInfo(annotation=int, title="Trials", description="How many runs are tried.")
        n_trials = int(fields.field("trials", info, 20))
    with right:
        pruner: Any = choose_one(
            "Pruning",
            _PRUNERS,
            "prune",
            default="median",
            help="Runs whose validation score falls behind that of earlier ones at the same epoch "
            "are stopped and marked as pruned.",
        )
    return Strategy("random" if way == "random" else "tpe", n_trials, pruner)


def _plan(
    config: RunConfig,
    runs: Sequence[Run],
    texts: Mapping[str, str],
    table: str,
    again: bool,
) -> None:
    config, grids = drafts.spread(config, [{}], texts)
    config, red = allowed(config, varies="split" in grids[0])
    plan = _draft(config.model_dump_json(), json.dumps(grids))
    same = [None] * len(plan.configs) if again else find_same(plan.configs, among=runs)
    plan = plan.trainable(same)
    varied = {key: text for key, text in texts.items() if key in grids[0]}
    sweep = drafts.sweep_command(plan.base, varied, ["--again"] if again else [])

    def start(_: object, on: list[str]) -> None:
        title, source = (find_sweep(table)[1].title, sweep_source(table)) if table else ("", "")
        queued = plans.start(plan, title=title, source=source, again=again, on=on)
        open_entry("plan", queued.plan_id)

    plan_panel(
        plan.configs,
        runs,
        start,
        sweep,
        plan.left_out,
        again=again,
        refused=plan.refused,
        red=red,
    )


@st.cache_data(show_spinner="Checking the combinations …", max_entries=32)
def _draft(config: str, grids: str) -> Draft:
    return drafts.draft(RunConfig.model_validate_json(config), json.loads(grids))


def _search(
    config: RunConfig, runs: Sequence[Run], texts: Mapping[str, str], strategy: Strategy
) -> None:
    config, ranges = read_ranges(config, texts)
    config, red = allowed(config)
    config = search.check(config, ranges, strategy)
    with st.container(border=True, gap="small"):
        st.markdown(f"**{strategy.n_trials} runs**, chosen by the search")
        typical = resolve(search.typical(config, ranges)).config
        can_measure = show_estimate([typical] * strategy.n_trials, runs)
        if strategy.pruner != "none":
            st.caption("Pruned runs end earlier.")
        st.caption("The search goes on when you close this page.")
    places = choose_places()
    if any(places):
        st.caption(ELSEWHERE)
    flags = ["--search", strategy.sampler, "--trials", str(strategy.n_trials)]
    if strategy.pruner != "none":
        flags += ["--prune", "--pruner", strategy.pruner]
    varied = {key: text for key, text in texts.items() if key in ranges}

    def start() -> None:
        plan = search.create(config, ranges, strategy, on=places)
        search.start(plan)
        open_entry("plan", plan.plan_id)

    sweep = drafts.sweep_command(config, varied, flags)
    buttons(f"Start {strategy.n_trials} trials" + red, start, sweep, can_measure, places)
