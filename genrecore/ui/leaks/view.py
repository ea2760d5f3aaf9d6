"""The leak laboratory on its page: experiments of the store, as they go and what they found."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.config import run as configuration
from genrecore.errors import GenrecoreError
from genrecore.experiments import leaks as leaklab
from genrecore.experiments.leak_gap import CLEAN, LEAKY, LeakGap, leak_gap
from genrecore.experiments.leaks import LeakExperiment
from genrecore.reporting.columns import Column
from genrecore.reporting.plots import leaks as drawn
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.cache import cached_by_files, in_runs
from genrecore.ui.parts.choices import choose, choose_one, chosen
from genrecore.ui.parts.frame import (
    chart,
    command,
    link_to,
    plain,
    section,
    sentences,
)
from genrecore.ui.parts.live import leak_badge, live, run_card, state_word
from genrecore.ui.parts.tables import show_table, table_to_open
from genrecore.words import signed_points

_SIDES = {LEAKY: "By clip", CLEAN: "By artist"}
# What every title says anyway, or what is no part of an experiment.
_SAID = ("dataset.name", "model.name", "training.epochs", "device")
_MOST_SETTINGS = 4
_NO_BREAK = "\u00a0"


def explanation() -> None:
    """What a leak is and what an experiment does."""
    st.markdown(
        "A split leaks when an artist, or a copy of a recording, stands on both sides of it: the "
        "model can then recognise the artist instead of the genre, and its accuracy is flattered. "
        "An experiment trains the same system on the same clips dealt in two ways, **by clip** "
        "(training and test share artists) and **by artist** (they do not), fold after fold until "
        "every clip has been tested once in either way; the difference is what the leak adds."
    )


def all_experiments() -> list[LeakExperiment]:
    """The experiments of the store, the newest first."""
    return leaklab.experiments(readers.all_runs())


def choose_view(found: Sequence[LeakExperiment]) -> str:
    """`experiments` or `new`; in a store without experiments there is only the form."""
    text = {"experiments": "Experiments", "new": "New experiment"}
    options = list(text) if found else ["new"]
    return choose_one("Show", options, "view", words=text.__getitem__, radio=True)


def open_experiment(key: str) -> None:
    """Shows an experiment from now on, also in the address."""
    choose("experiment", key)
    choose("view", "")
    st.rerun()


def show(found: Sequence[LeakExperiment]) -> None:
    """The experiment of the address, as it goes or what it found, and the list of all.

    Args:
        found: Experiments, not empty.
    """
    by_key = {one.key: one for one in found}
    wanted = chosen("experiment")
    if wanted and wanted not in by_key:
        st.warning(f"There is no experiment {plain(wanted)}; the newest is shown.")
    titles = _titles(found)
    key = choose_one("Experiment", list(by_key), "experiment", words=titles.__getitem__)
    experiment = by_key[key]
    if experiment.active:
        stage = _stage(experiment)
        live(lambda: _progress(experiment, stage), while_true=True)
    if experiment.n_missing:
        _missing(experiment)
    if experiment.complete:
        with sentences():
            _result(experiment)
    else:
        section("Runs")
        _run_table(experiment)
    _ways_on(experiment)
    if len(found) > 1:
        _list(found, titles, key)


def _titles(found: Sequence[LeakExperiment]) -> dict[str, str]:
    """A title by key, with the settings that tell these experiments apart."""
    changed = [configuration.differences(one.config) for one in found]
    apart = [
        name
        for name in dict.fromkeys(name for settings in changed for name in settings)
        if name not in _SAID
        and not name.startswith("split.")
        and len({json.dumps(settings.get(name)) for settings in changed}) > 1
    ]
    titles = {}
    for one, settings in zip(found, changed, strict=True):
        own = [
            f"{name.removesuffix('.name').rpartition('.')[2].replace('_', ' ')} {settings[name]}"
            for name in apart
            if name in settings
        ]
        more = own[:_MOST_SETTINGS] + (["…"] if len(own) > _MOST_SETTINGS else [])
        n_epochs = max((run.n_epochs for run in one.runs), default=one.config.training.epochs)
        epochs = f"{n_epochs} epochs" if n_epochs > 1 else "1 epoch"
        titles[one.key] = " · ".join([one.title, epochs, *more])
    return titles


def _stage(experiment: LeakExperiment) -> list[str]:
    """What decides the parts of the page: the state of every run."""
    return [run.state for run in experiment.runs]


def _progress(experiment: LeakExperiment, drawn_at: list[str]) -> None:
    """How far the experiment is; at another stage the page is drawn anew."""
    now = experiment.again()
    if _stage(now) != drawn_at:
        st.rerun()
    at_work = [member.run for member in now.active if member.run and member.state != "queued"]
    text = f"{len(now.done)} of {now.n_runs} runs are done"
    if now.left_s is not None:
        text += f" · about {words.seconds(now.left_s)} left"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.progress(now.share, text=text, width="stretch")
        if st.button(
            "Stop",
            icon=":material/stop_circle:",
            key="stop_experiment",
            help="The run at work saves what it has and stops; those that wait leave the queue. "
            "What is done stays.",
        ):
            _stop(now)
    for run in at_work:
        st.caption(f"At work: {_place(run, now).lower()}")
        run_card(run)
    if not at_work:
        st.caption("Waiting for a free place to run. You can close this page meanwhile.")


def _stop(experiment: LeakExperiment) -> None:
    experiment.stop_runs()
    st.rerun()


def _place(run: Run, experiment: LeakExperiment) -> str:
    side = _SIDES[run.config.split.name]
    return f"{side}, fold {run.config.fold + 1} of {experiment.n_folds}"


def _missing(experiment: LeakExperiment) -> None:
    """Which folds nobody works on and why, and the button that queues them."""
    n = experiment.n_missing
    reasons = {
        member.run.reason: _place(member.run, experiment)
        for member in experiment.ended
        if member.run and member.state in ("failed", "lost")
    }
    for reason, place in reasons.items():
        st.error(plain(f"{place}: {reason or 'It did not say why.'}"), icon=":material/error:")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(
            f"{len(experiment.done)} of {experiment.n_runs} runs are done, "
            f"{n} {'is' if n == 1 else 'are'} missing.",
            width="content",
        )
        if st.button(
            "Queue the missing run" if n == 1 else f"Queue the {n} missing runs",
            type="primary",
            icon=":material/play_arrow:",
            key="queue_missing",
        ):
            with sentences(), st.spinner("Queueing …"):
                leaklab.start(experiment.config, experiment.n_folds)
                st.rerun()


def _result(experiment: LeakExperiment) -> None:
    """The headline, both accuracies and the gap, every genre, and the runs behind them."""
    found = _gap(experiment.runs)
    st.space("small")
    st.markdown(f"### {plain(found.headline.replace(' %', _NO_BREAK + '%'))}")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"{_place(experiment.leaky[0], experiment)}:", width="content")
        leak_badge(experiment.leaky[0])
    chart(drawn.accuracies(found), "accuracies")
    st.caption(
        f"{found.n_clips:,} clips, each tested once in either way by a model that had not heard "
        f"it. The gap's interval resamples {found.n_artists:,} artists, because clips of one "
        "artist are alike; those of the accuracies count clips (Wilson)."
    )
    chart(drawn.genres(found), "genres")
    section("Runs", "One for each fold and each way of dealing.")
    _run_table(experiment)


@cached_by_files(in_runs("predictions.parquet"), spinner="Computing the gap …", max_entries=500)
def _gap(runs: Sequence[Run]) -> LeakGap:
    return leak_gap(list(runs))


def _run_table(experiment: LeakExperiment) -> None:
    """A row a run: state, accuracy, warning, and the way to it."""
    rows = [
        {
            "run_id": run.run_id,
            "dealt": _SIDES[run.config.split.name],
            "fold": f"{run.config.fold + 1} of {experiment.n_folds}",
            "state": state_word(run.state),
            "badge": run.badge,
            "run": f"runs?run={run.run_id}",
        }
        for run in experiment.runs
    ]
    scored = readers.leaderboard([member.run for member in experiment.done if member.run])
    scores = scored[["run_id", "accuracy", "accuracy_low", "accuracy_high", "n_clips"]]
    table = pd.DataFrame(rows).merge(scores, on="run_id", how="left")
    columns = ["dealt", "fold", "run", "state", "accuracy", "accuracy_low", "n_clips"]
    warning = ["badge"] if table["badge"].any() else []
    show_table(table, [*columns, *warning], {"dealt": "Split"})


def _ways_on(experiment: LeakExperiment) -> None:
    dataset, genres = experiment.config.dataset, experiment.config.genres
    query = {f"{dataset.name}.{key}": str(value) for key, value in dataset.options.items()}
    query |= {f"genres.{key}": value for key, value in genres.model_dump().items() if value}
    query |= {"dataset": dataset.name, "view": "split", "split": LEAKY}
    link_to("datasets", "See who stands on both sides", ":material/library_music:", query)
    with st.expander("As a command", icon=":material/terminal:"):
        command(leaklab.leaklab_command(experiment.config, experiment.n_folds))


def _list(found: Sequence[LeakExperiment], titles: dict[str, str], key: str) -> None:
    """All experiments, for comparing systems; a click on a row opens one."""
    section("All experiments", "How much each system leans on its artists. Pick a row to open it.")
    rows = []
    for one in found:
        at = _found(one)
        rows.append(
            {
                "title": titles[one.key],
                "state": f"{len(one.done)} of {one.n_runs} runs",
                "leaky": at.leaky if at else float("nan"),
                "clean": at.clean if at else float("nan"),
                "gap": at.difference if at else float("nan"),
                "interval": f"{signed_points(at.low)} to {signed_points(at.high)}" if at else "",
            }
        )
    keys = [one.key for one in found]
    table_to_open(
        pd.DataFrame(rows),
        keys,
        key,
        "experiment",
        special={
            "title": "System",
            "state": "Done",
            "leaky": Column("By clip", "share"),
            "clean": Column("By artist", "share"),
            "gap": Column("Gap (points)", "points"),
        },
    )


def _found(experiment: LeakExperiment) -> LeakGap | None:
    """What a finished experiment says; None where it is not finished or cannot be read."""
    if not experiment.complete:
        return None
    try:
        return _gap(experiment.runs)
    except GenrecoreError:
        return None
