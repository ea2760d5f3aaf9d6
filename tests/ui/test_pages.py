"""Every page opened through `app.py`, over an empty store and over one with runs in every state."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT, TINY, trained
from opened import open_page, words
from sample_files import silent_wav

from genrecore.augment import AUGMENTATIONS
from genrecore.config.command import train_command
from genrecore.config.run import RunConfig, with_values
from genrecore.inference.ensemble import load as load_ensemble
from genrecore.jobs import actions as jobs
from genrecore.store import runs
from genrecore.store.locks import take_lock
from genrecore.store.progress import Phase
from genrecore.store.run import Run
from genrecore.store.status import STOP, Status, stop_asked
from genrecore.training import lifecycle
from genrecore.training.parts import REGISTRIES
from genrecore.training.resolve import resolve
from genrecore.ui.datasets.choice import prepare_words
from genrecore.ui.overview import song
from genrecore.ui.parts import forms
from genrecore.ui.parts.frame import plain
from genrecore.words import percent

pytestmark = pytest.mark.xdist_group("pages")  # one worker trains the runs that all tests look at

PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """Real run folders of one store by state: first, second (both done), failed, running, lost."""
    store = tmp_path_factory.mktemp("pages") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setenv("GENRECORE_RUNS", str(store))
        config = resolve(with_values(RunConfig(), TINY)).config
        runs_by_state = {
            "first": trained(config, store),
            "second": trained(with_values(config, {"seed": 5}), store),
        }
        broken, lock = runs.create_held_run(
            with_values(config, {"dataset": "gtzan", "dataset.folder": "/nowhere/at/all"}), store
        )
        lifecycle.execute(broken)
        os.close(lock)
        history = (runs_by_state["first"].folder / "history.jsonl").read_text()
        for name in ("running", "lost"):
            run, lock = runs.create_held_run(with_values(config, {"seed": len(name)}), store)
            status = Status(run.folder)
            status.move(
                "running", phase=Phase.TRAINING, done=31, total=62, epoch=1, time_left_s=185.0
            )
            (run.folder / "history.jsonl").write_text(history.splitlines(keepends=True)[0])
            runs_by_state[name] = run
            if name == "lost":
                os.close(lock)  # nobody holds it, though nothing final is written
            else:
                running_lock = lock
        yield {name: Run(run.folder) for name, run in (runs_by_state | {"failed": broken}).items()}
        os.close(running_lock)


@pytest.fixture
def full(states: dict[str, Run], monkeypatch: pytest.MonkeyPatch) -> dict[str, Run]:
    """The runs in every state, with their store as the one that pages read."""
    store = states["first"].folder.parent
    monkeypatch.setenv("GENRECORE_RUNS", str(store))
    status = Status(states["running"].folder)
    status.update()  # a heartbeat, as the working process would give
    (status.folder / STOP).unlink(missing_ok=True)
    return {name: Run(run.folder) for name, run in states.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_an_empty_store(name: str, store: Path) -> None:
    app = open_page(name)
    assert app.title[0].value == name.capitalize()
    assert not app.error


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_with_runs_in_every_state(name: str, full: dict[str, Run]) -> None:
    app = open_page(name)
    assert app.title[0].value == name.capitalize()


@pytest.mark.parametrize("name", ["overview", "classify"])
def test_one_click_trains_on_the_demo_music_and_opens_the_run(
    name: str, nobody_starts: Path
) -> None:
    app = open_page(name)
    app.button(key="first").click().run()
    (run,) = runs.all_runs(nobody_starts)
    assert app.title[0].value == "Runs"
    assert app.query_params["run"] == run.run_id
    assert run.state == "queued"
    assert run.config.dataset == RunConfig().dataset


@pytest.mark.slow
def test_a_song_dropped_on_an_empty_store_is_classified_by_the_first_run(
    nobody_starts: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(song, "FIRST_RUN", TINY)
    time_s = np.arange(44_100) / 22_050
    wave = io.BytesIO()
    soundfile.write(wave, 0.3 * np.sin(2 * np.pi * 440 * time_s), 22_050, format="wav")
    app = open_page("overview")
    app.file_uploader(key="song").upload("my *song*.wav", wave.getvalue()).run()
    assert "**my *song*.wav** is here." in words(app)
    assert "Fetch musicnn (29 MB, ISC licence)" in app.button(key="fetch_musicnn").label
    app.button(key="first").click().run()
    (queued,) = runs.all_runs(nobody_starts)
    assert "Your song **my *song*.wav** is classified as soon as" in words(app)
    assert lifecycle.execute(queued) == "done"
    expected = load_ensemble(["best"]).classify(wave.getvalue()).predictions[0]
    prediction = f"Your song: {expected.genre} {percent(expected.proba.max())}".replace(
        "\u00a0", " "
    )
    for name, query in (("runs", {"run": queued.run_id}), ("overview", {})):
        app = open_page(name, **query)
        assert prediction in words(app), name
        assert "Real music belongs to none of its genres" in words(app)
    # A second song is classified at once.
    app.file_uploader(key="song").upload("again.wav", wave.getvalue()).run()
    assert app.title[0].value == "Classify"
    assert app.query_params["run"] == queued.run_id
    assert f"## {expected.genre}" in words(app)


def test_a_tested_run_leads_on_to_its_mistakes_to_comparing_and_to_classifying(
    full: dict[str, Run],
) -> None:
    first, second = full["first"].run_id, full["second"].run_id
    app = open_page("runs", run=first)
    links = {link.proto.label: link.proto for link in app.get("page_link")}
    assert links["Hear its mistakes"].query_string == f"run={first}"
    assert links["Compare it"].query_string == f"runs={first}%2C{second}"
    assert links["Classify with it"].query_string == f"run={first}"


def test_overview_shows_what_runs_and_how_the_tested_runs_did(full: dict[str, Run]) -> None:
    app = open_page("overview")
    assert full["running"].title in words(app)
    leaderboard = app.dataframe[-1].value
    assert set(leaderboard["run_id"]) == {full["first"].run_id, full["second"].run_id}


@pytest.mark.parametrize("name", ["first", "failed", "running", "lost"])
def test_a_run_in_the_address_is_shown_with_its_state_and_reason(
    name: str, full: dict[str, Run]
) -> None:
    run = full[name]
    app = open_page("runs", run=run.run_id)
    text = words(app)
    assert f"**{run.title}**" in text
    assert run.reason in text
    state = {"first": "Done"}.get(name, name.capitalize())
    assert any(state in row for row in app.dataframe[0].value["state"])
    keys = {button.key for button in app.button}
    assert (f"stop_{run.run_id}" in keys) == (name == "running")
    # The failed one would fail again: its dataset is not there.
    assert (f"resume_{run.run_id}" in keys) == (name == "lost")


def test_an_unknown_run_in_the_address_gives_the_newest_and_says_so(full: dict[str, Run]) -> None:
    app = open_page("runs", run="no-such-run")
    assert "There is no run no-such-run" in words(app)


def test_stop_on_the_page_leaves_the_request_in_the_run_folder(full: dict[str, Run]) -> None:
    run = full["running"]
    app = open_page("runs", run=run.run_id)
    app.button(key=f"stop_{run.run_id}").click().run()
    assert not app.exception
    assert stop_asked(run.folder)
    assert Run(run.folder).state == "stopping"


def test_compare_takes_its_runs_from_the_address(full: dict[str, Run]) -> None:
    run_ids = [full["second"].run_id, full["first"].run_id]
    app = open_page("compare", runs=",".join(run_ids))
    assert app.multiselect(key="choice_runs").value == run_ids
    assert any(full["second"].title in box.value.replace("\\", "") for box in app.info)


def test_compare_with_one_run_asks_for_another(full: dict[str, Run]) -> None:
    app = open_page("compare", runs=full["first"].run_id)
    assert "at least two" in app.info[0].value


@pytest.mark.slow
def test_the_form_has_a_widget_for_every_field_of_a_configuration(store: Path) -> None:
    labels: set[str] = set()
    for schedule in ("constant", "plateau", "cyclic", "cosine"):
        query = {"training.schedule": schedule, "training.optimiser": "sgd"}
        app = open_page("train", **query)
        widgets = [
            *app.selectbox, *app.number_input, *app.text_input, *app.toggle, *app.multiselect
        ]  # fmt: skip
        labels |= {widget.label for widget in widgets}
    for name, info in RunConfig.model_fields.items():
        group = getattr(info.annotation, "model_fields", {})
        if "options" in group:  # a part: its name is chosen, its options are the registry's
            assert info.title in labels, name
        else:
            for field in group.values() or [info]:
                assert field.title in labels, (name, field.title)


@pytest.mark.slow
def test_a_study_fills_the_form_in_and_augmentations_have_their_options(store: Path) -> None:
    app = open_page("train")
    app.selectbox(key="preset").select("liu_mel").run()
    command = app.code[-1].value
    assert "--sample-rate-hz 16000" in command
    assert "feature.frames=128" in command
    assert any("drawn in colour" in text.value for text in app.markdown)
    app.multiselect(key="choice_augment").select("noise").select("time_mask").run()
    share = app.number_input(key="field_noise.p")
    assert share.label == "Probability"
    share.set_value(0.25).run()
    command = app.code[-1].value
    assert "--augment noise,time_mask" in command
    assert "augment.noise.p=0.25" in command
    assert "feature.frames=128" in command
    app.selectbox(key="choice_feature").select("descriptors").run()
    offered = app.multiselect(key="choice_augment")
    assert "noise" in offered.value
    assert "time_mask" not in offered.value  # there is no image to mask


def test_a_changed_field_is_in_the_command_and_in_the_queued_run(store: Path) -> None:
    app = open_page("train")
    epochs = next(widget for widget in app.number_input if widget.label == "Epochs")
    epochs.set_value(7).run()
    assert "--epochs 7" in app.code[-1].value
    # With the runner's lock held there is a runner already, and submitting starts none.
    lock = take_lock(store / jobs.RUNNER_LOCK)
    assert lock is not None
    try:
        app.button(key="train").click().run()
    finally:
        os.close(lock)
    (run,) = runs.all_runs(store)
    assert run.state == "queued"
    assert run.config.training.epochs == 7


@pytest.mark.slow
def test_a_field_in_which_zero_has_a_meaning_is_empty_and_says_it(store: Path) -> None:
    app = open_page("train")
    length = app.number_input(key="field_segments.segment_s")
    assert (length.value, length.proto.placeholder) == (3.0, "the whole clip")
    for name, meaning in (
        ("training.patience", "all epochs are trained"),
        ("rehearsal", "all clips"),
    ):
        field = app.number_input(key=f"field_{name}")
        assert (field.value, field.proto.placeholder) == (None, meaning)
        assert field.help.endswith(f"Empty: {meaning}.")
    length.set_value(None).run()
    assert app.query_params["segments.segment_s"] == "0.0"
    assert app.number_input(key="field_segments.segment_s").value is None
    assert "--segment-s 30.0" in app.code[-1].value  # the length of the clips
    app.number_input(key="field_segments.segment_s").set_value(5.0).run()
    assert "--segment-s 5.0" in app.code[-1].value


def test_no_help_of_a_field_tells_of_a_magic_zero() -> None:
    fields = forms.flat_fields()
    for registry in (*REGISTRIES.values(), AUGMENTATIONS):
        for name, entry in registry.items():
            fields |= {f"{name}.{key}": i for key, i in entry.options.model_fields.items()}
    magic = re.compile(r"(^|[;.,] )0 (is|uses|keeps|takes|does|sets|trains|means|for|stands)\b")
    assert [name for name, info in fields.items() if magic.search(info.description or "")] == []


@pytest.mark.slow
def test_the_panel_says_the_run_in_a_line_and_the_time_it_takes(
    store: Path, full: dict[str, Run]
) -> None:
    text = words(open_page("train", **{"from": full["second"].run_id}))
    assert "**demo · By artist · cnn**" in text
    assert re.search(r"About [^,]+, by similar earlier runs\.", text), text
    assert "no run like this yet" in words(open_page("train", model="crnn"))


@pytest.mark.slow
def test_a_dataset_that_needs_a_folder_asks_for_it_and_checks_it(
    store: Path, tmp_path: Path
) -> None:
    app = open_page("train", dataset="gtzan")
    assert "needs the folder" in app.error[0].value
    assert app.button(key="train").disabled
    folder = next(widget for widget in app.text_input if widget.label == "Folder")
    folder.set_value(str(tmp_path / "absent")).run()
    assert "There is no" in app.error[0].value
    folder = next(widget for widget in app.text_input if widget.label == "Folder")
    folder.set_value(str(tmp_path)).run()
    assert "holds neither" in app.error[0].value
    assert app.button(key="train").disabled
    for genre in ("blues", "rock"):
        for number in range(4):
            silent_wav(tmp_path / "genres" / "genres_original" / genre / f"{genre}.{number:05}.wav")
    folder = next(widget for widget in app.text_input if widget.label == "Folder")
    folder.set_value(str(tmp_path / "genres")).run()
    assert not app.exception
    assert not app.button(key="train").disabled


def test_the_form_can_start_from_the_settings_of_a_run(full: dict[str, Run]) -> None:
    run = full["second"]
    app = open_page("train", **{"from": run.run_id})
    command = app.code[-1].value.replace(" \\\n  ", " ")  # a long command goes over several lines
    assert command == shlex.join(train_command(run.config))


def test_preparing_from_the_page_is_the_command_with_the_same_settings(tmp_path: Path) -> None:
    values = {"dataset": "gtzan", "dataset.folder": str(tmp_path), "audio.clip_s": 7.5}
    config = with_values(RunConfig(), values)
    arguments = prepare_words(config.dataset, config.audio)
    assert arguments[:3] == ["datasets", "prepare", "gtzan"]
    assert arguments[-1] == "--json"
    flags = dict(zip(arguments[3:-1:2], arguments[4:-1:2], strict=True))
    assert flags == {"--sample-rate-hz": "22050", "--clip-s": "7.5", "--folder": str(tmp_path)}


def test_train_says_on_what_it_will_run_and_why(store: Path) -> None:
    from genrecore.training import hardware

    assert hardware.choose().reason in words(open_page("train"))


@pytest.mark.slow
def test_the_first_page_comes_before_torch_which_is_then_loaded_in_the_background(
    store: Path,
) -> None:
    program = (
        "import sys, time\n"
        "from streamlit.testing.v1 import AppTest\n"
        "app = AppTest.from_file('app.py', default_timeout=60).run()\n"
        "assert app.title[0].value == 'Overview' and not app.exception\n"
        "assert not hasattr(sys.modules.get('torch'), 'compile'), 'the page waited for torch'\n"
        "while not hasattr(sys.modules.get('torch'), 'compile'):\n"
        "    time.sleep(0.05)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_run_that_ends_while_it_is_watched_is_shown_as_ended(full: dict[str, Run]) -> None:
    run, lock = runs.create_held_run(full["first"].config, full["first"].folder.parent)
    try:
        status = Status(run.folder)
        status.move("running", started_at=time.time(), phase=Phase.TRAINING, done=3, total=17)
        app = open_page("runs", run=run.run_id)
        assert "Training: 3 of 17" in str(app.get("progress")[0].proto).replace("\\", "")
        status.move("stopped", "A stop was asked for.")
        app.run()
        assert "A stop was asked for." in words(app)
        assert not app.get("progress")
    finally:
        os.close(lock)
        (run.folder / "config.json").unlink()  # the other tests know nothing of it


@pytest.mark.slow
@pytest.mark.browser
def test_a_leaky_run_wears_its_badge_on_every_page_that_shows_it(store: Path) -> None:
    config = with_values(RunConfig(), TINY)
    leaky = {"split": "stratified", "allow_leaks": True}
    honest = trained(resolve(config).config, store)
    run = trained(resolve(with_values(config, leaky)).config, store)
    assert run.badge.startswith("Leak: ")
    for name, query in (("runs", {"run": run.run_id}), ("classify", {"run": run.run_id})):
        app = open_page(name, **query)
        assert any(plain(run.badge) in str(element.value) for element in app.markdown), name
    # No page opens on it by itself, though it is the newest.
    assert open_page("errors").selectbox(key="choice_run").value == honest.run_id
    assert open_page("classify").multiselect(key="choice_runs").value == [honest.run_id]
    for name in ("runs", "overview"):
        tables = [element.value for element in open_page(name).dataframe]
        assert any(run.badge in set(table["badge"]) for table in tables if "badge" in table)
    warned = [str(element.value) for element in open_page("compare").warning]
    assert any(plain(run.badge) in text for text in warned)


def test_fields_of_training_appear_where_they_matter(store: Path) -> None:
    page = open_page("train")
    titles = [field.label for field in page.number_input]
    assert "Epochs of half a cycle" not in titles
    assert "Momentum" not in titles
    page = open_page("train", **{"training.schedule": "cyclic", "training.optimiser": "sgd"})
    titles = [field.label for field in page.number_input]
    assert {"Epochs of half a cycle", "Momentum", "Lowest learning rate"} <= set(titles)
