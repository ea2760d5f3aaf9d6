"""What it costs to watch a run: a server, a browser, and a run of 300 epochs that goes on.

    python benchmarks/watching.py                       # script times, a log of 50 MB, CPU of a tab
    python benchmarks/watching.py --hour --faster 15    # memory over an hour's ticks in 4 minutes

The run is fed by this script: an epoch every two seconds, a heartbeat in between, its lock held,
as a process at work would leave it. Processor seconds are the server's own, so that other work on
the machine does not count; wall times do suffer from it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from dashboard import FLAGS, ROOT, SMALL, free_port, wait_until_it_answers
from playwright.sync_api import sync_playwright

EPOCHS, EPOCH_S, MB = 300, 2.0, 2**20
# The server as it is, but for the time between two ticks of its live parts.
FASTER = """
import sys
import streamlit as st
real, by = st.fragment, float(sys.argv.pop(1))
def fragment(function=None, *, run_every=None, **more):
    return real(function, run_every=run_every / by if run_every else None, **more)
st.fragment = fragment
from streamlit.web.cli import main
sys.exit(main())
"""
# Seconds of one run of the page's script: wall and processor, the first and the median of others.
SCRIPT = """
import json, statistics, sys, time
from streamlit.testing.v1 import AppTest
query = json.loads(sys.argv[1])
app = AppTest.from_file("app.py", default_timeout=120)
app.switch_page("pages/runs.py")
for name, value in query.items():
    app.query_params[name] = value
found = []
for _ in range(8):
    began, busy = time.perf_counter(), time.process_time()
    app.run()
    found.append((time.perf_counter() - began, time.process_time() - busy))
    assert not app.exception, app.exception[0].message
print(json.dumps([found[0], [statistics.median(x) for x in zip(*found[1:])]]))
"""


class Fed:
    """A run that goes on: its lock is held, its files grow."""

    def __init__(self, template: Path, store: Path, n_done: int) -> None:
        from genrecore.config.run import with_values
        from genrecore.store import runs
        from genrecore.store.run import Run

        config = with_values(Run(template).config, {"training.epochs": EPOCHS})
        self.run, self.lock = runs.create_held_run(config, store)
        for name in ("clips.parquet", "environment.json", "audit.json"):
            shutil.copyfile(template / name, self.run.folder / name)
        self.rows = (template / "history.jsonl").read_text().splitlines()
        self.clips = (template / "epochs.u8").read_bytes()
        self.n_clips = len(self.clips) // len(self.rows)
        self.epoch = 0
        for _ in range(n_done):
            self.next()
        self.over = threading.Event()
        self.pace_s = EPOCH_S

    def next(self) -> None:
        """One more epoch."""
        from genrecore.store.progress import Phase
        from genrecore.store.status import Status

        row = json.loads(self.rows[self.epoch % len(self.rows)]) | {"epoch": self.epoch + 1}
        with open(self.run.folder / "history.jsonl", "a") as stream:
            stream.write(json.dumps(row) + "\n")
        with open(self.run.folder / "epochs.u8", "ab") as raw:
            at = self.epoch % len(self.rows) * self.n_clips
            raw.write(self.clips[at : at + self.n_clips])
        with open(self.run.folder / "log.txt", "a") as stream:
            stream.write(f"epoch {self.epoch + 1}: loss {row['train_loss']:.3f}\n")
        self.epoch += 1
        status = Status(self.run.folder)
        values = {
            "epoch": self.epoch, "n_epochs": EPOCHS, "samples_per_s": row["samples_per_s"],
            "best_epoch": 1, "best_valid_accuracy": 0.5, "time_left_s": 60.0,
            "phase": Phase.TRAINING, "done": self.epoch, "total": EPOCHS,
        }  # fmt: skip
        if self.epoch == 1:
            status.move("running", started_at=time.time(), **values)
        status.update(**values)

    def feed(self) -> None:
        """An epoch at the pace, and a heartbeat four times as often, until told to end."""
        from genrecore.store.status import Status

        n = 0
        while not self.over.wait(self.pace_s / 4):
            n += 1
            if n % 4 == 0 and self.epoch < EPOCHS:
                self.next()
            else:
                Status(self.run.folder).update()


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000, help="in the store")
    parser.add_argument("--seconds", type=float, default=60, help="that a tab is watched, or 0")
    parser.add_argument("--view", default="learning", help="of the page")
    parser.add_argument("--hour", action="store_true", help="memory over an hour's ticks instead")
    parser.add_argument("--faster", type=float, default=15, help="the hour by this factor")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "/usr/bin/chromium")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="genrecore-watching-"))
    os.environ |= {"GENRECORE_RUNS": str(work / "runs"), "GENRECORE_CACHE": str(work / "cache")}
    try:
        fed = Fed(template(work), work / "runs", n_done=30 if arguments.hour else EPOCHS - 60)
        if arguments.hour:
            hour(fed, arguments.faster, arguments.chromium)
            return
        if arguments.seconds:
            few = watched(fed, 1, arguments.seconds, arguments.view, arguments.chromium)
            print(
                f"a tab with a live run of {EPOCHS} epochs, view {arguments.view}: {few}",
                flush=True,
            )
        if not arguments.runs:
            return
        fill(work, arguments.runs)
        fed.epoch = 0
        print(
            f"{arguments.runs} runs in the store, live run open: {script({'run': fed.run.run_id})}"
        )
        if arguments.seconds:
            many = watched(fed, 1, arguments.seconds, arguments.view, arguments.chromium)
            print(f"a tab with a live run beside {arguments.runs} others: {many}", flush=True)
        with open(fed.run.folder / "log.txt", "w") as stream:
            line = "12:00:00 a line as a log has many of them, number {:9d}\n"
            n = 50 * MB // len(line.format(0)) + 1
            stream.write("".join(line.format(i) for i in range(n)))
        log_query = {"run": fed.run.run_id, "view": "log"}
        print(f"a log of 50 MB: {script(log_query)}")
        print(f"searched for a word that is not there: {script(log_query | {'log': 'nowhere'})}")
    finally:
        shutil.rmtree(work)


def template(work: Path) -> Path:
    """A run trained here."""
    from genrecore.config.run import RunConfig, with_values
    from genrecore.store import runs
    from genrecore.training import lifecycle
    from genrecore.training.resolve import resolve

    config = resolve(with_values(RunConfig(), SMALL)).config
    run, lock = runs.create_held_run(config, work / "templates")
    assert lifecycle.execute(run) == "done"
    os.close(lock)
    return run.folder


def fill(work: Path, n: int) -> None:
    """Copies of the trained run without its weights."""
    (run_folder,) = [
        path for path in (work / "templates").iterdir() if not path.name.startswith(".")
    ]
    large = shutil.ignore_patterns("*.safetensors", "resume.pt")
    for i in range(n):
        name = f"20200101-{i:06d}-demo-cnn-{i:04x}"
        shutil.copytree(run_folder, work / "runs" / name, ignore=large)


def script(query: dict[str, str]) -> str:
    """Seconds of the page's script in a new process: the first time, and later ones."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(query)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    (cold, cold_cpu), (warm, warm_cpu) = json.loads(done.stdout.splitlines()[-1])
    return (
        f"script cold {cold:.2f} s (processor {cold_cpu:.2f} s), "
        f"warm {warm:.3f} s (processor {warm_cpu:.3f} s)"
    )


def watched(fed: Fed, n_tabs: int, seconds: float, view: str, chromium: str) -> str:
    """The server's share of a core while tabs watch the run, over that without a tab."""
    server, address = serve(1.0)
    feeding = threading.Thread(target=fed.feed)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            pages = [browser.new_page() for _ in range(n_tabs)]
            for page in pages:
                page.goto(f"{address}/runs?run={fed.run.run_id}&view={view}")
                page.get_by_text(fed.run.title, exact=True).first.wait_for(timeout=90_000)
            fed.over.clear()
            feeding.start()
            time.sleep(8)
            share = [busy(server, seconds / 3) for _ in range(3)]
            fed.over.set()
            feeding.join()
            time.sleep(4)
            still = busy(server, seconds / 3)
            browser.close()
        alone = busy(server, 5)
    finally:
        fed.over.set()
        server.terminate()
        server.wait(timeout=20)
    return (
        f"{100 * statistics.median(share) / n_tabs:.1f} % of a core a tab with an epoch every "
        f"{EPOCH_S:g} s, {100 * still / n_tabs:.1f} % while nothing new comes, "
        f"{100 * alone:.1f} % without a tab"
    )


def hour(fed: Fed, faster: float, chromium: str) -> None:
    """Memory of the server over as many ticks as an hour has."""
    fed.pace_s = 12.0 / faster  # the epochs that are left, over the whole hour
    server, address = serve(faster)
    feeding = threading.Thread(target=fed.feed)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            page = browser.new_page()
            page.goto(f"{address}/runs?run={fed.run.run_id}")
            page.get_by_role("figure").first.wait_for(timeout=90_000)
            feeding.start()
            time.sleep(10)
            process = psutil.Process(server.pid)
            began, first = time.perf_counter(), process.memory_info().rss
            for _ in range(6):
                time.sleep(3600 / faster / 6)
                past, now = time.perf_counter() - began, process.memory_info().rss
                print(
                    f"{past * faster / 60:4.0f} minutes of watching: {now / MB:.0f} MB, "
                    f"{(now - first) / MB:+.0f} MB, epoch {fed.epoch}",
                    flush=True,
                )
            browser.close()
    finally:
        fed.over.set()
        server.terminate()
        server.wait(timeout=20)


def busy(server: subprocess.Popen[bytes], seconds: float) -> float:
    """The share of a core that the server takes."""
    process = psutil.Process(server.pid)
    before = process.cpu_times()
    time.sleep(seconds)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / seconds


def serve(faster: float) -> tuple[subprocess.Popen[bytes], str]:
    """The dashboard with the time between ticks divided."""
    port = free_port()
    command = [sys.executable, "-c", FASTER, str(faster), "run", "app.py"]
    command += ["--server.headless", "true", "--server.port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    return server, wait_until_it_answers(server, port)


if __name__ == "__main__":
    main()
