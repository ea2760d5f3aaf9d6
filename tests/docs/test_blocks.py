"""Every command and every line of Python that README and the documentation print works.

The blocks of a page are run in their order, in one folder, so that a page is one story. A comment
right before a block says what is special about it: that it `fails`; that it `serves` until the page
is done; that it is run `on another machine`, with a store of its own; what it `needs`; that it
`prints this`, the block of text below it; or why it is `not run`, and then it must parse.
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
import pandas as pd
import pytest
import soundfile
from commands import command, genrecore
from conftest import ROOT, wait_for
from slurm_cluster import listens
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
        "explanations/papers",
        "guides/cluster",
        "guides/a-study-again",
        "guides/encoders-and-heads",
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
BELOW = re.compile(r"\s*```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RUN = {"bash", "python"}
SHOWN = {"text", "json", "csv", "ini", "toml", "nginx", "dockerfile", "tex", "m3u"}
"""Languages of blocks that are run, and of those that are only to be read."""
FAILS, SERVES, ELSEWHERE = "fails", "serves", "on another machine"
NOT_RUN, PRINTS = "not run: ", "; prints this"
NEEDS = {"musicnn": "musicnn", "GTZAN": "gtzan", "a Slurm cluster": "slurm"}
"""The fixtures of what blocks need."""

MUSIC = ["--set=dataset.n_clips=10", "--set=dataset.n_artists=5", "--set=dataset.clip_s=3"]
BRIEF = ["--clip-s=3", "--epochs=2", "--batch-size=7", "--precision=float32"]
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
    output: str

    @property
    def needs(self) -> str:
        """What it needs that not everybody has; empty where everybody has it."""
        return self.mark.partition(";")[0].removeprefix("needs ") if "needs" in self.mark else ""

    @property
    def place(self) -> str:
        """Where one finds it."""
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page."""
    text = PAGES[page].read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, match.start("language")) + 1, match["language"],
              match["text"], match["mark"] or "",
              below[1] if (below := BELOW.match(text, match.end())) else "")
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
    if words[:3] == ["cluster", "profiles", "add"]:
        there_is = {"gpu": "debug", "1": "0", "8": "2", "4:00:00": "30:00"}
        return [there_is.get(word, word) for word in words]
    is_study = words[:2] == ["papers", "run"] and "--scale" not in named
    if is_study or (words[0] == "sweep" and "--table" in named and "--dry-run" not in named):
        return [*words, "--dry-run"]
    is_brief = {"--run", "--table"} & set(named) or "dataset.form=table_30s" in words
    if words[0] not in TRAIN or is_brief:
        return words
    music = MUSIC if dataset == "demo" else []
    images = not {"--feature", "--preset"} & set(named)
    # musicnn listens to 3 s at once.
    segment = "--segment-s=3" if {"musicnn", "musicnn_waves"} & set(words) else "--segment-s=1"
    fewer = {"1,2,5,10,all": "1,2,all", "0..4": "0..1"}
    few = [fewer.get(word, word) for word in words]
    return [*few, *music, *BRIEF, segment, *(COARSE if images else [])]


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
    lines, random = ["path,genre,artist"], np.random.default_rng(3)
    for genre, demo_genre in {"folk": "ambient", "jazz": "bossa", "metal": "techno"}.items():
        for number, row in enumerate(table[table["genre"] == demo_genre].itertuples()):
            path = work / "music" / genre / f"{genre}_{number}.mp3"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, soundfile.read(row.path)[0], 22_050)
            lines.append(f"music/{genre}/{path.name},{genre},{genre} band {number % 5}")
            array = work / "arrays" / genre / f"{number}.npy"
            array.parent.mkdir(parents=True, exist_ok=True)
            np.save(array, random.normal(len(genre), size=9))
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


@pytest.fixture
def gtzan(work: Path, real_data: Path) -> None:
    """The folder `gtzan`: the published table of its clips, and every fourth of these as three
    seconds of noise around a tone."""
    shutil.copytree(real_data / "gtzan", work / "gtzan", ignore=lambda *_: ["genres_original"])
    table = pd.read_csv(work / "gtzan" / "features_30_sec.csv")
    random, second = np.random.default_rng(1), np.arange(3 * 22_050) / 22_050
    for name, genre in table[["filename", "label"]].iloc[::4].itertuples(index=False):
        pitch_hz = 100.0 * (1 + table["label"].unique().tolist().index(genre))
        wave = np.sin(2 * np.pi * pitch_hz * second) + random.normal(size=len(second))
        path = work / "gtzan" / "genres_original" / genre / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.2 * wave, 22_050)


def run_bash(block: Block) -> str:
    """Carries out the lines of a block: those of this program alone in this process, for speed.
    Gives what they print."""
    text = uncommented(block.text)
    commands = commands_of(text)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    if len(lines) > len(commands) or re.search(r"[|<>&$*~]", text):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block.text], text=True,
                              capture_output=True, timeout=120)  # fmt: skip
        assert (done.returncode != 0) == (block.mark == FAILS), f"{block.place}\n{done.stderr}"
        return done.stdout
    printed = ""
    for words in commands:
        result = genrecore(*small(words))
        problem = f"{block.place}: genrecore {shlex.join(words)}\n{result.stdout}{result.stderr}"
        assert (result.returncode != 0) == (block.mark == FAILS), problem
        assert "Traceback" not in result.stderr, problem
        printed += result.stdout
    return printed


@contextlib.contextmanager
def served(block: Block) -> Iterator[None]:
    """What a block serves, from when it answers."""
    server = subprocess.Popen(["bash", "-c", f"exec {block.text}"], stdout=subprocess.PIPE,
                              text=True)  # fmt: skip
    try:
        address = None
        for line in server.stdout:
            if address := re.search(r"http://([\d.]+):(\d+)", line):
                break
        assert address, f"{block.place}: it ended with {server.wait()}"
        wait_for(lambda: listens(address[1], int(address[2])))
        yield
    finally:
        server.terminate()
        server.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.long) if page in LONG else page
        for page in PAGES
        if any(not block.mark.startswith(NOT_RUN) for block in code(page))
    ],
)
def test_the_blocks_of_a_page_do_what_they_say(
    page: str, work: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    with contextlib.ExitStack() as stack:
        for block in code(page):
            if block.mark.startswith(NOT_RUN):
                continue
            if block.needs:
                request.getfixturevalue(NEEDS[block.needs])
                block.text = block.text.replace("DIR", "gtzan")
            if block.language == "python":
                place = f"{page}:{block.line}"
                lines = "\n" * block.line + block.text
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(compile(lines, place, "exec"), names)
            elif block.mark == SERVES:
                stack.enter_context(served(block))
            elif block.mark == ELSEWHERE:
                with monkeypatch.context() as patch:
                    patch.setenv("GENRECORE_RUNS", str(work.parent / "elsewhere"))
                    run_bash(block)
            else:
                assert block.mark in ("", FAILS) or block.needs, f"{block.place}: {block.mark}"
                printed = run_bash(block)
                if block.mark.endswith(PRINTS):
                    assert block.output, block.place
                    assert block.output in printed, f"{block.place}\n{printed}"


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
