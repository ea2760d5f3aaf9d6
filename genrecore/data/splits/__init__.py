"""Split schemes: which clips a model learns from, is chosen by, and is tested on.

Fold schemes divide the clips into `n_folds` parts: fold k tests part k, validates on part
(k + 1) % n_folds and trains on the rest, so over all folds every clip is tested exactly once.
Ratio schemes, splits given with the data and the procedures of published studies have one fold.
A clip that a scheme puts nowhere has a missing split and takes no part.
"""

from __future__ import annotations

import pandas as pd

from genrecore.config.registry import Choice, import_modules
from genrecore.config.run import Part
from genrecore.data.clips import SPLITS as PARTS
from genrecore.data.clips import genres_of
from genrecore.data.splits.registered import SPLITS, FoldOptions, SplitFacts
from genrecore.errors import UsageError
from genrecore.words import out_of

import_modules(__name__, __path__)

__all__ = ["SPLITS", "FoldOptions", "apply", "counts", "describe", "n_folds", "notes", "title"]


def apply(clips: pd.DataFrame, split: Choice[SplitFacts], seed: int, fold: int) -> pd.DataFrame:
    """The clip table with its column `split` filled (a copy, same order), missing for clips that
    take no part. Its attribute `published_apart` says whether the split was published with its
    dataset as one that keeps artists apart.

    Args:
        clips: A clip table (`genrecore.data.clips`); `official` and `manifest` read its `split`.
        split: The scheme with its options, as `SPLITS.choose` gives it.
        seed: Of the random assignment of clips to parts, the same for every fold. Schemes that
            draw nothing (fact `seeded` is false) ignore it.
        fold: The part that is tested, counted from 0; 0 for schemes of one fold.

    Raises:
        UsageError: A fold that does not exist.
        GenrecoreError: Clips that this scheme cannot split, and why.
    """
    if not split.facts.folds and fold != 0:
        raise UsageError(f"There is no fold {fold}; the split {split.name} has fold 0 only.")
    table = clips.assign(split=split.thing(clips, split.options, seed, fold))
    facts = split.facts
    table.attrs["published_apart"] = facts.published_with and "artist" in facts.keeps
    return table


def counts(clips: pd.DataFrame) -> pd.DataFrame:
    """Clips of every genre (rows, sorted) in `train`, `valid` and `test` (columns)."""
    table = pd.crosstab(clips["genre"], clips["split"])
    return table.reindex(index=genres_of(clips), columns=list(PARTS), fill_value=0)


def notes(clips: pd.DataFrame) -> list[str]:
    """Sentences about clips without a split and about a missing validation split."""
    n_out = int(clips["split"].isna().sum())
    sentences = []
    if n_out:
        verbs = ("is", "takes") if n_out == 1 else ("are", "take")
        sentences.append(
            f"{out_of(n_out, len(clips))} clips {verbs[0]} in none of training, validation and "
            f"test and {verbs[1]} no part."
        )
    if not (clips["split"] == "valid").any():
        sentences.append("This split has no validation clips: the last epoch is the one tested.")
    return sentences


def n_folds(split: Choice[SplitFacts]) -> int:
    """How many folds there are; over all of them every clip is tested once."""
    return int(split.options.n_folds) if split.facts.folds else 1


def title(part: Part, fold: int | None = None) -> str:
    """What people call a split and its fold, counted from 1: `By artist, fold 1 of 5`.

    Args:
        part: The scheme with its options; the name of a scheme that is gone stays as it is.
        fold: Counted from 0; None names the scheme alone.
    """
    try:
        choice = part.choose_from(SPLITS)
    except UsageError:
        return part.name
    name, n = SPLITS[part.name].title, n_folds(choice)
    return name if fold is None or n == 1 else f"{name}, fold {fold + 1} of {n}"


def describe(split: Choice[SplitFacts], fold: int = 0) -> str:
    """What the scheme does with these options, in one sentence for people."""
    facts, options = split.facts, split.options
    sentence = facts.says_albums if getattr(options, "albums", False) else facts.says
    values = {key: f"{v:g}" if isinstance(v, float) else v for key, v in options}
    sentence = sentence.format(**values)
    if facts.folds:
        sentence += f"; fold {fold + 1} of {options.n_folds}"
    return f"{sentence}."
