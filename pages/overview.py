"""Overview: what runs now, which runs are best, and what to do first."""
# menu: Work, 10, :material/leaderboard:

import streamlit as st

from genrecore import ui
from genrecore.reporting import plots
from genrecore.ui.overview import song, view
from genrecore.ui.parts import readers

ui.page("Overview", "What is being trained, and how well each finished run recognises genres.")

listing = ui.look_at_runs()
runs = listing.runs
if not runs:
    view.first_steps()
    st.stop()

song.newest_song(runs)
song.drop_song(readers.tested(readers.usable(runs)), listing.active)
view.live_runs(listing)

tested = readers.by_dataset(runs)
if not tested:
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
dataset = ui.choose_one("Dataset", list(tested), "dataset", radio=True)
shown = tested[dataset]
body = st.container()
some = readers.leaderboard(view.on_page(shown))
with body:
    ui.chart(plots.leaderboard(some, readers.styles()), "leaderboard")
    ui.leaderboard_table(some)
view.leaderboard_links(shown)
