"""Runs: every run with its state, the queue, and one of them in detail, live while it works."""
# menu: Results, 20, :material/monitoring:

import streamlit as st

from genrecore import ui
from genrecore.ui.parts import readers, run_rows

ui.page("Runs", "Every run and how it goes; closing this page stops nothing.")
ui.show_announced()

found = run_rows.rows()
for problem in readers.unreadable():
    st.warning(ui.plain(problem))
if not found:
    ui.empty("There are no runs yet.", "Train a model, and it appears here while it works.")
    ui.link_to("train", "Train a model", ":material/model_training:")
    ui.run_bin()
    st.stop()

active = any(row.is_live or row.state == "queued" for row in found)
ui.run_filters(found)
tick_s = ui.table_tick_s(len(found))
ui.live(ui.run_list, while_true=active, idle_s=20, tick_s=tick_s)
ui.run_bin()
ui.live(ui.run_queue, while_true=active, tick_s=tick_s)

chosen = ui.opened_run(found)
if chosen is None:
    st.stop()
if ui.chosen("run") not in ("", chosen.run_id):
    st.warning(f"There is no run {ui.plain(ui.chosen('run'))}; another one is shown.")
ui.section("The run")
ui.run_detail(chosen)
ui.webhook()
