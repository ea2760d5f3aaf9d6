"""Splits that come with the data: official, from a manifest, GTZAN's fault-filtered one."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from pydantic import Field

from genrecore.config.registry import Options
from genrecore.data.clips import SPLITS as PARTS
from genrecore.data.datasets.gtzan import known_clip_ids, published_facts
from genrecore.data.splits.registered import SPLITS
from genrecore.errors import GenrecoreError
from genrecore.words import out_of, thousands


@SPLITS.register(
    "official",
    title="The dataset's own",
    source="whoever published the dataset; FMA: Defferrard, Benzi, Vandergheynst & Bresson, FMA: a "
    "dataset for music analysis, ISMIR 2017 (8 : 1 : 1 in every genre, no artist crosses)",
    seeded=False,
    published_with=True,
    says="The split the dataset was published with",
)
def official(clips: pd.DataFrame, options: Options, seed: int, fold: int) -> pd.Series:
    """The table's own `split`, missing where it has none: such clips take no part.

    The dataset may have no validation split; then the last epoch is tested (`notes` says so).

    Raises:
        GenrecoreError: The dataset has no split of its own, one without training or test, or one
            with an unknown part.
    """
    split = _own(clips)
    if split.isna().all():
        raise GenrecoreError(
            f"The dataset has no split of its own: none of its {thousands(len(clips))} clips "
            "names one."
        )
    return _complete(split, "The dataset's own split")


class ManifestSplitOptions(Options):
    """What becomes of rows whose column `split` is empty."""

    unnamed: Literal["refuse", "leave out"] = Field(
        "refuse",
        title="Rows without a split",
        description="refuse them, so that none is forgotten, or leave their clips out of training, "
        "validation and test",
    )


@SPLITS.register(
    "manifest",
    title="From the manifest",
    source="the column `split` of your own table",
    options=ManifestSplitOptions,
    seeded=False,
    says="As the column split of the manifest says",
)
def manifest(clips: pd.DataFrame, options: ManifestSplitOptions, seed: int, fold: int) -> pd.Series:
    """The table's own `split`; clips without one are refused, or take no part.

    Without validation clips the last epoch is tested (`notes` says so).

    Raises:
        GenrecoreError: Rows without a split, and how many; no training or test clips, or an
            unknown part.
    """
    split = _own(clips)
    n_missing = int(split.isna().sum())
    if n_missing and options.unnamed == "refuse":
        first = clips.loc[split.isna(), "clip_id"].iloc[0]
        raise GenrecoreError(
            f"In the column split of the manifest {out_of(n_missing, len(clips))} clips have "
            f"nothing (the first is {first}); write train, valid or test for each, or leave them "
            "out (the split's option unnamed = leave out)."
        )
    return _complete(split, "The column split of the manifest")


@SPLITS.register(
    "fault_filtered",
    title="GTZAN, fault-filtered",
    source="Kereliuk, Sturm & Larsen, Deep learning and music adversaries, IEEE Transactions on "
    "Multimedia 17(11), 2015",
    seeded=False,
    published_with=True,
    keeps=("artist",),
    says="GTZAN's fault-filtered split: 443 clips train, 197 validate, 290 test, 70 faulty ones "
    "take no part",
)
def fault_filtered(clips: pd.DataFrame, options: Options, seed: int, fold: int) -> pd.Series:
    """The published split of GTZAN without its copies and distorted clips, artists kept apart.

    443 clips train, 197 validate, 290 test; 70 are in none: their split is missing and they take
    no part. Of a folder with fewer clips, those that are there (jazz.00054, unreadable in the
    widely mirrored copy, is a training clip). Any dataset will do whose clips are GTZAN's by name:
    `blues.00000` or `blues00000` with any folder, prefix and extension.

    Raises:
        GenrecoreError: Clips that are not GTZAN's.
    """
    known = known_clip_ids(clips["clip_id"])
    foreign = clips.loc[known.isna(), "clip_id"]
    if len(foreign):
        raise GenrecoreError(
            f"The fault-filtered split is GTZAN's, and {out_of(len(foreign), len(clips))} clips "
            f"are not in GTZAN by name (the first is {foreign.iloc[0]}; expected names like "
            "blues.00000)."
        )
    return known.map(published_facts()["filtered_split"]).astype("string").rename("split")


def _own(clips: pd.DataFrame) -> pd.Series:
    split = clips["split"].astype("string").str.strip()
    return split.mask(split == "").rename("split")


def _complete(split: pd.Series, name: str) -> pd.Series:
    """The split, refused unless it has training and test clips and no unknown parts."""
    names = set(split.dropna().unique())
    unknown = sorted(names - set(PARTS))
    if unknown:
        raise GenrecoreError(
            f"{name} says {unknown[0]!r}, and only train, valid and test are understood."
        )
    for needed in ("train", "test"):
        if needed not in names:
            raise GenrecoreError(f"{name} has no {needed} clips; training and test are needed.")
    return split
