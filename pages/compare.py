"""Compare: two or more runs over one another, on the clips they share."""

import streamlit as st

from genrecore import plots, ui
from genrecore.ui import readers

ui.page("Compare", "Two or more runs on the same test clips: is the difference real?")

found = readers.tested(readers.all_runs())
if len(found) < 2:
    ui.empty(
        "There is nothing to compare yet."
        if not found
        else "One run has been tested; comparing takes two.",
        "A run can be compared once it has been tested. Train another model, or the same one "
        "with another seed.",
    )
    ui.link_to("train", "Train a model", ":material/model_training:")
    st.stop()

picked = ui.choose_many(
    "Runs",
    [run.run_id for run in found],
    "runs",
    words=readers.titles(found).__getitem__,
    default=readers.two_best(found),
    placeholder="Pick two or more runs",
)
if len(picked) < 2:
    st.info("Pick at least two runs.", icon=":material/balance:")
    st.stop()

with ui.sentences():
    compared = readers.compare([run for name in picked for run in found if run.run_id == name])
    styles = readers.styles()

    for note in compared.notes:
        st.warning(ui.plain(note), icon=":material/warning:")
    ui.section("Is the difference real?")
    ui.pair_sentences(compared.pairs)

    ui.section("Scores")
    ui.chart(plots.leaderboard(compared.table, styles), "compared")
    ui.leaderboard_table(compared.table)

    ui.section("Learning curves", "Validation is drawn with markers, training dotted.")
    left, right = ui.pair("curves")
    with left:
        ui.chart(plots.learning_curves(compared.curves, "accuracy", styles), "accuracy")
    with right:
        ui.chart(plots.learning_curves(compared.curves, "loss", styles), "loss")

    ui.section("Genres", "How many of each genre's test clips a run recognises.")
    ui.chart(plots.per_genre(compared.per_genre, styles), "genres")

    ui.section("Confusions", "Counts of test clips; the shade is the share of the labelled genre.")
    ui.side_by_side(
        [
            plots.confusion(matrix, readers.titles(found)[name])
            for name, matrix in compared.confusions.items()
        ],
        "confusion",
    )
