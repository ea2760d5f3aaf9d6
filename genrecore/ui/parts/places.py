"""Where the runs of a form are carried out: this machine or a cluster's profile, what is idle there
now, and whether the cluster would take them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import streamlit as st

from genrecore.errors import GenrecoreError
from genrecore.jobs.places import HERE, place_titles, read_place, read_places
from genrecore.jobs.slurm import profiles
from genrecore.jobs.slurm.check import check_profile
from genrecore.jobs.slurm.commands import Login
from genrecore.jobs.slurm.partitions import Partition, partition_words, partitions
from genrecore.jobs.slurm.profiles import Profile
from genrecore.store.run import Run, store_dir
from genrecore.ui.parts.choices import choose_many, choose_one
from genrecore.ui.parts.frame import capital, link_to, plain, work_button

_FRESH_S = 30
_PATIENCE_S = 2.0
_pool = ThreadPoolExecutor(4, "sinfo")


def choose_place(usual: str = "") -> str:
    """The place of one run, as its folder names it; `usual` is chosen at first. Nothing is drawn
    where there is only this machine."""
    titles = place_titles()
    place = ""
    if len(titles) > 1:
        place = read_place(choose_one("Runs on", titles, "place", default=usual or HERE)) or ""
    _show_clusters([place])
    return place


def choose_place_of(run: Run) -> str | None:
    """Where a run that has ended goes on, at first where it was; None, and nothing drawn, where
    there is only this machine."""
    titles = place_titles()
    if len(titles) == 1:
        return None
    before = str(run.queue.get("on", ""))
    index = [*titles].index(before) if before in titles else 0
    key = f"place_{run.run_id}"
    return read_place(
        st.selectbox("Runs on", titles, index, titles.__getitem__, key=key, width=200)
    )


def choose_places() -> list[str]:
    """The places of a plan, to which its runs are dealt in turn; drawn as `choose_place`."""
    titles = place_titles()
    if len(titles) == 1:
        return []
    help = "Of several places each gets a run in turn."
    names = choose_many("Runs on", titles, "place", [HERE], "This machine", help=help)
    places = read_places(names)
    _show_clusters(places)
    return places


def link_to_clusters() -> None:
    """Where there is only this machine, the way to others."""
    if len(place_titles()) == 1:
        link_to("settings", "Add a cluster in Settings", ":material/dns:")


def _show_clusters(places: Sequence[str]) -> None:
    for place in filter(None, places):
        _show_cluster(profiles.find(place, store_dir()))


def _show_cluster(profile: Profile) -> None:
    """What it asks for, what is idle there, and the button that asks whether the profile would be
    taken."""
    st.caption(plain(f"{profile.place}: {profile.in_words()}. {idle_words(profile)}"))
    if work_button(
        f"Check {profile.name} with the cluster",
        key=f"check_{profile.name}",
        icon=":material/fact_check:",
        help="Asks its scheduler with sbatch --test-only; nothing is submitted.",
    ):
        with st.spinner("Asking the scheduler …"):
            show_check_of(profile)


def show_check_of(profile: Profile) -> None:
    """What the cluster says of a profile, in its own words, with the field that it concerns."""
    result = check_profile(profile, store_dir())
    text = plain(result.sentence)
    if result.accepted:
        st.success(f"The cluster would take it. {text}", icon=":material/check_circle:")
    elif result.accepted is None:
        st.warning(f"The cluster does not answer. {text}", icon=":material/cloud_off:")
    else:
        st.error(f"The cluster would not take it. {text}", icon=":material/block:")


def idle_words(profile: Profile) -> str:
    """Limits and idle processors of the profile's partitions, in a sentence."""
    try:
        known = look(profile.login)
    except GenrecoreError as error:
        return f"What is idle is not known. {error}"
    return partition_words(profile.partition, known)


def look(login: Login) -> Sequence[Partition]:
    """The partitions of a cluster, as they were at most half a minute ago.

    Raises:
        GenrecoreError: The scheduler refused, or has not answered within two seconds; a later call
            may have the answer.
    """
    try:
        return _asked(login.host).result(timeout=_PATIENCE_S)
    except TimeoutError:
        raise GenrecoreError(f"{capital(str(login))} has not answered sinfo yet.") from None


@st.cache_resource(ttl=_FRESH_S, max_entries=16, show_spinner=False)
def _asked(host: str) -> Future[list[Partition]]:
    """The question, which goes on while pages are drawn."""
    return _pool.submit(partitions, Login(host))
