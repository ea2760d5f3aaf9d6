"""Runs: every run with its state, the queue, and one of them in detail, live while it works."""
# menu: Work, 40, :material/monitoring:

import streamlit as st

from genrecore import ui
from genrecore.ui.overview.song import show_song
from genrecore.ui.parts import readers
from genrecore.ui.runs import table
from genrecore.ui.runs.actions import run_bin
from genrecore.ui.runs.alerts import webhook
from genrecore.ui.runs.detail import run_detail
from genrecore.ui.runs.queue import run_queue

ui.page("Runs", "Every run and how it goes. Closing this page stops nothing.")

rows = readers.run_rows()
for problem in readers.unreadable():
    st.warning(ui.plain(problem))
if not rows:
    ui.empty("There are no runs yet.", "Train a model, and it appears here while it works.")
    ui.link_to("train", "Train a model", ":material/model_training:")
    run_bin()
    st.stop()

active = any(row.is_active for row in rows)
tick_s = table.table_tick_s(len(rows))
table.run_filters(rows)
ui.live(table.run_list, while_true=active, idle_s=20, tick_s=tick_s)
run_bin()
ui.live(run_queue, while_true=active, tick_s=tick_s)

run = table.opened_run(rows)
if run is None:
    st.stop()
if ui.chosen("run") not in ("", run.run_id):
    st.warning(f"There is no run {ui.plain(ui.chosen('run'))}; another one is shown.")
ui.opens(run.title)
ui.section("The run")
show_song(run)
run_detail(run)
webhook()
