"""The choice of runs or systems on the page Compare, and their comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import streamlit as st

from genrecore import words
from genrecore.data import splits
from genrecore.evaluation import comparison, costs, systems, verdicts
from genrecore.evaluation.comparison import Comparison
from genrecore.evaluation.preference import by_preference
from genrecore.evaluation.systems import Blocks, System
from genrecore.reporting import plots
from genrecore.reporting.plots import RunStyle
from genrecore.store.run import Run
from genrecore.ui.parts import readers
from genrecore.ui.parts.cache import cached_by_files, in_runs
from genrecore.ui.parts.choices import (
    bound,
    choose,
    choose_flag,
    choose_many,
    choose_one,
    chosen,
    chosen_many,
)
from genrecore.ui.parts.frame import plain
from genrecore.ui.parts.tables import leaderboard_table, show_table

MOST = 20
"""No figure stays legible with more."""

RUNS, SYSTEMS = "runs", "systems"
ONLY = "only"
"""In the URL: the runs that a saved view names; of their systems no others are compared."""

Members = Mapping[str, list[Run]]
"""The runs of each that is compared: one run by its own id, or those of a system."""

_SCORED = in_runs("predictions.parquet", "history.jsonl")
_UNITS = {RUNS: "Single runs", SYSTEMS: "Systems, over their seeds"}
_USUAL_BAND, _MOST_BAND = 100 * verdicts.BAND, 20.0  # points


@dataclass(frozen=True)
class Selection:
    """The members of a comparison, and how they are compared.

    Attributes:
        unit: `RUNS` or `SYSTEMS`.
        members: By a run's id or a system's signature.
        titles: Of each by the same key; so are `styles`.
        band: Smaller differences (as a share) count as none in practice.
        on_shared: Whether only on the clips that all share.
        is_limited: Whether systems are without later runs.
    """

    unit: str
    members: dict[str, list[Run]]
    titles: dict[str, str]
    styles: Mapping[str, RunStyle]
    band: float = verdicts.BAND
    on_shared: bool = False
    is_limited: bool = False

    @property
    def command(self) -> str:
        """The same as a command."""
        named = self.runs if self.is_limited else [runs[0] for runs in self.members.values()]
        line = "genrecore compare " + " ".join(run.run_id for run in named)
        line += " --systems" if self.unit == SYSTEMS else ""
        line += " --only" if self.is_limited else ""
        line += f" --band {100 * self.band:g}" if self.band != verdicts.BAND else ""
        return line + (" --shared" if self.on_shared else "")

    @property
    def runs(self) -> list[Run]:
        """All runs of all members."""
        return [run for runs in self.members.values() for run in runs]

    @property
    def run_ids(self) -> tuple[tuple[str, ...], ...]:
        """The ids of each member's runs."""
        return tuple(tuple(run.run_id for run in runs) for runs in self.members.values())

    def only(self, keys: Sequence[str]) -> Selection:
        """The same with these members alone, in this order."""
        members = {key: self.members[key] for key in keys}
        return replace(self, members=members, titles={key: self.titles[key] for key in keys})


def choose_selection(tested: Sequence[Run]) -> Selection:
    """The filter, the runs or systems picked of the tested ones, and how they are judged."""
    unit = choose_one("Compare", _UNITS, "of", radio=True, hide_label=True)
    fitting_ids = {run.run_id for run in _choose_filter(tested)}
    only = chosen_many(ONLY) if unit == SYSTEMS else []
    named = systems.without_later(tested, only) if only else tested
    everything = _everything(unit, named)
    fitting = [
        key
        for key, runs in everything.members.items()
        if any(run.run_id in fitting_ids for run in runs)
    ]
    picked_before = chosen_many(unit)
    for name in picked_before:
        if name not in everything.members:
            st.warning(plain(f"There is no tested {unit[:-1]} {name}."), icon=":material/search:")
    picked = fitting
    count = words.thousands(len(fitting))
    if not choose_flag(f"All {count} {unit} that match the filter", "all"):
        # Earlier picks stay, even where the filter excludes them.
        still_there = [name for name in picked_before if name in everything.members]
        picked = choose_many(
            unit.capitalize(),
            {key: everything.titles[key] for key in [*fitting, *still_there]},
            unit,
            default=_two_best(everything.only(fitting)),
            placeholder=f"Pick two or more {unit}",
            pinned=True,
        )
    picks = everything.only(picked)
    is_limited = bool(only) and _offer_later(picks, tested, only)
    accuracy = _accuracies(picks, readers.leaderboard(picks.runs))
    # Of a pair the first is the more accurate.
    selection = everything.only(sorted(picked, key=lambda key: -accuracy.get(key, 0.0)))
    return replace(
        selection,
        band=_band() / 100,
        on_shared=chosen("shared") == "on",
        is_limited=is_limited,
    )


def _offer_later(picks: Selection, tested: Sequence[Run], only: Sequence[str]) -> bool:
    """Whether picked systems have runs that a saved view does not name; says how many, with a
    button that adds them."""
    counted = {run.run_id for run in picks.runs}
    later = [
        run.run_id
        for system in systems.group_runs(tested)
        if system.signature in picks.members
        for run in system.runs
        if run.run_id not in counted
    ]
    if later:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            verb = "is" if len(later) == 1 else "are"
            st.caption(f"{words.plural(len(later), 'later run')} {verb} not in this view.")
            st.button(
                "Add them",
                key="add_later",
                icon=":material/add:",
                on_click=choose,
                args=(ONLY, [*only, *later]),
            )
    return bool(later)


def _choose_filter(tested: Sequence[Run]) -> list[Run]:
    """The runs that dataset, models and splits in the URL leave."""
    datasets = sorted({run.facts.dataset for run in tested})
    models = sorted({run.facts.model for run in tested})
    facts_of = {run.facts.split: run.facts for run in tested}
    schemes = {name: splits.title(facts.split_part) for name, facts in facts_of.items()}
    left, middle, right = st.columns(3, gap="medium")
    with left:
        dataset = choose_one("Dataset", {"": "All"} | {name: name for name in datasets}, "dataset")
    with middle:
        only_models = choose_many("Models", models, "models", placeholder="All")
    with right:
        only_splits = choose_many("Splits", schemes, "splits", placeholder="All")
    return [
        run
        for run in tested
        if (not dataset or run.facts.dataset == dataset)
        and (not only_models or run.facts.model in only_models)
        and (not only_splits or run.facts.split in only_splits)
    ]


def _everything(unit: str, tested: Sequence[Run]) -> Selection:
    """All tested runs, or the systems of them."""
    if unit == RUNS:
        members = {run.run_id: [run] for run in tested}
        return Selection(unit, members, readers.titles(tested), readers.styles())
    by_key = {system.signature: system for system in systems.group_runs(tested)}
    names = systems.titles(list(by_key.values()))
    titles = {
        key: f"{names[key]} · {words.plural(system.n_seeds, 'seed')}"
        for key, system in by_key.items()
    }
    members = {key: list(system.runs) for key, system in by_key.items()}
    # Styles follow the systems' oldest runs, so that a system keeps its style.
    oldest = {min(run.run_id for run in runs): key for key, runs in members.items()}
    styles = {oldest[run_id]: style for run_id, style in plots.run_styles(list(oldest)).items()}
    return Selection(unit, members, titles, styles)


def _accuracies(selection: Selection, table: pd.DataFrame) -> dict[str, float]:
    """The mean accuracy of each member that has been tested, from the leaderboard of its runs."""
    member_of = {run.run_id: key for key, runs in selection.members.items() for run in runs}
    means = table.groupby(table["run_id"].map(member_of))["accuracy"].mean()
    return {str(key): float(value) for key, value in means.items()}


def _two_best(selection: Selection) -> list[str]:
    """The two proposed first, of the dataset with most runs; of a system its best run counts."""
    ranked = next(iter(readers.by_dataset(selection.runs, by_preference).values()), [])
    member_of = {run.run_id: key for key, runs in selection.members.items() for run in runs}
    return list(dict.fromkeys(member_of[run.run_id] for run in ranked))[:2]


def legible(selection: Selection) -> Selection:
    """The same, or its best members where there are too many for figures; a warning says so."""
    n = len(selection.members)
    if n <= MOST:
        return selection
    st.warning(
        f"{words.thousands(n)} {selection.unit} are chosen. Pairs and figures show the {MOST} most "
        "accurate; the list below has the scores of all. Narrow the filter to see others.",
        icon=":material/filter_alt:",
    )
    runs = words.plural(len(selection.runs), "run")
    with st.expander(f"Scores of all {runs}", icon=":material/table:"):
        leaderboard_table(readers.leaderboard(selection.runs))
    return selection.only(list(selection.members)[:MOST])


def ask_for_shared(compared: Comparison, selection: Selection) -> None:
    """Where the test clips differ, asks whether to compare on the shared ones, and lists them."""
    if not (compared.differ or selection.on_shared):
        return
    n = len(compared.shared)
    if compared.can_ask or selection.on_shared:
        choose_flag(
            f"Compare only on the {n} clips that all share"
            if n
            else "Compare each pair on the clips that it shares",
            "shared",
            help="Everything on this page is then about these clips."
            if n
            else "No clip is shared by all; each keeps its own scores.",
        )
    with st.expander(f"Clips tested by all ({n})", icon=":material/list:"):
        show_table(pd.DataFrame({"Clip": compared.shared}), from_catalogue=False, tallest=240)


def choose_two(compared: Comparison) -> tuple[str, str] | None:
    """Two of the keys, A and B; by default the two most accurate. None where both are the same."""
    keys = list(compared.titles)
    if len(keys) == 2:
        return keys[0], keys[1]
    order = compared.table.sort_values("accuracy", ascending=False, kind="stable")["run_id"]
    with st.container(horizontal=True, gap="medium"):
        a = choose_one("A", compared.titles, "a", default=str(order.iloc[0]), pinned=True)
        b = choose_one("B", compared.titles, "b", default=str(order.iloc[1]), pinned=True)
    if a == b:
        st.info("Pick two different ones as A and B.", icon=":material/balance:")
        return None
    return a, b


def _parse_band(text: str) -> float:
    value = float(text)
    if value != value:
        raise ValueError("not a number")
    return min(_MOST_BAND, max(0.0, value))


def _band() -> float:
    """The band of practical equivalence in points, from the URL."""
    try:
        return _parse_band(chosen("band"))
    except ValueError:
        return _USUAL_BAND


def choose_band() -> None:
    """The field for the band."""
    with st.container(width=330):
        bound(
            st.number_input,
            "Equal in practice within ± points",
            0.0,
            _MOST_BAND,
            name="band",
            default=_USUAL_BAND,
            parse=_parse_band,
            to_text=lambda value: f"{value:g}",
            step=0.5,
            format="%.1f",
            help="Two are equivalent where the whole interval of their difference lies within "
            "this band.",
        )


# Visitors share what is read below: never change it.


@cached_by_files(_SCORED, spinner="Comparing …", max_entries=16, shared=True)
def compare(members: Members, band: float, on_shared: bool) -> Comparison:
    """Runs or systems compared; `band` is a share, `on_shared` as of `Selection`."""
    if all(len(runs) == 1 and runs[0].run_id == key for key, runs in members.items()):
        result = comparison.compare([runs[0] for runs in members.values()], band, on_shared)
    else:
        several = [System(key, tuple(runs)) for key, runs in members.items()]
        result = systems.compare(several, band, on_shared)
    # Fresh runs: the tables that these have read need not stay in memory.
    return replace(result, runs=[Run(run.folder) for run in result.runs])


@cached_by_files(_SCORED, max_entries=16, shared=True)
def ranked_blocks(members: Members) -> Blocks:
    """The systems ranked over the datasets, splits and folds on which all were tested."""
    return systems.over_blocks(systems.group_runs(run for runs in members.values() for run in runs))


@cached_by_files(in_runs("predictions.parquet", costs.FILE), max_entries=16, shared=True)
def cost_table(members: Members, titles: Mapping[str, str]) -> pd.DataFrame:
    """The costs of each, as `costs.cost_table`."""
    return costs.cost_table([(key, titles[key], runs) for key, runs in members.items()])
