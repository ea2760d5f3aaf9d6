"""Charts that lead to another page."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from genrecore.reporting import plots
from genrecore.ui.parts.frame import chart, go_to

_CLICKED = "_clicked_cell"


def confusion(
    matrix: pd.DataFrame, title: str, run_id: str, key: str, percents: bool = False
) -> None:
    """A run's confusion matrix; a click on a cell opens its clips on the page Errors.

    Give the page a link to Errors as well: that is the way by keyboard.

    Args:
        matrix: Counts, labelled × predicted.
        title: Written above.
        run_id: Of the run.
        key: Names the chart on the page.
        percents: Whether a cell says its share of the row, not the count.
    """

    def click(data: list[Any]) -> None:
        labelled, predicted = map(str, data[:2])
        cell = {"run": run_id, "labelled": labelled, "predicted": predicted}
        st.session_state[_CLICKED] = cell

    chart(plots.confusion(matrix, title, targets=True, percents=percents), key, on_click=click)
    cell = st.session_state.pop(_CLICKED, None)  # inside the callback no page can be opened
    if cell is not None:
        go_to("errors", cell)
