"""Runs: every run with its state, and one of them in detail, live while it works."""

import streamlit as st

from genrecore import ui
from genrecore.ui import readers

ui.page("Runs", "Every run and how it goes; closing this page stops nothing.")

found = readers.all_runs()
for problem in readers.unreadable():
    st.warning(ui.plain(problem))
if not found:
    ui.empty("There are no runs yet.", "Train a model, and it appears here while it works.")
    ui.link_to("train", "Train a model", ":material/model_training:")
    st.stop()

chosen = readers.find(ui.chosen("run")) or found[0]
if ui.chosen("run") not in ("", chosen.run_id):
    st.warning(f"There is no run {ui.plain(ui.chosen('run'))}; the newest is shown.")

ui.live(ui.run_list, while_true=bool(readers.active(found)), idle_s=20)

ui.section("The run")
stage = ui.stage(chosen)
ui.live(lambda: ui.run_live(chosen.run_id, drawn=stage), while_true=ui.is_live(chosen))
ui.run_result(chosen)
ui.run_facts(chosen)
