"""What all pages are made of: readers that notice changed files, the menu."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import streamlit as st
from conftest import ROOT
from opened import players
from streamlit.dataframe_util import convert_arrow_bytes_to_pandas_df
from streamlit.testing.v1 import AppTest

from genrecore.audio.levels import loudness_lufs
from genrecore.store.run import Run
from genrecore.ui.parts import frame
from genrecore.ui.parts.cache import cached_by_files, in_runs
from genrecore.ui.parts.choices import MOST_OPTIONS


def test_a_cached_reader_reads_again_only_when_its_files_change(tmp_path: Path) -> None:
    reads: list[str] = []

    @cached_by_files(in_runs("history.jsonl"))
    def n_epochs(runs: list[Run], times: int = 1) -> int:
        reads.append(",".join(run.run_id for run in runs))
        return times * sum(len(run.history) for run in runs)

    run = Run(tmp_path / "one")
    run.folder.mkdir()
    assert n_epochs([run]) == n_epochs([Run(run.folder)]) == 0
    assert len(reads) == 1
    assert len(run.history) == 0  # this snapshot stays as it is; the reader takes a fresh one
    (run.folder / "history.jsonl").write_text(
        '{"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5}\n'
    )
    assert n_epochs([run]) == 1
    assert n_epochs([run], times=3) == 3
    assert n_epochs([run], times=3) == 3
    assert len(reads) == 3


def test_two_cached_readers_never_answer_for_one_another(tmp_path: Path) -> None:
    def reader(word: str):  # type: ignore[no-untyped-def]
        def read_text(path: Path) -> str:
            return word + path.read_text()

        read_text.__qualname__ = word
        return cached_by_files(lambda path: [path])(read_text)

    path = tmp_path / "text"
    path.write_text("!")
    assert (reader("a")(path), reader("b")(path)) == ("a!", "b!")


def test_a_page_tells_its_place_in_the_menu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (ROOT / "pages").glob("*.py"):
        assert frame._IN_MENU.search(path.read_text()), f"{path.name} has no line '# menu: …'"
    monkeypatch.setattr(frame.st, "Page", lambda path, **settings: SimpleNamespace(**settings))
    titles = {group: [page.title for page in pages] for group, pages in frame.menu().items()}
    assert titles == {
        "Work": ["Overview", "Datasets", "Train", "Runs", "Compare", "Errors", "Classify"],
        "Studies": ["Plans", "Papers", "Records"],
        "Learn": ["Sound", "Models", "Leaks"],
        "Set up": ["Settings"],
    }
    (tmp_path / "overview.py").write_text("# menu: Results, 20, :material/home:\n")
    (tmp_path / "new_page.py").write_text("# menu: Results, 10, :material/star:\n")
    (tmp_path / "stray.py").write_text('"""Nothing is said of its place."""\n')
    monkeypatch.setattr(frame, "_PAGES", tmp_path)
    titles = {group: [page.title for page in pages] for group, pages in frame.menu().items()}
    assert titles == {"Results": ["New page", "Overview"], "More": ["Stray"]}


RATE_HZ = 22_050


def tone(seconds: float, *peaks: float) -> np.ndarray:
    """A tone of 440 Hz as loud as the peaks say, one after another."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    loudness = np.asarray(peaks)[(np.arange(len(t)) * len(peaks)) // len(t)]
    return (loudness * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


LOUD = 1.5 * tone(2.0, 1.0)  # beyond full scale, as augmentation makes it
CLICKING = tone(2.0, 0.1)
CLICKING[1000] = 0.8


def shown(page: Callable[[], None]) -> dict[str, Any]:
    """What the only player of a page gets."""
    app = AppTest.from_function(page).run()
    assert not app.exception, app.exception[0].message
    (data,) = players(app)
    return data


def test_differences_and_p_values_in_tables_are_written_as_everywhere_and_stay_numbers() -> None:
    def page() -> None:
        import pandas as pd

        from genrecore.reporting.columns import PAIRS
        from genrecore.ui.parts.tables import show_table

        table = pd.DataFrame({"difference": [-0.0094, 0.031, float("nan")], "p": [2e-5, 0.04, 1]})
        show_table(table, ["difference", "p"], PAIRS)

    table = AppTest.from_function(page).run().dataframe[0]
    shown = convert_arrow_bytes_to_pandas_df(table.proto.arrow_data.styler.display_values)
    assert shown["difference"].tolist() == ["−0.9", "+3.1", "–"]
    assert shown["p"].tolist() == ["< 0.0001", "0.04", "1"]
    assert table.value["difference"].tolist()[:2] == pytest.approx([-0.94, 3.1])  # sorted by these


def test_a_player_gets_outline_and_times_of_the_song_and_stays_light() -> None:
    def page() -> None:
        import pandas as pd
        from test_parts import tone

        from genrecore.ui.parts.player import Lane, Marks, SoundExcerpt, player

        segments = pd.DataFrame(
            {"start_s": [60.0], "end_s": [63.0], "p_dub": [0.4], "p_ska": [0.6]}
        )
        sound = SoundExcerpt("a song", "", tone(3.0, 0.5, 0.25), 22_050, 60.0, 200.0)
        marks = Marks("highlighted", [(61.0, 61.5, 1.0)])
        player(sound, "x", lanes=[Lane("a run", segments)], marks=marks, part=(60.5, 62.0))

    data = shown(page)
    (sound,) = data["sounds"]
    assert (sound["start_s"], sound["duration_s"], sound["total_s"]) == (60.0, 3.0, 200.0)
    assert sound["volume"] == pytest.approx(0.5, abs=1e-3)
    outline = np.array(sound["outline"]).reshape(-1, 2)
    half = len(outline) // 2
    assert (outline[: half - 1].max(), outline[half + 1 :].max()) == (100, 50)
    assert data["lanes"][0]["starts"] == [60.0]
    assert data["marks"] == {"title": "highlighted", "stretches": [[61.0, 61.5, 1.0]]}
    assert data["part"] == [60.5, 62.0]
    assert len(json.dumps(data)) < 8_000  # twenty on a page stay light


def test_sounds_to_switch_between_are_equally_loud_and_none_passes_full_scale() -> None:
    def page() -> None:
        from test_parts import CLICKING, LOUD

        from genrecore.ui.parts.player import SoundExcerpt, player

        sounds = {"loud": LOUD, "clicking": CLICKING}
        player({title: SoundExcerpt("x", "", wave, 22_050) for title, wave in sounds.items()}, "x")

    data = shown(page)
    heard = []
    for wave, sound in zip((LOUD, CLICKING), data["sounds"], strict=True):
        played = wave / np.abs(wave).max() * sound["matched"]
        assert np.abs(played).max() <= 1.0
        heard.append(loudness_lufs(played, RATE_HZ))
    assert heard[0] == pytest.approx(heard[1], abs=0.01)
    assert data["sounds"][1]["matched"] == pytest.approx(1.0)  # its click leaves no more room
    quieter = loudness_lufs(LOUD, RATE_HZ) - heard[0]
    louder = heard[1] - loudness_lufs(CLICKING, RATE_HZ)
    assert data["matched"] == (
        f"Equally loud: loud {quieter:.1f} dB quieter, clicking {louder:.1f} dB louder."
    )
    # As they are, the one beyond full scale is turned down, and the other one with it.
    assert [sound["volume"] for sound in data["sounds"]] == pytest.approx(
        [1.0, 0.8 / 1.5], abs=1e-3
    )
    assert data["aligned"]


def test_streamlit_1_67_serves_sounds_that_differ_in_a_few_samples_under_two_addresses() -> None:
    # Its own names of files larger than 1 MiB come from three places of the content.
    assert st.__version__.startswith("1.67.")

    def page() -> None:
        from test_parts import tone

        from genrecore.ui.parts.player import SoundExcerpt, player

        whole = tone(40.0, 0.5)
        changed = whole.copy()
        changed[200_000:210_000] = 0.0
        player({"a": SoundExcerpt("x", "", whole, 22_050),
                "b": SoundExcerpt("x", "", changed, 22_050)}, "x")  # fmt: skip

    first, second = shown(page)["sounds"]
    assert first["url"] != second["url"]
    assert first["url"].startswith("/mock/media/")


def test_of_thousands_a_few_hundred_are_offered_and_a_search_finds_the_others() -> None:
    def page() -> None:
        from genrecore.ui.parts.choices import choose_many, choose_one, new_run

        new_run("many")
        names = {f"run{number}": f"trial {number:04}" for number in range(5_000)}
        choose_one("Run", names, "run", default="run4321")
        choose_many("Runs", names, "runs", default=["run4000", "run4001"])

    app = AppTest.from_function(page).run()
    assert len(app.selectbox[0].options) == MOST_OPTIONS + 1
    assert (app.selectbox[0].value, app.multiselect[0].value) == ("run4321", ["run4000", "run4001"])
    assert "the first 300 of 5,000" in app.caption[0].value
    app.text_input[0].set_value("TRIAL 2999").run()
    assert app.selectbox[0].options == ["trial 2999", "trial 4321"]
    app.selectbox[0].set_value("run2999").run()
    app.text_input[0].set_value("").run()
    assert (app.selectbox[0].value, app.query_params["run"]) == ("run2999", "run2999")
    app.query_params["runs"] = "run17,run4999"
    app.run()
    assert app.multiselect[0].value == ["run17", "run4999"]
