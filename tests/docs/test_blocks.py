"""Every command and every line of Python that README and the documentation print works.

The blocks of a page are run in their order, in one folder, so that a page is one story. A comment
right before a block says why it is not run; it must parse all the same. After `<!-- fails -->` the
block must fail.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import command, genrecore
from conftest import ROOT
from typer import Exit
from typer.core import TyperGroup
from typer.main import get_command

from genrecore.cli.app import app
from genrecore.store import runs
from genrecore.store.processes import is_same_process
from genrecore.store.status import ask_to_stop

PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
LONG = {
    f"docs/{name}.md"
    for name in (
        "guides/a-study-again",
        "guides/errors-and-doubtful-labels",
        "guides/exporting",
        "guides/fair-comparison",
        "guides/leaks",
        "tutorial/comparing",
    )
}
"""Pages whose blocks start many runs, each a process of its own, or export to several forms."""
BLOCK = re.compile(r"(?:^<!-- (?P<mark>[^>]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
                   re.DOTALL | re.MULTILINE)  # fmt: skip
RUN = {"bash", "python"}
SHOWN = {"text", "json", "csv", "ini", "toml", "nginx", "dockerfile", "tex", "m3u"}
"""Languages of blocks that are run, and of those that are only to be read."""
FAILS = "fails"

MUSIC = ["--set=dataset.n_clips=10", "--set=dataset.n_artists=5", "--set=dataset.clip_s=3"]
BRIEF = ["--clip-s=3", "--segment-s=1", "--epochs=2", "--batch-size=7", "--precision=float32"]
COARSE = ["--set=feature.n_fft=1024", "--set=feature.n_mels=33"]
TRAIN = {"train", "sweep", "leaklab"}


@dataclass
class Block:
    """A block of code and what the page says of it."""

    page: str
    line: int
    language: str
    text: str
    mark: str

    @property
    def place(self) -> str:
        """Where one finds it."""
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page."""
    text = PAGES[page].read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, match.start("language")) + 1, match["language"],
              match["text"], match["mark"] or "")
        for match in BLOCK.finditer(text)
    ]  # fmt: skip


def code(page: str) -> list[Block]:
    """Its blocks of commands and of Python."""
    return [block for block in blocks(page) if block.language in RUN]


def commands_of(text: str) -> list[list[str]]:
    """The words of each command of this program in lines of a shell, without its name."""
    line = re.sub(r"\$\w+", "1", text.replace("\\\n", " ").replace("\n", ";"))
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set(";|&<>()"):
            commands.append([])
        elif commands[-1] or not re.match(r"\w+=", word):  # a variable for one command
            commands[-1].append(word)
    return [words[1:] for words in commands if words[:1] == ["genrecore"]]


def uncommented(text: str) -> str:
    """The lines of a shell without their comments."""
    return re.sub(r"(^|\s)#.*$", r"\1", text, flags=re.MULTILINE)


def parse(words: list[str]) -> None:
    """Has the command line read by what would carry it out, which then is not done.

    Raises:
        Exception: Typer's, for a command, an option or a value that there is not.
    """
    group, context, words = get_command(app), None, list(words)
    while isinstance(group, TyperGroup) and words and not words[0].startswith("-"):
        name = words.pop(0)
        found = group.get_command(context, name)
        assert found is not None, f"there is no command {name!r}"
        group = found
    if words or not isinstance(group, TyperGroup):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exit):  # of --help
            group.make_context("genrecore", words)


def small(words: list[str]) -> list[str]:
    """The command on less music, more briefly."""
    named = [word.partition("=")[0] for word in words]
    dataset = words[named.index("--dataset") + 1] if "--dataset" in named else "demo"
    if words[0] == "datasets" and "demo" in words:
        return [*words, *(option.replace("dataset.", "") for option in MUSIC)]
    if words[0] not in TRAIN or {"--run", "--table"} & set(named):
        return words
    music = MUSIC if dataset == "demo" else []
    images = not {"--feature", "--preset"} & set(named)
    return [*words, *music, *BRIEF, *(COARSE if images else [])]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with what the pages take for granted: two runs, `cnn` and the later `crnn`; a song; a
    folder of music, its table, its zip; and a folder of arrays."""
    home = tmp_path_factory.mktemp("pages")
    work = home / "work"
    work.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRECORE_CACHE", str(home / "cache"))
        patch.setenv("GENRECORE_RUNS", str(home / "runs"))
        for model in ("cnn", "crnn"):
            command(*small(["train", "--model", model, "--name", model]))
        table = runs.find_run("cnn").clips
    song = np.concatenate([soundfile.read(path)[0] for path in table["path"][:4]])
    soundfile.write(work / "song.mp3", song, 22_050)
    lines = ["path,genre,artist"]
    for genre, demo_genre in {"folk": "ambient", "jazz": "bossa", "metal": "techno"}.items():
        for number, row in enumerate(table[table["genre"] == demo_genre].itertuples()):
            path = work / "music" / genre / f"{genre}_{number}.mp3"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, soundfile.read(row.path)[0], 22_050)
            lines.append(f"music/{genre}/{path.name},{genre},{genre} band {number % 5}")
            array = work / "arrays" / genre / f"{number}.npy"
            array.parent.mkdir(parents=True, exist_ok=True)
            np.save(array, np.full(9, float(number)) + len(genre))
    (work / "music.csv").write_text("\n".join(lines) + "\n")
    with zipfile.ZipFile(work / "music.zip", "w") as packed:
        for path in sorted((work / "music").rglob("*.mp3")):
            packed.write(path, path.relative_to(work / "music"))
    return home


@pytest.fixture
def work(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which a page is carried out, with a store and a cache of its own."""
    home = shutil.copytree(template, tmp_path / "home")
    monkeypatch.setenv("GENRECORE_CACHE", str(home / "cache"))
    monkeypatch.setenv("GENRECORE_RUNS", str(home / "runs"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.chdir(home / "work")
    yield home / "work"
    for run in runs.all_runs(home / "runs"):
        if run.alive and run.status.get("pid") != os.getpid():
            ask_to_stop(run.folder)
            if is_same_process(run.status):
                os.kill(int(run.status["pid"]), 15)


def run_bash(block: Block) -> None:
    """Carries out the lines of a block: those of this program alone in this process, for speed."""
    text = uncommented(block.text)
    commands = commands_of(text)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    if len(lines) > len(commands) or re.search(r"[|<>&$;*~]", text):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block.text], text=True,
                              capture_output=True, timeout=120)  # fmt: skip
        assert (done.returncode != 0) == (block.mark == FAILS), f"{block.place}\n{done.stderr}"
        return
    for words in commands:
        result = genrecore(*small(words))
        problem = f"{block.place}: genrecore {shlex.join(words)}\n{result.stdout}{result.stderr}"
        assert (result.returncode != 0) == (block.mark == FAILS), problem
        assert "Traceback" not in result.stderr, problem


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.long) if page in LONG else page
        for page in PAGES
        if any(block.mark in ("", FAILS) for block in code(page))
    ],
)
def test_the_blocks_of_a_page_do_what_they_say(page: str, work: Path) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for block in code(page):
        if block.mark not in ("", FAILS):
            continue
        if block.language == "bash":
            run_bash(block)
        else:
            place = f"{page}:{block.line}"
            lines = "\n" * block.line + block.text
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(lines, place, "exec"), names)


@pytest.mark.parametrize("page", list(PAGES))
def test_every_command_of_a_page_is_one_that_there_is(page: str) -> None:
    for block in blocks(page):
        assert block.language in RUN | SHOWN, f"{block.place}: a language for its block, please"
        if block.language == "python":
            compile(block.text, block.place, "exec")
        if block.language == "bash":
            for words in commands_of(uncommented(block.text)):
                try:
                    parse(words)
                except Exception as error:
                    raise AssertionError(f"{block.place}: genrecore {shlex.join(words)}") from error


@pytest.mark.parametrize("page", list(PAGES))
def test_every_command_within_a_sentence_is_one_that_there_is(page: str) -> None:
    text = BLOCK.sub("", PAGES[page].read_text(encoding="utf-8"))
    for inline in re.findall(r"`(genrecore [^`]+)`", text):
        for words in commands_of(" ".join(inline.split())):
            if words[-1] == "…" and not words[-2].startswith("--"):  # and whatever else there is
                words.pop()
            try:
                parse(words)
            except Exception as error:
                if type(error).__name__ != "MissingParameter":  # it is named, not shown
                    raise AssertionError(f"{page}: {inline}") from error


def test_the_calls_that_the_readme_names_are_there() -> None:
    calls = set(re.findall(r"\b((?:[a-z_]+\.)+[a-z_]+)\(", PAGES["README.md"].read_text("utf-8")))
    assert len(calls) > 20
    for call in calls:
        module, _, name = call.removeprefix("genrecore.").rpartition(".")
        assert hasattr(importlib.import_module(f"genrecore.{module}".rstrip(".")), name), call


def test_the_files_that_the_readme_links_to_are_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", PAGES["README.md"].read_text("utf-8"))
    assert len(links) > 20
    assert not [link for link in links if not (ROOT / link).exists()]
