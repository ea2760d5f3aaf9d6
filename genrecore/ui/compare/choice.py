"""What the page Compare compares: runs or systems, by filter; all of it lives in the URL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from genrecore.evaluation import systems, verdicts
from genrecore.evaluation.comparison import Comparison
from genrecore.reporting.plots import RunStyle
from genrecore.store.run import Run
from genrecore.ui.compare import readers as compare_readers
from genrecore.ui.parts import readers
from genrecore.ui.parts.choices import (
    choose,
    choose_flag,
    choose_many,
    choose_one,
    chosen,
    chosen_many,
    hold,
)
from genrecore.ui.parts.frame import plain
from genrecore.ui.parts.results import leaderboard_table

MOST = 20
"""More than so many stay legible in no figure."""

RUNS, SYSTEMS = "runs", "systems"
_UNITS = {RUNS: "Single runs", SYSTEMS: "Systems, over their seeds"}
_USUAL_BAND, _MOST_BAND = 100 * verdicts.BAND, 20.0  # points


@dataclass(frozen=True)
class Chosen:
    """What is compared.

    Attributes:
        unit: `RUNS` or `SYSTEMS`.
        members: The runs of each by its key, a run's id or a system's signature.
        titles: What each is called.
        styles: How each is drawn.
        band: Differences smaller than this share count as none in practice.
        on_shared: Whether only on the clips that all share.
    """

    unit: str
    members: dict[str, list[Run]]
    titles: dict[str, str]
    styles: Mapping[str, RunStyle]
    band: float
    on_shared: bool

    @property
    def command(self) -> str:
        """The same as a command."""
        line = "genrecore compare " + " ".join(found[0].run_id for found in self.members.values())
        line += " --systems" if self.unit == SYSTEMS else ""
        line += f" --band {100 * self.band:g}" if self.band != verdicts.BAND else ""
        return line + (" --shared" if self.on_shared else "")


def choose_what(found: Sequence[Run]) -> Chosen:
    """The filter, the runs or systems picked, and how they are judged.

    Args:
        found: Tested runs, the newest first.
    """
    unit = choose_one(
        "Compare", list(_UNITS), "of", _UNITS.__getitem__, radio=True, hide_label=True
    )
    left = _filtered(found)
    members, titles, styles = _listed(unit, found)
    ids = {run.run_id for run in left}
    fitting = [key for key, runs in members.items() if any(run.run_id in ids for run in runs)]
    known = chosen_many(unit)
    for name in known:
        if name not in members:
            st.warning(plain(f"There is no tested {unit[:-1]} {name}."), icon=":material/search:")
    picked = fitting
    if not choose_flag(f"All {len(fitting):,} {unit} that the filter leaves", "all"):
        picked = choose_many(
            "Runs" if unit == RUNS else "Systems",
            # What was picked before stays to be seen, whatever the filter says.
            list(dict.fromkeys([*fitting, *(name for name in known if name in members)])),
            unit,
            words=titles.__getitem__,
            default=_two_best(unit, members, fitting),
            placeholder=f"Pick two or more {unit}",
        )
    picked = _best_first({key: members[key] for key in picked})
    return Chosen(
        unit,
        {key: members[key] for key in picked},
        {key: titles[key] for key in picked},
        styles,
        _band() / 100,
        chosen("shared") == "on",
    )


def _best_first(members: dict[str, list[Run]]) -> list[str]:
    """The keys by mean accuracy, so that of a pair the first is the more accurate."""
    table = readers.leaderboard([run for found in members.values() for run in found])
    accuracy = dict(zip(table["run_id"], table["accuracy"], strict=True))
    means = {
        key: sum(accuracy.get(run.run_id, 0.0) for run in found) / len(found)
        for key, found in members.items()
    }
    return sorted(members, key=lambda key: -means[key])


def legible(what: Chosen) -> Chosen:
    """The same, or where there are too many the best of them; says so, and lists all."""
    n = len(what.members)
    if n <= MOST:
        return what
    every = [run for found in what.members.values() for run in found]
    table = readers.leaderboard(every)
    kept = list(what.members)[:MOST]
    st.warning(
        f"{n:,} {what.unit} are chosen. Pairs and figures are of the {MOST} most accurate; the "
        "scores of all are listed here. Narrow the filter to see others.",
        icon=":material/filter_alt:",
    )
    with st.expander(f"Scores of all {len(every):,} runs", icon=":material/table:"):
        leaderboard_table(table)
    return Chosen(
        what.unit,
        {key: what.members[key] for key in kept},
        {key: what.titles[key] for key in kept},
        what.styles,
        what.band,
        what.on_shared,
    )


def ask_for_shared(compared: Comparison, what: Chosen) -> None:
    """Where not all were tested on the same clips: whether to compare on the shared ones, and
    which they are."""
    if not (compared.differ or what.on_shared):
        return
    if compared.can_ask or what.on_shared:
        n = len(compared.shared)
        choose_flag(
            f"Compare on the {n} clips that all share, and on those alone"
            if n
            else "Compare each pair on the clips that it shares",
            "shared",
            help="Everything on this page is then of these clips."
            if n
            else "No clip is shared by all; scores stay each one's own.",
        )
    with st.expander(f"Clips tested by all ({len(compared.shared)})", icon=":material/list:"):
        st.dataframe(pd.DataFrame({"Clip": compared.shared}), hide_index=True, height=240)


def choose_two(compared: Comparison) -> tuple[str, str] | None:
    """Two of the keys, A and B; by default the two most accurate. None where it is one twice."""
    keys = list(compared.titles)
    if len(keys) == 2:
        return keys[0], keys[1]
    order = compared.table.sort_values("accuracy", ascending=False, kind="stable")["run_id"]
    names = compared.titles.__getitem__
    with st.container(horizontal=True, gap="medium"):
        a = choose_one("A", keys, "a", names, default=str(order.iloc[0]))
        b = choose_one("B", keys, "b", names, default=str(order.iloc[1]))
    if a == b:
        st.info("Pick two different ones as A and B.", icon=":material/balance:")
        return None
    return a, b


def _filtered(found: Sequence[Run]) -> list[Run]:
    """The runs that dataset, models and splits in the URL leave."""
    datasets = sorted({run.config.dataset.name for run in found})
    models = sorted({run.config.model.name for run in found})
    splits = sorted({run.config.split.name for run in found})
    left, middle, right = st.columns(3, gap="medium")
    with left:
        dataset = choose_one("Dataset", ["", *datasets], "dataset", lambda one: one or "All")
    with middle:
        of_models = choose_many("Models", models, "models", placeholder="All")
    with right:
        of_splits = choose_many("Splits", splits, "splits", placeholder="All")
    return [
        run
        for run in found
        if (not dataset or run.config.dataset.name == dataset)
        and (not of_models or run.config.model.name in of_models)
        and (not of_splits or run.config.split.name in of_splits)
    ]


def _listed(
    unit: str, found: Sequence[Run]
) -> tuple[dict[str, list[Run]], dict[str, str], Mapping[str, RunStyle]]:
    """(runs by key, title by key, style by key) of all there is to choose from."""
    if unit == RUNS:
        return {run.run_id: [run] for run in found}, readers.titles(found), readers.styles()
    made = compare_readers.grouped(found)
    names = systems.titles(list(made.values()))
    titles = {}
    for key, one in made.items():
        n = one.n_seeds
        titles[key] = f"{names[key]} · {n} seed{'s' if n > 1 else ''}"
    members = {key: list(one.runs) for key, one in made.items()}
    return members, titles, compare_readers.styles_of(made)


def _two_best(unit: str, members: dict[str, list[Run]], fitting: Sequence[str]) -> list[str]:
    """The two most accurate of the dataset with most runs."""
    fits = [run for key in fitting for run in members[key]]
    if unit == RUNS or not fits:
        return readers.two_best(fits) if fits else []
    table = readers.leaderboard(fits)
    table = readers.of_dataset(table, readers.datasets_in(table)[0])
    system_of = {run.run_id: key for key in fitting for run in members[key]}
    means = table.groupby(table["run_id"].map(system_of))["accuracy"].mean()
    return [str(key) for key in means.sort_values(ascending=False).index[:2]]


def _band() -> float:
    """The band of practical equivalence in points, from the URL."""
    try:
        value = float(chosen("band") or _USUAL_BAND)
    except ValueError:
        return _USUAL_BAND
    return min(_MOST_BAND, max(0.0, value)) if value == value else _USUAL_BAND


def choose_band() -> None:
    """The band, to be adjusted."""
    key = "choice_band"
    hold(key, _band())

    def write() -> None:
        now = float(st.session_state.get(key) or 0.0)
        choose("band", "" if now == _USUAL_BAND else f"{now:g}")

    with st.container(width=330):
        st.number_input(
            "Equal in practice within ± points",
            0.0,
            _MOST_BAND,
            step=0.5,
            format="%.1f",
            key=key,
            on_change=write,
            help="Two are equivalent where the whole interval of their difference lies within "
            "this band.",
        )
