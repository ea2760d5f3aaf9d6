"""`genrecore datasets audit`."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
import typer

from genrecore.cli.data import CLIP_S, FOLDER, NAME, SAMPLE_RATE_HZ, SET, asked_for, datasets_app
from genrecore.cli.output import JSON, out, plain, print_json, print_table, reporting
from genrecore.config.run import RunConfig
from genrecore.data import cached_results, datasets
from genrecore.data.audit import KINDS, Audit, audit
from genrecore.store.progress import Report

SHOWN = 10
"""Findings of a kind that are printed; `--all` prints every one."""


@datasets_app.command("audit")
def audit_dataset(
    name: NAME,
    folder: FOLDER = None,
    split: Annotated[
        str, typer.Option(help="A split scheme to audit as well; see 'genrecore list splits'.")
    ] = "",
    fold: Annotated[int, typer.Option(help="Which fold of the split.")] = 0,
    split_seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    set_: SET = None,
    sample_rate_hz: SAMPLE_RATE_HZ = 22_050,
    clip_s: CLIP_S = 30.0,
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
    from genrecore.data import corpus, splits
    from genrecore.data import corpus_images as provided
    from genrecore.data import genres as relabel

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
