"""`genrecore datasets`: list, download, prepare and audit datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from typer import Argument, Option

from genrecore.cli.output import JSON, answer, out, plain, print_json, print_table, reporting
from genrecore.config import run as configuration
from genrecore.config.dotted import read_assignments
from genrecore.config.run import Part, RunConfig, with_values
from genrecore.data import cached_results, datasets, download, uploads
from genrecore.data.audit import KINDS, Audit, audit
from genrecore.data.datasets import DATASETS, demo, known
from genrecore.errors import GenrecoreError, UsageError
from genrecore.jobs import actions as jobs
from genrecore.store.progress import Report

commands = typer.Typer(rich_markup_mode=None)


datasets_app = typer.Typer(
    help="List datasets and prepare them for training.", no_args_is_help=True, rich_markup_mode=None
)
commands.add_typer(datasets_app, name="datasets")

NAME = Annotated[str, Argument(help="A dataset's name; see 'genrecore datasets list'.")]
FOLDER = Annotated[
    Path | None, Option("--folder", help="Where its files lie, if not where they lay last time.")
]
SET = Annotated[
    list[str] | None,
    Option(
        "--set",
        help="An option, e.g. --set n_genres=4, or a field of a run's configuration, "
        "e.g. --set split.n_folds=3.",
    ),
]
SAMPLE_RATE_HZ = Annotated[
    int, Option("--sample-rate-hz", help="Rate of the decoded audio: 16000, 22050 or 44100.")
]
CLIP_S = Annotated[float, Option("--clip-s", help="Seconds taken from the middle of each clip.")]


@datasets_app.command("list")
def list_datasets(as_json: JSON = False) -> None:
    """The datasets genrecore can read, and where yours lie."""
    remembered = known.known()
    rows = [
        {
            "name": name,
            "title": DATASETS[name].title,
            "folder": remembered.get(name, {}).get("folder")
            or ("needs --folder" if DATASETS[name].facts.needs_folder else "built in"),
        }
        for name in DATASETS
    ]
    print_json(rows) if as_json else print_table(rows)


def asked_for(
    name: str,
    folder: Path | None,
    set_: list[str] | None,
    sample_rate_hz: int,
    clip_s: float,
    **more: Any,
) -> RunConfig:
    """The configuration that the flags of a command under `genrecore datasets` make.

    A folder that is not given is the remembered one.

    Raises:
        UsageError: An unknown field, a value out of range, or a --set without an equals sign.
    """
    values: dict[str, Any] = {"audio.sample_rate_hz": sample_rate_hz, "audio.clip_s": clip_s}
    values |= {key: value for key, value in more.items() if value is not None}
    for key, value in read_assignments(set_, "n_genres=4").items():
        # Without a dot it is the dataset's: the demo music has a seed of its own, for one.
        values[key if "." in key else f"dataset.{key}"] = value
    if folder is not None:
        values["dataset.folder"] = json.dumps(str(folder.expanduser().absolute()))
    base = RunConfig(dataset=known.with_known_folder(Part(name=name)))
    return configuration.with_values(base, values)


@datasets_app.command("prepare")
def prepare(
    name: NAME,
    folder: FOLDER = None,
    set_: SET = None,
    sample_rate_hz: SAMPLE_RATE_HZ = 22_050,
    clip_s: CLIP_S = 30.0,
    background: Annotated[
        bool, Option("--background", help="Run it as a task of its own and return.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Read a dataset and decode its audio, so that training starts at once. Unusable files are
    named with their reason; the rest goes on. The folder is remembered for the next time."""
    from genrecore.data import prepare as preparation

    config = asked_for(name, folder, set_, sample_rate_hz, clip_s)
    checked = DATASETS[name].read_options(config.dataset.options, "dataset")
    if background:
        words = ["datasets", "prepare", name, "--sample-rate-hz", str(sample_rate_hz)]
        words += ["--clip-s", f"{clip_s:g}"]
        words += ["--folder", str(folder.expanduser().absolute())] if folder else []
        words += [word for item in set_ or [] for word in ("--set", item)]
        task = jobs.start_task(words, f"Preparing {name}")
        print_json({"task": task.task_id, "folder": str(task.folder)}) if as_json else out.print(
            f"Started as task {task.task_id}."
        )
        return
    with reporting(quiet=as_json) as report:
        prepared = preparation.decode(config, report)
    if DATASETS[name].facts.needs_folder:
        known.remember(name, checked.model_dump(mode="json", exclude_defaults=True))
    facts = plain(preparation.summary(prepared))
    cached_results.keep("prepare", config, facts)
    if as_json:
        print_json({"dataset": name, **facts})
        return
    out.print(
        f"{name}: {facts['n_clips']} clips of {len(facts['clips_per_genre'])} genres, "
        + (f"{facts['minutes']} minutes, " if facts["minutes"] is not None else "")
        + f"{facts['n_artists']} known artists."
    )
    for skipped in facts["skipped"]:
        out.print(f"Left out {skipped['clip_id']}: {skipped['reason']}")


SHOWN = 10
"""Findings of a kind that are printed; `--all` prints every one."""


@datasets_app.command("audit")
def audit_dataset(
    name: NAME,
    folder: FOLDER = None,
    split: Annotated[
        str, Option(help="A split scheme to audit as well; see 'genrecore list splits'.")
    ] = "",
    fold: Annotated[int, Option(help="Which fold of the split.")] = 0,
    split_seed: Annotated[int, Option(help="Seed of the split.")] = 0,
    set_: SET = None,
    sample_rate_hz: SAMPLE_RATE_HZ = 22_050,
    clip_s: CLIP_S = 30.0,
    headers: Annotated[
        bool, Option("--headers", help="Read the sample rates of all files as well.")
    ] = False,
    table_only: Annotated[
        bool, Option("--table-only", help="Look at the clip table alone, decode nothing.")
    ] = False,
    everything: Annotated[
        bool, Option("--all", help=f"Print all findings, not {SHOWN} of each kind.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Faults, exact copies and near-copies in a dataset, and what crosses a split of it. Findings
    are no failure: the exit code is 0."""
    chosen = {"split": split or None, "fold": fold, "split_seed": split_seed}
    config = asked_for(name, folder, set_, sample_rate_hz, clip_s, **chosen)
    with reporting(quiet=as_json) as report:
        clips = datasets.load(name, config.dataset.options, report)
        found = _audited(clips, config, bool(split), headers, table_only, report)
    document = {"dataset": name, "split": split or None, "fold": fold, **plain(found.as_dict())}
    flags = {"headers": headers, "table_only": table_only}
    cached_results.keep("audit", config, document, bool(split), clips, **flags)
    if as_json:
        print_json(document)
    else:
        _print(found, name, split, everything)


def _audited(
    clips: pd.DataFrame,
    config: RunConfig,
    with_split: bool,
    headers: bool,
    table_only: bool,
    report: Report,
) -> Audit:
    """The audit of what a run with this configuration would use, and of what it would leave out."""
    from genrecore.data import genres, splits
    from genrecore.data.prepare import build_corpus

    left_out = clips.attrs.get("left_out", [])
    clips, _ = genres.apply(clips, config.genres.leave_out, config.genres.merge)
    is_audio = set(clips["medium"]) == {"audio"}
    corpus = None if table_only else build_corpus(clips, config, report)
    if corpus is not None:
        # The split deals out what can be read, as it does for a run.
        clips = clips[clips["clip_id"].isin(corpus.index["clip_id"])].reset_index(drop=True)
    if with_split:
        chosen = config.split
        clips = splits.apply(
            clips, chosen.name, chosen.options, seed=config.split_seed, fold=config.fold
        )
    clips.attrs["left_out"] = left_out
    return audit(clips, corpus, report, headers=headers and is_audio)


def _print(found: Audit, name: str, split: str, everything: bool) -> None:
    out.print(f"Audit of {name}: {found.n_clips} clips" + (f", split {split}" if split else ""))
    if found.refused:
        out.print(f"REFUSED. {found.reason}", style="bold red")
    elif split:
        out.print("Nothing that can be seen crosses from training to validation or test.")
    out.print()
    if not found.counts:
        out.print("Nothing was found.")
    by_kind = {str(kind): rows for kind, rows in found.findings.groupby("kind", sort=False)}
    print_rows = [
        {"found": found.counts[kind], "what": KINDS[kind], "severity": rows["severity"].iloc[0]}
        for kind, rows in by_kind.items()
    ]
    if print_rows:
        print_table(print_rows)
    if len(found.crossings):
        out.print()
        for sentence in found.crossings["sentence"]:
            out.print(f"{sentence}")
    for kind, rows in by_kind.items():
        out.print()
        out.print(KINDS[kind], style="bold")
        _print_sentences(rows, found.counts[kind], everything)
    out.print()
    out.print("Looked at", style="bold")
    for sentence in found.checked:
        out.print(f"  {sentence}")


def _print_sentences(rows: pd.DataFrame, n: int, everything: bool) -> None:
    shown = rows if everything else rows.head(SHOWN)
    for sentence in shown["sentence"]:
        out.print(f"  {sentence}")
    if n > len(shown):
        out.print(f"  … and {n - len(shown)} more; --all prints them.")


@datasets_app.command("download")
def download_dataset(
    name: NAME,
    folder: Annotated[
        Path, Option(help="Where it goes; remembered for training. Needs the space twice.")
    ],
    keep: Annotated[
        bool, Option("--keep", help="Keep the archive beside what was unpacked from it.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Fetch a dataset that may be downloaded: the four sizes of FMA (7.2, 22, 93 and 879 GiB).
    Interrupted, the same command goes on where it broke off; checksums are compared before
    anything is unpacked."""
    entry = DATASETS[name]
    if entry.facts.not_fetched:
        raise GenrecoreError(
            f"{entry.facts.not_fetched}; it is mirrored at {entry.facts.mirror}: unpack it "
            f"yourself, then run 'genrecore datasets prepare {name} --folder'."
        )
    archives = entry.facts.archives
    if not archives:
        possible = ", ".join(other for other in DATASETS if DATASETS[other].facts.archives)
        raise UsageError(f"There is nothing to download for {name}; there is for {possible}.")
    folder = folder.expanduser().absolute()
    with reporting(quiet=as_json) as report:
        unpacked = [download.obtain(archive, folder, report, keep) for archive in archives]
    known.remember(name, {"folder": str(folder)})
    answer(
        as_json,
        {"dataset": name, "folder": folder, "unpacked": unpacked},
        f"{name} is in {folder} and ready to be prepared.",
    )


@datasets_app.command("unpack")
def unpack_archive(
    archive: Annotated[Path, Argument(help="A zip or tar of genre folders.")],
    remove: Annotated[
        bool, Option("--remove", help="Delete the archive afterwards, taken or not.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Unpack an archive of genre folders with audio files or pictures into the cache folder, as
    uploads on the page Datasets are. Nothing is trusted: paths that lead elsewhere, links and
    archives that swell without measure are refused. The same archive is unpacked once."""
    archive = archive.expanduser().absolute()
    try:
        with reporting(quiet=as_json) as report:
            folder = uploads.unpack(archive, report)
    finally:
        if remove:
            uploads.discard(archive)
    if as_json:
        print_json({"archive": archive.name, "folder": folder})
        return
    out.print(f"{archive.name} is in {folder}. Prepare it:")
    out.print(f"genrecore datasets prepare folder --folder {folder}")


@datasets_app.command("write")
def write(
    folder: Annotated[Path, Argument(help="Where to; it is made if it is not there.")],
    set_: SET = None,
    as_json: JSON = False,
) -> None:
    """Write the demo music into a folder in all forms in which GTZAN is published: wav files, both
    tables of descriptors, and pictures. The dataset gtzan reads it from there."""
    values = read_assignments(set_, "n_genres=4")
    config = with_values(RunConfig(), {f"dataset.{key}": value for key, value in values.items()})
    options = DATASETS["demo"].read_options(config.dataset.options, "dataset")
    with reporting(quiet=as_json) as report:
        demo.write_as_gtzan(options, folder, report)
    place = folder.expanduser().absolute()
    answer(as_json, {"folder": place}, f"Written to {place}.")
