"""What the pages are made of. Importing this imports no torch; `forms` and `players` need it."""

from genrecore.ui.choices import choose, choose_many, choose_one, chosen, chosen_many
from genrecore.ui.frame import (
    chart,
    empty,
    go_to,
    link_to,
    navigation,
    page,
    pair,
    plain,
    section,
    sentences,
    upload_types,
)
from genrecore.ui.live import is_live, leak_badge, live, run_list, run_live, running_now, stage
from genrecore.ui.results import (
    first_steps,
    leaderboard_links,
    leaderboard_table,
    pair_sentences,
    run_facts,
    run_result,
    side_by_side,
)

__all__ = [
    "chart",
    "choose",
    "choose_many",
    "choose_one",
    "chosen",
    "chosen_many",
    "empty",
    "first_steps",
    "go_to",
    "is_live",
    "leaderboard_links",
    "leaderboard_table",
    "leak_badge",
    "link_to",
    "live",
    "navigation",
    "page",
    "pair",
    "pair_sentences",
    "plain",
    "run_facts",
    "run_list",
    "run_live",
    "run_result",
    "running_now",
    "section",
    "sentences",
    "side_by_side",
    "stage",
    "upload_types",
]
