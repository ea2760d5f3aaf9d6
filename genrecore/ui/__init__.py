"""What the pages are made of. Importing this imports no torch; `forms` and `classify` need it."""

from genrecore.ui.parts.choices import choose, choose_many, choose_one, chosen, chosen_many
from genrecore.ui.parts.frame import (
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
    show_announced,
    upload_types,
)
from genrecore.ui.parts.live import is_live, leak_badge, live, running_now
from genrecore.ui.parts.results import (
    first_steps,
    leaderboard_links,
    leaderboard_table,
    run_facts,
    run_result,
)
from genrecore.ui.runs.alerts import webhook
from genrecore.ui.runs.detail import run_detail
from genrecore.ui.runs.queue import run_queue
from genrecore.ui.runs.table import opened_run, run_bin, run_filters, run_list, table_tick_s

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
    "opened_run",
    "page",
    "pair",
    "plain",
    "run_bin",
    "run_detail",
    "run_facts",
    "run_filters",
    "run_list",
    "run_queue",
    "run_result",
    "running_now",
    "section",
    "sentences",
    "show_announced",
    "table_tick_s",
    "upload_types",
    "webhook",
]
