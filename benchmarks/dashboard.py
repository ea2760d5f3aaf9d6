"""Seconds from the address to a page that can be read, on a warm server, in a real browser.

Makes a store of runs (two are trained, the others are their copies with other seeds and learning
rates), serves the dashboard over it and opens pages as new visitors do: a fresh browser context
with an empty cache each time. The script's own time, without server and browser, is measured beside
it. With `--on-cluster` the others wait for a cluster instead. With `--scripts` nothing else is:
each page's script, what it sends to the browser, and `genrecore runs list`, for stores of each of
the numbers of runs given; a store of 25 tells what of it is not due to the runs. A new process
first opens the page over a store of three runs of two systems, which imports what the page needs.
Cold is then the first session over the store measured: nothing of it is in memory. Warm are later
runs of that session.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
SMALL = {
    "dataset.n_genres": 3,
    "dataset.n_clips": 10,
    "dataset.n_artists": 5,
    "dataset.clip_s": 3.0,
    "segments.segment_s": 1.0,
    "training.epochs": 30,
}
# What of a page has to be there to be read.
READABLE: dict[str, Callable[[Page], Locator]] = {
    "overview": lambda page: page.get_by_role("figure", name="Test accuracy").locator(".main-svg"),
    "runs": lambda page: page.get_by_role("figure", name="Line chart of loss").locator(".main-svg"),
    "compare": lambda page: page.get_by_role("status").filter(has_text="clips"),
    "train": lambda page: page.get_by_role("button", name="Train", exact=True),
    "classify": lambda page: page.get_by_text("Clips", exact=True),
}


def main() -> None:
    """Prints medians in seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[20], help="in the store")
    parser.add_argument("--scripts", action="store_true", help="without server and browser")
    parser.add_argument("--on-cluster", action="store_true", help="all but two runs wait there")
    parser.add_argument("--script", default="", help=argparse.SUPPRESS)
    parser.add_argument("--other", default="", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=3, help="for each page, with --scripts")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "/usr/bin/chromium")
    arguments = parser.parse_args()
    if arguments.script:
        for row in script_s(arguments.script, arguments.rounds, arguments.other):
            print(*row)
        return
    work = Path(tempfile.mkdtemp(prefix="genrecore-benchmark-"))
    os.environ |= {"GENRECORE_RUNS": str(work / "runs"), "GENRECORE_CACHE": str(work / "cache")}
    server = None
    try:
        if arguments.scripts:
            fill(work / "few", 3)
            for n in arguments.runs:
                fill(work / f"runs {n}", n, arguments.on_cluster)
                measure_scripts(work / f"runs {n}", work / "few", arguments)
            return
        fill(work / "runs", arguments.runs[0], arguments.on_cluster)
        server, address = serve()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=arguments.chromium, args=FLAGS)
            n, rounds = arguments.runs[0], arguments.rounds
            print(f"{n} runs in the store; median of {rounds} visits (range)")
            print("page       title               readable            script    first readable")
            for name in READABLE:
                first = visit(browser, address, name)[1]
                visits = [visit(browser, address, name) for _ in range(arguments.rounds)]
                titles, ready = zip(*visits, strict=True)
                script = min(clock for clock, _, _ in script_s(name, arguments.rounds)[1:])
                times = f"{in_words(titles)}  {in_words(ready)}"
                print(f"{name:10s} {times}  {script:.2f} s    {first:.2f} s")
            browser.close()
    finally:
        if server:
            server.terminate()
            server.wait(timeout=20)
        shutil.rmtree(work)


PAGES = ("overview", "datasets", "train", "runs", "runs?run=latest", "compare",
         "compare?of=systems", "errors", "classify", "plans", "papers", "leaks", "models",
         "sound")  # fmt: skip


def measure_scripts(store: Path, few: Path, arguments: argparse.Namespace) -> None:
    """Prints the least seconds of processor time, and by the clock, of the pages' scripts and of
    the list of runs; the store's summaries are kept by then."""
    command = [sys.executable, "-m", "genrecore", "runs", "list"]
    os.environ["GENRECORE_RUNS"] = str(store)
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    listed = []
    for _ in range(arguments.processes):
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        listed.append((time.perf_counter() - began, spent_s, 0.0))
    print(f"{len(os.listdir(store)) - 1} runs: list {least(listed)}")
    for name in PAGES:
        own = [sys.executable, __file__, "--script", name, "--rounds", str(arguments.rounds)]
        first, cold, warm = [], [], []
        for _ in range(arguments.processes):
            answer = subprocess.run(
                [*own, "--other", str(few)], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True
            )
            rows = [tuple(map(float, line.split())) for line in answer.stdout.splitlines()]
            first, cold, warm = [*first, rows[0]], [*cold, rows[1]], [*warm, *rows[2:]]
        sent = f"{max(row[2] for row in warm) / 1e3:,.0f} kB"
        print(
            f"  {name:20s} imports {least(first)}  cold {least(cold)}  warm {least(warm)}  {sent}"
        )


def least(rows: list[tuple[float, ...]]) -> str:
    """The least processor time, and the least by the clock."""
    clock, processor, _ = map(min, zip(*rows, strict=True))
    return f"{processor:.2f} s ({clock:.2f})"


def fill(store: Path, n: int, on_cluster: bool = False) -> None:
    """Runs of which the first two are trained here and the others are copies of them with other
    seeds and learning rates, five seeds a rate; large files are shared, and none can go on. Or the
    others wait for a cluster, and no runner asks it."""
    from genrecore.config.run import RunConfig, with_values
    from genrecore.jobs.actions import RUNNER_LOCK
    from genrecore.store import runs
    from genrecore.store.files import write_json
    from genrecore.store.locks import take_lock
    from genrecore.store.records import JobFile
    from genrecore.store.run import JOB
    from genrecore.training import lifecycle
    from genrecore.training.resolve import resolve

    config = resolve(with_values(RunConfig(), SMALL)).config
    queued = []
    for seed in range(2):
        run, lock = runs.create_held_run(with_values(config, {"seed": seed}), store)
        assert lifecycle.execute(run) == "done"
        os.close(lock)
        queued.append(run)
    if on_cluster:
        take_lock(store / RUNNER_LOCK)
    for i in range(2, n if on_cluster else 0):
        waiting = runs.create_run(with_values(config, {"seed": i}), store, on="slurm:gpu")
        job = JobFile(on="slurm:gpu", id=f"{i}", state="waiting", submitted_at=time.time() + 86400)
        write_json(waiting.folder / JOB, job.model_dump())
    for i in range(2, 0 if on_cluster else n):
        folder = store / f"20200101-{i:06d}-demo-cnn-{i:04x}"
        folder.mkdir()
        for file in queued[i % 2].folder.iterdir():
            if file.suffix == ".safetensors":
                os.link(file, folder / file.name)
            elif file.is_file() and file.suffix != ".pt":
                shutil.copy2(file, folder / file.name)
        other = {"seed": 2 + i % 5, "training.lr": 1e-6 * (100 + i // 5)}
        write_json(folder / "config.json", with_values(config, other).model_dump())


def serve() -> tuple[subprocess.Popen[bytes], str]:
    """A server that answers, and its address."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    server = subprocess.Popen(
        [*command, "--server.port", str(port)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    return server, wait_until_it_answers(server, port)


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_it_answers(server: subprocess.Popen[bytes], port: int) -> str:
    """The address of a server that was just started, once it answers there."""
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()
            return address
        except OSError:
            time.sleep(0.1)
    server.terminate()
    raise SystemExit("The server did not start within 60 s.")


def visit(browser: Browser, address: str, name: str) -> tuple[float, float]:
    """Seconds until a new visitor sees the page's title, and until the page can be read."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    began = time.perf_counter()
    page.goto(f"{address}/{'' if name == 'overview' else name}", wait_until="commit")
    page.get_by_role("heading", level=1).wait_for(timeout=60_000)
    title_s = time.perf_counter() - began
    READABLE[name](page).first.wait_for(timeout=60_000)
    ready_s = time.perf_counter() - began
    context.close()
    return title_s, ready_s


def script_s(name: str, rounds: int, other: str = "") -> list[tuple[float, float, float]]:
    """Of each run of the page's script alone, in this process: seconds by the clock, seconds of
    processor time, and how many bytes it sends.

    Args:
        name: The page's.
        rounds: Runs after the first.
        other: A store over which the page is opened before, in a session of its own; that run is
            then the first of the answer.
    """
    from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
    from streamlit.testing.v1 import AppTest

    enqueue, sent = ForwardMsgQueue.enqueue, 0

    def count(queue: ForwardMsgQueue, message: Any) -> None:
        nonlocal sent
        sent += message.ByteSize()
        enqueue(queue, message)

    ForwardMsgQueue.enqueue = count  # type: ignore[method-assign,assignment]

    def session() -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
        page, _, query = name.partition("?")
        if page != "overview":
            app.switch_page(f"pages/{page}.py")
        if query:
            key, _, value = query.partition("=")
            latest = max(run.name for run in Path(os.environ["GENRECORE_RUNS"]).glob("20*"))
            app.query_params[key] = latest if value == "latest" else value
        return app

    def measured(app: AppTest) -> tuple[float, float, float]:
        clock, processor, before = time.perf_counter(), time.process_time(), sent
        app.run()
        assert not app.exception
        return time.perf_counter() - clock, time.process_time() - processor, sent - before

    runs = []
    if other:
        store, os.environ["GENRECORE_RUNS"] = os.environ["GENRECORE_RUNS"], other
        runs.append(measured(session()))
        while not gc.get_freeze_count():  # the server imports torch in the background
            time.sleep(0.1)
        os.environ["GENRECORE_RUNS"] = store
    app = session()
    return [*runs, *(measured(app) for _ in range(1 + rounds))]


def in_words(seconds: list[float] | tuple[float, ...]) -> str:
    """Median and range."""
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f}–{max(seconds):.2f})"


if __name__ == "__main__":
    main()
