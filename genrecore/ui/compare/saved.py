"""Saved views on the page Compare: open, save, rename and delete them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from genrecore.evaluation import systems
from genrecore.jobs.access import working
from genrecore.store import views
from genrecore.store.run import Run, store_dir
from genrecore.store.views import SavedView
from genrecore.ui.compare.choice import ONLY, RUNS, SYSTEMS, Selection
from genrecore.ui.parts.choices import choose
from genrecore.ui.parts.frame import plain, sentences, work_button


def show_saved(tested: Sequence[Run], selection: Selection) -> None:
    """The saved views, each with its button, and the field that saves what is compared now."""
    store = store_dir()
    saved = views.saved(store)
    title = f"Saved views ({len(saved)})" if saved else "Save this view"
    with st.expander(title, icon=":material/bookmark:"), sentences():
        signatures = {run.run_id: systems.signature(run) for run in tested}
        for view in saved:
            _row(view, signatures)
        if len(selection.members) < 2:
            return
        with st.form("save_view", border=False, clear_on_submit=True):
            left, right = st.columns([3, 1], vertical_alignment="bottom")
            name = left.text_input("Name of this view", max_chars=100)
            if work_button(
                "Save this view", widget=right.form_submit_button, icon=":material/bookmark_add:"
            ):
                runs = tuple(runs[0].run_id for runs in selection.members.values())
                band, shared = round(100 * selection.band, 6), selection.on_shared
                are_systems = selection.unit == SYSTEMS
                members = selection.run_ids if are_systems else ()
                with working("save a view"):
                    views.save(store, SavedView(name, runs, are_systems, band, shared, members))
                st.rerun()


def _row(view: SavedView, signatures: Mapping[str, str]) -> None:
    """The button that opens a view, and what else can be done with it."""
    store = store_dir()
    missing = [run_id for run_id in view.all_runs if run_id not in signatures]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button(plain(view.name), key=f"open_{view.name}", icon=":material/balance:"):
            for name, value in _choices(view, signatures).items():
                choose(name, value)
            st.rerun()
        if missing:
            st.caption(f"{len(missing)} of its {len(view.all_runs)} runs are not there any more.")
        with st.popover("Change", key=f"change_{view.name}", type="tertiary"):
            name = st.text_input("New name", view.name, key=f"name_{view.name}", max_chars=100)
            if work_button("Rename", key=f"rename_{view.name}", icon=":material/edit:"):
                with working("rename a view"):
                    views.rename(store, view.name, name)
                st.rerun()
            if work_button("Delete", key=f"delete_{view.name}", icon=":material/delete:"):
                with working("delete a view"):
                    views.delete(store, view.name)
                st.rerun()


def _choices(view: SavedView, signatures: Mapping[str, str]) -> dict[str, str]:
    """The view as choices in the URL; the filter has no part in it."""
    keys = view.runs
    if view.systems:
        keys = tuple(dict.fromkeys(signatures.get(run_id, run_id) for run_id in keys))
    return {
        "of": SYSTEMS if view.systems else "",
        SYSTEMS if view.systems else RUNS: ",".join(keys),
        ONLY: ",".join(view.all_runs) if view.members else "",
        "band": f"{view.band:g}" if view.band != 1.0 else "",
        "shared": "on" if view.shared else "",
        **dict.fromkeys(("all", "a", "b"), ""),
    }
