"""`genrecore datasets audit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from genrecore.audit import KINDS, Audit, audit
from genrecore.cli.data import datasets_app
from genrecore.cli.output import JSON, out, print_json, print_table, reporting
from genrecore.config import Part, RunConfig, with_values
from genrecore.datasets import known

SHOWN = 10
"""Findings of a kind that are printed; `--all` prints every one."""


@datasets_app.command("audit")
def audit_dataset(
    name: Annotated[str, typer.Argument(help="A dataset's name; see 'genrecore datasets list'.")],
    folder: Annotated[
        Path | None, typer.Option(help="Where its files lie, if not where they lay last time.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="A split scheme to audit as well; see 'genrecore list splits'.")
    ] = "",
    fold: Annotated[int, typer.Option(help="Which fold of the split.")] = 0,
    split_seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="An option, e.g. --set n_genres=4, or a field of a run's configuration, "
            "e.g. --set split.n_folds=3.",
        ),
    ] = None,
    sample_rate_hz: Annotated[
        int, typer.Option(help="Rate of the decoded audio: 16000, 22050 or 44100.")
    ] = 22_050,
    clip_s: Annotated[
        float, typer.Option(help="Seconds taken from the middle of each clip.")
    ] = 30.0,
    headers: Annotated[
        bool, typer.Option("--headers", help="Read the sample rates of all files as well.")
    ] = False,
    table_only: Annotated[
        bool, typer.Option("--table-only", help="Look at the clip table alone, decode nothing.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help=f"Print all findings, not {SHOWN} of each kind.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Faults, exact copies and near-copies in a dataset, and what crosses a split of it. Findings
    are no failure: the exit code is 0."""
    options: dict[str, Any] = {
        "split": split or None,
        "fold": fold,
        "split_seed": split_seed,
        "audio.sample_rate_hz": sample_rate_hz,
        "audio.clip_s": clip_s,
    }
    for item in set_ or []:
        key, _, value = item.partition("=")
        group = key.partition(".")[0]
        options[key if group in RunConfig.model_fields else f"dataset.{key}"] = value
    if folder is not None:
        options["dataset.folder"] = json.dumps(str(folder.expanduser().absolute()))
    base = RunConfig(dataset=known.with_known_folder(Part(name=name)))
    given = {key: value for key, value in options.items() if value is not None}
    config = with_values(base, given)
    with reporting(quiet=as_json) as report:
        found = _audited(config, bool(split), headers, table_only, report)
    if as_json:
        print_json({"dataset": name, "split": split or None, "fold": fold, **found.as_dict()})
    else:
        _print(found, name, split, everything)


def _audited(
    config: RunConfig, with_split: bool, headers: bool, table_only: bool, report: Any
) -> Audit:
    """The audit of what a run with this configuration would use, and of what it would leave out."""
    from genrecore import corpus, datasets, provided, relabel, splits

    clips = datasets.load(config.dataset.name, config.dataset.options, report)
    left_out = clips.attrs.get("left_out", [])
    clips, _ = relabel.apply(clips, config.genres.leave_out, config.genres.merge)
    media, made = set(clips["medium"]), None
    if not table_only and media == {"audio"}:
        made = corpus.build(clips, config.audio.sample_rate_hz, config.audio.clip_s, report)
    elif not table_only and media == {"image"}:
        made = provided.build_images(clips, report)
    elif not table_only and media == {"table"}:
        made = provided.build_tables(clips, report)
    if made is not None:
        # The split deals out what can be read, as it does for a run.
        clips = clips[clips["clip_id"].isin(made.index["clip_id"])].reset_index(drop=True)
    if with_split:
        chosen = config.split
        clips = splits.apply(
            clips, chosen.name, chosen.options, seed=config.split_seed, fold=config.fold
        )
    clips.attrs["left_out"] = left_out
    return audit(clips, made, report, headers=headers and media == {"audio"})


def _print(found: Audit, name: str, split: str, everything: bool) -> None:
    out.print(f"Audit of {name}: {found.n_clips} clips" + (f", split {split}" if split else ""))
    if found.refused:
        out.print(f"REFUSED. {found.reason}", style="bold red", markup=False)
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
            out.print(f"{sentence}", markup=False)
    for kind, rows in by_kind.items():
        out.print()
        out.print(KINDS[kind], style="bold")
        _print_sentences(rows, found.counts[kind], everything)
    out.print()
    out.print("Looked at", style="bold")
    for sentence in found.checked:
        out.print(f"  {sentence}", markup=False)


def _print_sentences(rows: pd.DataFrame, n: int, everything: bool) -> None:
    shown = rows if everything else rows.head(SHOWN)
    for sentence in shown["sentence"]:
        out.print(f"  {sentence}", markup=False)
    if n > len(shown):
        out.print(f"  … and {n - len(shown)} more; --all prints them.", markup=False)
