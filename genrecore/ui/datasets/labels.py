"""Labels that may be wrong, on the page Datasets: ranked by a task before anything was trained."""

from __future__ import annotations

import streamlit as st

from genrecore import words
from genrecore.models.encoders.files import card_of
from genrecore.reporting.columns import Column
from genrecore.ui.datasets.choice import DatasetChoice, label_words
from genrecore.ui.datasets.listening import pick, show
from genrecore.ui.datasets.readers import Dataset, stored_doubts
from genrecore.ui.parts.choices import choose_one
from genrecore.ui.parts.encoders import encoder_titles, fetch_panel
from genrecore.ui.parts.frame import command, empty, pair, plain, section
from genrecore.ui.parts.tasks import is_working, task_button, watch

_COLUMNS: dict[str, Column | str] = {
    "genre": "Labelled",
    "suggested": "Suggested",
    "suggested_proba": Column("Probability", "share"),
    "suspect": Column("Doubtful", "flag", "Counted as wrong by confident learning."),
}


def show_labels(dataset: DatasetChoice, data: Dataset) -> None:
    """The button that ranks the labels, and the ranked clips, each with a player."""
    section(
        "Labels",
        "Which labels are most likely wrong, going by a pretrained encoder; no run is needed.",
    )
    if data.medium != "audio":
        empty("This dataset ships no sound.", "An encoder listens; choose the form audio.")
        return
    left, right = pair("labels", left=3, right=2)
    with left:
        encoder = choose_one("Encoder", encoder_titles(), "encoder")
    arguments = label_words(dataset, encoder)
    if not card_of(encoder).sha256:
        empty("The encoder is not here yet.", "It is fetched once, and listens on this machine.")
        fetch_panel(encoder, "encoder")
    else:
        with right:
            task_button(
                "Find doubtful labels",
                arguments,
                f"Doubtful labels of {dataset.name}",
                "labels_start",
                ":material/label_off:",
                help="Embeds every clip once, about half a second for 30 s of sound, and keeps it.",
                width="stretch",
            )
            command(["genrecore", *(word for word in arguments if word != "--json")])
        watch(arguments)
    stored = stored_doubts(dataset, data)
    if stored is None:
        if not is_working(arguments):
            empty(
                "Doubtful labels have not been looked for yet.",
                "Linear probes on embeddings learn from the other clips and judge each label; the "
                "work goes on when you close this page.",
            )
        return
    doubts = stored.doubts
    if not stored.current:
        st.warning(
            f"This ranking of {words.moment(stored.at)} is of other files than those in the folder "
            "now; look for doubtful labels again.",
            icon=":material/update:",
        )
    notes = (doubts.sentence, *doubts.notes, "Probes can be wrong as well: listen.")
    st.markdown(plain(" ".join(notes)))
    rows = doubts.clips
    clip_id = pick(rows, "labels", ("clip_id", *_COLUMNS, "label_proba"), _COLUMNS)
    show(data.clips, clip_id, "doubted", images=True)
