"""What page scripts are made of; what belongs to one page lies in a folder of its own."""

from genrecore.ui.parts.access import Door
from genrecore.ui.parts.choices import choose_one, chosen
from genrecore.ui.parts.frame import (
    chart,
    empty,
    link_to,
    navigation,
    opens,
    page,
    pair,
    plain,
    section,
    sentences,
)
from genrecore.ui.parts.live import live
from genrecore.ui.parts.tables import leaderboard_table
from genrecore.ui.parts.unreadable import look_at_runs

__all__ = [
    "Door",
    "chart",
    "choose_one",
    "chosen",
    "empty",
    "leaderboard_table",
    "link_to",
    "live",
    "look_at_runs",
    "navigation",
    "opens",
    "page",
    "pair",
    "plain",
    "section",
    "sentences",
]
