"""`genrecore datasets`: list, download, prepare and audit datasets."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from genrecore.cli.options import (
    BackgroundOption,
    FolderOption,
    JsonOption,
    add_group,
    folder_values,
    switch,
)
from genrecore.cli.output import (
    answer,
    out,
    plain,
    print_json,
    print_rows,
    print_separation,
    print_table,
    records,
    reporting,
)
from genrecore.config.dotted import read_assignments
from genrecore.config.run import Part, RunConfig, with_values
from genrecore.data import cached_results, datasets, download, uploads
from genrecore.data.audit import KINDS, Audit, audit
from genrecore.data.datasets import DATASETS, demo
from genrecore.data.datasets.remembered import remember, remembered_options, with_remembered_folder
from genrecore.errors import GenrecoreError, UsageError
from genrecore.jobs.tasks import start_task
from genrecore.store.progress import Report
from genrecore.store.run import store_dir
from genrecore.store.settings import keep_dataset
from genrecore.words import percent

if TYPE_CHECKING:
    import pandas as pd

commands = typer.Typer(rich_markup_mode=None)
group = add_group(commands, "datasets", "List datasets and prepare them for training.")

NameArgument = Annotated[str, Argument(help="A dataset's name; see 'genrecore datasets list'.")]
DatasetSetOption = Annotated[
    list[str] | None,
    Option(
        "--set",
        help="An option, e.g. --set n_genres=4, or a field of a run's configuration, "
        "e.g. --set split.n_folds=3.",
    ),
]
SampleRateOption = Annotated[int, Option(help="Rate of the decoded audio: 16000, 22050 or 44100.")]
LeaveOutOption = Annotated[str, Option(help="Genres whose clips are not used: Rock, Folk.")]
MergeOption = Annotated[str, Option(help="Genres made one: Vocal = Pop, Folk; Beats = …")]
ClipLengthOption = Annotated[float, Option(help="Seconds to take from the middle of each clip.")]
AcceptDamagedOption = Annotated[
    bool,
    switch("accept-damaged", "Of truncated and damaged files, use what can be decoded."),
]


@group.command("list")
def list_datasets(as_json: JsonOption = False) -> None:
    """The datasets that genrecore can read, and where yours are."""
    folders = {name: options.get("folder") for name, options in remembered_options().items()}
    rows = [
        {
            "name": name,
            "title": entry.title,
            "folder": folders.get(name)
            or ("needs --folder" if entry.facts.needs_folder else "built in"),
        }
        for name, entry in DATASETS.items()
    ]
    print_rows(as_json, rows)


def _config(
    name: str,
    folder: Path | None,
    set_: list[str] | None,
    sample_rate_hz: int,
    clip_s: float,
    **values: Any,
) -> RunConfig:
    """The configuration of these options; without a folder, with the remembered one.

    Raises:
        UsageError: An unknown field, a value out of range, or a --set without an equals sign.
    """
    values |= {"audio.sample_rate_hz": sample_rate_hz, "audio.clip_s": clip_s}
    for key, value in read_assignments(set_, "n_genres=4").items():
        # Without a dot it is an option of the dataset, such as the demo music's own seed.
        values[key if "." in key else f"dataset.{key}"] = value
    values |= folder_values(folder)
    return with_values(RunConfig(dataset=with_remembered_folder(Part(name=name))), values)


def _genres(leave_out: str, merge: str) -> dict[str, Any]:
    """What was asked for, by dotted field."""
    values = {"genres.leave_out": leave_out, "genres.merge": merge}
    return {dotted: text for dotted, text in values.items() if text}


@group.command("prepare")
def prepare(
    name: NameArgument,
    folder: FolderOption = None,
    set_: DatasetSetOption = None,
    sample_rate_hz: SampleRateOption = 22_050,
    clip_s: ClipLengthOption = 30.0,
    accept_damaged: AcceptDamagedOption = False,
    leave_out: LeaveOutOption = "",
    merge: MergeOption = "",
    background: BackgroundOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read a dataset and decode its audio, so that training starts at once. Unusable files are
    named with their reason and left out; genres too small for training, or that look alike, are
    named too. The folder is remembered for the next time."""
    from genrecore.data import genres
    from genrecore.data import prepare as preparation

    chosen = _genres(leave_out, merge) | {"audio.accept_damaged": accept_damaged}
    config = _config(name, folder, set_, sample_rate_hz, clip_s, **chosen)
    dataset = DATASETS.choose(name, config.dataset.options)
    if background:
        arguments = ["datasets", "prepare", name, "--sample-rate-hz", str(sample_rate_hz)]
        arguments += ["--clip-s", f"{clip_s:g}"]
        arguments += ["--accept-damaged"] if accept_damaged else []
        arguments += ["--folder", str(folder.expanduser().absolute())] if folder else []
        arguments += [argument for item in set_ or [] for argument in ("--set", item)]
        for flag, text in (("--leave-out", leave_out), ("--merge", merge)):
            arguments += [flag, text] if text else []
        task = start_task(arguments, f"Preparing {name}")
        facts = {"task": task.task_id, "folder": task.folder}
        answer(as_json, facts, f"Started as task {task.task_id}.")
        return
    with reporting(quiet=as_json) as report:
        prepared = preparation.decode(config, report, least_per_genre=1)
    if dataset.facts.needs_folder:
        remember(name, dataset.options.model_dump(mode="json", exclude_defaults=True))
    keep_dataset(store_dir(), config.dataset)
    facts = plain(preparation.summary(prepared))
    alike = genres.look_alikes(facts["clips_per_genre"])
    facts["look_alikes"] = alike
    facts["merge"] = genres.merge_of(alike, config.genres.merge)
    cached_results.keep("prepare", config, facts)
    minutes = f"{facts['minutes']} minutes, " if facts["minutes"] is not None else ""
    sentences = [
        f"{name}: {facts['n_clips']} clips of {len(facts['clips_per_genre'])} genres, {minutes}"
        f"{facts['n_artists']} known artists.",
        *(f"Left out {skipped['clip_id']}: {skipped['reason']}" for skipped in facts["skipped"]),
        *facts["notes"],
    ]
    if alike:
        sentences.append(f"To merge them, here and in training: --merge {quote(facts['merge'])}")
    answer(as_json, {"dataset": name, **facts}, "\n".join(sentences))


SHOWN = 10
"""How many findings of a kind are printed without `--all`."""


@group.command("audit")
def audit_dataset(
    name: NameArgument,
    folder: FolderOption = None,
    split: Annotated[str, Option(help="A split to audit too; see 'genrecore list splits'.")] = "",
    fold: Annotated[int, Option(help="Which fold of the split.")] = 0,
    split_seed: Annotated[int, Option(help="Seed of the split.")] = 0,
    set_: DatasetSetOption = None,
    sample_rate_hz: SampleRateOption = 22_050,
    clip_s: ClipLengthOption = 30.0,
    accept_damaged: AcceptDamagedOption = False,
    leave_out: LeaveOutOption = "",
    merge: MergeOption = "",
    headers: Annotated[bool, switch("headers", "Also read the sample rate of every file.")] = False,
    table_only: Annotated[
        bool, switch("table-only", "Use the clip table only; decode nothing.")
    ] = False,
    labels: Annotated[
        bool,
        switch(
            "labels",
            "Instead, rank the labels most likely to be wrong, by linear probes on embeddings of "
            "a pretrained encoder; nothing has to be trained before.",
        ),
    ] = False,
    encoder: Annotated[
        str, Option(help="With --labels: one that 'genrecore encoders list' shows.")
    ] = "musicnn",
    everything: Annotated[bool, switch("all", f"Print all findings, not {SHOWN} a kind.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find faults, exact copies and near-duplicates in a dataset, and what crosses a split of it;
    or labels that may be wrong. The exit code is 0 whatever is found."""
    if labels and (split or headers or table_only):
        raise UsageError(
            "--labels judges every clip by others, in folds of its own; give it without --split, "
            "--headers and --table-only."
        )
    chosen = _genres(leave_out, merge) | {"fold": fold, "split_seed": split_seed}
    chosen |= {"audio.accept_damaged": accept_damaged}
    chosen |= {"split": split} if split else {}
    config = _config(name, folder, set_, sample_rate_hz, clip_s, **chosen)
    with reporting(quiet=as_json) as report:
        clips = datasets.load(name, config.dataset.options, report)
        if not labels:
            result = _audited(clips, config, bool(split), headers, table_only, report)
    if labels:
        _doubt_labels(clips, config, encoder, everything, as_json)
        return
    document = {"dataset": name, "split": split or None, "fold": fold, **plain(result.as_dict())}
    flags = {"headers": headers, "table_only": table_only}
    cached_results.keep("audit", config, document, bool(split), clips, **flags)
    if as_json:
        print_json(document)
    else:
        _print(result, name, split, everything)


def _audited(
    clips: pd.DataFrame,
    config: RunConfig,
    with_split: bool,
    headers: bool,
    table_only: bool,
    report: Report,
) -> Audit:
    """The audit of the clips that a run with this configuration would use."""
    from genrecore.data import genres, splits
    from genrecore.data.prepare import build_corpus

    remarks = {name: clips.attrs.get(name, []) for name in ("left_out", "notes")}
    clips, _ = genres.apply(clips, config.genres.leave_out, config.genres.merge)
    is_audio = set(clips["medium"]) == {"audio"}
    corpus = None if table_only else build_corpus(clips, config, report)
    if corpus is not None:
        # Only readable clips are split, as in a run.
        clips = clips[clips["clip_id"].isin(corpus.index["clip_id"])].reset_index(drop=True)
    if with_split:
        chosen = config.split.choose_from(splits.SPLITS)
        clips = splits.apply(clips, chosen, config.split_seed, config.fold)
    clips.attrs |= remarks
    return audit(clips, corpus, report, headers=headers and is_audio)


def _doubt_labels(
    clips: pd.DataFrame, config: RunConfig, encoder: str, everything: bool, as_json: bool
) -> None:
    """Ranks the labels of the clips that a run with this configuration would use."""
    from genrecore.data import genres
    from genrecore.inference.label_doubts import doubt_labels

    table, _ = genres.apply(clips, config.genres.leave_out, config.genres.merge)
    with reporting(quiet=as_json) as report:
        doubts = doubt_labels(table, encoder, report)
    document = {"dataset": config.dataset.name, **plain(doubts.as_dict())}
    cached_results.keep("labels", config, document, clips=clips, encoder=encoder)
    if as_json:
        print_json(document)
        return
    out.print(doubts.sentence)
    for sentence in (*doubts.notes, *(f"{s['clip_id']}: {s['reason']}" for s in doubts.skipped)):
        out.print(sentence)
    shown = doubts.clips if everything else doubts.clips.head(SHOWN)
    shares = ["suggested_proba", "label_proba"]
    print_table(records(shown.assign(**{name: shown[name].map(percent) for name in shares})))
    if len(doubts.clips) > len(shown):
        out.print(f"… and {len(doubts.clips) - len(shown)} more; --all prints them.")


def _print(result: Audit, name: str, split: str, everything: bool) -> None:
    out.print(f"Audit of {name}: {result.n_clips} clips" + (f", split {split}" if split else ""))
    if result.separation:
        print_separation(result.separation)
    out.print()
    counts = result.counts
    by_kind = {str(kind): rows for kind, rows in result.findings.groupby("kind", sort=False)}
    print_table(
        [
            {
                "found": result.counts[kind],
                "what": KINDS[kind],
                "severity": rows["severity"].iloc[0],
            }
            for kind, rows in by_kind.items()
        ],
        "Nothing was found.",
    )
    if len(result.crossings):
        out.print("", *result.crossings["sentence"], sep="\n")
    for kind, rows in by_kind.items():
        out.print(f"\n{KINDS[kind]}", style="bold")
        listed = rows if everything else rows.head(SHOWN)
        for sentence in listed["sentence"]:
            out.print(f"  {sentence}")
        if counts[kind] > len(listed):
            out.print(f"  … and {counts[kind] - len(listed)} more; --all prints them.")
    out.print("\nChecked", style="bold")
    for sentence in result.checked:
        out.print(f"  {sentence}")


@group.command("download")
def download_dataset(
    name: NameArgument,
    folder: Annotated[Path, Option(help="Where to put it; remembered. Needs the space twice.")],
    keep: Annotated[bool, switch("keep", "Keep the archive beside its files.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch a dataset that may be downloaded: the four sizes of FMA (7.2, 22, 93 and 879 GiB).
    After an interruption, the same command goes on from there; checksums are compared before
    anything is unpacked."""
    facts = DATASETS[name].facts
    if facts.not_fetched:
        raise GenrecoreError(
            f"{facts.not_fetched}; it is mirrored at {facts.mirror}: unpack it yourself, then run "
            f"'genrecore datasets prepare {name} --folder'."
        )
    if not facts.archives:
        possible = ", ".join(dataset for dataset in DATASETS if DATASETS[dataset].facts.archives)
        raise UsageError(f"There is nothing to download for {name}; there is for {possible}.")
    folder = folder.expanduser().absolute()
    with reporting(quiet=as_json) as report:
        unpacked = [download.obtain(archive, folder, report, keep) for archive in facts.archives]
    remember(name, {"folder": str(folder)})
    result = {"dataset": name, "folder": folder, "unpacked": unpacked}
    answer(as_json, result, f"{name} is in {folder} and ready to be prepared.")


@group.command("unpack")
def unpack_archive(
    archive: Annotated[Path, Argument(help="A zip or tar of genre folders.")],
    remove: Annotated[
        bool, switch("remove", "Delete the archive afterwards, even if it was refused.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Unpack an archive of genre folders with audio files or images into the cache folder, like
    uploads on the page Datasets. Paths that lead elsewhere, links, and archives that expand without
    limit are refused. The same archive is unpacked only once."""
    archive = archive.expanduser().absolute()
    try:
        with reporting(quiet=as_json) as report:
            folder = uploads.unpack(archive, report)
    finally:
        if remove:
            uploads.discard(archive)
    answer(
        as_json,
        {"archive": archive.name, "folder": folder},
        f"{archive.name} is in {folder}. Prepare it:\n"
        f"genrecore datasets prepare folder --folder {folder}",
    )


@group.command("write")
def write(
    folder: Annotated[Path, Argument(help="The folder to write to; it may be new.")],
    set_: DatasetSetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the demo music into a folder in all forms in which GTZAN is published: wav files, both
    tables of descriptors, and images. The dataset gtzan reads it from there."""
    values = read_assignments(set_, "n_genres=4")
    config = with_values(RunConfig(), {f"dataset.{key}": value for key, value in values.items()})
    options = DATASETS.choose("demo", config.dataset.options).options
    with reporting(quiet=as_json) as report:
        demo.write_as_gtzan(options, folder, report)
    folder = folder.expanduser().absolute()
    answer(as_json, {"folder": folder}, f"Written to {folder}.")
