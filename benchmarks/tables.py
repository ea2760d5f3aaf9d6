"""Seconds until a dataset's tables are read: FMA's tracks.csv with 106 574 rows, GTZAN's table.

Writes a `tracks.csv` of the published size (53 columns, biographies with line breaks) and an empty
file a track, then loads FMA-full and FMA-large as a run does.
"""

from __future__ import annotations

import argparse
import csv
import resource
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from genrecore.data import datasets

N_TRACKS = 106_574
N_WITH_GENRE = 49_598  # as published: the others have no top genre
KEYS = [
    ("", ""),
    ("album", "id"),
    ("album", "information"),
    ("artist", "bio"),
    ("artist", "id"),
    ("set", "split"),
    ("set", "subset"),
    ("track", "genre_top"),
    *(("track", f"other {number}") for number in range(45)),
]


def main() -> None:
    """Prints seconds and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="genrecore-benchmark-"))
    try:
        path = write_tracks(work)
        print(f"tracks.csv: {path.stat().st_size / 2**20:.0f} MiB, {N_TRACKS} rows")
        for name in ("fma_large", "fma_full"):
            seconds = []
            for _ in range(arguments.rounds):
                start = time.perf_counter()
                table = datasets.load(name, {"folder": str(work)})
                seconds.append(time.perf_counter() - start)
            print(f"{name}: {len(table)} clips in {statistics.median(seconds):.2f} s (median)")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory {peak:.0f} MiB")
    finally:
        shutil.rmtree(work)


def write_tracks(work: Path) -> Path:
    """A `tracks.csv` like the published one, and an empty file for each of its tracks."""
    generator = np.random.default_rng(0)
    tracks = np.sort(generator.choice(155_320, N_TRACKS, replace=False))
    with_genre = np.zeros(N_TRACKS, dtype=bool)
    with_genre[generator.permutation(N_TRACKS)[:N_WITH_GENRE]] = True
    split = generator.choice(["training", "validation", "test"], N_TRACKS, p=[0.8, 0.1, 0.1])
    biography = '<p>Lines of text,\nwith "quotes" and ümlauts.</p>\n' * 80
    path = work / "fma_metadata" / "tracks.csv"
    path.parent.mkdir()
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(key for key, _ in KEYS)
        writer.writerow(key for _, key in KEYS)
        writer.writerow(["track_id"])
        for row, track in enumerate(tracks):
            genre = f"Genre {row % 16}" if with_genre[row] else ""
            start = [track, row // 7, "", biography if row % 2 else "", row // 6]
            rest = [split[row], "large", genre, *(f"value {row % 97}" for _ in range(45))]
            writer.writerow(start + rest)
    for name in ("fma_large", "fma_full"):
        for group in {track // 1000 for track in tracks}:
            (work / name / f"{group:03d}").mkdir(parents=True)
        for track in tracks:
            (work / name / f"{track // 1000:03d}" / f"{track:06d}.mp3").touch()
    return path


if __name__ == "__main__":
    main()
