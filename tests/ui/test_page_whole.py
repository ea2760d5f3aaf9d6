"""All of a long recording on the page Classify: timeline, sections, and a way to every place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from opened import again, open_page, players, words
from test_audio import noise
from test_odd_files import SECONDS, odd_files
from untrained_runs import untrained_run

from genrecore.audio.decode import to_wav_bytes
from genrecore.data import uploads
from genrecore.inference.loaded import load as load_run
from genrecore.ui.classify.whole import thinned
from genrecore.words import percent

pytestmark = pytest.mark.xdist_group("pages")


@pytest.mark.slow
def test_a_long_recording_is_drawn_as_a_whole_and_its_sections_lead_to_their_places(
    store: Path, own_cache: Path
) -> None:
    run = untrained_run(store, temperature=2.0)
    content = to_wav_bytes(noise(700.0, 8_000)[:, 0], 8_000)  # too long for the player
    heard = uploads.keep_clips([("a mix.wav", content)])
    query = {"run": run.run_id, "heard": heard, "view": "whole"}
    app = open_page("classify", **query)
    if "All 11 min 40 s of it" not in words(app):  # a slow machine is asked first
        app.button(key="whole").click().run()
    expected = load_run(run).classify_whole(content)
    best = int(expected.proba.argmax())
    assert f"{expected.genres[best]} with {percent(expected.proba[best])}" in words(app)
    (sections,) = [table.value for table in app.dataframe if "length_s" in table.value]
    assert expected.sections is not None
    assert sections["genre"].tolist() == expected.sections["genre"].tolist()
    assert sections["start"].iloc[0] == "0:00"
    assert sections["end"].iloc[-1] == "11:40"
    # As a click on a section, a drag over the chart, or the strip does.
    app = again(app, start="300", length="60")
    (sound,) = players(app)[0]["sounds"]
    assert sound["start_s"] == pytest.approx(300.0, abs=0.01)
    assert sound["duration_s"] == pytest.approx(60.0, abs=0.01)
    assert "All 11 min 40 s of it" in words(app)  # nothing is computed again
    assert not [button for button in app.button if button.key == "whole"]


def test_a_thinned_timeline_has_the_means_of_windows_in_a_row() -> None:
    segments = pd.DataFrame({"start_s": 3.0 * np.arange(10_800)}).eval("end_s = start_s + 3")
    segments = segments.assign(p_a=np.arange(10_800) % 2, p_b=1 - np.arange(10_800) % 2)
    drawn = thinned(segments, 400)
    assert len(drawn) == 400
    assert drawn["start_s"].iloc[0] == 0.0
    assert drawn["end_s"].iloc[-1] == 32_400.0
    assert drawn["start_s"].iloc[1:].tolist() == drawn["end_s"].iloc[:-1].tolist()
    np.testing.assert_allclose(drawn[["p_a", "p_b"]].sum(axis=1), 1.0)
    assert thinned(segments[:400], 400).equals(segments[:400])


@pytest.mark.slow
def test_every_odd_file_is_classified_among_others_and_alone(
    store: Path, own_cache: Path, real_data: Path
) -> None:
    run = untrained_run(store)
    paths = odd_files(real_data)
    app = open_page("classify", run=run.run_id)
    for path in paths:
        app.file_uploader[0].upload(path.name, path.read_bytes())
    app = again(app)
    assert not app.error
    (table,) = [frame.value for frame in app.dataframe if "Clip" in frame.value]
    assert table["Clip"].tolist() == [path.name for path in paths]
    for path in paths:
        heard = uploads.keep_clips([(path.name, path.read_bytes())])
        app = open_page("classify", run=run.run_id, heard=heard)
        assert not app.error, path.name
        seconds_s = [sound["duration_s"] for sound in players(app)[0]["sounds"]]
        # Coders put up to 0.1 s before and behind where the file does not say how much.
        assert seconds_s == [pytest.approx(SECONDS.get(path.name, 5.0), abs=0.1)], path.name
