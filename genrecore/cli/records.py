"""`genrecore records`: published results on each dataset and split, and ours among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from genrecore.cli.options import JsonOption
from genrecore.cli.output import out, print_columns, print_json
from genrecore.cli.output import records as rows_of
from genrecore.store.runs import all_runs

if TYPE_CHECKING:
    from genrecore.evaluation.records import RecordTable

commands = typer.Typer(rich_markup_mode=None)


@commands.command()
def records(
    dataset: Annotated[
        str, Option(help="Of this dataset only, such as gtzan; by default of all.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Published accuracies on each dataset and split with their sources, and your systems among
    them: which cannot be told apart from the best, and which are suspiciously good."""
    from genrecore.evaluation.published import datasets_with_records
    from genrecore.evaluation.records import METHOD, record_tables

    runs, names = all_runs(), [dataset] if dataset else datasets_with_records()
    tables = [table for name in names for table in record_tables(runs, name)]
    if as_json:
        print_json([_facts(table) for table in tables])
        return
    for table in tables:
        _print(table)
    out.print(METHOD)


def _print(table: RecordTable) -> None:
    from genrecore.reporting.columns import OWN_RESULTS, RECORDS

    out.print(f"{table.dataset}: {table.title}", style="bold")
    out.print(table.says)
    if table.own:
        out.print()
        print_columns(table.own_rows, OWN_RESULTS)
        out.print()
        for own in table.own:
            out.print(own.sentence)
        if table.n_more:
            out.print(f"… and {table.n_more} more of yours.")
    else:
        out.print("None of your runs was tested on this split.")
    out.print()
    left_out = {"protocol", "parameters_m", "note"} | (set() if table.is_random else {"split"})
    print_columns(
        table.published_rows, {name: RECORDS[name] for name in RECORDS if name not in left_out}
    )
    out.print()


def _facts(table: RecordTable) -> dict[str, Any]:
    """A table for scripts; of each system of ours the difference from every published result."""
    own = [
        row
        | {
            "runs": [run.run_id for run in result.runs],
            "against": [
                {"system": other.title, "difference": gap.value, "low": gap.low, "high": gap.high}
                for other, gap in zip(table.published, result.gaps, strict=bool(result.gaps))
            ],
        }
        for row, result in zip(rows_of(table.own_rows), table.own, strict=True)
    ]
    facts = {"dataset": table.dataset, "split": table.split, "published": table.published_rows}
    return facts | {"own": own}
