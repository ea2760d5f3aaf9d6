"""Plans on their page: how far each is, its runs, and which did best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.config.dotted import in_words, name_of, text_of
from genrecore.evaluation.metrics import noun, watched
from genrecore.experiments import results
from genrecore.experiments import search as searching
from genrecore.experiments.plan import PRUNED, Member, Plan, find_plan, queue_missing, stop
from genrecore.experiments.repair import repair
from genrecore.reporting.columns import Column
from genrecore.store.run import MARKS
from genrecore.ui.parts.frame import (
    NO_BREAK,
    act,
    link_to,
    plain,
    run_badges,
    section,
    sentences,
    work_button,
)
from genrecore.ui.parts.live import state_word
from genrecore.ui.parts.tables import show_table, shown_marks, table_to_open
from genrecore.ui.plans.progress import choose_entry, failures, follow, go_on, offer_missing

_MOST_COMPARED = 8
_STATES = {
    "running": ("Running", ":material/play_circle:", "blue"),
    "done": ("Done", ":material/check_circle:", "green"),
    "stopped": ("Stopped", ":material/stop_circle:", "gray"),
    "incomplete": ("Incomplete", ":material/pending:", "orange"),
}


def explanation() -> None:
    """What a plan is."""
    st.markdown(
        "A plan trains many runs at once: models, seeds, splits, and any setting with a list of "
        "values. Every combination is a run, or a search tries some of them and lets the "
        "validation clips decide. You are told how many runs it makes and how long they take "
        "before it starts."
    )


def show(plans: Sequence[Plan]) -> None:
    """The plan that the URL names, and the list of all; `plans` is not empty."""
    for plan in plans:
        if plan.problem:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.warning(plain(plan.problem), width="stretch")
                if work_button(
                    "Repair",
                    icon=":material/build:",
                    key=f"repair_{words.visible_line(plan.plan_id)}",
                    help="Keeps a copy, then uses what its other files say; a plan that cannot be "
                    "mended is moved aside, and its runs stay. A command as well: genrecore plans "
                    "repair.",
                ):
                    act(partial(repair, plan))
    by_id = {plan.plan_id: plan for plan in plans if not plan.problem}
    if not by_id:
        return
    titles = {key: f"{plan.title} · {words.moment(plan.made_at)}" for key, plan in by_id.items()}
    plan_id = choose_entry("plan", titles)
    with sentences():
        _show_plan(by_id[plan_id])
    if len(by_id) > 1:
        _show_all(list(by_id.values()), plan_id)


def _show_plan(plan: Plan) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        word, icon, colour = _STATES[plan.state]
        st.badge(word, icon=icon, color=colour)  # type: ignore[arg-type]
        st.caption(plain(results.summary(plan)))
    if plan.state == "running":
        plan_id = plan.plan_id
        follow(lambda: find_plan(plan_id), _title, lambda: stop(find_plan(plan_id)))
    elif plan.state in ("incomplete", "stopped"):
        failures(plan, _title)
        if plan.search:
            problem = searching.problem(plan)
            if problem:
                st.error(plain(f"The search ended: {problem}"), icon=":material/error:")
            text = f"{searching.n_not_begun(plan)} of {plan.n_runs} trials have not begun."
            go_on(text, "Let the search go on", lambda: searching.start(plan))
        else:
            n_missing = plan.n_runs - len(plan.done)
            offer_missing(n_missing, plan.n_runs, lambda: queue_missing(plan))
    _show_best(plan)
    _show_tested(plan)
    _show_runs(plan)
    _show_list("Left out", [plain(sentence) for sentence in plan.left_out])
    trials = plan.trials if plan.search else []
    unfit = [trial for trial in trials if not trial["run"] and trial["reason"]]
    _show_list(
        "Trials without a run",
        [f"{plain(in_words(trial['params']))}: {plain(trial['reason'])}" for trial in unfit],
    )


def _title(member: Member) -> str:
    return in_words(member.changes)


def _show_list(title: str, sentences: Sequence[str]) -> None:
    if sentences:
        with st.expander(f"{title} ({len(sentences)})", icon=":material/block:"):
            st.markdown("\n".join(f"- {sentence}" for sentence in sentences))


def _show_best(plan: Plan) -> None:
    best = results.best(plan)
    if best is None or best.run is None:
        return
    metric = watched(plan.base.training.watch)
    score = results.score(best.run, metric.name)
    if math.isnan(score):
        return
    with st.container(border=True, gap="small"):
        st.markdown(
            f"Best by validation: **{plain(in_words(best.changes))}**, "
            f"{noun(metric)} {plain(metric.facts.written(score)).replace(' ', NO_BREAK)}."
        )
        run_badges(best.run)
        if len(plan.done) > 1:
            st.caption(
                f"The best of {len(plan.done)} on the same validation clips tends to look better "
                "than it is; its test clips took no part in the choice."
            )
        with st.container(horizontal=True, gap="medium"):
            link_to("runs", "Open it", ":material/monitoring:", {"run": best.run.run_id})
            done = [member.run.run_id for member in results.by_score(plan) if member.run]
            if len(done) > 1:
                text = "Compare the two best" if len(done) > _MOST_COMPARED else "Compare them"
                few = done[:2] if len(done) > _MOST_COMPARED else done
                link_to("compare", text, ":material/balance:", {"runs": ",".join(few)})
            link_to("train", "Clone it with edits", ":material/replay:", {"from": best.run.run_id})


def _show_tested(plan: Plan) -> None:
    """The accuracies on the test clips as a table, as studies print them."""
    table = results.tested(plan)
    if table.empty and not plan.source:
        return
    section("Test accuracy")
    if plan.source:
        st.caption(f"After {plain(plan.source)}")
    if table.empty:
        st.caption("Nothing has been tested yet.")
        return
    show_table(table, special={name: Column(name, "share") for name in table.columns[1:]})
    st.caption(
        "Mean accuracy on the test clips over seeds and folds. Compare tells whether two of them "
        "differ."
    )
    marks = {mark for member in plan.done if member.run for mark in member.run.warnings}
    for mark in MARKS:
        if mark in marks:
            consequence = f"their{MARKS[mark].removeprefix('its')}"
            st.caption(f":material/warning: Some runs have the mark {mark}: {consequence}.")


def _show_runs(plan: Plan) -> None:
    """A row a run: what it changes, its score, its state, and the link to it."""
    section("Runs")
    rows = results.table(plan)
    if not rows:
        st.caption("None has been queued yet.")
        return
    metric = watched(plan.base.training.watch)
    columns = {f"v_{n}": key for n, key in enumerate(plan.varied)}
    table = pd.DataFrame(
        [
            {
                **{short: _cell(row[key]) for short, key in columns.items()},
                "score": row["score"],
                "marks": row["marks"],
                "state": "⊘ Pruned" if row["reason"] == PRUNED else state_word(row["state"]),
                "epochs": row["epochs"],
                "reason": "" if row["reason"] == PRUNED else row["reason"],
                "note": row["note"],
                "run": f"runs?run={row['run']}" if row["run"] else None,
            }
            for row in rows
        ]
    )
    show_table(
        table,
        shown_marks(
            [
                *columns,
                *("score", "state", "marks", "epochs", "run"),
                *(["note"] if table["note"].any() else []),
                *(["reason"] if table["reason"].any() else []),
            ],
            table,
        ),
        {
            **{short: name_of(key).capitalize() for short, key in columns.items()},
            "score": Column(f"Best validation {noun(metric)}", metric.facts.format),
            "epochs": "Epochs",
        },
    )


def _cell(value: object) -> object:
    """Numbers stay numbers, so that a click on the column's head sorts them."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number else text_of(value)


def _show_all(plans: Sequence[Plan], opened: str) -> None:
    """All plans; a click on a row opens one."""
    section("All plans", "Pick a row to open it.")
    best = [results.best(plan) for plan in plans]
    rows = {
        "title": [plan.title for plan in plans],
        "state": [_STATES[plan.state][0] for plan in plans],
        "done": [f"{len(plan.done)} of {plan.n_runs}" for plan in plans],
        "best": [_title(member) if member else "" for member in best],
    }
    table_to_open(
        pd.DataFrame(rows),
        [plan.plan_id for plan in plans],
        opened,
        "plan",
        special={
            "title": "Plan",
            "state": "State",
            "done": "Runs done",
            "best": "Best by validation",
        },
    )
