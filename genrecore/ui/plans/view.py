"""Plans on their page: how far each is, its runs, and which did best. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.config.dotted import in_words, name_of, shown
from genrecore.evaluation.metrics import noun, watched
from genrecore.experiments import plan as plans
from genrecore.experiments import results as plan_results
from genrecore.experiments import search as searching
from genrecore.experiments.plan import PRUNED, Plan
from genrecore.reporting.columns import Column
from genrecore.ui.parts.choices import choose, choose_one, chosen
from genrecore.ui.parts.frame import link_to, plain, section, sentences
from genrecore.ui.parts.live import live, run_card, state_word
from genrecore.ui.parts.tables import show_table, table_to_open

_MOST_COMPARED = 8
_NO_BREAK = "\u00a0"
_MOST_CARDS = 3
_STATES = {
    "running": ("At work", ":material/play_circle:", "blue"),
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


def choose_view(found: Sequence[Plan]) -> str:
    """`plans` or `new`; in a store without plans there is only the form."""
    text = {"plans": "Plans", "new": "New plan"}
    options = list(text) if found else ["new"]
    return choose_one("Show", options, "view", words=text.__getitem__, radio=True)


def open_plan(plan_id: str) -> None:
    """Shows a plan from now on, also in the address."""
    choose("plan", plan_id)
    choose("view", "")
    st.rerun()


def show(found: Sequence[Plan]) -> None:
    """The plan of the address, and the list of all.

    Args:
        found: Plans, not empty.
    """
    for plan in found:
        if plan.problem:
            st.warning(plain(plan.problem))
    found = [plan for plan in found if not plan.problem]
    if not found:
        return
    by_id = {plan.plan_id: plan for plan in found}
    wanted = chosen("plan")
    if wanted and wanted not in by_id:
        st.warning(f"There is no plan {plain(wanted)}; the newest is shown.")
    text = {plan.plan_id: f"{plan.title} · {words.moment(plan.made_at)}" for plan in by_id.values()}
    plan = by_id[choose_one("Plan", list(by_id), "plan", words=text.__getitem__)]
    with sentences():
        _one(plan)
    if len(found) > 1:
        _list(found, plan.plan_id)


def _one(plan: Plan) -> None:
    stage = _stage(plan)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        word, icon, colour = _STATES[plan.state]
        st.badge(word, icon=icon, color=colour)  # type: ignore[arg-type]
        st.caption(plain(plan_results.summary(plan)))
    if plan.state == "running":
        live(lambda: _progress(plan.plan_id, stage), while_true=True)
    elif plan.state in ("incomplete", "stopped"):
        _go_on(plan)
    _best(plan)
    _tested(plan)
    _runs(plan)
    if plan.left_out:
        with st.expander(f"Left out ({len(plan.left_out)})", icon=":material/block:"):
            st.markdown("\n".join(f"- {plain(sentence)}" for sentence in plan.left_out))
    _without_run(plan)


def _stage(plan: Plan) -> list[str]:
    """What decides the parts of the page: the plan's state and those of its runs."""
    return [plan.state, *(one.state for one in plan.members)]


def _progress(plan_id: str, drawn_at: list[str]) -> None:
    """How far a plan at work is; at another stage the page is drawn anew."""
    plan = plans.find_plan(plan_id)
    if _stage(plan) != drawn_at:
        st.rerun()
    over = len(plan.done) + (len(plan.ended) if plan.search else 0)
    text = f"{over} of {plan.n_runs} runs are over"
    if plan.left_s is not None:
        text += f" · about {words.seconds(plan.left_s)} left"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.progress(plan.share, text=text, width="stretch")
        if st.button(
            "Stop",
            icon=":material/stop_circle:",
            key="stop_plan",
            help="Runs at work save what they have and stop; those that wait leave the queue. "
            "What is done stays.",
        ):
            with sentences():
                st.toast(plain(plans.stop(plan)), icon=":material/stop_circle:")
            st.rerun()
    at_work = [one for one in plan.active if one.state != "queued"]
    for one in at_work[:_MOST_CARDS]:
        if one.run:
            st.caption(f"At work: {plain(in_words(one.changes))}")
            run_card(one.run)
    if not at_work:
        st.caption("Waiting for a free place to run. You can close this page meanwhile.")


def _go_on(plan: Plan) -> None:
    """What is missing and why, and the button that goes on."""
    for one in plan.ended:
        if one.run and one.state in ("failed", "lost"):
            reason = one.run.reason or "It did not say why."
            st.error(plain(f"{in_words(one.changes)}: {reason}"), icon=":material/error:")
    if plan.search:
        wrong = searching.problem(plan)
        if wrong:
            st.error(plain(f"The search ended: {wrong}"), icon=":material/error:")
        n = searching.n_not_begun(plan)
        text, button = f"{n} of {plan.n_runs} trials have not begun.", "Let the search go on"
    else:
        n = plan.n_runs - len(plan.done)
        text = f"{n} of {plan.n_runs} runs {'has' if n == 1 else 'have'} no result."
        button = "Queue the missing run" if n == 1 else f"Queue the {n} missing runs"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(text, width="content")
        if st.button(button, type="primary", icon=":material/play_arrow:", key="go_on"):
            with sentences(), st.spinner("Queueing …"):
                if plan.search:
                    searching.start(plan)
                else:
                    plans.queue_missing(plan)
                st.rerun()


def _best(plan: Plan) -> None:
    best = plan_results.best(plan)
    if best is None or best.run is None:
        return
    metric = watched(plan.base.training.watch)
    score = plan_results.score(best.run, metric.name)
    if math.isnan(score):
        return
    with st.container(border=True, gap="small"):
        st.markdown(
            f"Best by validation: **{plain(in_words(best.changes))}**, "
            f"{noun(metric)} {plain(metric.facts.written(score)).replace(' ', _NO_BREAK)}."
        )
        if len(plan.done) > 1:
            st.caption(
                f"The best of {len(plan.done)} on the same validation clips flatters a little; its "
                "test clips took no part in the choice."
            )
        with st.container(horizontal=True, gap="medium"):
            link_to("runs", "Open it", ":material/monitoring:", {"run": best.run.run_id})
            done = [one.run.run_id for one in plan_results.by_score(plan) if one.run]
            if len(done) > 1:
                text = "Compare the two best" if len(done) > _MOST_COMPARED else "Compare them"
                few = done[:2] if len(done) > _MOST_COMPARED else done
                link_to("compare", text, ":material/balance:", {"runs": ",".join(few)})
            link_to("train", "Clone it with edits", ":material/replay:", {"from": best.run.run_id})


def _tested(plan: Plan) -> None:
    """The accuracies on the test clips as a table, as studies print them."""
    table = plan_results.tested(plan)
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
        "Accuracy on the test clips, the mean over seeds and folds. Whether two of them differ "
        "is told under Compare."
    )


def _runs(plan: Plan) -> None:
    """A row a run: what it changes, its score, its state, and the way to it."""
    section("Runs")
    rows = plan_results.table(plan)
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
        [
            *columns,
            *("score", "state", "epochs", "run"),
            *(["note"] if table["note"].any() else []),
            *(["reason"] if table["reason"].any() else []),
        ],
        {
            **{short: name_of(key).capitalize() for short, key in columns.items()},
            "score": Column(f"Best validation {noun(metric)}", metric.facts.format),
            "epochs": "Epochs",
        },
    )


def _cell(value: object) -> object:
    """Numbers stay numbers, so that a click on the column's head sorts them."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number else shown(value)


def _without_run(plan: Plan) -> None:
    """Trials of a search that never became a run, and why."""
    unfit = (
        [t for t in searching.trials(plan) if not t["run"] and t["reason"]] if plan.search else []
    )
    if unfit:
        with st.expander(f"Trials without a run ({len(unfit)})", icon=":material/block:"):
            st.markdown(
                "\n".join(f"- {plain(in_words(t['params']))}: {plain(t['reason'])}" for t in unfit)
            )


def _list(found: Sequence[Plan], picked: str) -> None:
    """All plans; a click on a row opens one."""
    section("All plans", "Pick a row to open it.")
    ids = [plan.plan_id for plan in found]
    rows = []
    for plan in found:
        best = plan_results.best(plan)
        rows.append(
            {
                "state": _STATES[plan.state][0],
                "done": f"{len(plan.done)} of {plan.n_runs}",
                "made": datetime.fromtimestamp(plan.made_at),
                "title": plan.title,
                "best": in_words(best.changes) if best else "",
            }
        )
    table_to_open(
        pd.DataFrame(rows),
        ids,
        picked,
        "plan",
        special={
            "title": "Plan",
            "state": "State",
            "done": "Runs done",
            "best": "Best by validation",
            "made": Column("Made", "date"),
        },
    )
