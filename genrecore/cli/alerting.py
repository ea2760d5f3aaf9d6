"""`genrecore runs alerts` and `genrecore runs webhook`."""

from __future__ import annotations

import time
from typing import Annotated
from urllib.parse import urlsplit

import typer

from genrecore.cli.output import JSON, out, print_json, print_table
from genrecore.cli.training import runs_app
from genrecore.errors import GenrecoreError
from genrecore.jobs import alerts
from genrecore.store import run as runs


@runs_app.command("alerts")
def list_alerts(
    run: Annotated[
        str, typer.Argument(help="A run's id, a part of it, or 'latest'; by default all.")
    ] = "",
    as_json: JSON = False,
) -> None:
    """What there is to tell: runs that are done, failed or lost, losses that run away, runs that
    stand still."""
    found = [runs.find_run(run)] if run else runs.all_runs()
    rows = [
        {"run": one.run_id, "kind": alert.kind, "at": alert.at, "words": alert.words}
        for one in found
        for alert in alerts.of(one)
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        row["at"] = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(str(row["at"]))))
    print_table(rows, "Nothing to tell.")


@runs_app.command("webhook")
def webhook(
    url: Annotated[
        str, typer.Argument(help="Where alerts are posted as JSON; by default nothing changes.")
    ] = "",
    off: Annotated[bool, typer.Option("--off", help="Post alerts nowhere any more.")] = False,
    test: Annotated[bool, typer.Option("--test", help="Post a test message now.")] = False,
    as_json: JSON = False,
) -> None:
    """Where alerts are posted, besides the dashboard: `{"text": …, "kind": …, "run": …}` as Slack,
    Mattermost, Discord and most others read it. Kept in the store's settings.json."""
    if off or url:
        alerts.set_webhook("" if off else url)
    address = alerts.webhook()
    host = urlsplit(address).hostname or ""
    if test:
        problem = alerts.try_out(address) if address else "No webhook is set."
        if problem:
            raise GenrecoreError(f"The test message did not arrive: {problem}")
    if as_json:
        print_json({"host": host, "tested": test})
    else:
        arrived = " The test message arrived." if test else ""
        where = f"to {host}" if host else "nowhere"
        out.print(f"Alerts are posted {where}.{arrived}", markup=False)
