"""Profiles of Slurm clusters: what there is, a form for one, and how often schedulers are asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st
from pydantic.fields import FieldInfo

from genrecore.errors import GenrecoreError
from genrecore.jobs.access import visitor
from genrecore.jobs.slurm import doctor, profiles
from genrecore.jobs.slurm.commands import Login
from genrecore.jobs.slurm.profiles import Profile
from genrecore.store.run import store_dir
from genrecore.ui.parts.choices import choose, chosen
from genrecore.ui.parts.fields import grid
from genrecore.ui.parts.frame import act, command, empty, plain, section, sentences, work_button
from genrecore.ui.parts.places import idle_words, show_check_of

_NEW = "new"  # in the place of a name in the address
_SUGGESTED = "_suggested"  # in the session: a profile read off sinfo
_FIRST = ("name", "partition", "gpus", "time", "cpus", "memory")
_MANY_LINES = ("lines", "flags")


def show_profiles() -> None:
    """Every profile with what is idle there, and the form for the one that is edited."""
    section("Clusters", "A profile says under a name what a run asks of a Slurm cluster.")
    if visitor().is_from_outside:
        st.info(
            "Profiles hold commands that are carried out on the cluster, so only a user of the "
            "machine that serves this page may change them.",
            icon=":material/lock:",
        )
    known = profiles.profiles(store_dir())
    if not known:
        empty(
            "Runs are carried out on this machine.",
            "With a profile of a Slurm cluster, forms offer it under *Runs on*, and each run "
            "becomes a job there. Let the suggestion read one off the cluster, or fill it in.",
        )
    for profile in known.values():
        _show_profile(profile)
    with st.container(horizontal=True, gap="small"):
        if _button("Add a profile", "profile_add", icon=":material/add:"):
            _edit(_NEW)
        if _button(
            "Suggest one",
            "profile_suggest",
            icon=":material/auto_awesome:",
            help="Reads the default partition off sinfo on this machine; you can change it.",
        ):
            _suggest()
    edited = chosen("profile")
    if edited == _NEW or edited in known:
        _form(known.get(edited))
    example = "genrecore cluster profiles add gpu-short --partition gpu --gpus 1 --time 4:00:00"
    command(example, "A profile by command")


def _button(label: str, key: str, **settings: Any) -> bool:
    """A button for what visitors from outside may not do."""
    return work_button(label, key=key, disabled=visitor().is_from_outside, **settings)


def _edit(name: str) -> None:
    st.session_state.pop(_SUGGESTED, None)
    choose("profile", name)
    st.rerun()


def _suggest() -> None:
    with sentences(), st.spinner("Asking sinfo …"):
        st.session_state[_SUGGESTED] = profiles.suggested(Login())
        choose("profile", _NEW)
        st.rerun()


def _show_profile(profile: Profile) -> None:
    name = profile.name
    with st.container(border=True, gap="small", key=f"profile_{name}"):
        st.markdown(f"**{plain(name)}** :gray[{plain(profile.in_words())}]")
        st.caption(plain(idle_words(profile)))
        with st.container(horizontal=True, gap="small"):
            asks = work_button("Check", key=f"profile_check_{name}", icon=":material/fact_check:",
                               help="Asks its scheduler with sbatch --test-only; nothing is "
                               "submitted.")  # fmt: skip
            examines = _button("Examine", f"profile_examine_{name}", icon=":material/stethoscope:",
                               help="Has a job of a second tell what a node sees: the store, its "
                               "clock, locks, Python, torch, GPUs.")  # fmt: skip
            if _button("Change", f"profile_edit_{name}", icon=":material/edit:"):
                _edit(name)
            if _button("Remove", f"profile_remove_{name}", icon=":material/delete:",
                       type="tertiary"):  # fmt: skip
                act(lambda: profiles.remove(name, store_dir()))
        if asks:
            with st.spinner("Asking the scheduler …"):
                show_check_of(profile)
        if examines:
            _examine(profile)


def _examine(profile: Profile) -> None:
    """What the doctor of clusters finds, each finding as soon as it is made."""
    found = []
    with sentences(), st.spinner("Looking at the cluster; a job there may take a minute …"):
        for finding in doctor.examine(profile, store_dir()):
            found.append(finding)
            icon = ":green[:material/check:]" if finding.ok else ":red[:material/close:]"
            st.markdown(f"{icon} **{finding.what}** {plain(finding.sentence)}")
    if all(finding.ok for finding in found):
        st.success("Runs can be carried out there.", icon=":material/check_circle:")
    else:
        st.warning("Mend what is marked before runs are sent there.", icon=":material/warning:")


def _form(profile: Profile | None) -> None:
    """The fields of a new profile, of a suggested one, or of one that is changed."""
    start = profile or st.session_state.get(_SUGGESTED) or Profile.model_construct(name="")
    key = f"profile_form_{profile.name if profile else start.partition}"
    fields = Profile.model_fields
    with st.form(key):
        title = f"Change {plain(profile.name)}" if profile else "A new profile"
        st.markdown(f"**{title}**")
        st.caption("Empty fields are left to the cluster's own defaults.")
        values = _widgets({name: fields[name] for name in _FIRST}, start, key)
        with st.expander("More", icon=":material/tune:"):
            more = {name: info for name, info in fields.items() if name not in _FIRST}
            values |= _widgets(more, start, key)
        with st.container(horizontal=True, gap="small"):
            keeps = work_button(
                "Keep",
                widget=st.form_submit_button,
                type="primary",
                disabled=visitor().is_from_outside,
            )
            gives_up = st.form_submit_button("Cancel", type="tertiary")
    if gives_up:
        _edit("")
    if keeps:
        act(lambda: _keep(values, profile))


def _keep(values: Mapping[str, Any], before: Profile | None) -> str:
    profile, store = profiles.checked(dict(values)), store_dir()
    is_new_name = before is None or before.name != profile.name
    if is_new_name and profile.name in profiles.profiles(store):
        raise GenrecoreError(f"There is a profile {profile.name} already; change that one.")
    sentence = profiles.keep(profile, store)
    if before is not None and is_new_name:
        profiles.remove(before.name, store)
    st.session_state.pop(_SUGGESTED, None)
    choose("profile", "")
    return sentence


def _widgets(infos: Mapping[str, FieldInfo], start: Profile, key: str) -> dict[str, Any]:
    values = {}
    for name, info in grid(infos):
        values[name] = _widget(name, info, getattr(start, name), f"{key}_{name}")
    return values


def _widget(name: str, info: FieldInfo, value: Any, key: str) -> Any:
    """The field of a form; unlike others it is not kept in the address."""
    label, help = info.title or name, info.description
    if name in _MANY_LINES:
        text = st.text_area(label, "\n".join(value), key=key, help=f"{help} One a line.")
        return [line.strip() for line in text.splitlines() if line.strip()]
    if isinstance(value, bool):
        return st.checkbox(label, value, key=key, help=help)
    if isinstance(value, int) or name == "cpus":
        return st.number_input(
            label, min_value=1, value=value, step=1, key=key, help=help, placeholder="Default"
        )
    return st.text_input(label, value, key=key, help=help).strip()


def show_polling() -> None:
    """The time between two questions to a scheduler, and a field to set it."""
    section("Questions to schedulers")
    every_s = profiles.poll_s(store_dir())
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        seconds = st.number_input(
            "Seconds between two questions",
            min_value=1.0,
            max_value=3600.0,
            value=every_s,
            step=5.0,
            format="%g",
            key=f"poll_{every_s:g}",
            width=260,
            help="One question covers all jobs, and nobody asks while no job lives. Many sites "
            "want 30 s or more.",
        )
        if work_button("Set", key="poll_set", disabled=seconds == every_s):
            act(lambda: profiles.set_poll_s(float(seconds), store_dir()))
    st.caption(profiles.poll_sentence(every_s))
