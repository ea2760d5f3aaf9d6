"""Classifying with a trained run: one clip, a folder, clients of the HTTP service, and the page.

Writes stereo MP3 clips of 30 s at 44.1 kHz and a run folder with random weights. A folder takes
turns with the bare work: threads that decode and resample, and the network on full batches. Of one
clip it is told what decoding and the network take of it. The service is asked by clients at once.
On the page clips are uploaded until the server has sent the prediction, and until a browser has
drawn it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from genrecore.training import hardware

hardware.share_cores()  # as the command does, before torch is imported

# ruff: noqa: E402
import numpy as np
import psutil
import requests
import soundfile
import soxr
import torch
from corpus import write_clips
from dashboard import FLAGS, serve
from playwright.sync_api import BrowserContext, sync_playwright
from visitor import Visitor

from genrecore.audio.decode import decode
from genrecore.config.run import RunConfig, with_values
from genrecore.data.corpus import quantise
from genrecore.inference import ensemble as panel
from genrecore.inference import loaded as inference
from genrecore.inference.loaded import LoadedRun
from genrecore.store import runs
from genrecore.store.run import Run
from genrecore.store.status import Status
from genrecore.training.classifier import Classifier
from genrecore.training.parts import ResolvedConfig
from genrecore.training.resolve import resolve
from genrecore.training.weights import save_classifier, weights_name

GENRES = ["blues", "classical", "country", "disco", "hip hop", "jazz", "metal", "pop", "reggae",
          "rock"]  # fmt: skip


def main() -> None:
    """Prints the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=320, help="to the service in all")
    parser.add_argument("--slow", type=int, default=100, help="clients that send a byte a second")
    parser.add_argument("--clip-s", type=float, default=30.0, help="of what the service is sent")
    parser.add_argument("--only", choices=("clip", "folder", "service", "slow", "page"))
    parser.add_argument("--chromium", default=shutil.which("chromium") or "/usr/bin/chromium")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="genrecore-benchmark-"))
    os.environ["GENRECORE_CACHE"], os.environ["GENRECORE_RUNS"] = str(work / "c"), str(work / "r")
    try:
        run = write_run(arguments.model, work / "r")
        paths = linked(write_clips(work, min(arguments.clips, 60)), arguments.clips)
        loaded = inference.load(run)
        if arguments.only in (None, "clip"):
            one_clip(loaded, paths[0])
        if arguments.only in (None, "folder"):
            folder(loaded, paths, arguments.rounds)
        if arguments.only in (None, "service"):
            contents = [beginning(path, arguments.clip_s) for path in paths[:8]]
            service(run, contents, arguments.clients, arguments.requests)
        if arguments.only in (None, "slow"):
            content = beginning(paths[0], arguments.clip_s)
            beside_slow_clients(run, content, arguments.requests // 2, arguments.slow)
        if arguments.only in (None, "page"):
            on_page(run, paths[:6], arguments.rounds, arguments.chromium)
    finally:
        shutil.rmtree(work)


def linked(paths: list[Path], n: int) -> list[Path]:
    """As many files, the clips over and over under other names: encoding takes longest."""
    more = []
    for k in range(len(paths), n):
        more.append(paths[0].with_name(f"again{k:05d}.mp3"))
        os.link(paths[k % len(paths)], more[-1])
    return paths + more


def write_run(model: str, store: Path) -> Run:
    """A finished run with random weights: the time does not depend on what was learned."""
    config = resolve(with_values(RunConfig(), {"model": model})).config
    run, lock = runs.create_held_run(config, store)
    classifier = Classifier(ResolvedConfig(config), GENRES, pretrained=False).eval()
    save_classifier(classifier, run.folder / weights_name(classifier))
    Status(run.folder).move("done")
    os.close(lock)
    return Run(run.folder)


def one_clip(loaded: LoadedRun, path: Path) -> None:
    """From the bytes of an upload to the prediction, and what of it is ours."""
    data, rate = path.read_bytes(), loaded.config.audio.sample_rate_hz
    marks: list[list[tuple[float, float]]] = []  # by the clock, by processor time

    def mark() -> None:
        marks[-1].append((time.perf_counter(), time.process_time()))

    for _ in range(14):
        marks.append([])
        mark()
        prediction = loaded.classify(data)
        mark()
        wave = decode(data, rate, middle_s=loaded.config.audio.clip_s).wave
        mark()
        waves = in_segments(loaded, quantise(wave))
        mark()
        with torch.inference_mode():
            for some in waves.split(loaded.batch_size):
                loaded.classifier(some)
        mark()
    took_ms = 1000 * np.diff(np.array(marks[2:]), axis=1)  # the first ones warm up
    print(f"one clip, {len(prediction.segments)} segments ({torch.get_num_threads()} threads)")
    for which, name in enumerate(("the clock", "processor time")):
        whole, decoded, _, network = (took_ms[:, k, which] for k in range(4))
        ours = float(np.median(whole - decoded - network))
        print(
            f"  by {name}: upload to prediction {np.median(whole):.0f} ms, of it decode "
            f"{np.median(decoded):.0f}, network {np.median(network):.0f}, ours {ours:.0f}"
        )


def in_segments(loaded: LoadedRun, samples: np.ndarray) -> torch.Tensor:
    """Waves (segments, 1, samples) of one clip."""
    return torch.cat(list(loaded.segmenter.batches(torch.from_numpy(samples), loaded.batch_size)))


def bare(loaded: LoadedRun, paths: list[Path]) -> None:
    """The bare work on these files: threads that decode and resample, the network on full
    batches."""
    rate, n, waiting = loaded.config.audio.sample_rate_hz, loaded.segmenter.n_samples, []

    def bare_clip(path: Path) -> np.ndarray:
        wave, source_rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = wave.mean(axis=1)
        return soxr.resample(mono, source_rate, rate, quality="HQ")

    with ThreadPoolExecutor(os.cpu_count()) as pool, torch.inference_mode():
        for wave in pool.map(bare_clip, paths):
            waiting += [wave[k : k + n] for k in range(0, len(wave) - n + 1, n)]
            while len(waiting) >= loaded.batch_size:
                batch = np.stack(waiting[: loaded.batch_size])[:, None]
                loaded.classifier(torch.from_numpy(batch)).softmax(1)
                del waiting[: loaded.batch_size]
        if waiting:
            loaded.classifier(torch.from_numpy(np.stack(waiting)[:, None])).softmax(1)


def folder(loaded: LoadedRun, paths: list[Path], rounds: int) -> None:
    """Files a second of a folder, against bare decoding in threads and full batches."""
    loaded_ensemble = panel.Ensemble([loaded])

    def ours() -> None:
        assert all(not answer.problem for answer in loaded_ensemble.classify_many(paths))

    by_clock: list[float] = []
    by_processor: list[float] = []
    for round_ in range(rounds + 1):
        spent = []
        for turn in (lambda: bare(loaded, paths), ours):
            began, worked = time.perf_counter(), time.process_time()
            turn()
            spent.append((time.perf_counter() - began, time.process_time() - worked))
        if round_:
            by_clock.append(spent[0][0] / spent[1][0])
            by_processor.append(spent[0][1] / spent[1][1])
            last = len(paths) / spent[1][0]
    print(f"folder of {len(paths)} clips, {last:.1f} clips/s; rate of ours / bare")
    for name, values in (("clock", by_clock), ("processor time", by_processor)):
        print(f"  by {name}: {statistics.median(values):.2f} ({min(values):.2f} to "
              f"{max(values):.2f})")  # fmt: skip


def beginning(path: Path, clip_s: float) -> bytes:
    """The first seconds of a clip, as an MP3 of its own."""
    wave, rate = soundfile.read(path, frames=round(44_100 * clip_s), dtype="float32")
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate, format="MP3")
    return stream.getvalue()


@contextlib.contextmanager
def serving(run: Run) -> Iterator[tuple[str, psutil.Process]]:
    """The service as a process: where it classifies, and that process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "genrecore", "serve", "--run", str(run.folder), "--port", "0",
         "--per-minute", "1000000", "--within-s", "600"],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.stdout.readline().split()[0], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def beside_slow_clients(run: Run, content: bytes, n_requests: int, n_slow: int) -> None:
    """Latency of one good client alone, and while others send a byte a second and come again when
    they are cut off."""
    with serving(run) as (address, _):
        port = int(address.split(":")[2].split("/")[0])
        head = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
        over = threading.Event()

        def dribble() -> None:
            slow: dict[int, socket.socket] = {}
            while not over.wait(1.0):
                for k in range(n_slow):
                    try:
                        if k not in slow:
                            slow[k] = socket.create_connection(("127.0.0.1", port))
                            slow[k].sendall(head)
                        slow[k].sendall(b"R")
                    except OSError:  # cut off
                        if k in slow:
                            slow.pop(k).close()
            for connection in slow.values():
                connection.close()

        def good() -> np.ndarray:
            took = []
            with requests.Session() as session:
                for _ in range(n_requests):
                    began = time.perf_counter()
                    answer = session.post(address, data=content)
                    took.append(1000 * (time.perf_counter() - began))
                    assert answer.status_code == 200, answer.text
            return np.percentile(took, [50, 99])

        good()
        alone = good()
        thread = threading.Thread(target=dribble)
        thread.start()
        time.sleep(3.0)
        beside = good()
        over.set()
        thread.join()
    print(
        f"one good client, {n_requests} requests: p50 {alone[0]:.0f} ms, p99 {alone[1]:.0f} ms; "
        f"beside {n_slow} slow ones p50 {beside[0]:.0f} ms, p99 {beside[1]:.0f} ms "
        f"({beside[1] / alone[1]:.2f} times)"
    )


def service(run: Run, contents: list[bytes], n_clients: int, n_requests: int) -> None:
    """Latency of the service under clients at once, and its memory on the way."""
    took: list[float] = []
    failures: list[str] = []
    memory: list[float] = []
    gate = threading.Lock()
    with serving(run) as (address, server):

        def client(k: int) -> None:
            with requests.Session() as session:
                for n in range(n_requests // n_clients):
                    began = time.perf_counter()
                    answer = session.post(address, data=contents[(k + n) % len(contents)])
                    seconds = time.perf_counter() - began
                    with gate:
                        took.append(1000 * seconds)
                        if answer.status_code != 200:
                            failures.append(answer.text)
                        if len(took) % (n_requests // 8) == 0:
                            memory.append(server.memory_info().rss / 2**20)

        began = time.perf_counter()
        with ThreadPoolExecutor(n_clients) as pool:
            list(pool.map(client, range(n_clients)))
        seconds = time.perf_counter() - began
    p50, p99 = np.percentile(took, [50, 99])
    print(
        f"service: {len(took)} requests of {n_clients} clients, {len(failures)} failed, "
        f"{len(took) / seconds:.1f}/s; p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    )
    print("  memory on the way, MiB: " + ", ".join(f"{mib:.0f}" for mib in memory))


def on_page(run: Run, paths: list[Path], rounds: int, chromium: str) -> None:
    """From an upload to the prediction, on the page: what the server takes, and what a person waits
    whose browser has to share the server's cores. The first clip on a fresh server, whose page was
    open for two seconds and for ten, and the clips after it."""
    query = f"run={run.run_id}"
    sent: list[float] = []
    first: dict[float, list[float]] = {2.0: [], 10.0: []}
    waits_ms: list[float] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for open_s in [*first] * rounds:
            for without_browser in (True, False):
                server, address = serve()
                try:
                    if without_browser:
                        sent += [sent_ms(address, query, path) for path in paths][2:]
                        continue
                    context = browser.new_context(viewport={"width": 1280, "height": 900})
                    page = f"{address}/classify?{query}"
                    first[open_s].append(seen_ms(context, page, paths[0], open_s))
                    later = [seen_ms(context, page, path, _CHOOSING_S) for path in paths[1:]]
                    waits_ms += later[1:]
                    context.close()
                finally:
                    server.terminate()
                    server.wait(timeout=20)
        browser.close()
    print("on the page, from an upload to the prediction")
    print(f"  until the server has sent it: {in_ms(sent)}")
    print(f"  until a browser on the same cores has drawn it: {in_ms(waits_ms)}")
    for open_s, took in first.items():
        print(
            f"  the same, first clip on a fresh server, page open for {open_s:g} s: {in_ms(took)}"
        )


def sent_ms(address: str, query: str, path: Path) -> float:
    """Milliseconds from an upload until a visitor without a browser has the prediction."""
    visitor = Visitor(address, "classify", query)
    visitor.open()
    began = time.perf_counter()
    visitor.upload(path, lambda text: text.startswith("### ") and "with" in text)
    took_ms = 1000 * (time.perf_counter() - began)
    visitor.settle()
    visitor.close()
    return took_ms


_CHOOSING_S = 6.0
"""What a person takes at least to find a file; a page that has just opened is still at work."""
_WATCH = """() => {
  document.addEventListener("change", () => { window.given = performance.now() }, true);
  window.drawn = new Promise(tell => {
    const look = new MutationObserver(() => {
      const words = [...document.querySelectorAll("h3")].map(one => one.textContent);
      if (!words.some(one => one.includes("with"))) return;
      look.disconnect();
      // The frame that shows it has been drawn when the task after it runs.
      requestAnimationFrame(() => setTimeout(() => tell(performance.now() - window.given)));
    });
    look.observe(document, { subtree: true, childList: true, characterData: true });
  });
}"""


def seen_ms(context: BrowserContext, address: str, path: Path, open_s: float) -> float:
    """Milliseconds from choosing a file, on a page that has been open for a while, until the
    prediction is drawn, by the browser's own clock."""
    page = context.new_page()
    page.goto(address)
    page.locator("input[type=file]").wait_for(state="attached", timeout=60_000)
    page.wait_for_timeout(1000 * open_s)
    page.evaluate(_WATCH)
    page.locator("input[type=file]").set_input_files(path)
    took_ms = float(page.evaluate("() => window.drawn"))
    page.wait_for_timeout(1500)  # until charts and doubts have come as well
    page.close()
    return took_ms


def in_ms(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.0f} ms ({min(values):.0f} to {max(values):.0f})"


if __name__ == "__main__":
    main()
