"""`genrecore papers`: the five studies, their printed numbers, and their rows as runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

from genrecore.cli.output import JSON, out, print_json, print_rows, print_table, reporting
from genrecore.cli.plans import (
    BACKGROUND,
    DRY_RUN,
    YES,
    agreed,
    estimate_facts,
    estimated,
    follow_plan,
    print_summary,
)
from genrecore.config.dotted import read_assignments
from genrecore.data.datasets import DATASETS, how_to_get, known
from genrecore.errors import UsageError
from genrecore.experiments import papers
from genrecore.experiments.papers import Music, Study, StudyRun, report
from genrecore.store import run as runs

commands = typer.Typer(rich_markup_mode=None)

papers_app = typer.Typer(
    help="The five studies: what they did and print, and what our runs say beside it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
commands.add_typer(papers_app, name="papers")

STUDY = Annotated[str, Argument(help=f"One of {', '.join(papers.study_names())}.")]
N_SEEDS = {"published": 1, "honest": 3}
"""Seeds unless told otherwise: the studies ran one, an honest result takes several."""


@papers_app.command("list")
def list_papers(as_json: JSON = False) -> None:
    """The studies: dataset, systems, and how many numbers they print."""
    rows = [
        {
            "study": one.name,
            "by": one.authors,
            "dataset": one.dataset,
            "systems": len(one.rows),
            "numbers": sum(bool(n.measure and n.system) for n in one.numbers),
            "question": one.question,
        }
        for one in papers.studies()
    ]
    print_rows(as_json, rows)


@papers_app.command("show")
def show_paper(study: STUDY, as_json: JSON = False) -> None:
    """A study's recipe with the mark of every value, its systems, its numbers, its critique."""
    found = papers.study(study)
    if as_json:
        facts = found.model_dump()
        print_json(facts | {"numbers": [one.model_dump() for one in found.numbers]})
        return
    out.print(found.citation, style="bold")
    for sentence in found.summary:
        out.print(sentence)
    out.print("\nRecipe", style="bold")
    for setting in found.settings:
        where = ", ".join(found.groups[one].title for one in setting.groups)
        where = f" ({where})" if where else ""
        when = f", {papers.PROTOCOLS[setting.protocol]}" if setting.protocol else ""
        line = f"– {setting.what}{where}{when}: {setting.value} ({setting.mark})"
        out.print(line)
    out.print("\nSystems", style="bold")
    print_table(
        [
            {"row": row.name, "system": row.title, "input": found.groups[row.group].title}
            for row in found.rows
        ]
    )
    out.print("\nNumbers", style="bold")
    print_table(
        [
            {
                "place": one.place,
                "printed": one.shown,
                "of": found.title_of(one.system) if one.system else "",
                "measure": papers.MEASURES[one.measure],
                "in": one.words.replace("\t", " | "),
            }
            for one in found.numbers
            if one.printed.strip()
        ]
    )
    for title, remarks in (
        ("Where text and tables disagree", found.disagreements),
        ("What to bear in mind", found.critique),
    ):
        out.print(f"\n{title}", style="bold")
        for remark in remarks:
            section = "abstract" if remark.section == "abstract" else f"section {remark.section}"
            out.print(f"– {remark.text} ({section})")


@papers_app.command("run")
def run_paper(
    study: STUDY,
    rows: Annotated[
        str, Option(help="Rows, with commas between; all by default. See 'show'.")
    ] = "",
    protocol: Annotated[
        Literal["published", "honest", "both"], Option(help="As published, honest, or both.")
    ] = "both",
    seeds: Annotated[int, Option(help="Runs a row; 0 is 1 as published and 3 honest.", min=0)] = 0,
    scale: Annotated[
        float, Option(help="Below 1 a rehearsal: so much of clips, length and epochs.")
    ] = 1.0,
    dataset: Annotated[
        str, Option(help="Other music, a rehearsal as well: demo, for example.")
    ] = "",
    folder: Annotated[
        Path | None, Option(help="Where the dataset lies, if not where it lay last time.")
    ] = None,
    set_: Annotated[
        list[str] | None, Option("--set", help="An option of the dataset: --set n_genres=4.")
    ] = None,
    dry_run: DRY_RUN = False,
    yes: YES = False,
    background: BACKGROUND = False,
    as_json: JSON = False,
) -> None:
    """Train a study's rows: all of them, under both protocols, unless told otherwise. What is done
    already is not trained again."""
    found = papers.study(study)
    music = Music(dataset, _options(folder, set_), scale)
    todo = _wanted(found, rows, protocol, seeds, music)
    there = runs.find_same([one.config for one in todo])
    new = [one for one, run in zip(todo, there, strict=True) if run is None]
    with reporting(quiet=as_json) as progress:
        estimate = estimated([one.config for one in new], progress)
    if not as_json:
        _print_wanted(found, todo, music)
        print_summary(len(todo), len(new), estimate)
    if dry_run:
        if as_json:
            listed = [
                one.changes | {"there": run.run_id if run else None}
                for one, run in zip(todo, there, strict=True)
            ]
            print_json({"runs": listed, "estimate": estimate_facts(estimate)})
        return
    if agreed(yes, as_json, f"Queue {len(new)} runs?"):
        follow_plan(papers.start(found, todo, music), background, as_json)


@papers_app.command("report")
def report_paper(
    study: Annotated[str, Argument(help="A study; all by default.")] = "",
    rehearsal: Annotated[
        bool, Option("--rehearsal", help="Of rehearsals instead of the study's dataset.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """What the studies print and what the runs here say, as Markdown."""
    chosen = [papers.study(study)] if study else papers.studies()
    texts = {}
    for one in chosen:
        there = papers.find_runs(one, rehearsal)
        if as_json:
            texts[one.name] = report.facts(one, there, rehearsal)
        else:
            out.print(report.markdown(one, there, rehearsal))
    if as_json:
        print_json(texts)


def _options(folder: Path | None, set_: list[str] | None) -> dict[str, Any]:
    assignments = read_assignments(set_, "n_genres=4")
    options = {key.removeprefix("dataset."): value for key, value in assignments.items()}
    if folder is not None:
        options["folder"] = str(folder.expanduser().absolute())
    return options


def _wanted(study: Study, rows: str, protocol: str, n_seeds: int, music: Music) -> list[StudyRun]:
    named = [name.strip() for name in rows.split(",") if name.strip()]
    protocols = list(papers.PROTOCOLS) if protocol == "both" else [protocol]
    for one in named:
        study.rows_of(one)
    dataset = music.name_for(study)
    given = known.known().get(dataset, {}) | dict(music.options or {})
    if DATASETS[dataset].facts.needs_folder and not given.get("folder"):
        raise UsageError(how_to_get(dataset))
    return [
        one
        for name in protocols
        for one in papers.study_runs(study, named, [name], n_seeds or N_SEEDS[name], music)
    ]


def _print_wanted(study: Study, todo: list[StudyRun], music: Music) -> None:
    if music.is_rehearsal(study):
        n = todo[0].config.rehearsal
        out.print(
            f"A rehearsal: {n} clips a genre, not for comparison with the study.", style="bold"
        )
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in todo:
        row = rows.setdefault(
            (one.row, one.protocol),
            {
                "row": one.row,
                "protocol": papers.PROTOCOLS[one.protocol],
                "model": one.config.model.name,
                "split": one.config.split.name,
                "epochs": str(one.config.training.epochs),
                "seeds": "0",
            },
        )
        row["seeds"] = str(int(row["seeds"]) + 1)
    print_table(list(rows.values()))
