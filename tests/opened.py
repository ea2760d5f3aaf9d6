"""Pages of the dashboard opened through `app.py`, without a browser, and their text."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pandas as pd
from conftest import ROOT
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest, local_script_runner

# Streamlit reads the metadata of all installed packages whenever a test opens its first page, for
# more than a quarter of a second; while the tests run, no package is installed.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)
# And it looks a thousand times a second whether the page is finished.
_look_for_the_end = local_script_runner.require_widgets_deltas


def _wait_for_the_end(runner: local_script_runner.LocalScriptRunner, timeout: float = 3) -> None:
    assert runner._script_thread is not None
    runner._script_thread.join(timeout)
    _look_for_the_end(runner, timeout)  # raises where it was not finished in time


local_script_runner.require_widgets_deltas = _wait_for_the_end


def open_page(name: str, **query: str) -> AppTest:
    """The page as it stands after its first run."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.switch_page(f"pages/{name}.py")
    return again(app, **query)


def again(app: AppTest, **query: str) -> AppTest:
    """The page run anew with other choices in its address."""
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def words(app: AppTest) -> str:
    """All text of a page, with plain spaces and without escapes of markup."""
    elements = [*app.title, *app.header, *app.markdown, *app.caption]
    elements += [*app.error, *app.warning, *app.info, *app.success]
    texts = [str(element.value) for element in elements]
    texts += [bar.proto.text for bar in app.get("progress")]
    return "\n".join(texts).replace("\\", "").replace("\u00a0", " ").replace("\u202f", " ")


def tables(app: AppTest) -> list[pd.DataFrame]:
    """The tables of a page that are text, without escapes of markup."""
    values = [table.value.rename(columns=_unescaped) for table in app.table]
    return [value.map(_unescaped) for value in values]


def _unescaped(text: object) -> str:
    return str(text).replace("\\", "").replace("\u00a0", " ")


def metrics(app: AppTest) -> dict[str, str]:
    """The numbers of a page by their names."""
    return {metric.label: metric.value for metric in app.metric}


def players(app: AppTest) -> list[dict[str, Any]]:
    """What each player of a page got: its sounds, and what is drawn over time."""
    components = [json.loads(part.proto.json) for part in app.get("bidi_component")]
    return [data for data in components if "sounds" in data]
