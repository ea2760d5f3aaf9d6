"""The page Datasets: preparations and audits that it starts, and those that a shell did."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from commands import command
from conftest import wait_for
from dataset_samples import DEMO, OPTIONS, dealt_clips, noise_as_gtzan
from opened import again, metrics, open_page, players, words

from genrecore.jobs import actions as jobs
from genrecore.ui.datasets.audit import PAGE_FINDINGS
from genrecore.ui.datasets.choice import DatasetChoice, audit_words


@pytest.fixture
def gtzan(tmp_path: Path) -> Path:
    return noise_as_gtzan(tmp_path / "music")


@pytest.mark.slow
def test_preparing_names_the_clips_that_are_left_out(own_cache: Path, gtzan: Path) -> None:
    (gtzan / "genres_original/blues/blues.00002.wav").write_bytes(b"this is no sound at all")
    query = {"dataset": "gtzan", "gtzan.folder": str(gtzan)}
    app = open_page("datasets", **query)
    app.button(key="prepare").click().run()
    assert not app.exception
    (task,) = jobs.tasks()
    assert task.title == "Preparing gtzan"
    wait_for(lambda: jobs.Task(task.folder).state == "done", 60)
    app = open_page("datasets", **query)
    assert ": 7 usable clips." in words(app)
    assert metrics(app)["Left out"] == "1"
    assert "blues.00002" in str([table.value for table in app.dataframe])


@pytest.mark.slow
def test_the_split_deals_only_clips_that_the_last_preparation_could_use(
    own_cache: Path, gtzan: Path
) -> None:
    (gtzan / "genres_original/metal/metal.00001.wav").write_bytes(b"this is no sound at all")
    query = {"dataset": "gtzan", "gtzan.folder": str(gtzan), "view": "split"}
    query |= {"split": "stratified", "stratified.n_folds": "3"}

    assert dealt_clips(open_page("datasets", **query))["metal"] == 4
    command("datasets", "prepare", "gtzan", "--folder", str(gtzan))
    assert dealt_clips(open_page("datasets", **query))["metal"] == 3


@pytest.mark.slow
def test_the_audit_plays_both_clips_of_a_pair(own_cache: Path, gtzan: Path) -> None:
    query = {"dataset": "gtzan", "gtzan.folder": str(gtzan), "view": "audit"}
    app = open_page("datasets", **query)
    assert "has not been audited yet" in words(app)
    app.button(key="audit_start").click().run()
    assert not app.exception
    (task,) = jobs.tasks()
    wait_for(lambda: jobs.Task(task.folder).state == "done", 90)
    app = open_page("datasets", kind="exact_copy", **query)
    assert {"blues.00001", "metal.00003"} <= set(words(app).replace(",", " ").split())
    assert len(players(app)) == 2


@pytest.mark.slow
@pytest.mark.xdist_group("page_datasets")  # one worker makes the music
def test_every_finding_about_clips_has_its_players_page_by_page() -> None:
    demo = [f"--set={key}={value}" for key, value in OPTIONS.items()]
    command("datasets", "audit", "demo", *demo, "--split", "stratified", "--table-only")
    crossing = {"audit": "split", "split": "stratified", "kind": "artist_crosses"}
    app = open_page("datasets", view="audit", **crossing, **DEMO)
    findings = [text.value for text in app.markdown if "is on both sides" in text.value]
    assert len(findings) == PAGE_FINDINGS
    assert len(players(app)) == 2 * PAGE_FINDINGS
    (pages,) = app.pagination
    pages.set_value(2).run()
    assert app.query_params["page"] == "2"
    more = [text.value for text in app.markdown if "is on both sides" in text.value]
    assert more
    assert not set(more) & set(findings)
    assert len(players(app)) == 2 * len(more)
    beyond = open_page("datasets", view="audit", page="99", **crossing, **DEMO)
    assert beyond.pagination[0].value == 1


@pytest.mark.slow
def test_a_failed_audit_says_why_and_shows_its_log(own_cache: Path, gtzan: Path) -> None:
    query = {"dataset": "gtzan", "gtzan.folder": str(gtzan), "view": "audit"}
    arguments = audit_words(DatasetChoice("gtzan", {"folder": str(gtzan)}), None)
    shutil.move(gtzan, gtzan.with_name("elsewhere"))
    task = jobs.start_task(arguments, "Auditing gtzan")
    wait_for(lambda: jobs.Task(task.folder).state == "failed", 60)
    shutil.move(gtzan.with_name("elsewhere"), gtzan)
    app = open_page("datasets", **query)
    assert "found nothing at" in words(app)


@pytest.mark.slow
def test_what_a_shell_found_is_shown_with_its_date(own_cache: Path, gtzan: Path) -> None:
    (gtzan / "genres_original/metal/metal.00001.wav").write_bytes(b"this is no sound at all")
    command("datasets", "prepare", "gtzan", "--folder", str(gtzan))
    command("datasets", "audit", "gtzan", "--split", "stratified", "--set", "split.n_folds=3")
    assert jobs.tasks() == []
    query = {"dataset": "gtzan", "view": "audit", "audit": "split", "stratified.n_folds": "3"}
    app = open_page("datasets", **query)
    today = time.strftime("%d %b %Y")
    assert f"Prepared on {today}" in words(app)
    assert ": 7 usable clips." in words(app)
    assert metrics(app)["Left out"] == "1"
    assert f"Audited on {today}" in words(app)
    assert metrics(app)["Clips checked"] == "7"
    # Another question has no answer yet.
    four_folds = open_page("datasets", **(query | {"stratified.n_folds": "4"}))
    assert "has not been audited yet" in words(four_folds)
    # The same question about other files: what was found then is shown, and said to be of then.
    folder = gtzan / "genres_original" / "blues"
    shutil.copy(folder / "blues.00000.wav", folder / "blues.00031.wav")
    later = open_page("datasets", **query)
    assert "looked at other files than those in the folder now" in words(later)
    assert metrics(later)["Clips checked"] == "7"


@pytest.mark.slow
@pytest.mark.xdist_group("page_datasets")
def test_doubtful_labels_are_ranked_with_a_player(musicnn: None) -> None:
    other = OPTIONS | {"seed": 5}  # whose doubts no other test finds on its page
    demo = [f"--set={key}={value}" for key, value in other.items()]
    document = json.loads(command("datasets", "audit", "demo", *demo, "--labels", "--json"))
    app = open_page("datasets", view="audit", **(DEMO | {"demo.seed": "5"}))
    assert "linear probes on embeddings of musicnn" in words(app)
    (ranked,) = [table.value for table in app.dataframe if "suggested" in table.value]
    assert ranked["clip_id"].tolist() == [clip["clip_id"] for clip in document["clips"]]
    assert [heard["name"] for heard in players(app)] == [ranked["clip_id"].iloc[0]]
    app = again(app, clip=ranked["clip_id"].iloc[7])
    assert [heard["name"] for heard in players(app)] == [ranked["clip_id"].iloc[7]]


def test_without_the_encoder_labels_are_not_doubted_but_it_can_be_fetched(
    own_cache: Path, gtzan: Path, fetched_encoders: Path
) -> None:
    query = {"dataset": "gtzan", "gtzan.folder": str(gtzan), "view": "audit"}
    keys = {button.key for button in open_page("datasets", **query).button}
    assert "fetch_musicnn" in keys
    assert "labels_start" not in keys
    shutil.copytree(fetched_encoders / "musicnn_mtt", own_cache / "encoders/musicnn_mtt")
    app = open_page("datasets", encoder="musicnn_mtt", **query)
    assert "Doubtful labels have not been looked for yet." in words(app)
    assert [code for code in app.code if "--encoder musicnn_mtt" in code.value]
    assert "labels_start" in {button.key for button in app.button}
