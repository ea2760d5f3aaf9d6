"""Overview: what runs now, which runs are best, and what to do first."""
# menu: Work, 10, :material/leaderboard:

import streamlit as st

from genrecore import ui
from genrecore.reporting import plots
from genrecore.ui.overview import song, view
from genrecore.ui.parts import readers
from genrecore.ui.parts.live import IDLE_S

ui.page("Overview", "What is being trained, and how well each finished run recognises genres.")
ui.unreadable_caption()

runs = readers.all_runs()
if not runs:
    view.first_steps()
    st.stop()

active = readers.active_runs()
song.newest_song(runs)
song.drop_song(readers.tested(readers.usable(runs)), active)
ui.live(lambda: view.running_now(active), while_true=bool(active), idle_s=IDLE_S)

table = readers.leaderboard(runs)
if table.empty:
    ui.section("Leaderboard")
    ui.empty(
        "No run has been tested yet.",
        "A run is tested when its training ends; its accuracy then appears here, "
        "with its 95 % interval.",
    )
    st.stop()

ui.section(
    "Leaderboard",
    "Every tested run. Where intervals overlap, Compare tells whether the difference is real.",
)
dataset = ui.choose_one("Dataset", readers.datasets_in(table), "dataset", radio=True)
shown = readers.of_dataset(table, dataset)
ui.chart(plots.leaderboard(shown, readers.styles()), "leaderboard")
ui.leaderboard_table(shown)
view.leaderboard_links(shown)
