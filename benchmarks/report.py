"""Seconds and megabytes of a report, and of its tables and figures as files.

Run folders as in `comparing.py`; nothing is trained. A report's size is mostly plotly.js, which is
in it once. Figures are drawn by a browser (`--figures`).

    python benchmarks/report.py
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

from comparing import report as timed
from comparing import run_of


def main() -> None:
    """Prints medians of clock and processor time, and sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="*", default=[2, 5, 20])
    parser.add_argument("--clips", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--figures", action="store_true", help="draw the figures of the first")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="genrecore-benchmark-"))
    os.environ |= {"GENRECORE_RUNS": str(work / "runs"), "GENRECORE_CACHE": str(work / "cache")}
    (work / "runs").mkdir()
    try:
        measure(work, arguments.runs, arguments.clips, arguments.rounds, arguments.figures)
    finally:
        shutil.rmtree(work)


def measure(work: Path, sizes: list[int], n_clips: int, rounds: int, figures: bool) -> None:
    """Reports of so many runs each, comparison included."""
    from genrecore.evaluation import comparison
    from genrecore.reporting import html as report
    from genrecore.store.run import Run

    runs_made = [run_of(work / "runs", k, n_clips) for k in range(max(sizes))]
    path = work / "out.html"
    for n in sizes:
        folders = runs_made[:n]

        def write(folders: list[Path] = folders) -> None:
            report.write([Run(folder) for folder in folders], path)

        timed(f"report of {n} runs × {n_clips} clips", rounds, write)
        print(f"    {path.stat().st_size / 1e6:.1f} MB")
    compared = comparison.compare([Run(folder) for folder in runs_made[: sizes[0]]])
    timed("its tables as files", rounds, lambda: report.write_tables(compared, work / "tables"))
    if figures:
        began = time.perf_counter()
        figure_files = report.write_figures(compared, work / "figures")
        print(f"{len(figure_files)} files of figures: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
