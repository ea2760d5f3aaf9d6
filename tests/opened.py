"""Pages of the dashboard opened through `app.py`, without a browser, and what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from conftest import ROOT
from streamlit.testing.v1 import AppTest


def open_page(name: str, **query: str) -> AppTest:
    """The page as it stands after its first run."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.run()
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
    """Everything a page says in text, with plain spaces and without marks against markup."""
    elements = [*app.title, *app.subheader, *app.markdown, *app.caption]
    elements += [*app.error, *app.warning, *app.info, *app.success]
    said = [str(element.value) for element in elements]
    said += [bar.proto.text for bar in app.get("progress")]
    return "\n".join(said).replace("\\", "").replace("\u00a0", " ").replace("\u202f", " ")


def metrics(app: AppTest) -> dict[str, str]:
    """The numbers of a page by their names."""
    return {metric.label: metric.value for metric in app.metric}


def large_modules(name: str, title: str, steps: str = "app.run()", **query: str) -> list[str]:
    """Which of torch, torchvision and librosa a new process has imported after it opened a page.

    Args:
        name: Of the page.
        title: That it has.
        steps: What is done with `app` after its address is set, as a program.
        **query: Choices in its address.
    """
    program = (
        "import sys, json\n"
        "from streamlit.testing.v1 import AppTest\n"
        "app = AppTest.from_file('app.py', default_timeout=60).run()\n"
        f"app.switch_page('pages/{name}.py')\n"
        f"for key, value in {query!r}.items():\n"
        "    app.query_params[key] = value\n"
        f"{steps}\n"
        f"assert not app.exception and app.title[0].value == {title!r}\n"
        "print(json.dumps([m for m in ('torch', 'torchvision', 'librosa') if m in sys.modules]))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    found: list[str] = json.loads(result.stdout.splitlines()[-1])
    return found
