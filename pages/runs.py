"""Runs: every run with its state, the queue, and one of them in detail, live while it works."""
# menu: Work, 40, :material/monitoring:

import streamlit as st

from genrecore import ui
from genrecore.ui.overview.song import show_song
from genrecore.ui.parts import readers
from genrecore.ui.parts.unreadable import unreadable_runs
from genrecore.ui.runs import table
from genrecore.ui.runs.actions import run_bin
from genrecore.ui.runs.alerts import webhook
from genrecore.ui.runs.detail import run_detail
from genrecore.ui.runs.sharing import import_runs

ui.page("Runs", "Every run and how it goes. Closing this page stops nothing.")

listing = readers.look()
rows = listing.rows
unreadable_runs(listing.unreadable)
if not rows:
    ui.empty("There are no runs yet.", "Train a model, and it appears here while it works.")
    ui.link_to("train", "Train a model", ":material/model_training:")
    import_runs()
    run_bin()
    table.live_list(rows)
    st.stop()

run = readers.find(ui.chosen("run"))
if ui.chosen("run") and run is None:
    st.warning(ui.plain(readers.why_not(ui.chosen("run"))))
with table.place_of_list(rows, is_folded=run is not None):
    table.run_filters(rows)
    table.live_list(rows)
if run is not None:
    ui.opens(run.title)
    show_song(run)
    run_detail(run, listing)
table.live_queue(rows)
import_runs()
run_bin()
webhook()
