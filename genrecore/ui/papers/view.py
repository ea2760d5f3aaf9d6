"""The page Papers: which study, what it says of itself, its recipe, its critique. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from genrecore.experiments import papers
from genrecore.experiments.papers import Study
from genrecore.experiments.papers.reading import Remark
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import pair, plain, section

_VIEWS = {"numbers": "Numbers", "figures": "Figures", "recipe": "Recipe", "run": "Run it"}
_DATASETS = {"gtzan": "GTZAN", "fma_small": "FMA-small"}


def choose_study() -> Study:
    """The study of the address."""
    words = {one.name: one.authors.partition(",")[0] for one in papers.studies()}
    name = choose_one(
        "Study", list(papers.STUDIES), "study", words=lambda one: words[one], radio=True
    )
    return papers.study(name)


def choose_view() -> str:
    """`numbers`, `figures`, `recipe` or `run`."""
    return choose_one("Show", list(_VIEWS), "view", words=_VIEWS.__getitem__, radio=True)


def where(section_: str) -> str:
    """A section of a study in words."""
    return "abstract" if section_ == "abstract" else f"section {section_}"


def head(study: Study, in_full: bool) -> None:
    """The study's question and source; in full also its summary, and what to bear in mind."""
    if not in_full:
        section(study.question)
        st.caption(plain(f"{study.citation}. On {_DATASETS[study.dataset]}."))
        return
    left, right = pair("study", left=5, right=4)
    with left:
        section(study.question)
        st.markdown("\n\n".join(plain(one) for one in study.summary))
        st.caption(plain(f"{study.citation}. On {_DATASETS[study.dataset]}."))
    with right, st.container(border=True, gap="small"):
        st.markdown("**What to bear in mind**")
        st.markdown(_listed(study.critique))


def _listed(remarks: Sequence[Remark]) -> str:
    return "\n".join(f"- {plain(one.text)} :gray[({where(one.section)})]" for one in remarks)


def recipe(study: Study) -> None:
    """Every value of the recipe with its mark, the systems, and where the study disagrees."""
    section(
        "Recipe",
        "Each value is marked: stated by the study, from a source that it cites, or our choice.",
    )
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "What": one.what,
                    "Value": one.value,
                    "Where from": one.mark[:1].upper() + one.mark[1:],
                    "For": ", ".join(study.groups[name].title for name in one.groups) or "all",
                    "Protocol": papers.PROTOCOLS[one.protocol] if one.protocol else "both",
                    "In its words": one.words.replace("\t", " | "),
                }
                for one in study.settings
            ]
        ),
        hide_index=True,
        height=min(38 + 35 * len(study.settings), 720),
        column_config={
            "Value": st.column_config.TextColumn(width="medium"),
            "Where from": st.column_config.TextColumn(width="medium"),
        },
    )
    section("Systems", "Each is a configuration; Run it queues them.")
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "Row": one.name,
                    "System": one.title,
                    "Input": study.groups[one.group].title,
                    "Its own values": ", ".join(f"{k} {v}" for k, v in one.values.items()),
                    "Where from": one.mark[:1].upper() + one.mark[1:],
                }
                for one in study.rows
            ]
        ),
        hide_index=True,
    )
    if study.choices:
        st.markdown(
            "\n".join(
                f"- **{plain(one.title)}**: as published chosen by the "
                f"{'tested' if one.by == 'test' else 'validation'} clips "
                f":gray[({plain(one.mark)})], honestly by the validation clips."
                for one in study.choices
            )
        )
    section("Where the study disagrees with itself")
    st.markdown(_listed(study.disagreements))
