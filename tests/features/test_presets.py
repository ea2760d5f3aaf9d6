"""Presets of the studies' inputs: they are valid, and make what the studies print."""

from __future__ import annotations

import pytest
import torch

from genrecore.config.run import RunConfig, with_values
from genrecore.data.segments import Segmenter
from genrecore.features import FEATURES, PRESETS
from genrecore.models import MODELS
from genrecore.training.parts import ResolvedConfig, fits
from genrecore.training.resolve import resolve

# As the studies print them; of Benito's segments only "approximately 3 s" and the overlap.
PRINTED = {
    "belton_mel": (3, 256, 1320),
    "belton_images": (3, 288, 432),
    "belton_table": (57,),
    "liu_mel": (1, 128, 128),
    "hong_mel": (3, 224, 224),
    "qin_table": (57,),
    "qin_sequence": (9, 57),
    "qin_images": (3, 288, 432),
    "liu_rgb": (3, 128, 128),
    "benito_1d": (1, 10**6),
    "benito_2d": (1, 1025, 977),
    "benito_1d2d": ((1, 10**6), (1, 1025, 977)),
    "benito_1d_segmented": (1, 3 * 44_100),
    "benito_2d_segmented": (1, 1025, 1 + 3 * 44_100 // 1024),
    "musicnn": (200,),
    "musicnn_waves": (1, 48_000),
    "won_mel": (1, 128, 1 + 59_049 // 256),
    "benito_1d2d_segmented": ((1, 3 * 44_100), (1, 1025, 1 + 3 * 44_100 // 1024)),
}


def configured(name: str) -> RunConfig:
    return with_values(RunConfig(), PRESETS[name].thing)


def front_end(config: RunConfig) -> torch.nn.Module:
    resolved = ResolvedConfig(config)
    shapes = {"wave": (), "image": (3, 288, 432), "table": (57,)}
    return resolved.front_end(shapes[resolved.medium])


def test_every_study_has_its_inputs() -> None:
    assert set(PRESETS) == set(PRINTED)


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_make_what_the_studies_print(name: str) -> None:
    feature = front_end(configured(name))
    assert feature.output_shape == PRINTED[name] == PRESETS[name].facts.shape
    if ResolvedConfig(configured(name)).medium == "wave":
        config = configured(name)
        n_samples = round(config.segments.segment_s * config.audio.sample_rate_hz)
        outputs = feature.to("meta")(torch.empty(2, 1, n_samples, device="meta"))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        shapes = PRINTED[name] if isinstance(PRINTED[name][0], tuple) else (PRINTED[name],)
        assert [tuple(output.shape) for output in outputs] == [(2, *shape) for shape in shapes]


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_are_configurations_that_pass_the_door(name: str) -> None:
    config = configured(name)
    able = [model for model in MODELS if not fits(config.feature.name, model)]
    if not able:
        pytest.skip(f"no model takes {FEATURES[config.feature.name].facts.kind} yet")
    resolved = resolve(with_values(config, {"model": able[0]})).config
    assert resolved.feature.name == PRESETS[name].thing["feature"]
    assert resolved.standardise.name == PRESETS[name].thing["standardise"]


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_say_in_sentences_what_the_study_leaves_open(name: str) -> None:
    entry = PRESETS[name]
    assert entry.title
    assert entry.source
    assert entry.facts.notes
    for note in entry.facts.notes:
        assert note.endswith(".")


def test_a_preset_keeps_the_folder_of_the_dataset() -> None:
    base = with_values(RunConfig(), {"dataset": "gtzan", "dataset.folder": "somewhere"})
    config = with_values(base, PRESETS["belton_images"].thing)
    assert config.dataset.options == {"folder": "somewhere", "form": "images"}


def test_beltons_segment_holds_gtzans_longest_clip() -> None:
    longest = (1320 - 1) * 512 + 511  # samples that still have 1320 columns
    segments = configured("belton_mel").segments
    assert 1 + round(segments.segment_s * 22_050) // 512 == 1320
    assert longest - 20 < round(segments.segment_s * 22_050) <= longest


def test_benitos_clips_are_cut_into_fourteen_segments() -> None:
    config = configured("benito_2d_segmented")
    n_clip = round(config.audio.clip_s * 44_100)
    assert n_clip == 10**6
    starts = Segmenter.from_config(config).starts(n_clip)
    assert len(starts) == 14
    assert set(starts[1:] - starts[:-1]) == {3 * 44_100 // 2}
