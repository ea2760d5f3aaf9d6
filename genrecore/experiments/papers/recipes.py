"""The rows of a study as runs: their configurations under a protocol, whole or as a rehearsal, the
plan that queues them, and the runs of earlier plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from genrecore.config.registry import Choice
from genrecore.config.run import RunConfig, flat, with_values
from genrecore.data.datasets import DATASETS
from genrecore.data.datasets.remembered import remembered_options
from genrecore.data.splits import SPLITS
from genrecore.errors import UsageError
from genrecore.experiments.draft import Draft
from genrecore.experiments.papers.study import PROTOCOLS, Study, Sweep, studies, study
from genrecore.experiments.plan import Plan, all_plans
from genrecore.experiments.plan import start as start_plan
from genrecore.store.run import Run
from genrecore.store.runs import find_same
from genrecore.words import plural

_FACT = "paper"  # the entry of plan.json that names the study
_MADE_CLIPS = 100
"""Clips a genre of made-up music that stand for a whole dataset: as many as GTZAN has."""
_CLIP_S = 30.0
"""Length of the clips of GTZAN and FMA."""
_APART = ("augment", "seed", "device", "processes", "rehearsal")
"""Fields that are no part of a recipe; augmentations are told apart from one another."""
_DEFAULT = "our choice because the study does not say, and it is the default here"
_FEWEST_CLIPS = 10
_SHORTEST_CLIP_S = 3.0
_FEWEST_FRAMES = 64  # AlexNet takes no fewer


@dataclass(frozen=True)
class Music:
    """The music that rows are trained on.

    Attributes:
        dataset: A registered name; empty for the study's own.
        options: Options of the dataset, for example `folder`.
        scale: Below 1, a rehearsal: this share of the clips, of their length and of the epochs.
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
    """One run of a study: a row under a protocol (a key of `PROTOCOLS`), resolved."""

    row: str
    protocol: str
    seed: int
    config: RunConfig

    @property
    def changes(self) -> dict[str, Any]:
        """What distinguishes it from the other runs of its plan."""
        return {"row": self.row, "protocol": self.protocol, "seed": self.seed}


def study_runs(
    study: Study,
    rows: Iterable[str] = (),
    protocols: Sequence[str] = tuple(PROTOCOLS),
    n_seeds: int = 1,
    music: Music | None = None,
) -> list[StudyRun]:
    """The runs of rows under protocols; every system has one seed before any has a second.

    Args:
        study: The study.
        rows: Rows, or choices, which stand for the rows they choose among; all by default.
        protocols: Keys of `PROTOCOLS`.
        n_seeds: Seeds 0, 1, …
        music: As `config_of`.

    Raises:
        UsageError: As `config_of`.
    """
    systems = list(rows) or [row.name for row in study.rows]
    names = dict.fromkeys(row for system in systems for row in study.rows_of(system))
    music = music or Music()
    folder = remembered_options().get(music.name_for(study), {}).get("folder")
    options = ({"folder": folder} if folder else {}) | dict(music.options or {})
    key = (music.dataset, tuple(sorted(options.items())), music.scale)
    configs = {
        (row, protocol): _cached_config(study.name, row, protocol, *key)
        for row in names
        for protocol in protocols
    }
    return [
        StudyRun(row, protocol, seed, with_seed(study, config, protocol, seed))
        for seed in range(n_seeds)
        for (row, protocol), config in configs.items()
    ]


@lru_cache(maxsize=512)  # resolving builds a network, and a page needs the same rows at every click
def _cached_config(
    name: str, row: str, protocol: str, dataset: str, options: Any, scale: float
) -> RunConfig:
    return config_of(study(name), row, protocol, 0, Music(dataset, dict(options), scale))


def trainable(
    study_runs: Sequence[StudyRun], store: Path | None = None
) -> tuple[list[StudyRun], list[str]]:
    """The runs that exist already or would not fail, and why the others would, in sentences.

    Raises:
        UsageError: All would fail.
    """
    from genrecore.training.check import problems_of

    configs = [run.config for run in study_runs]
    same = find_same(configs, store)
    kept: list[StudyRun] = []
    refused: Counter[str] = Counter()
    for study_run, run, problem in zip(study_runs, same, problems_of(configs), strict=True):
        if problem and run is None:
            refused[problem] += 1
        else:
            kept.append(study_run)
    sentences = [f"{plural(n, 'run')}: {problem}" for problem, n in refused.items()]
    if not kept:
        raise UsageError(" ".join(["None of these runs can be trained.", *sentences]))
    return kept, sentences


def config_of(
    study: Study, row: str, protocol: str, seed: int = 0, music: Music | None = None
) -> RunConfig:
    """The resolved configuration of a row. Imports torch.

    Args:
        study: The study.
        row: Name of the row.
        protocol: A key of `PROTOCOLS`.
        seed: Seed of the run, and of the split if the study does not name its test clips.
        music: By default the study's dataset, whole.

    Raises:
        UsageError: An unknown row, protocol or dataset, or an option that does not fit.
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
        values |= _rehearsal_values(study, values, music)
    values |= {f"dataset.{key}": value for key, value in (music.options or {}).items()}
    config = resolve(with_values(RunConfig(), values)).config
    return with_seed(study, config, protocol, seed)


def row_of_model(name: str) -> tuple[Study, str] | None:
    """The study and the row that a model's card shows; None for a model of no study."""
    for each in studies():
        for row in map(each.row, each.cards):
            values = _group_values(each, row.group, "honest") | dict(row.values)
            if values["model"] == name:
                return each, row.name
    return None


def model_config(name: str) -> RunConfig:
    """A model as its study trained it: input, genres and recipe, with artists kept apart; of a
    model of no study, `model_inputs.study_config`. Imports torch.

    Raises:
        UsageError: There is no such model.
    """
    from genrecore.models import MODELS
    from genrecore.training import model_inputs

    of_study = row_of_model(MODELS[name].name)
    return config_of(*of_study, "honest") if of_study else model_inputs.study_config(name)


def with_seed(study: Study, config: RunConfig, protocol: str, seed: int) -> RunConfig:
    """The same configuration with another seed; it need not be resolved again."""
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


def marks(study: Study, row: str, protocol: str) -> dict[str, str]:
    """Where each value that a row's recipe or preset sets comes from, by dotted field, and whatever
    else its settings speak of; empty where nothing says it.

    Raises:
        UsageError: There is no such row.
    """
    own = study.row(row)
    by_field = dict.fromkeys(_group_values(study, own.group, protocol), "")
    for setting in study.settings_of(own.group, protocol):
        by_field |= dict.fromkeys((*setting.values, *setting.fields), setting.mark)
    return by_field | dict.fromkeys(own.values, own.mark)


@dataclass(frozen=True)
class MarkedValue:
    """A value of a resolved configuration, by its dotted field, and where it comes from."""

    field: str
    value: Any
    mark: str


def marked_values(study: Study, row: str, protocol: str) -> list[MarkedValue]:
    """Every value of a row's resolved configuration, options at their defaults included, with its
    mark. Imports torch.

    Raises:
        UsageError: There is no such row or protocol.
    """
    from genrecore.training.parts import ResolvedConfig

    resolved = ResolvedConfig(_cached_config(study.name, row, protocol, "", (), 1.0))
    choices: dict[str, Choice[Any]] = {
        name: getattr(resolved, name)
        for name in ("dataset", "split", "feature", "standardise", "model")
    }
    values = {key: v for key, v in flat(resolved.config).items() if key.split(".")[0] not in _APART}
    for name, choice in choices.items():
        values = {k: v for k, v in values.items() if k.partition(".")[0] != name}
        values |= {name: choice.name} | {f"{name}.{k}": v for k, v in choice.options}
    for choice in resolved.augment:
        values |= {f"augment.{choice.name}.{k}": v for k, v in choice.options}
    by_field = marks(study, row, protocol)
    of_augmentation = by_field.get("augment", _DEFAULT)
    return [
        MarkedValue(
            key,
            value,
            by_field.get(key, of_augmentation if key.startswith("augment.") else _DEFAULT),
        )
        for key, value in values.items()
    ]


def _rehearsal_values(study: Study, values: Mapping[str, Any], music: Music) -> dict[str, Any]:
    """The settings of a rehearsal: less of everything, and no published weights to download."""
    scale, name = music.scale, music.name_for(study)
    facts, defaults = DATASETS[name].facts, RunConfig()
    n_clips = _MADE_CLIPS if facts.is_made else study.clips_a_genre
    n_epochs = values.get("training.epochs", defaults.training.epochs)
    less: dict[str, Any] = {
        "rehearsal": max(_FEWEST_CLIPS, round(scale * n_clips)),
        "training.epochs": max(1, round(scale * n_epochs)),
    }
    if values.get("training.schedule") == "cyclic":
        less["training.cycle_epochs"] = max(1, round(scale * values["training.cycle_epochs"]))
    if values.get("model.pretrained"):
        less["model.pretrained"] = False
    if "dataset.form" not in values:
        clip_s = float(values.get("audio.clip_s", defaults.audio.clip_s))
        segment_s = float(values.get("segments.segment_s", defaults.segments.segment_s))
        whole = segment_s >= clip_s
        less["audio.clip_s"] = max(1.0, round(scale * clip_s, 4))
        less["segments.segment_s"] = 0.0 if whole else max(0.25, round(scale * segment_s, 4))
    if values.get("feature.fit") in ("pad", "zeros"):
        less["feature.frames"] = max(_FEWEST_FRAMES, round(scale * values["feature.frames"]))
    if name != study.dataset:
        _check_form(study, values, name)
        less["dataset"] = name
        if "split" in values and SPLITS[values["split"]].facts.published_with:
            less["split"] = "by_artist"
    if facts.is_made:  # as much music as the rehearsal needs
        less["dataset.n_clips"] = less["rehearsal"]
        less["dataset.clip_s"] = max(_SHORTEST_CLIP_S, round(scale * _CLIP_S, 4))
    return less


def _check_form(study: Study, values: Mapping[str, Any], name: str) -> None:
    """Refuses a dataset without the form (images, a table) that a row needs."""
    with_forms = [
        dataset for dataset in DATASETS if "form" in DATASETS[dataset].options.model_fields
    ]
    if "dataset.form" in values and name not in with_forms:
        raise UsageError(
            f"The study {study.name} needs a dataset with the form {values['dataset.form']}, "
            f"and {name} has none; there are: {', '.join(with_forms)}."
        )


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
    return _group_values(study, study.row(sweep.rows[0][0]).group, "published")


def sweep_source(name: str) -> str:
    """Where a table stands and what the study prints in it, as sentences."""
    study, sweep = find_sweep(name)
    return f"{study.citation}, {sweep.source}. {sweep.published}"


def start(
    study: Study,
    study_runs: Sequence[StudyRun],
    music: Music | None = None,
    store: Path | None = None,
    on: Sequence[str] = (),
) -> Plan:
    """Writes a plan of these runs, made for `music`, and queues those that do not exist yet; they
    are dealt to the places `on`, as of `Plan.on`.

    Raises:
        GenrecoreError: The store cannot be written.
    """
    music = music or Music()
    changes = [run.changes for run in study_runs]
    grid = {key: list(dict.fromkeys(change[key] for change in changes)) for key in changes[0]}
    configs = [run.config for run in study_runs]
    facts = {_FACT: {"study": study.name, "rehearsal": music.is_rehearsal(study)}}
    title = f"{study.authors}: "
    if music.is_rehearsal(study):
        where = f" on {music.dataset}" if music.dataset not in ("", study.dataset) else ""
        title = f"Rehearsal of {study.authors}{where}, scale {music.scale:g}: "
    title += " and ".join(PROTOCOLS[protocol] for protocol in grid["protocol"])
    draft = Draft(configs[0], [grid], changes, configs, [])
    return start_plan(draft, store, title, study.citation, facts=facts, on=on)


@dataclass(frozen=True)
class RunsOfStudy:
    """The runs of a study in a store, of its dataset or of rehearsals, not both.

    Attributes:
        done: Finished runs by (row, protocol), then by seed.
        active: How many are at work or queued, by (row, protocol).
    """

    done: Mapping[tuple[str, str], Mapping[int, Run]]
    active: Mapping[tuple[str, str], int]

    def of_row(self, row: str, protocol: str) -> list[Run]:
        """Finished runs of a row, by seed."""
        return [run for _, run in sorted(self.done.get((row, protocol), {}).items())]


def find_runs(study: Study, rehearsal: bool = False, store: Path | None = None) -> RunsOfStudy:
    """The runs that a study's plans need, or its rehearsals' plans, whoever queued them."""
    done: dict[tuple[str, str], dict[int, Run]] = {}
    newest: dict[tuple[str, str, int], Run] = {}
    for plan in reversed(all_plans(store)):  # the oldest first: the newest run counts
        fact = {} if plan.problem else plan.facts.get(_FACT)
        if not isinstance(fact, dict):
            continue
        if fact.get("study") != study.name or bool(fact.get("rehearsal")) != rehearsal:
            continue
        for member in plan.members:
            if member.run is None:
                continue
            row, protocol = str(member.changes["row"]), str(member.changes["protocol"])
            seed = int(member.changes["seed"])
            newest[row, protocol, seed] = member.run
            if member.state == "done":
                done.setdefault((row, protocol), {})[seed] = member.run
    return RunsOfStudy(done, Counter(key[:2] for key, run in newest.items() if run.is_active))
