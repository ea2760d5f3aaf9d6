"""Labels doubted before anything was trained: cross-validated linear probes over embeddings.

Every clip is judged by probes that learned from other clips, of other artists where artists are
known, and confident learning ranks the labels by what they say of it. A probe can be wrong as well,
and so can the encoder below it: the list says what to listen to first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from genrecore.data import splits
from genrecore.data.clips import LEAST_PER_GENRE, check_table, genres_of
from genrecore.errors import GenrecoreError
from genrecore.evaluation.mistakes import suspects
from genrecore.inference.clip_embeddings import by_encoder, embed_clips
from genrecore.models import MODELS
from genrecore.store.progress import Phase, Report, silent
from genrecore.words import out_of, plural

COLUMNS = ("clip_id", "genre", "suggested", "suggested_proba", "label_proba", "suspect")
_N_REPEATS = 2  # draws of the folds, whose probabilities are averaged
_N_COMPONENTS = 128
_MOST_FOLDS, _LEAST_FOLDS = 5, 3


@dataclass(frozen=True)
class LabelDoubts:
    """The labels of a dataset, those that are most likely wrong first.

    Attributes:
        clips: `COLUMNS`, one row a clip: the label, the most probable other genre, the probability
            of both, and whether confident learning counts the label as wrong.
        encoder: Name of the encoder whose embeddings the probes learned from.
        accuracy: Share of the clips for which the probes name the label.
        folds: How the clips were dealt into folds, in a sentence.
        notes: What else has to be known, in sentences.
        skipped: `clip_id, reason` of clips that cannot be used.
    """

    clips: pd.DataFrame
    encoder: str
    accuracy: float
    folds: str
    notes: tuple[str, ...] = ()
    skipped: tuple[Mapping[str, str], ...] = ()

    @property
    def n_suspect(self) -> int:
        """How many labels confident learning counts as wrong."""
        return int(self.clips["suspect"].sum())

    @property
    def sentence(self) -> str:
        """How many labels are doubtful, and by whom."""
        return (
            f"{out_of(self.n_suspect, len(self.clips))} labels are doubtful, going by linear "
            f"probes on embeddings of {self.encoder}. {self.folds}"
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"clips": self.clips.to_dict("records"), "sentence": self.sentence}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LabelDoubts:
        """From `as_dict`.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        clips = pd.DataFrame(list(values["clips"]), columns=list(COLUMNS)).astype(
            {"suggested_proba": float, "label_proba": float, "suspect": bool}
        )
        texts = str(values["encoder"]), float(values["accuracy"]), str(values["folds"])
        notes = tuple(map(str, values["notes"]))
        return cls(clips, *texts, notes, tuple(values["skipped"]))


def doubt_labels(
    clips: pd.DataFrame, encoder: str = "musicnn", report: Report = silent
) -> LabelDoubts:
    """The labels of a clip table by how doubtful they are.

    The probes stand on the widest layer of the encoder. Of 12 labels of 240 demo clips that were
    flipped at random, on average 11.4 were in the first tenth with no artist on both sides of a
    fold, and 11.9 with folds by clip (musicnn, 16 draws); on the 200 units before its tags 10.

    Args:
        clips: A clip table of audio.
        encoder: Name of an encoder whose weights are here.
        report: Called as `report(phase, done, total)`; it may raise `Stopped`.

    Raises:
        UsageError: There is no such encoder, or its weights are not here.
        GenrecoreError: The clips are no audio, or too few to judge one another.
    """
    embedding, skipped = embed_clips(clips, by_encoder(encoder, widest=True), report)
    counts = embedding.clips["genre"].value_counts()
    large = embedding.clips["genre"].isin(counts.index[counts >= LEAST_PER_GENRE]).to_numpy(bool)
    table = embedding.clips[large].reset_index(drop=True)
    notes = []
    if not large.all():
        n = len(large) - len(table)
        notes.append(
            f"{plural(n, 'clip')} of genres with fewer than {LEAST_PER_GENRE} clips "
            f"{'is' if n == 1 else 'are'} not judged."
        )
    check_table(table, "chosen")
    choice, sentence = _scheme(table)
    n_unknown = int(table["artist"].isna().sum())
    if choice.name == "by_artist" and n_unknown:
        notes.append(
            f"{plural(n_unknown, 'clip')} {'names' if n_unknown == 1 else 'name'} no artist and "
            f"{'counts' if n_unknown == 1 else 'count'} as an artist of "
            f"{'its' if n_unknown == 1 else 'their'} own."
        )
    ranked = suspects(list(_judged(table, _components(embedding.values[large]), choice, report)))
    right = float((ranked["margin"] > 0).mean())
    rows = ranked[list(COLUMNS)]
    return LabelDoubts(rows, encoder, right, sentence, tuple(notes), tuple(skipped))


def _scheme(clips: pd.DataFrame) -> tuple[Any, str]:
    """The split by which clips judge one another: by artist, where that leaves no genre out.

    Raises:
        GenrecoreError: None does.
    """
    reasons = []
    for name in ("by_artist", "stratified") if clips["artist"].notna().any() else ("stratified",):
        for n_folds in range(_MOST_FOLDS, _LEAST_FOLDS - 1, -1):
            choice = splits.SPLITS.choose(name, {"n_folds": n_folds})
            try:
                for seed in range(_N_REPEATS):
                    splits.apply(clips, choice, seed, 0)
            except GenrecoreError as error:
                reasons.append(str(error))
                continue
            how = f"{plural(n_folds, 'fold')}, dealt"
            if name == "by_artist":
                return choice, f"Each was judged by clips of other artists ({how} by artist)."
            why = f"not by artist: {reasons[-1]}" if reasons else "the artists are not known"
            return choice, (
                f"Each was judged by other clips, which may be by the same artist ({how} by clip; "
                f"{why.rstrip('.')})."
            )
    raise GenrecoreError(reasons[-1])


def _judged(
    clips: pd.DataFrame, vectors: np.ndarray, choice: Any, report: Report
) -> Iterator[pd.DataFrame]:
    """For each draw of the folds, what probes say of the clips that they did not learn from, as
    `mistakes.suspects` takes it."""
    genres = genres_of(clips)
    labels = pd.Index(genres).get_indexer(pd.Index(clips["genre"].astype(object)))
    n_folds = splits.n_folds(choice)
    for seed in range(_N_REPEATS):
        proba = np.zeros((len(clips), len(genres)))
        for fold in range(n_folds):
            report(Phase.PROBING, seed * n_folds + fold, _N_REPEATS * n_folds)
            part = splits.apply(clips, choice, seed, fold)["split"].to_numpy(object)
            proba[part == "test"] = _probe(vectors, labels, part, len(genres))
        predicted = proba.argmax(axis=1)
        table = clips[["clip_id", "genre"]].assign(
            predicted=np.array(genres, dtype=object)[predicted], right=predicted == labels
        )
        yield table.assign(**{f"p_{genre}": proba[:, k] for k, genre in enumerate(genres)})
    report(Phase.PROBING, _N_REPEATS * n_folds, _N_REPEATS * n_folds)


def _probe(vectors: np.ndarray, labels: np.ndarray, part: np.ndarray, n_genres: int) -> np.ndarray:
    """Probabilities (test clips, genres) by the linear probe whose strength has the lowest loss of
    the validation clips, fitted to training and validation clips."""
    train, valid, test = (part == name for name in ("train", "valid", "test"))
    model = MODELS["linear_probe"]
    name, strengths = model.facts.tuned

    def proba(strength: float, learned: np.ndarray, asked: np.ndarray) -> np.ndarray:
        estimator = model.thing(model.options(**{name: strength}), 0)
        estimator.fit(vectors[learned], labels[learned])
        result = np.zeros((int(asked.sum()), n_genres))
        result[:, estimator.classes_] = estimator.predict_proba(vectors[asked])
        return result

    def loss(strength: float) -> float:
        of_label = proba(strength, train, valid)[np.arange(valid.sum()), labels[valid]]
        return -float(np.log(np.maximum(of_label, 1e-12)).mean())

    with threadpool_limits(1):
        return proba(min(strengths, key=loss), train | valid, test)


def _components(values: np.ndarray) -> np.ndarray:
    """The first principal components of standardised embeddings (clips, numbers): probes on them
    learn as much of a few hundred clips, in a tenth of the time."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    n = min(_N_COMPONENTS, *values.shape)
    scaled = StandardScaler().fit_transform(values.astype(np.float64))
    vectors: np.ndarray = PCA(n, svd_solver="randomized", random_state=0).fit_transform(scaled)
    return vectors
