"""The splits of published studies: what each states, and what is our choice where it does not.

Hong (Comparison Among AlexNet, GoogLeNet and ResNet-18 in Automatic Music Genre Classification,
FMA-small) states no split at all, so there is none here.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from genrecore.config.registry import Options
from genrecore.data.datasets.gtzan import known_clip_ids, published_facts
from genrecore.data.splits.given import official
from genrecore.data.splits.ratios import by_ratio, numbers_of
from genrecore.data.splits.registered import SPLITS, as_split
from genrecore.errors import GenrecoreError


class FifthOptions(Options):
    """How a fifth becomes a whole number of clips."""

    fifth: Literal["nearest", "down"] = Field(
        "nearest",
        title="A fifth of the clips",
        description="rounded to the nearest clip, or down, so that the rest trains",
    )


class BeltonSplitOptions(FifthOptions):
    """What is shuffled, and how a fifth becomes a whole number of clips."""

    shuffled: Literal["clips", "names"] = Field(
        "clips",
        title="What is shuffled",
        description="the clips that there are, or all 1 000 names of GTZAN, of which those without "
        "a readable clip then drop out (of other music always the clips)",
    )


@SPLITS.register(
    "belton",
    title="Belton's study: unstratified 3 : 1 : 1",
    source="Belton, COMP47650 Deep Learning Project (music genre classification on GTZAN), "
    "University College Dublin, section 4.1 and Figure 1",
    options=BeltonSplitOptions,
    says="Belton's procedure: all clips shuffled, the last fifth tests, the fifth before it "
    "validates, genres left uneven; clips of one artist may stand on both sides",
)
def belton(clips: pd.DataFrame, options: BeltonSplitOptions, seed: int, fold: int) -> pd.Series:
    """The split of every clip, 3 : 1 : 1, genres as uneven as they fall.

    The study says: the ratio is 3 : 1 : 1; "the data was shuffled with a random seed equal to
    zero and the last 20 % of the data was used as the test set. Another 20 % was used as the
    validation set. This resulted in slightly uneven class balances across the splits" (Figure 1).

    Our choices, because it does not say: the order before shuffling is that of the clips' names,
    blues.00000 to rock.00099, which is the order of the published table and of a sorted folder.
    The shuffle is numpy's `RandomState(seed).permutation`, a stream that numpy keeps frozen, and
    which pandas' `sample(frac=1, random_state=0)` and scikit-learn's `shuffle(random_state=0)`
    repeat, so that the usual ways to shuffle agree. The seed is the split seed, whose default 0
    is the study's. Validation is the fifth before the test.

    The study's accuracies speak for two options. With the names shuffled, jazz.00054, which
    cannot be read, drops out of the test: 600, 200 and 199 clips, of which 77.39 % are 154 of
    199, and 43.75 % of rock 7 of 16. With fifths rounded down the 999 published images are 601,
    199 and 199, of which 91.85 % are 552 of 601 and 74.87 % 149 of 199. The study's own clips need
    not be these: its code is not published.

    Raises:
        GenrecoreError: Fewer than five clips, or none of the shuffled names left in a part.
    """
    if len(clips) < 5:
        raise GenrecoreError(f"The split belton needs at least 5 clips; found {len(clips)}.")
    own = clips["clip_id"].astype("string")
    shuffled = own
    if options.shuffled == "names" and not (known := known_clip_ids(own)).isna().any():
        own, shuffled = known, published_facts().index.to_series()
    n = len(shuffled)
    n_fifth = n // 5 if options.fifth == "down" else round(n / 5)
    order = np.argsort(shuffled.to_numpy(dtype=object), kind="stable")
    order = order[np.random.RandomState(seed).permutation(n)]
    names = np.full(n, "train", dtype=object)
    names[order[n - 2 * n_fifth : n - n_fifth]] = "valid"
    names[order[n - n_fifth :]] = "test"
    if shuffled is not own:
        names = own.map(dict(zip(shuffled, names, strict=True))).to_numpy(dtype=object)
    empty = [part for part in ("train", "valid", "test") if part not in set(names)]
    if empty:
        raise GenrecoreError(
            f"Of GTZAN's 1 000 shuffled names none of the {len(clips)} clips here is in "
            f"{empty[0]}; shuffle the clips instead (the split's option shuffled = clips)."
        )
    return as_split(names, clips.index)


@SPLITS.register(
    "qin",
    title="Qin's study: balanced 8 : 2",
    source="Qin, Zhuo & Ren, Research of RNNs: LSTM, CNNs: ResNet-18, and MNNs applying on music "
    "genre classification problem, UMass Amherst, section 3.3",
    options=FifthOptions,
    validates=False,
    says="Qin's procedure: 8 : 2 of every genre by clip, no validation, so that the last epoch is "
    "tested; clips of one artist may stand on both sides",
)
def qin(clips: pd.DataFrame, options: FifthOptions, seed: int, fold: int) -> pd.Series:
    """The split of every clip: 8 : 2 in every genre, no validation split.

    The study says: training and test in the ratio 8 : 2, 800 clips and 200, "a equal number of
    songs were selected for each category". Of GTZAN's 1 000 clips that is 80 and 20 a genre. It
    had 999 of the images, and its best accuracy, 0.6984924623115578, is 139 of 199: with fifths
    rounded down, jazz has 80 images to train and 19 to test.

    Our choices, because it does not say: which clips (shuffled by the split seed, as `ratio_8_2`
    does), and that no clip is dropped. It mentions no validation, so the last epoch is tested.

    Raises:
        GenrecoreError: A genre with fewer than two clips.
    """
    numbers = _fifth_down if options.fifth == "down" else numbers_of
    return by_ratio(clips, {"train": 8, "test": 2}, seed, numbers)


def _fifth_down(n: int, shares: np.ndarray) -> np.ndarray:
    """n clips as (tested, trained on), the first a fifth rounded down, but at least 1."""
    n_test = max(1, n // 5)
    return np.array([n_test, n - n_test])


@SPLITS.register(
    "liu",
    title="Liu's study: 8 : 1 : 1",
    source="Liu, Vetshchaizer & Yip, Music Genre Classification using CNN-Hybrid Architectures, "
    "section 3.2",
    says="Liu's procedure: 8 : 1 : 1 of every genre by clip; clips of one artist may stand on both "
    "sides",
)
def liu(clips: pd.DataFrame, options: Options, seed: int, fold: int) -> pd.Series:
    """The split of every clip: 8 : 1 : 1 in every genre.

    The study says: "we divided the dataset into 80% training, 10% validation and 10% testing";
    the training set has 6 400 of FMA-small's 8 000 clips.

    Our choices, because it does not say: the division is drawn anew by the split seed, not FMA's
    official one (which the study does not name, though it has the same numbers), and every genre
    is divided in the ratio, since the study calls its 8 genres balanced; as `ratio_8_1_1` does.

    Raises:
        GenrecoreError: A genre with fewer than three clips.
    """
    return by_ratio(clips, {"train": 8, "valid": 1, "test": 1}, seed)


@SPLITS.register(
    "benito",
    title="Benito's study: FMA's official split",
    source="Benito Calvino & Pacheco Garcia, Data Input Approaches for CNNs towards Music Genre "
    "Recognition, University of Padova, section IV",
    seeded=False,
    published_with=True,
    says="Benito's procedure: the split the dataset was published with",
)
def benito(clips: pd.DataFrame, options: Options, seed: int, fold: int) -> pd.Series:
    """The table's own `split`, as `official`.

    The study says: "80% training set, 10% validation set and 10% test set, just as done by" the
    authors of FMA. Our reading is that it took their published split, not only their ratio.

    Raises:
        GenrecoreError: The dataset has no split of its own.
    """
    return official(clips, options, seed, fold)
