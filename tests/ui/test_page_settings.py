"""The page Settings: profiles of clusters, made, changed, checked and forgotten; and who may."""

from __future__ import annotations

from pathlib import Path

import pytest
import streamlit as st
from cluster_runs import keep_profile
from opened import open_page, words
from streamlit.testing.v1 import AppTest

from genrecore.errors import GenrecoreError
from genrecore.jobs import access
from genrecore.jobs.access import Visitor
from genrecore.jobs.slurm import profiles


@pytest.fixture(autouse=True)
def _no_slurm(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Slurm's commands, of which nobody has asked anything."""
    monkeypatch.setenv("PATH", str(tmp_path))
    st.cache_resource.clear()


def keep(app: AppTest) -> AppTest:
    """Sends the form off."""
    next(button for button in app.button if button.label == "Keep").click().run()
    assert not app.exception, app.exception[0].message
    return app


def test_an_empty_store_says_what_a_profile_is_for(store: Path) -> None:
    text = words(open_page("settings"))
    assert "Runs are carried out on this machine." in text
    assert "each run becomes a job there" in text
    assert "Schedulers are asked every 30 s while a job lives." in text


def test_a_profile_is_filled_in_changed_and_forgotten(store: Path) -> None:
    app = open_page("settings")
    app.button(key="profile_add").click().run()
    fields = {text.label: text for text in app.text_input}
    fields["Name"].set_value("gpu-short")
    fields["Partition"].set_value("short")
    fields["GPUs"].set_value("a100:2")
    areas = {area.label: area for area in app.text_area}
    areas["Lines before the start"].set_value("module load cuda\n\n. venv/bin/activate\n")
    app = keep(app)
    (profile,) = profiles.profiles(store).values()
    assert (profile.name, profile.partition, profile.gpus) == ("gpu-short", "short", "a100:2")
    assert profile.lines == ["module load cuda", ". venv/bin/activate"]
    assert "gpu-short" in words(app)
    assert not app.text_input  # the form is closed
    app.button(key="profile_edit_gpu-short").click().run()
    fields = {text.label: text for text in app.text_input}
    assert fields["GPUs"].value == "a100:2"
    fields["Name"].set_value("gpu-long")
    fields["Time limit"].set_value("2-00:00:00")
    app = keep(app)
    (profile,) = profiles.profiles(store).values()
    assert (profile.name, profile.time, profile.gpus) == ("gpu-long", "2-00:00:00", "a100:2")
    app.button(key="profile_remove_gpu-long").click().run()
    assert profiles.profiles(store) == {}


def test_what_cannot_be_is_said_and_nothing_is_kept(store: Path) -> None:
    keep_profile(store, "gpu")
    app = open_page("settings", profile="new")
    for name, gpus, sentence in (
        ("two words", "", "The profile's field name cannot be 'two words'"),
        ("x", "many", "expected a number, or a kind and a number, as a100:2"),
        ("gpu", "", "There is a profile gpu already; change that one."),
    ):
        fields = {text.label: text for text in app.text_input}
        fields["Name"].set_value(name)
        fields["GPUs"].set_value(gpus)
        app = keep(app)
        assert sentence in words(app)
    assert list(profiles.profiles(store)) == ["gpu"]


def test_without_slurm_idle_checks_and_suggestions_are_sentences(store: Path) -> None:
    keep_profile(store)
    app = open_page("settings")
    unknown = "What is idle is not known. sinfo is not installed on this machine."
    assert unknown in words(app)
    app.button(key="profile_check_gpu").click().run()
    assert "The cluster does not answer. sbatch is not installed" in words(app)
    app.button(key="profile_examine_gpu").click().run()
    assert "install Slurm's client commands there." in words(app)
    assert "Mend what is marked" in words(app)
    app.button(key="profile_suggest").click().run()
    assert "sinfo is not installed on this machine." in words(app)
    assert "profile" not in app.query_params


def test_the_time_between_questions_is_set(store: Path) -> None:
    app = open_page("settings")
    app.number_input(key="poll_30").set_value(60.0).run()
    app.button(key="poll_set").click().run()
    assert profiles.poll_s(store) == 60.0
    assert "Schedulers are asked every 60 s" in words(app)


def test_who_comes_from_outside_changes_no_profile(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_profile(store)
    visitor = Visitor("ann@example.org", may_work=True, is_from_outside=True)
    monkeypatch.setattr(access, "_source", lambda: visitor)
    app = open_page("settings", profile="gpu")
    assert "only a user of the machine that serves this page may change them" in words(app)
    for key in ("profile_add", "profile_suggest", "profile_edit_gpu", "profile_remove_gpu"):
        assert app.button(key=key).disabled
    button = app.button(key="profile_remove_gpu")
    button.proto.disabled = False  # as a forged click
    button.click().run()
    assert next(button for button in app.button if button.label == "Keep").disabled
    assert list(profiles.profiles(store)) == ["gpu"]
    with pytest.raises(GenrecoreError, match="only a user of this machine may change them"):
        profiles.remove("gpu", store)
