"""What genrecore keeps in its cache folder: how much room it takes, and clearing it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from genrecore.store import cache
from genrecore.store.cache import CacheEntry
from genrecore.store.files import cache_dir
from genrecore.ui.parts.frame import command, plain, sentences
from genrecore.words import size


def panel() -> None:
    """A folded list of what is kept, with a button that clears one kind of it."""
    found = _entries()
    total = sum(item.n_bytes for item in found)
    words = f"Kept on the disk: {size(total)}" if found else "Kept on the disk: nothing yet"
    with st.expander(words, icon=":material/database:"):
        st.caption(
            f"In {plain(cache_dir())}. Everything is made anew when it is needed; only "
            "uploads have to be uploaded again, and audits asked for again."
        )
        if not found:
            return
        table = pd.DataFrame([vars(item) for item in found])
        grouped = table.groupby("kind", sort=False)["n_bytes"]
        room = {str(kind): int(n_bytes) for kind, n_bytes in grouped.sum().items()}
        st.dataframe(
            {
                "What": [cache.KINDS[kind] for kind in room],
                "Size": [size(n_bytes) for n_bytes in room.values()],
                "Pieces": grouped.size().tolist(),
            },
            hide_index=True,
        )
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            kind = st.selectbox(
                "What to clear",
                list(room),
                format_func=lambda name: f"{cache.KINDS[name]} ({size(room[name])})",
                key="clear_kind",
            )
            if st.button("Clear", icon=":material/delete_sweep:", key="clear_cache"):
                _clear(kind)
        command(f"genrecore cache clear {kind}")


@st.cache_data(ttl=10, show_spinner=False)
def _entries() -> list[CacheEntry]:
    return cache.entries()


def _clear(kind: str) -> None:
    with sentences(), st.spinner("Clearing …"):
        freed = cache.clear(kind)
        _entries.clear()
        st.toast(f"{size(freed)} are free again.", icon=":material/check_circle:")
        st.rerun()
