"""The page Sound, opened through `app.py`, over demo music and over uploads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from opened import again, open_page, players, words
from sounds import falling_tone
from streamlit.testing.v1 import AppTest

from genrecore.audio.mel_scale import to_mel
from genrecore.augment import AUGMENTATIONS
from genrecore.data import datasets
from genrecore.features import FEATURES, PRESETS

pytestmark = pytest.mark.xdist_group("page_datasets")  # one worker makes the music

OPTIONS = {"n_genres": 3, "n_clips": 10, "n_artists": 5, "clip_s": 3.0}
DEMO = {"dataset": "demo"} | {f"demo.{key}": str(value) for key, value in OPTIONS.items()}


def charts(app: AppTest) -> list[str]:
    """The keys of the page's charts."""
    return [re.sub(r".*-", "", chart.proto.id) for chart in app.get("plotly_chart")]


def sounds(app: AppTest) -> list[str]:
    """The addresses of the sounds in the page's players; equal sounds have equal ones."""
    return [sound["url"] for player in players(app) for sound in player["sounds"]]


def widget(app: AppTest, label: str) -> object:
    """The widget with this label."""
    kinds = (app.number_input, app.selectbox, app.toggle, app.slider, app.select_slider)
    return next(each for kind in kinds for each in kind if each.label == label)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> AppTest:
    """The page on the demo music, run anew by many tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        datasets.load("demo", OPTIONS)
        return open_page("sound", **DEMO)


@pytest.mark.parametrize("name", list(FEATURES))
def test_every_feature_shows_its_figure_or_its_sentence(page: AppTest, name: str) -> None:
    rate_hz = "16000" if "encoder" in name else "22050"
    app = again(page, view="features", features=name, **{"audio.sample_rate_hz": rate_hz})
    parts = FEATURES[name].facts.kind.split("+")
    if "wave" in FEATURES[name].facts.needs:
        assert not app.error
        expected = [f"feature_{name}_{n}" for n in range(len(parts))]
        assert charts(app) == expected
    else:
        assert FEATURES[name].facts.needs[-1] in app.error[0].value
        assert "that a dataset ships" in app.error[0].value
        assert not charts(app)
    again(page, **{"audio.sample_rate_hz": "22050"})


def test_a_parameter_changes_the_image_and_its_size_in_words(page: AppTest) -> None:
    app = again(page, view="features", features="log_mel,stft")
    assert "128 mel bands × 130 frames, 1 channel" in words(app)
    widget(app, "Mel bands").set_value(61).run()
    assert app.query_params["log_mel.n_mels"] == "61"
    assert "61 mel bands × 130 frames, 1 channel" in words(app)
    widget(app, "Mel bands").set_value(128).run()


def test_a_colour_map_gives_three_channels_and_is_drawn_and_augmented(page: AppTest) -> None:
    app = again(page, view="features", features="log_mel", **{"log_mel.colours": "jet"})
    assert "128 mel bands × 130 frames, 3 channels" in words(app)
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert figure["data"][0]["colorscale"][0][1] == "rgb(0,0,128)"
    app = again(page, view="augment", augmentation="colour_pca", **{"log_mel.colours": "jet"})
    assert not app.exception
    assert not app.error
    assert "Colours cannot be turned back into sound." in words(app)
    assert len(app.get("image")) == 2
    again(page, **{"log_mel.colours": ""})


def test_an_impossible_option_is_one_sentence_and_the_other_feature_stays(page: AppTest) -> None:
    app = again(page, view="features", features="log_mel,chroma", **{"log_mel.fmax_hz": "20000"})
    assert len(app.error) == 1
    assert "holds nothing above 11025 Hz" in words(app)
    assert charts(app) == ["feature_chroma_0"]
    again(page, **{"log_mel.fmax_hz": "0"})


def test_more_than_four_features_are_named_not_shown(page: AppTest) -> None:
    names = ["waveform", "chroma", "mfcc", "log_mel", "stft"]
    app = again(page, view="features", features=",".join(names))
    assert len(charts(app)) == 4
    assert f"take one away to see {FEATURES['stft'].title}" in words(app)


# Some of each kind; the others wait for the long tests.
DAILY = {"speed", "noise", "pitch_variants", "patches", "time_mask", "mixup"} & set(AUGMENTATIONS)


@pytest.mark.parametrize(
    "name", [n if n in DAILY else pytest.param(n, marks=pytest.mark.long) for n in AUGMENTATIONS]
)
def test_every_augmentation_is_seen_and_heard_before_and_after(page: AppTest, name: str) -> None:
    app = again(page, view="augment", augmentation=name, draw="")
    assert not app.error
    before, after = sounds(app)[-2:]
    assert before != after
    assert charts(app) == ["before_image", "after_image"]


def test_drawing_again_draws_anew_and_a_link_shows_the_same(page: AppTest) -> None:
    app = again(page, view="augment", augmentation="pitch", draw="")
    first = sounds(app)
    app.button(key="draw").click().run()
    assert app.query_params["draw"] == "2"
    second = sounds(app)
    assert second[-1] != first[-1]
    assert second[-2] == first[-2]
    assert sounds(again(page, draw="1")) == first


def test_an_option_of_an_augmentation_out_of_order_is_a_sentence(page: AppTest) -> None:
    app = again(page, view="augment", augmentation="speed", **{"speed.fastest": "0.5"})
    assert "must not lie below slowest" in words(app)
    again(page, **{"speed.fastest": "1.1"})


def test_mixup_says_what_becomes_of_the_target(page: AppTest) -> None:
    app = again(page, view="augment", augmentation="mixup", draw="1")
    shares = re.search(r"becomes ([\d.]+) % (\w+) and ([\d.]+) % (\w+)", words(app))
    assert shares is not None
    assert float(shares[1]) + float(shares[3]) == pytest.approx(100, abs=0.11)  # rounded
    assert shares[2] != shares[4]
    assert len(sounds(app)) == 4  # the clip, the other one, before and after


def test_fewer_mel_bands_are_heard_and_counted(page: AppTest) -> None:
    many = again(page, view="heard", **{"log_mel.n_mels": "128"})
    assert "66,150 samples became 16,640 numbers" in words(many)  # 128 × 130
    heard = sounds(many)
    few = again(page, **{"log_mel.n_mels": "32"})
    assert "66,150 samples became 4,160 numbers" in words(few)
    assert sounds(few)[:-1] == heard[:-1]
    assert sounds(few)[-1] != heard[-1]
    again(page, **{"log_mel.n_mels": "128"})


@pytest.mark.parametrize(("tone", "scale"), [("220", "slaney"), ("1480", "htk")])
def test_the_numbers_about_a_tone_are_those_of_the_mel_scale(
    page: AppTest, tone: str, scale: str
) -> None:
    app = again(page, view="mel", tone=tone, **{"log_mel.mel_scale": scale})
    match = re.search(
        r"From ([\d,]+) to ([\d,]+) Hz lie ([\d.]+) of 128 bands, as many as from ([\d,]+) to "
        r"([\d,]+) Hz",
        words(app),
    )
    assert match is not None
    low, high, bands, begin, end = (float(text.replace(",", "")) for text in match.groups())
    assert high == pytest.approx(2 * low, abs=1.5)  # each is rounded to 1 Hz
    mel = to_mel(np.array([low, high, begin, end, 0.0, 11_025.0]), scale)  # type: ignore[arg-type]
    assert bands == pytest.approx(128 * (mel[1] - mel[0]) / (mel[5] - mel[4]), abs=0.25)
    assert mel[3] - mel[2] == pytest.approx(mel[1] - mel[0], rel=0.02)  # as many bands
    again(page, **{"log_mel.mel_scale": "slaney"})


def test_the_tone_is_moved_by_its_slider(page: AppTest) -> None:
    app = again(page, view="mel", tone="")
    assert "**440 Hz** (A4)" in words(app)
    played = sounds(app)[-1]
    slider = widget(app, "A tone")
    slider.set_value(slider.value * 2).run()
    assert app.query_params["tone"] == "880"
    assert "**880 Hz** (A5)" in words(app)
    assert sounds(app)[-1] != played


def test_a_link_restores_clip_excerpt_features_and_parameters(page: AppTest) -> None:
    clip = datasets.load("demo", OPTIONS)["clip_id"].iloc[13]
    app = open_page(
        "sound",
        **DEMO,
        **{
            "clip": clip,
            "start": "0.5",
            "length": "1.3",
            "features": "mfcc,stft",
            "mfcc.n_mfcc": "23",
            "stft.scale": "decibels",
            "audio.sample_rate_hz": "16000",
        },
    )
    assert f"**{clip}**" in words(app)
    assert widget(app, "Start (s)").value == 0.5
    assert widget(app, "Length (s)").value == 1.3
    assert app.multiselect[0].value == ["mfcc", "stft"]
    text = words(app)
    assert "23 coefficients × 41 frames" in text  # 1 + 1.3 s · 16 kHz // 512
    assert "taken as it is" not in text  # decibels need no excuse
    wave = page  # the same page with the default excerpt, for comparison
    assert sounds(again(wave, view="features"))[0] != sounds(app)[0]


def test_a_study_is_taken_over_and_a_change_is_noticed(page: AppTest) -> None:
    app = open_page("sound", **DEMO)
    widget(app, "As in a study").set_value("liu_mel").run()
    assert not app.exception
    assert app.multiselect[0].value == ["log_mel"]
    assert app.query_params["audio.sample_rate_hz"] == "16000"
    assert "128 mel bands × 128 frames" in words(app)
    for note in PRESETS["liu_mel"].facts.notes:
        assert note in words(app)
    assert "changed something" not in words(app)
    widget(app, "Mel bands").set_value(64).run()
    assert "changed something" in words(app)


@pytest.mark.slow
def test_images_of_a_dataset_are_shown_and_cannot_be_heard(page: AppTest) -> None:
    datasets.load("demo", OPTIONS | {"form": "images"})
    app = open_page("sound", **DEMO, **{"demo.form": "images"})
    assert app.multiselect[0].value == ["image"]
    assert "288 × 432 points, 3 channels" in words(app)
    assert not app.error
    assert not sounds(app)
    assert "ships no sound" in words(again(app, view="heard"))


@pytest.mark.long  # importing librosa takes seconds, and its first call compiles
def test_the_beat_is_looked_for_only_when_asked(page: AppTest) -> None:
    app = again(page, view="mel", beats="True")
    assert "beats a minute" in words(app) or "No beat was found" in words(app)
    again(page, beats="")


def test_without_music_the_page_says_how_to_get_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENRECORE_CACHE", str(tmp_path))
    app = open_page("sound", **DEMO)
    assert "has not been made yet" in words(app)
    assert not app.button(key="prepare").disabled
    assert len(charts(again(app, view="mel"))) == 1
    assert "No file has been chosen" in words(again(app, **{"from": "upload"}))


def test_an_upload_is_cut_seen_and_heard_and_its_name_is_never_markup() -> None:
    app = open_page("sound", **{"from": "upload"})
    app.file_uploader[0].upload("**loud** <img src=x>.wav", falling_tone(12.9)).run()
    assert not app.exception
    assert r"\*\*loud\*\*" in "".join(text.value for text in app.markdown)
    assert widget(app, "Length (s)").value == 10.0
    assert widget(app, "Start (s)").value == 1.4  # the middle
    assert charts(app) == ["feature_log_mel_0", "feature_mfcc_0"]
    assert "Mixing takes two clips" in words(again(app, view="augment", augmentation="mixup"))


@pytest.mark.parametrize(
    "content", [b"this is no sound at all", falling_tone(2.0)[:3_000], falling_tone(0.3)]
)
def test_a_bad_upload_is_one_sentence(content: bytes) -> None:
    app = open_page("sound", **{"from": "upload"})
    app.file_uploader[0].upload("mine.wav", content).run()
    assert not app.exception
    assert len(app.error) == 1
    assert "mine" in app.error[0].value
    assert not sounds(app)
