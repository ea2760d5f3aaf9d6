"""A confusion matrix on any page whose cells lead to their clips on the page Errors."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from genrecore.reporting import plots
from genrecore.ui.parts.frame import chart, go_to

_WANTED = "_cell"


def confusion(
    matrix: pd.DataFrame, title: str, run_id: str, key: str, percents: bool = False
) -> None:
    """The matrix of a run; a click on a cell opens its clips. Give the page a link to Errors as
    well: that is the way by keyboard.

    Args:
        matrix: Counts, labelled × predicted.
        title: Written above.
        run_id: Whose it is.
        key: Names the chart on the page.
        percents: Whether a cell says its share of the row, not the count.
    """

    def clicked(data: list[Any]) -> None:
        st.session_state[_WANTED] = {
            "run": run_id,
            "labelled": str(data[0]),
            "predicted": str(data[1]),
        }

    chart(plots.confusion(matrix, title, targets=True, percents=percents), key, on_click=clicked)
    wanted = st.session_state.pop(_WANTED, None)  # inside the callback no page can be opened
    if wanted is not None:
        go_to("errors", wanted)
