"""Seconds of a search by example through 100,000 clips, against scikit-learn's exact search.

The vectors are random, as long as those of musicnn.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from genrecore.evaluation.embeddings import Embedding

N_NEAREST = 10


def main() -> None:
    """Prints the seconds of the first query, which builds the index, and of the next ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--numbers", type=int, default=200)
    parser.add_argument("--queries", type=int, default=20)
    arguments = parser.parse_args()

    shape = (arguments.clips, arguments.numbers)
    values = np.random.default_rng(7).standard_normal(shape).astype(np.float32)
    ids = [f"c{k}" for k in range(len(values))]
    clips = pd.DataFrame({"clip_id": ids, "genre": "x", "split": ""})
    embedding = Embedding(clips, values)
    centre = values.mean(axis=0)
    theirs = NearestNeighbors(metric="cosine", algorithm="brute").fit(values - centre)
    seconds: dict[str, list[float]] = {"genrecore": [], "scikit-learn": []}
    for query in values[: arguments.queries]:
        began = time.perf_counter()
        ours = embedding.nearest(query, N_NEAREST, split=None)["clip_id"].tolist()
        middle = time.perf_counter()
        _, nearest = theirs.kneighbors((query - centre)[None], N_NEAREST)
        seconds["genrecore"].append(middle - began)
        seconds["scikit-learn"].append(time.perf_counter() - middle)
        if ours[0] != ids[nearest[0, 0]]:
            raise SystemExit("The two find other clips.")
    print(f"the first query, with the index: {seconds['genrecore'][0]:.3f} s")
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    print(", ".join(f"{name} {median:.3f} s a query" for name, median in medians.items()))
    print(f"ratio {medians['genrecore'] / medians['scikit-learn']:.2f}")


if __name__ == "__main__":
    main()
