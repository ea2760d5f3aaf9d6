"""Output anywhere: any encoding, pipes that are closed early, and JSON alone on standard output."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from fake_runs import draw_right, fake_run
from sample_files import silent_wav

from genrecore.cli import main, streams

COMMANDS = (
    "list splits", "datasets list", "runs list", "runs show latest", "runs journal", "queue list",
    "queue slots", "compare {a} {b}", "compare {a} {b} --systems", "views list", "errors {a}",
    "errors {a} --against {b}", "errors {a} --labels", "annotate list", "plans list",
    "papers list", "papers show qin", "cache list", "runs star {a}", "runs note {a} −",
)  # fmt: skip
"""Commands that answer at once, on a store of two finished runs; each knows `--json` too."""


NAME = "Größe − 中文 → «é» 🎵"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A store with two runs whose names and notes hold all sorts of letters, and some music."""
    store = tmp_path_factory.mktemp("streams") / "runs"
    runs = [
        fake_run(store, draw_right(0.7, 30, len(model)), n_epochs=3, model=model)
        for model in ("cnn", "logistic_regression")
    ]
    for run in runs:
        about = {"name": NAME + run.facts.model, "note": "ž", "tags": ["ß"], "starred": False}
        (run.folder / "about.json").write_text(json.dumps(about))
    music = store.parent / "müsic − 中文"
    for n in range(6):
        silent_wav(music / "ab"[n % 2] / f"{n} ≥.wav", 22_050)
    return {"a": runs[0].run_id, "b": runs[1].run_id, "music": str(music), "store": str(store)}


class _Stream(io.TextIOWrapper):
    """Text of an encoding, without a file below."""


@contextlib.contextmanager
def _standard_streams(encoding: str) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    outs = io.BytesIO(), io.BytesIO()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Stream(out, encoding=encoding, errors="strict") for out in outs)
    try:
        yield outs
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            stream.detach()
        sys.stdout, sys.stderr = before


def _carried_out(words: list[str], encoding: str) -> tuple[int, str, str]:
    argv, sys.argv = sys.argv, ["genrecore", *words]
    try:
        with _standard_streams(encoding) as (out, err), pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
    finally:
        sys.argv = argv
    assert isinstance(code, int)
    return code, out.getvalue().decode(encoding), err.getvalue().decode(encoding)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_speaks_an_encoding_of_few_letters_and_json_is_alone(
    line: str, ground: dict[str, str], monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.setenv("GENRECORE_RUNS", ground["store"])
    words = [word.format(**ground) for word in line.split()]
    code, text, said = _carried_out(words, "ascii")
    assert (code, "Traceback" in said, bool(text)) == (0, False, True), said
    code, text, said = _carried_out([*words, "--json"], "ascii")
    assert (code, said) == (0, ""), said
    document = json.loads(text)
    if line == "runs list":
        assert document[0]["name"].startswith(NAME)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "koi8-r", "shift_jis"])
def test_a_dataset_is_prepared_in_any_encoding(
    encoding: str, ground: dict[str, str], own_cache: Path
) -> None:
    words = ["datasets", "prepare", "folder", "--folder", ground["music"], "--clip-s", "1"]
    code, text, said = _carried_out(words, encoding)
    assert (code, "Traceback" in said) == (1, False), said
    assert "None of the 6 clips of folder can be used; the first is a/0 " in said
    code, text, said = _carried_out([*words, "--json"], encoding)
    assert (code, text) == (1, "")


_CHATTY = """
import os, subprocess, sys
from genrecore.cli import main, output, runs
answer = output.print_json
def print_json(value):
    print("said by Python")
    os.write(1, b"said by a library\\n")
    os.write(2, b"said by a decoder\\n")
    subprocess.run(["echo", "said by a program"], check=True)
    answer(value)
    print("and again")
output.print_json = runs.print_json = print_json
sys.argv = ["genrecore", *sys.argv[1:], "--json"]
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("line", ["runs list", "datasets list"])
def test_what_a_library_prints_does_not_reach_the_answer(line: str, ground: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CHATTY, *line.split()], cwd=ROOT, capture_output=True, text=True,
        timeout=120, env=os.environ | {"GENRECORE_RUNS": ground["store"]}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) >= 2
    for who in ("Python", "a library", "a program"):
        assert f"said by {who}" in done.stderr
    # Commands that decode keep standard error for their own sentences.
    assert ("said by a decoder" in done.stderr) == (line == "runs list")


_PIPED = """
import gc, os, sys
import pandas, scipy.stats, pyarrow.parquet, rich.table
from genrecore.cli import app, cache, compare, datasets, errors, main, papers, plans, runs
gc.freeze()
end, start = os.pipe()
os.close(end)  # the reader has gone before the first word
codes = []
for line in sys.argv[1].split("\\n"):
    pid = os.fork()
    if not pid:
        os.dup2(start, 1)
        sys.argv = ["genrecore", *line.split("\\t")]
        try:
            main()
        except SystemExit as ended:
            sys.stdout.flush()  # as Python does at its end, which takes longer
            os._exit(ended.code)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(*codes)
"""


@pytest.mark.slow
def test_a_pipe_that_is_closed_ends_every_command_in_peace(
    ground: dict[str, str], own_cache: Path
) -> None:
    lines = [*COMMANDS[1:], "runs list --help", "runs list --json", "compare {a} {b} --json"]
    words = ["\t".join(word.format(**ground) for word in line.split()) for line in lines]
    done = subprocess.run(
        [sys.executable, "-c", _PIPED, "\n".join(words)], cwd=ROOT, capture_output=True, text=True,
        timeout=300, env=os.environ | {"GENRECORE_RUNS": ground["store"]}, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    codes = dict(zip(lines, map(int, done.stdout.split()), strict=True))
    assert set(codes.values()) == {128 + signal.SIGPIPE}, codes


@pytest.mark.slow
def test_a_full_disk_is_said_and_fails(ground: dict[str, str]) -> None:
    for flags in ([], ["--json"]):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run(
                [sys.executable, "-m", "genrecore", "runs", "list", *flags],
                cwd=ROOT,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=120,
                env=os.environ | {"GENRECORE_RUNS": ground["store"]},
                check=False,
            )
        assert (done.returncode, done.stderr) == (1, "The disk is full.\n")


def test_head_takes_a_line_and_goes(ground: dict[str, str]) -> None:
    script = "set -o pipefail; python -m genrecore runs list --json | head -c 1; echo $?"
    done = subprocess.run(
        ["bash", "-c", script.replace("python", sys.executable)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"GENRECORE_RUNS": ground["store"]},
        check=False,
    )
    # A short answer is in the pipe before the reader goes.
    assert (done.stdout in ("[0\n", "[141\n"), done.stderr) == (True, "")


@pytest.mark.slow
def test_the_command_speaks_without_a_locale(ground: dict[str, str]) -> None:
    plainest = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "genrecore", "compare", ground["a"], ground["b"]],
        cwd=ROOT,
        capture_output=True,
        timeout=120,
        env=os.environ | {"GENRECORE_RUNS": ground["store"]} | plainest,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"cannot be told apart" in done.stdout or b"better" in done.stdout


def test_letters_that_an_encoding_lacks_are_spelled_out() -> None:
    with _standard_streams("ascii") as (out, _):
        streams.write_anywhere()
        sys.stdout.write("−3.1 points … é ß → 中 ≥ “x”\n")
    assert out.getvalue().decode() == '-3.1 points ... e ss -> \\u4e2d >= "x"\n'
