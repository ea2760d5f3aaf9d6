"""One run on the page Runs: after a failure, its views, its alerts."""

# ruff: noqa: F811  (a fixture is imported and named again by who asks for it)
from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from fake_runs import fake_run
from opened import again, open_page, words
from streamlit.testing.v1 import AppTest
from test_page_runs import keys, make, no_runner, opened, template  # noqa: F401  (fixtures)
from test_selective import with_split

from genrecore import words as written
from genrecore.config.run import with_values
from genrecore.evaluation import metrics, selective
from genrecore.evaluation.scores import run_scores
from genrecore.evaluation.thresholds import select
from genrecore.jobs import actions
from genrecore.store.about import ABOUT, About
from genrecore.store.files import write_json
from genrecore.store.processes import ENDED, identity
from genrecore.store.run import Run
from genrecore.store.status import LOG, Status
from genrecore.ui.parts import readers
from genrecore.ui.parts.frame import plain
from genrecore.ui.runs import charts
from genrecore.ui.runs import log as run_log
from genrecore.ui.runs import machine as run_machine

pytestmark = pytest.mark.xdist_group("page_runs")  # one worker trains the run that tests copy


@pytest.mark.slow
def test_the_page_of_a_run_says_which_version_trained_it(make) -> None:
    run = make("stopped")
    write_json(run.folder / "environment.json", {"versions": {"genrecore": "0.0.7"}})
    assert "trained by genrecore 0.0.7." in words(open_page("runs", run=run.run_id, view="setup"))


# After a failure


@pytest.mark.slow
def test_the_failure_card_says_why_and_queues_the_changed_run(make) -> None:
    reason = "The loss became nan in epoch 2, step 3 of 4, so training ended; try less."
    run = make("failed", reason, traceback="Traceback …\n  File trainer.py", **{"training.lr": 0.5})
    app = open_page("runs", run=run.run_id)
    assert reason in words(app)
    assert any("File trainer.py" in block.value for block in app.code)
    labels = [box.label.replace("\\", "") for box in app.checkbox]
    assert labels[:2] == [
        "A lower learning rate: 0.05 instead of 0.5.",
        "Gradient clipping to a norm of 1.",
    ]
    assert [box.value for box in app.checkbox][:2] == [True, False]
    app.checkbox(key=f"advice_{run.run_id}_1").check().run()
    app.button(key=f"advised_{run.run_id}").click().run()
    new = Run(run.folder.parent / opened(app))
    changed = with_values(run.config, {"training.lr": 0.05, "training.clip_norm": 1.0})
    assert new.config == changed
    assert new.state == "queued"


def test_a_killed_run_is_offered_a_smaller_batch_and_an_unknown_failure_the_log(make) -> None:
    run = make("lost", n_parameters=999, **{"training.batch_size": 32})
    write_json(run.folder / ENDED, {"signal": 9})
    app = open_page("runs", run=run.run_id)
    assert any("16 instead of 32" in box.label for box in app.checkbox)
    strange = make("failed", "KeyError: 'strange'")
    app = open_page("runs", run=strange.run_id)
    assert f"advised_{strange.run_id}" not in keys(app)
    assert "log below may say more" in words(app)


def test_resume_is_offered_only_where_the_run_may_end_otherwise(make) -> None:
    again = make("failed", "The loss became nan in epoch 2, step 3 of 4, so training ended.")
    app = open_page("runs", run=again.run_id)
    assert f"resume_{again.run_id}" not in keys(app)
    assert "going on would end the same way; change one of these" in words(app)
    full = make("failed", "The disk is full.")
    app = open_page("runs", run=full.run_id)
    assert f"resume_{full.run_id}" in keys(app)
    assert "the same way" not in words(app)


# What is written about a run


@pytest.mark.slow
def test_name_note_tags_and_star_are_written_on_the_page_and_shown_literally(make) -> None:
    run = make("done")
    actions.annotate(run, tags=["old"])
    app = open_page("runs", run=run.run_id)
    own = next(key for key in keys(app) if key.startswith(f"keep_about_{run.run_id}"))
    own = own.removeprefix("keep_about_")
    assert app.text_input(key=f"name_{own}").placeholder == run.made_name
    app.text_input(key=f"name_{own}").set_value("<b>*loud*</b> $x$")
    app.text_area(key=f"note_{own}").set_value("# Two\nlines")
    app.button(key=f"keep_about_{own}").click().run()
    assert Run(run.folder).about == About("<b>*loud*</b> $x$", "# Two\nlines", ("old",))
    assert f"**{plain('<b>*loud*</b> $x$')}**" in [text.value for text in app.markdown]
    assert [text.value for text in app.text] == ["# Two\nlines"]
    app.button(key=f"star_{run.run_id}").click().run()
    assert Run(run.folder).starred
    assert app.button(key=f"star_{run.run_id}").label == "★ Starred"
    (run.folder / ABOUT).write_text('{"name": "\\ud800", "tags": 7')
    assert run.made_name in words(again(app))


# The order of a run's page


def order(app: AppTest) -> list[str]:
    """What stands on the page from top to bottom, as far as it has a name here."""
    names = {"metric": "label", "plotly_chart": "alt", "button": "key", "page_link": "label",
             "error": "value", "progress": "text", "expander": "label"}  # fmt: skip
    found = []
    for element in app.main:
        attribute = names.get(element.type)
        if attribute:
            of_proto = element.type in ("plotly_chart", "page_link", "progress")
            found.append(str(getattr(element.proto if of_proto else element, attribute)))
    return found


def place(app: AppTest, beginning: str) -> int:
    return next(n for n, name in enumerate(order(app)) if name.startswith(beginning))


def test_a_finished_run_begins_with_its_test_accuracy_and_what_to_do_with_it(make) -> None:
    run = make("done")
    app = open_page("runs", run=run.run_id)
    parts = ["Test accuracy", "Hear its mistakes", "Classify with it", "Line chart of accuracy",
             "Epochs", "Confusion", f"delete_{run.run_id}"]  # fmt: skip
    places = [place(app, part) for part in parts]
    assert places == sorted(places), order(app)
    metric = next(metric for metric in app.metric if metric.label == "Test accuracy")
    assert metric.value == written.percent(run_scores(run)["accuracy"])
    assert written.percent(run_scores(run)["accuracy_low"]) in str(metric.delta)


def test_a_live_run_begins_with_progress_and_curves(make) -> None:
    run = make("running")
    app = open_page("runs", run=run.run_id)
    assert place(app, f"stop_{run.run_id}") < place(app, "Line chart of accuracy")
    assert place(app, "Line chart of accuracy") < place(app, "Epochs")
    assert "Queue of this machine: no run waits" in [expander.label for expander in app.expander]


def test_the_log_of_a_run_that_failed_at_once_is_folded(make) -> None:
    run = make("failed", "The disk is full.")
    (run.folder / "history.jsonl").unlink()
    app = open_page("runs", run=run.run_id)
    log = next(expander for expander in app.expander if expander.label == "The log")
    assert not log.proto.expanded
    app = open_page("runs", run=run.run_id, view="log")
    log = next(expander for expander in app.expander if expander.label == "The log")
    assert log.proto.expanded


# One run's views


@pytest.mark.slow
def test_the_newest_epoch_is_followed_and_any_other_can_be_shown(make, template: Run) -> None:
    run = make("running")
    history = template.history
    for number, query in ((4, {}), (2, {"epoch": "2"})):
        app = open_page("runs", run=run.run_id, view="genres", **query)
        share = float(history.set_index("epoch").loc[number, "valid_accuracy"])
        latest = ", the latest" if number == 4 else ""
        assert f"Epoch {number}{latest}: " in words(app)
        assert f"({written.percent(share)})" in words(app)
        assert len(app.get("plotly_chart")) == 2
    slider = app.slider(key="choice_epoch_4")
    assert (slider.value, slider.max) == (2, 4)  # 9 are planned, 4 are done
    slider.set_value(4).run()
    assert "epoch" not in app.query_params
    row = (run.folder / "epochs.u8").read_bytes()
    (run.folder / "epochs.u8").write_bytes(row + row[: len(row) // 4])
    app.run()
    assert "Epoch 5, the latest: " in words(app)  # it follows
    slider = app.slider(key="choice_epoch_5")
    assert (slider.value, slider.max) == (5, 5)
    app = open_page("runs", run=run.run_id)
    assert app.slider(key="choice_epochs_4").max == 4


@pytest.mark.slow
def test_the_loss_is_shown_by_step_where_the_run_has_it(make, template: Run) -> None:
    run = make("done")
    n_steps = len(template.step_losses) // 4
    app = open_page("runs", run=run.run_id)
    assert not any("Loss by step" in drawn.proto.spec for drawn in app.get("plotly_chart"))
    app = again(app, over="step", epochs="3-4")
    specs = [json.loads(drawn.proto.spec) for drawn in app.get("plotly_chart")]
    (shown,) = [spec for spec in specs if "Loss by step" in spec["layout"]["title"]["text"]]
    assert shown["data"][0]["y"] == pytest.approx(template.step_losses[2 * n_steps :].tolist())
    assert shown["data"][0]["x"] == list(range(2 * n_steps + 1, 4 * n_steps + 1))
    (run.folder / "steps.f32").unlink()  # as earlier versions leave it
    app = open_page("runs", run=run.run_id, over="step")
    assert not any("Loss by step" in drawn.proto.spec for drawn in app.get("plotly_chart"))
    assert place(app, "Line chart of loss")


def test_an_epochs_tables_are_those_of_its_predictions(template: Run) -> None:
    clips = template.clips
    assert clips is not None
    labels = clips.loc[clips["split"] == "valid", "genre"].to_numpy()
    genres = sorted(clips["genre"].unique())
    validation = charts.validation(template)
    assert validation is not None
    assert len(validation.predicted) == 4
    for number in (1, 4):
        predicted = np.array(genres)[template.epoch_predictions[number - 1]]
        confusion = metrics.confusion(validation.predictions(number), genres).to_numpy()
        assert confusion.sum() == len(labels) == len(validation.clips)
        assert np.trace(confusion) == (predicted == labels).sum()
        valid = template.history["valid_accuracy"].iloc[number - 1]
        assert np.trace(confusion) / confusion.sum() == pytest.approx(valid)


@pytest.mark.slow
def test_the_zoom_and_the_scale_are_in_the_address_and_in_the_chart(make) -> None:
    run = make("done")
    app = open_page("runs", run=run.run_id, epochs="2-3", log_loss="on", smooth="0.5")
    charts = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    accuracy, loss = charts[0], charts[1]
    assert loss["layout"]["xaxis"]["range"] == accuracy["layout"]["xaxis"]["range"] == [1.5, 3.5]
    assert loss["layout"]["yaxis"]["type"] == "log"
    assert accuracy["layout"]["yaxis"].get("type") != "log"
    assert len([trace for trace in loss["data"] if trace.get("opacity") == 0.3]) == 2
    app.slider(key="choice_epochs_4").set_value((1, 4)).run()
    assert "epochs" not in app.query_params


def one(value: str | list[str]) -> str:
    """A value of an address, which a test reads as a list once a page has written it."""
    return value if isinstance(value, str) else value[0]


@pytest.mark.slow
def test_a_browser_that_has_not_heard_of_a_zoom_does_not_undo_it(make) -> None:
    run = make("done")
    app = open_page("runs", run=run.run_id)
    assert app.slider(key="choice_epochs_4").value == (1, 4)
    again(app, epochs="2-3")  # as a drag over a chart writes it
    app.slider(key="choice_epochs_4").set_value((1, 4)).run()  # what the browser still shows
    assert one(app.query_params["epochs"]) == "2-3"
    assert app.slider(key="choice_epochs_4").value == (2, 3)
    app.slider(key="choice_epochs_4").set_value((1, 3)).run()  # what a person chooses counts
    assert one(app.query_params["epochs"]) == "1-3"


def test_a_live_run_is_drawn_anew_with_a_new_epoch_only(make) -> None:
    run = make("running")
    app = open_page("runs", run=run.run_id)

    def ids() -> list[str]:
        return [chart.proto.id + chart.proto.spec for chart in app.get("plotly_chart")]

    first = ids()
    assert len(first) == 3
    Status(run.folder).update(done=17)  # a heartbeat
    app.run()
    assert ids() == first


def test_the_log_shows_its_end_finds_lines_anywhere_and_is_downloaded(make) -> None:
    run = make("running")
    lines = [f"12:00:00 step {k} says nothing" for k in range(5000)]
    lines[7] = "12:00:00 a Curious thing happened"
    (run.folder / LOG).write_text("\n".join(lines) + "\n")
    app = open_page("runs", run=run.run_id, view="log")
    end = next(block.value for block in app.code if "step" in block.value)
    assert end.rstrip().endswith("step 4999 says nothing")
    assert "Curious" not in end
    app = again(app, log="curious THING")
    assert any(block.value == lines[7] for block in app.code)
    assert "1 line contains" in words(app)
    app = again(app, log="nowhere")
    assert "No line contains “nowhere”" in words(app)
    assert len(app.get("download_button")) == 1


def test_a_search_finds_the_last_lines_of_what_was_written_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.txt"
    generator = np.random.default_rng(3)
    lines = [
        "x" * int(n) + (" needle" if n % 3 == 0 else "") for n in generator.integers(0, 90, 400)
    ]
    lines[11] = "progress 1\rprogress 2 Needle é"
    path.write_text("\n".join(lines), encoding="utf-8")
    expected = [line.rsplit("\r", 1)[-1] for line in lines if "needle" in line.lower()]
    hits, all_of_them = run_log.search(path, "Needle", path.stat().st_size)
    assert list(hits) == expected
    assert all_of_them
    monkeypatch.setattr(run_log, "_MOST", 5)
    hits, all_of_them = run_log.search(path, "needle", path.stat().st_size)
    assert list(hits) == expected[-5:]
    assert not all_of_them
    half, _ = run_log.search(path, "é", 3)
    assert half == ()


def test_what_a_process_takes_is_measured_by_its_own_identity_only(make) -> None:
    run = make("running", **identity())
    assert run_machine.use_of(run) is None or run_machine.use_of(run).memory > 0  # type: ignore[union-attr]
    stranger = make("running", pid=1, create_time=0.0, boot_id="x", host="elsewhere")
    assert run_machine.use_of(stranger) is None
    app = open_page("runs", run=stranger.run_id, view="machine")
    assert "runs on another machine" in words(app)
    assert len(app.get("plotly_chart")) == 3


def test_the_lines_of_the_gpu_tool_are_read_and_gaps_are_nan() -> None:
    output = "NVIDIA H100 80GB HBM3, 37, 1024, 81559\nOld, one, [N/A], 5, 10\nrubbish\n"
    first, second = run_machine.parsed_gpus(output)
    assert (first.name, first.busy, first.used_mb) == ("NVIDIA H100 80GB HBM3", 0.37, 1024.0)
    assert second.name == "Old, one"
    assert second.busy != second.busy


# Alerts


def test_a_run_that_ends_while_somebody_watches_is_a_toast_and_older_ends_are_not(make) -> None:
    make("done")
    run = make("running")
    app = open_page("runs")
    assert not app.toast
    Status(run.folder).move("failed", "The disk is full.", finished_at=time.time())
    app.run()
    assert [toast.value.replace("\\", "") for toast in app.toast] == [
        f"**{run.title}**  \nThe disk is full."
    ]
    app.run()
    assert not app.toast


def test_a_loss_that_runs_away_is_said_beside_the_live_run(make) -> None:
    run = make("running")
    rows = [
        {"epoch": k, "train_loss": x, "train_accuracy": 0.5, "lr": 0.1}
        for k, x in enumerate([2.0, 1.0, 3.0, 4.0, 5.0], 1)
    ]
    (run.folder / "history.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    app = open_page("runs", run=run.run_id)
    assert any("diverges" in box.value for box in app.warning)


def test_the_webhook_is_set_on_the_page_and_never_shown(make, store: Path) -> None:
    from genrecore.jobs import alerts

    make("done")
    app = open_page("runs")
    app.text_input(key="webhook_url").set_value("https://hooks.example.org/s3cret").run()
    app.button(key="webhook_keep").click().run()
    assert alerts.webhook(store) == "https://hooks.example.org/s3cret"
    app = open_page("runs")
    assert "s3cret" not in words(app) + str([box.value for box in app.text_input])
    assert "hooks.example.org" in str([expander.label for expander in app.expander])
    app.text_input(key="webhook_url").set_value("nonsense").run()
    app.button(key="webhook_keep").click().run()
    assert "begins with http" in words(app)


def test_a_run_id_in_the_address_is_never_a_path(make, store: Path) -> None:
    run = make("done")
    for bad in ("../" + store.name + "/" + run.run_id, ".bin", "..", "", "/etc"):
        assert readers.find(bad) is None
    same_run = readers.find(run.run_id)
    assert same_run is not None
    assert same_run.config == run.config


# When it is not sure


@pytest.mark.slow
def test_a_run_says_when_it_is_not_sure_and_what_a_wanted_precision_costs(store: Path) -> None:
    run = with_split(fake_run(store, np.arange(180) % 9 != 0, np.arange(180)), 90)
    app = open_page("runs", run=run.run_id, precision="0.8")
    answers = select([run], 0.8)
    text = words(app)
    for sentence in (*answers.sentences, selective.curve(run).sentence):
        assert sentence in text
    table = app.dataframe[-1].value
    assert table["genre"].tolist() == ["blues", "jazz", "rock", "all"]
    shares = [100 * share for share in answers.table["coverage"]]
    assert table["coverage"].tolist() == pytest.approx(shares)
    line = f"genrecore thresholds {run.run_id} --precision 0.8"
    assert any(line in block.value.replace("\\\n  ", "") for block in app.code)
    slider = next(each for each in app.slider if each.label == "Wanted precision")
    assert slider.value == 0.8
    slider.set_value(0.95).run()
    assert app.query_params["precision"] in ("0.95", ["0.95"])
    assert "never answered" in words(app)


@pytest.mark.slow
def test_a_run_without_enough_validation_clips_is_never_sure(make) -> None:
    run = make("done")
    app = open_page("runs", run=run.run_id)
    assert "It is never sure enough." in words(app)
    assert "strangers" in keys(app)
