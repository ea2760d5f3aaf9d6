"""The page Papers: the choice of a study, its question, recipe and critique."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from genrecore.data.datasets import DATASETS
from genrecore.experiments import papers
from genrecore.experiments.papers import Study
from genrecore.experiments.papers.study import Remark, Setting
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.frame import capital, pair, plain, section
from genrecore.ui.parts.tables import wrapped_table


def choose_study() -> Study:
    """The study of the URL."""
    authors = {study.name: study.authors.partition(",")[0] for study in papers.studies()}
    titles = {name: authors[name] for name in papers.study_names()}
    return papers.study(choose_one("Study", titles, "study", radio=True))


def in_section(section_name: str) -> str:
    """The section of a study, as it is cited."""
    return "abstract" if section_name == "abstract" else f"section {section_name}"


def show_head(study: Study, in_full: bool) -> None:
    """The study's question and source; in full also its summary and critique."""
    source = plain(f"{study.citation}. On {DATASETS[study.dataset].title}.")
    if not in_full:
        section(study.question)
        st.caption(source)
        return
    left, right = pair("study", left=5, right=4)
    with left:
        section(study.question)
        st.markdown("\n\n".join(map(plain, study.summary)))
        st.caption(source)
    with right, st.container(border=True, gap="small"):
        st.markdown("**What to bear in mind**")
        st.markdown(_bullets(study.critique))


def _bullets(remarks: Sequence[Remark]) -> str:
    return "\n".join(
        f"- {plain(remark.text)} :gray[({in_section(remark.section)})]" for remark in remarks
    )


def show_recipe(study: Study) -> None:
    """Every value of the recipe with its source, the systems, and the study's contradictions."""
    section(
        "Recipe",
        "Each value is marked: stated by the study, printed in a figure, from a source that it "
        "cites or the code that it links to, or our choice.",
    )
    rows = [
        {
            "What": setting.what,
            "Value": setting.value,
            "For": ", ".join(study.groups[name].title for name in setting.groups) or "all",
            "Protocol": papers.PROTOCOLS[setting.protocol] if setting.protocol else "both",
            "Where from": _source(setting),
        }
        for setting in study.settings
    ]
    wrapped_table(pd.DataFrame(rows), from_catalogue=False)
    section("Systems", "Each is a configuration; Run it queues them.")
    rows = [
        {
            "Row": row.name,
            "System": row.title,
            "Input": study.groups[row.group].title,
            "Its own values": ", ".join(f"{k} {v}" for k, v in row.values.items()),
            "Where from": capital(row.mark),
        }
        for row in study.rows
    ]
    wrapped_table(pd.DataFrame(rows), from_catalogue=False)
    for choice in study.choices:
        by = "tested" if choice.by == "test" else "validation"
        st.markdown(
            f"- **{plain(choice.title)}**: as published chosen by the {by} clips "
            f":gray[({plain(choice.mark)})], honestly by the validation clips."
        )
    _show_values(study)
    section("Where the study contradicts itself")
    st.markdown(_bullets(study.disagreements))


def _show_values(study: Study) -> None:
    """Every value of one row's configuration, from recipe, preset or default, with its mark."""
    with st.expander("Every value of a system's configuration", icon=":material/list:"):
        left, right = pair("values")
        with left:
            titles = {row.name: row.title for row in study.rows}
            row = choose_one("System", titles, "row")
        with right:
            protocol = choose_one("Protocol", papers.PROTOCOLS, "protocol", radio=True)
        values = papers.marked_values(study, row, protocol)
        table = [
            {"Field": v.field, "Value": str(v.value), "Where from": capital(v.mark)} for v in values
        ]
        wrapped_table(pd.DataFrame(table), from_catalogue=False)


def _source(setting: Setting) -> str:
    """Where a value comes from, with the study's words where there are some."""
    quotation = setting.words.replace("\t", " | ")
    return capital(setting.mark) + (f": “{quotation}”" if quotation else "")
