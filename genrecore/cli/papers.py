"""`genrecore papers`: the five studies, their printed numbers, and their rows as runs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from genrecore.cli.options import (
    BackgroundOption,
    DryRunOption,
    FolderOption,
    JsonOption,
    PlacesOption,
    YesOption,
    add_group,
    switch,
)
from genrecore.cli.output import err, out, print_json, print_rows, print_table, reporting
from genrecore.cli.plans import agreed, estimate_facts, estimated, follow_plan, print_summary
from genrecore.config.dotted import read_assignments
from genrecore.config.run import signature
from genrecore.data.datasets import DATASETS, how_to_get
from genrecore.data.datasets.remembered import remembered_options
from genrecore.errors import UsageError
from genrecore.experiments import papers
from genrecore.experiments.papers import Music, Study, StudyRun, report
from genrecore.jobs.places import read_places
from genrecore.store.runs import find_same
from genrecore.words import plural

commands = typer.Typer(rich_markup_mode=None)
group = add_group(
    commands, "papers", "The five studies: what they did and print, and our results beside it."
)

StudyArgument = Annotated[str, Argument(help=f"One of {', '.join(papers.study_names())}.")]
N_SEEDS = {"published": 1, "honest": 3}
"""Seeds by default: the studies ran one, an honest result takes several."""


@group.command("list")
def list_papers(as_json: JsonOption = False) -> None:
    """The studies: their datasets, systems, and how many numbers they print."""
    rows = [
        {
            "study": study.name,
            "by": study.authors,
            "dataset": study.dataset,
            "systems": len(study.rows),
            "numbers": sum(bool(n.measure and n.system) for n in study.numbers),
            "question": study.question,
        }
        for study in papers.studies()
    ]
    print_rows(as_json, rows)


@group.command("show")
def show_paper(
    study: StudyArgument,
    row: Annotated[
        str, Option(help="Instead every value of this row's configuration, with its source.")
    ] = "",
    protocol: Annotated[
        Literal["published", "honest"], Option(help="Of the row: as published, or honest.")
    ] = "published",
    as_json: JsonOption = False,
) -> None:
    """A study's recipe with the source of every value, its systems, its numbers, its critique."""
    paper = papers.study(study)
    if row:
        values = papers.marked_values(paper, row, protocol)
        print_rows(as_json, [dataclasses.asdict(value) for value in values])
        return
    if as_json:
        facts = paper.model_dump()
        print_json(facts | {"numbers": [number.model_dump() for number in paper.numbers]})
        return
    out.print(paper.citation, style="bold")
    for sentence in paper.summary:
        out.print(sentence)
    out.print("\nRecipe", style="bold")
    for setting in paper.settings:
        where = ", ".join(paper.groups[name].title for name in setting.groups)
        where = f" ({where})" if where else ""
        when = f", {papers.PROTOCOLS[setting.protocol]}" if setting.protocol else ""
        out.print(f"– {setting.what}{where}{when}: {setting.value} ({setting.mark})")
    out.print("\nSystems", style="bold")
    print_table(
        [
            {"row": row.name, "system": row.title, "input": paper.groups[row.group].title}
            for row in paper.rows
        ]
    )
    out.print("\nNumbers", style="bold")
    print_table(
        [
            {
                "place": number.place,
                "printed": number.shown,
                "of": paper.title_of(number.system) if number.system else "",
                "measure": number.quantity,
                "in": number.words.replace("\t", " | "),
            }
            for number in paper.numbers
            if number.printed.strip()
        ]
    )
    for title, remarks in (
        ("Where text and tables disagree", paper.disagreements),
        ("What to bear in mind", paper.critique),
    ):
        out.print(f"\n{title}", style="bold")
        for remark in remarks:
            section = "abstract" if remark.section == "abstract" else f"section {remark.section}"
            out.print(f"– {remark.text} ({section})")


@group.command("run")
def run_paper(
    study: StudyArgument,
    rows: Annotated[
        str, Option(help="Rows, with commas between; by default all. See 'show'.")
    ] = "",
    protocol: Annotated[
        Literal["published", "honest", "both"], Option(help="As published, honest, or both.")
    ] = "both",
    seeds: Annotated[int, Option(help="Runs a row; 0 is 1 as published and 3 honest.", min=0)] = 0,
    scale: Annotated[float, Option(help="Below 1: this share of clips, length and epochs.")] = 1.0,
    dataset: Annotated[str, Option(help="Other music, e.g. demo; a rehearsal as well.")] = "",
    folder: FolderOption = None,
    set_: Annotated[
        list[str] | None, Option("--set", help="An option of the dataset: --set n_genres=4.")
    ] = None,
    on: PlacesOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    background: BackgroundOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train the rows of a study, by default all under both protocols. Rows that are done already
    are not trained again; rows that would fail are left out, with the reason."""
    paper, options = papers.study(study), read_assignments(set_, "n_genres=4")
    places = read_places(on or ())
    options = {key.removeprefix("dataset."): value for key, value in options.items()}
    if folder is not None:
        options["folder"] = str(folder.expanduser().absolute())
    music = Music(dataset, options, scale)
    study_runs, refused = papers.trainable(_study_runs(paper, rows, protocol, seeds, music))
    same = find_same([study_run.config for study_run in study_runs])
    left = [study_run.config for study_run, run in zip(study_runs, same, strict=True) if not run]
    new = list({signature(config): config for config in left}.values())  # protocols may be alike
    with reporting(quiet=as_json) as progress:
        estimate = estimated(new, progress)
    if not as_json:
        _print_runs(paper, study_runs, music)
        for sentence in refused:
            err.print(f"Left out: {sentence}")
        print_summary(len(study_runs), len(new), estimate, places)
    elif dry_run:
        listed = [
            study_run.changes | {"there": run.run_id if run else None}
            for study_run, run in zip(study_runs, same, strict=True)
        ]
        print_json({"runs": listed, "left_out": refused, "estimate": estimate_facts(estimate)})
    if not dry_run and agreed(yes, as_json, f"Queue {plural(len(new), 'run')}?"):
        follow_plan(papers.start(paper, study_runs, music, on=places), background, as_json)


@group.command("report")
def report_paper(
    study: Annotated[str, Argument(help="A study; by default all.")] = "",
    rehearsal: Annotated[bool, switch("rehearsal", "Show rehearsals instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """The printed numbers of the studies beside the results of your runs, as Markdown."""
    facts = {}
    for paper in [papers.study(study)] if study else papers.studies():
        runs = papers.find_runs(paper, rehearsal)
        if as_json:
            facts[paper.name] = report.facts(paper, runs, rehearsal)
        else:
            out.print(report.markdown(paper, runs, rehearsal))
    if as_json:
        print_json(facts)


def _study_runs(
    study: Study, rows: str, protocol: str, n_seeds: int, music: Music
) -> list[StudyRun]:
    names = [name.strip() for name in rows.split(",") if name.strip()]
    for name in names:
        study.rows_of(name)  # raises an error for an unknown row
    dataset = music.name_for(study)
    options = remembered_options().get(dataset, {}) | dict(music.options or {})
    if DATASETS[dataset].facts.needs_folder and not options.get("folder"):
        raise UsageError(how_to_get(dataset))
    return [
        study_run
        for name in (papers.PROTOCOLS if protocol == "both" else [protocol])
        for study_run in papers.study_runs(study, names, [name], n_seeds or N_SEEDS[name], music)
    ]


def _print_runs(study: Study, study_runs: list[StudyRun], music: Music) -> None:
    if music.is_rehearsal(study):
        n = study_runs[0].config.rehearsal
        out.print(
            f"A rehearsal: {n} clips a genre, not for comparison with the study.", style="bold"
        )
    n_seeds = Counter((study_run.row, study_run.protocol) for study_run in study_runs)
    firsts = {(study_run.row, study_run.protocol): study_run for study_run in study_runs[::-1]}
    print_table(
        [
            {
                "row": row,
                "protocol": papers.PROTOCOLS[protocol],
                "model": firsts[row, protocol].config.model.name,
                "split": firsts[row, protocol].config.split.name,
                "epochs": firsts[row, protocol].config.training.epochs,
                "seeds": n,
            }
            for (row, protocol), n in n_seeds.items()
        ]
    )
