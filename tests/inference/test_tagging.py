"""Tags of songs by a pretrained tagger, before anything was trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import command, genrecore, refused
from test_audio import wav_bytes

from genrecore.errors import AudioError, UsageError
from genrecore.inference.tagging import about, tag

RATE_HZ = 16_000


def noise(seconds: float) -> np.ndarray:
    return 0.1 * np.random.default_rng(3).standard_normal(round(seconds * RATE_HZ))


@pytest.mark.slow
def test_real_songs_get_their_genres_first(real_data: Path, musicnn: None) -> None:
    folder = real_data / "gtzan/genres_original"
    for genre, expected in (("metal", {"metal", "heavy metal"}), ("jazz", {"jazz"})):
        tags = tag(folder / f"{genre}/{genre}.00000.wav")
        assert next(iter(tags.genres)) in expected
        assert list(tags.genres.values()) == sorted(tags.genres.values(), reverse=True)
        assert set(tags.genres) | set(tags.others) == set(tags.card.tags)
        assert len(tags.over_time) == 10
        assert tags.over_time["end_s"].iloc[-1] <= tags.duration_s
        mean = tags.over_time[list(tags.card.tags)].to_numpy().mean(0)
        np.testing.assert_allclose(mean, tags.proba, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("musicnn")
def test_a_long_recording_is_tagged_in_pieces_as_if_in_one() -> None:
    """Only a frame at the end of each piece of a minute sees zeros behind it."""
    wave = noise(130.0)
    pieces = tag(wave, sample_rate_hz=RATE_HZ)
    assert len(pieces.over_time) == 1 + (len(wave) - 47_616) // 47_872
    early = tag(wave[: 19 * 47_872], sample_rate_hz=RATE_HZ)
    columns = list(pieces.card.tags)
    np.testing.assert_allclose(
        pieces.over_time[columns].iloc[:18], early.over_time[columns].iloc[:18], atol=1e-6
    )
    late = tag(wave[20 * 47_872 :], sample_rate_hz=RATE_HZ)
    np.testing.assert_allclose(
        pieces.over_time[columns].iloc[20:], late.over_time[columns], atol=1e-6
    )


@pytest.mark.usefixtures("musicnn")
def test_short_damaged_and_silent_recordings_are_told_in_a_sentence() -> None:
    short = tag(noise(1.5), sample_rate_hz=RATE_HZ)
    assert short.warning == (
        "clip lasts 1.5 s, less than the 3.0 s that the encoder listens to at a time; it was "
        "repeated."
    )
    assert len(short.over_time) == 1
    content = wav_bytes(noise(9.0)[:, None])
    cut = tag(content[: len(content) // 2], name="cut.wav")
    assert "cut.wav is truncated" in cut.warning
    for bad, sentence in ((b"no audio", "is not an audio file"), (bytes(99), ".")):
        with pytest.raises(AudioError, match=sentence):
            tag(bad)
    with pytest.raises(AudioError, match="is silent"):
        tag(np.zeros(RATE_HZ * 4), sample_rate_hz=RATE_HZ)


def test_without_weights_a_sentence_says_how_to_get_them(own_cache: Path) -> None:
    with pytest.raises(UsageError, match="genrecore encoders fetch musicnn"):
        tag(noise(4.0), sample_rate_hz=RATE_HZ)
    with pytest.raises(UsageError, match="There is no encoder called 'vggish'"):
        tag(noise(4.0), "vggish", sample_rate_hz=RATE_HZ)


def test_commands_list_add_and_tag(
    own_cache: Path, fetched_encoders: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    listed = json.loads(command("encoders", "list", "--json"))
    assert [(card["name"], card["here"]) for card in listed] == [
        ("musicnn", False), ("musicnn_mtt", False),
    ]  # fmt: skip
    assert "to fetch, 29 MB" in command("encoders", "list")
    song = tmp_path / "song.wav"
    soundfile.write(song, noise(7.0), RATE_HZ)
    refused(genrecore("tag", str(song)), 2, "genrecore encoders fetch musicnn")
    refused(genrecore("encoders", "add", str(song)), 2, "song.wav is no encoder that can be added")
    request.getfixturevalue("musicnn")
    assert all(card["here"] for card in json.loads(command("encoders", "list", "--json")))
    (tags,) = json.loads(command("tag", str(song), "--json"))
    assert tags["name"] == "song.wav"
    assert len(tags["genres"]) + len(tags["tags"]) == 50
    assert len(tags["over_time"]) == 2
    text = command("tag", str(song))
    assert "song.wav\n  genres: " in text
    assert "several may hold at once" in text


def test_what_tags_are_is_said_in_two_sentences(musicnn: None) -> None:
    sentence = about(tag(noise(4.0), sample_rate_hz=RATE_HZ).card)
    assert "200,000 songs of the Million Song Dataset" in sentence
    assert "they do not add up to 100 %." in sentence
