"""From a study's row to the configuration of a run, under a protocol, whole or as a rehearsal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from genrecore.config.run import RunConfig, with_values
from genrecore.data.datasets import DATASETS, known
from genrecore.data.splits import SPLITS
from genrecore.errors import UsageError
from genrecore.experiments.papers.study import PROTOCOLS, Study, Sweep, studies, study

_DEMO_CLIPS = 100
"""Clips a genre of the demo music that stand for a whole dataset: as many as GTZAN has."""
_CLIP_S = 30.0
"""Length of the clips of GTZAN and FMA."""
_FEWEST_CLIPS = 10
_SHORTEST_CLIP_S = 3.0
_FEWEST_FRAMES = 64  # AlexNet takes no fewer


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
        """Whether its results cannot be compared with the study's."""
        return self.scale < 1.0 or self.name_for(study) != study.dataset


@dataclass(frozen=True)
class StudyRun:
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


def study_runs(
    study: Study,
    rows: Iterable[str] = (),
    protocols: Sequence[str] = tuple(PROTOCOLS),
    n_seeds: int = 1,
    music: Music | None = None,
) -> list[StudyRun]:
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
    systems = list(rows) or [row.name for row in study.rows]
    names = dict.fromkeys(row for system in systems for row in study.rows_of(system))
    first_seeds = {
        (row, protocol): _first_seed(study, row, protocol, music or Music())
        for row in names
        for protocol in protocols
    }
    return [
        StudyRun(row, protocol, seed, with_seed(study, config, protocol, seed))
        for seed in range(n_seeds)
        for (row, protocol), config in first_seeds.items()
    ]


def _first_seed(study: Study, row: str, protocol: str, music: Music) -> RunConfig:
    remembered = known.known().get(music.name_for(study), {})
    folder = {"folder": remembered["folder"]} if "folder" in remembered else {}
    options = tuple(sorted((folder | dict(music.options or {})).items()))
    return _cached(study.name, row, protocol, music.dataset, options, music.scale)


@lru_cache(maxsize=512)
def _cached(
    name: str, row: str, protocol: str, dataset: str, options: Any, scale: float
) -> RunConfig:
    """Resolving builds a network, and a page asks for the same rows again and again."""
    return config_of(study(name), row, protocol, 0, Music(dataset, dict(options), scale))


def config_of(
    study: Study, row: str, protocol: str, seed: int = 0, music: Music | None = None
) -> RunConfig:
    """The resolved configuration of a row. Imports torch.

    Args:
        study: The study.
        row: Its name.
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
    values = _group_values(study, study.row(row).group, protocol) | dict(study.row(row).values)
    if music.is_rehearsal(study):
        values = _rehearsed(study, values, music)
    values |= {f"dataset.{key}": value for key, value in (music.options or {}).items()}
    config = resolve(with_values(RunConfig(), values)).config
    return with_seed(study, config, protocol, seed)


def with_seed(study: Study, config: RunConfig, protocol: str, seed: int) -> RunConfig:
    """The same with another seed, which decides nothing that could be refused."""
    redrawn = study.redrawn and protocol == "published"
    split_seed = seed if redrawn else config.split_seed
    return config.model_copy(update={"seed": seed, "split_seed": split_seed})


def _group_values(study: Study, group: str, protocol: str) -> dict[str, Any]:
    """What all rows of a group share: its dataset, its input and its settings."""
    from genrecore.features import PRESETS

    values: dict[str, Any] = {"dataset": study.dataset}
    values |= PRESETS[study.groups[group].preset].thing
    for setting in study.settings_of(group, protocol):
        values.update(setting.values)
    return values


def sweeps() -> dict[str, tuple[Study, Sweep]]:
    """The tables of all studies that vary settings, by name."""
    return {sweep.name: (study, sweep) for study in studies() for sweep in study.sweeps}


def find_sweep(name: str) -> tuple[Study, Sweep]:
    """The study and its table of this name.

    Raises:
        UsageError: There is none.
    """
    if name not in sweeps():
        raise UsageError(f"There is no table {name!r}; there are: {', '.join(sweeps())}.")
    return sweeps()[name]


def sweep_values(name: str) -> dict[str, Any]:
    """Dotted fields that all runs of a table share. Imports torch."""
    study, sweep = find_sweep(name)
    return _group_values(study, sweep.group, "published") | dict(sweep.values)


def sweep_source(name: str) -> str:
    """Where a table stands and what the study prints in it, as sentences."""
    study, sweep = find_sweep(name)
    return f"{study.citation}, {sweep.source}. {sweep.published}"


def _rehearsed(study: Study, values: dict[str, Any], music: Music) -> dict[str, Any]:
    """The values with less of everything, without published weights: nothing is to be fetched."""
    scale, name = music.scale, music.name_for(study)
    values = dict(values)
    defaults = RunConfig()
    n_clips = _DEMO_CLIPS if name == "demo" else study.clips_a_genre
    values["rehearsal"] = max(_FEWEST_CLIPS, round(scale * n_clips))
    n_epochs = values.get("training.epochs", defaults.training.epochs)
    values["training.epochs"] = max(1, round(scale * n_epochs))
    if values.get("training.schedule") == "cyclic":
        values["training.cycle_epochs"] = max(1, round(scale * values["training.cycle_epochs"]))
    if values.get("model.pretrained"):
        values["model.pretrained"] = False
    if "dataset.form" not in values:
        clip_s = float(values.get("audio.clip_s", defaults.audio.clip_s))
        segment_s = float(values.get("segments.segment_s", defaults.segments.segment_s))
        values["audio.clip_s"] = max(1.0, round(scale * clip_s, 4))
        whole = segment_s >= clip_s
        values["segments.segment_s"] = 0.0 if whole else max(0.25, round(scale * segment_s, 4))
    if values.get("feature.fit") == "pad":
        values["feature.frames"] = max(_FEWEST_FRAMES, round(scale * values["feature.frames"]))
    if name != study.dataset:
        _check_form(study, values, name)
        values["dataset"] = name
        if "split" in values and SPLITS[values["split"]].facts.published_with:
            values["split"] = "by_artist"
    if name == "demo":
        values["dataset.n_clips"] = values["rehearsal"]
        values["dataset.clip_s"] = max(_SHORTEST_CLIP_S, round(scale * _CLIP_S, 4))
    return values


def _check_form(study: Study, values: Mapping[str, Any], name: str) -> None:
    """Refuses a dataset without the form (pictures, a table) that a row needs."""
    with_forms = [other for other in DATASETS if "form" in DATASETS[other].options.model_fields]
    if "dataset.form" in values and name not in with_forms:
        raise UsageError(
            f"The study {study.name} needs a dataset with the form {values['dataset.form']}, "
            f"and {name} has none; there are: {', '.join(with_forms)}."
        )
