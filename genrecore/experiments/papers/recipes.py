"""From a study's row to the configuration of a run, under a protocol, whole or as a rehearsal.

Importing this imports no torch; making a configuration does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from genrecore.config import run as configuration
from genrecore.config.run import RunConfig
from genrecore.data.datasets import DATASETS, known
from genrecore.errors import UsageError
from genrecore.experiments.papers.reading import PROTOCOLS, Study

_DEMO_CLIPS = 100
"""Clips a genre of the demo music that stand for a whole dataset: as many as GTZAN has."""
_CLIP_S = 30.0
"""Clips of both datasets last so long."""
_LEAST_CLIPS = 10
_LEAST_CLIP_S = 3.0
_LEAST_FRAMES = 64  # AlexNet takes no fewer
# Splits that come with one dataset; on other music artists are kept apart in their place.
_OWN_SPLITS = ("official", "benito", "fault_filtered")


@dataclass(frozen=True)
class Music:
    """What the rows are trained on.

    Attributes:
        dataset: A registered name; empty for the study's own.
        options: Of the dataset, `folder` for example.
        scale: Below 1, a rehearsal: so much of the clips, of their length and of the epochs.
    """

    dataset: str = ""
    options: Mapping[str, Any] | None = None
    scale: float = 1.0

    def name_for(self, study: Study) -> str:
        """The dataset's name."""
        return self.dataset or study.dataset

    def is_rehearsal(self, study: Study) -> bool:
        """Whether its results are of no use beside the study's."""
        return self.scale < 1.0 or self.name_for(study) != study.dataset


def values_of(study: Study, name: str, protocol: str) -> dict[str, Any]:
    """A row's values by dotted field: its input, the settings of its group, its own."""
    from genrecore.features import PRESETS  # torch

    row = study.row(name)
    values: dict[str, Any] = {"dataset": study.dataset}
    values |= PRESETS[study.groups[row.group].preset].thing
    for setting in study.settings_of(row.group, protocol):
        values.update(setting.values)
    return values | dict(row.values)


def config_of(
    study: Study, name: str, protocol: str, seed: int = 0, music: Music | None = None
) -> RunConfig:
    """The resolved configuration of a row.

    Args:
        study: The study.
        name: Of a row.
        protocol: A key of `PROTOCOLS`.
        seed: Of the run; where the study does not say which clips it tested, of the split, too.
        music: By default the study's dataset, whole.

    Raises:
        UsageError: There is no such row, protocol or dataset, or an option that does not fit.
    """
    from genrecore.training.resolve import resolve

    if protocol not in PROTOCOLS:
        raise UsageError(
            f"There is no protocol {protocol!r}; there are: {', '.join(PROTOCOLS)} and both."
        )
    music = music or Music()
    if not 0.0 < music.scale <= 1.0:
        raise UsageError(f"The scale is a share above 0, at most 1; found {music.scale:g}.")
    values = values_of(study, name, protocol)
    if music.is_rehearsal(study):
        values = _rehearsed(study, values, music)
    values |= {f"dataset.{key}": value for key, value in (music.options or {}).items()}
    config = resolve(configuration.with_values(RunConfig(), values)).config
    return seeded(study, config, protocol, seed)


def seeded(study: Study, config: RunConfig, protocol: str, seed: int) -> RunConfig:
    """The same with another seed, which decides nothing that could be refused."""
    drawn = study.redrawn and protocol == "published"
    return config.model_copy(
        update={"seed": seed, "split_seed": seed if drawn else config.split_seed}
    )


def _rehearsed(study: Study, values: dict[str, Any], music: Music) -> dict[str, Any]:
    """The values with less of everything; published weights are left out, since nothing is to be
    fetched for a rehearsal."""
    scale, name = music.scale, music.name_for(study)
    values = dict(values)
    n_clips = _DEMO_CLIPS if name == "demo" else study.clips_a_genre
    values["rehearsal"] = max(_LEAST_CLIPS, round(scale * n_clips))
    defaults = RunConfig()
    values["training.epochs"] = _less(values.get("training.epochs"), scale, 1)
    if values.get("training.schedule") == "cyclic":
        values["training.cycle_epochs"] = _less(values["training.cycle_epochs"], scale, 1)
    if values.get("model.pretrained"):
        values["model.pretrained"] = False
    if "dataset.form" not in values:
        clip_s = float(values.get("audio.clip_s", defaults.audio.clip_s))
        segment_s = float(values.get("segments.segment_s", defaults.segments.segment_s))
        values["audio.clip_s"] = max(1.0, round(scale * clip_s, 4))
        whole = segment_s >= clip_s
        values["segments.segment_s"] = 0.0 if whole else max(0.25, round(scale * segment_s, 4))
    if values.get("feature.fit") == "pad":
        values["feature.frames"] = _less(values["feature.frames"], scale, _LEAST_FRAMES)
    if name != study.dataset:
        values["dataset"] = name
        has_forms = "form" in DATASETS[name].options.model_fields
        if "dataset.form" in values and not has_forms:
            raise UsageError(
                f"The study {study.name} needs a dataset with the form {values['dataset.form']}, "
                f"and {name} has none; there are: "
                + ", ".join(n for n in DATASETS if "form" in DATASETS[n].options.model_fields)
                + "."
            )
        if values.get("split") in _OWN_SPLITS:
            values["split"] = "by_artist"
    if name == "demo":
        values["dataset.n_clips"] = values["rehearsal"]
        values["dataset.clip_s"] = max(_LEAST_CLIP_S, round(scale * _CLIP_S, 4))
    return values


def _less(number: Any, scale: float, least: int) -> int:
    given = int(number or RunConfig().training.epochs)
    return max(least, round(scale * given))


@dataclass(frozen=True)
class Wanted:
    """One run of a study.

    Attributes:
        row: The row's name.
        protocol: A key of `PROTOCOLS`.
        seed: Of the run.
        config: Resolved.
    """

    row: str
    protocol: str
    seed: int
    config: RunConfig

    @property
    def changes(self) -> dict[str, Any]:
        """What a plan says of it."""
        return {"row": self.row, "protocol": self.protocol, "seed": self.seed}


def wanted(
    study: Study,
    rows: Iterable[str] = (),
    protocols: Sequence[str] = tuple(PROTOCOLS),
    n_seeds: int = 1,
    music: Music | None = None,
) -> list[Wanted]:
    """The runs of rows under protocols, every system once before any has a second seed.

    Args:
        study: The study.
        rows: Names of rows, or of choices, which stand for the rows they choose among; all by
            default.
        protocols: Keys of `PROTOCOLS`.
        n_seeds: Seeds 0, 1, …
        music: As `config_of`.

    Raises:
        UsageError: As `config_of`.
    """
    named = list(rows) or [row.name for row in study.rows]
    expanded = [one for name in named for one in study.rows_of(name)]
    firsts = {
        (row, protocol): _first(study, row, protocol, music or Music())
        for row in dict.fromkeys(expanded)
        for protocol in protocols
    }
    return [
        Wanted(row, protocol, seed, seeded(study, first, protocol, seed))
        for seed in range(n_seeds)
        for (row, protocol), first in firsts.items()
    ]


def _first(study: Study, row: str, protocol: str, music: Music) -> RunConfig:
    kept = known.known().get(music.name_for(study), {})
    folder = {"folder": kept["folder"]} if "folder" in kept else {}
    options = tuple(sorted((folder | dict(music.options or {})).items()))
    return _cached(study.name, row, protocol, music.dataset, options, music.scale)


@lru_cache(maxsize=512)
def _cached(
    name: str, row: str, protocol: str, dataset: str, options: Any, scale: float
) -> RunConfig:
    """Resolving builds a network; a page asks for the same rows again and again."""
    from genrecore.experiments.papers.reading import study

    return config_of(study(name), row, protocol, 0, Music(dataset, dict(options), scale))
