"""Classifiers of before the networks, fitted by scikit-learn to one vector a segment.

Each is scikit-learn's own, with its defaults unless an option says otherwise; the standardisation
comes before it, as it does before a network. scikit-learn itself is imported when an estimator is
built: it takes a second.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field

from genrecore.config.demand import Shortage, TrainingSet
from genrecore.config.registry import Options
from genrecore.config.training import zero_means
from genrecore.models.registered import MODELS
from genrecore.words import listed, plural

_VECTOR = frozenset({"vector"})


class KnnOptions(Options):
    """What can be chosen about nearest neighbours."""

    k: int = Field(
        3, title="Neighbours", description="So many training segments vote", ge=1, le=1000
    )
    weights: Literal["uniform", "distance"] = Field(
        "uniform",
        title="Votes",
        description="uniform counts neighbours alike; distance weighs each with 1 / its distance",
    )

    def shortage(self, there: TrainingSet) -> Shortage | None:
        """There must be so many neighbours."""
        if self.k <= there.n_rows:
            return None
        return Shortage(
            f"{self.k} neighbours are asked for, but there are {there.n_rows} training segments; "
            f"ask for {there.n_rows} or fewer.",
            {"k": there.n_rows},
        )


@MODELS.register(
    "knn",
    title="k nearest neighbours",
    source="Cover & Hart, Nearest neighbor pattern classification, IEEE Transactions on "
    "Information Theory 13(1), 1967; scikit-learn's KNeighborsClassifier",
    options=KnnOptions,
    accepts=_VECTOR,
    least=(1,),
    year=1967,
    idea="Nothing is learned: a clip has the genre of the training clips that lie nearest.",
    classical=True,
)
def knn(options: KnnOptions, seed: int) -> Any:
    """The genres of the k nearest training vectors by Euclidean distance, as shares of the votes.

    Every distance is computed: with 57 descriptors a search tree would look at nearly all anyway.
    """
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(options.k, weights=options.weights, algorithm="brute")


class LogisticRegressionOptions(Options):
    """What can be chosen about logistic regression."""

    C: float = Field(
        1.0,
        title="C",
        description="The smaller, the more the weights are held near zero (L2)",
        gt=0,
        le=1e9,
    )


@MODELS.register(
    "logistic_regression",
    title="Logistic regression",
    source="Cox, The regression analysis of binary sequences, Journal of the Royal Statistical "
    "Society B 20(2), 1958; for several genres at once scikit-learn's LogisticRegression",
    options=LogisticRegressionOptions,
    accepts=_VECTOR,
    least=(1,),
    year=1958,
    idea="One weighted sum of the descriptors for each genre, and a softmax over the sums.",
    classical=True,
)
def logistic_regression(options: LogisticRegressionOptions, seed: int) -> Any:
    """Multinomial logistic regression with an L2 penalty, by L-BFGS; nothing in it is random.

    Ours differs from scikit-learn's defaults in giving it 1 000 iterations instead of 100.
    """
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=options.C, max_iter=1000)


class SvmOptions(Options):
    """What can be chosen about a support vector machine."""

    C: float = Field(
        10.0,
        title="C",
        description="The larger, the more a training segment on the wrong side costs",
        gt=0,
        le=1e9,
    )
    gamma: float = Field(
        0.0,
        title="Gamma",
        description="How near a training segment must be to count: exp(-gamma · distance²)",
        ge=0,
        le=1e9,
        json_schema_extra=zero_means("1 / (descriptors · their variance), scikit-learn's scale"),
    )

    def shortage(self, there: TrainingSet) -> Shortage | None:
        """Its probabilities are cross-validated by clip."""
        few = tuple(sorted(genre for genre, n in there.n_clips.items() if n < 2))
        if not few:
            return None
        return Shortage(
            "The model svm needs two training clips of each genre for its probabilities, but there "
            f"is only one of {listed(few)}.",
            genres=few,
        )


@MODELS.register(
    "svm",
    title="Support vector machine (RBF)",
    source="Cortes & Vapnik, Support-vector networks, Machine Learning 20, 1995; probabilities "
    "after Platt 1999; scikit-learn's SVC (libsvm)",
    options=SvmOptions,
    accepts=_VECTOR,
    least=(1,),
    year=1995,
    idea="Between every two genres the boundary with the widest margin, bent by a kernel of "
    "distances.",
    classical=True,
)
def svm(options: SvmOptions, seed: int) -> Any:
    """A support vector machine with a radial kernel, one against one, and a calibration of it.

    The machine itself knows no probabilities. They come from sigmoids fitted to its decision values
    on held-out training clips, which whoever fits it deals into folds. The genre predicted stays
    the machine's own decision (`genrecore.models.fitted`).
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    machine = SVC(C=options.C, gamma=options.gamma or "scale")
    return CalibratedClassifierCV(
        machine, method="sigmoid", ensemble=False, n_jobs=torch.get_num_threads()
    )


class RandomForestOptions(Options):
    """What can be chosen about a random forest."""

    n_trees: int = Field(
        300, title="Trees", description="Their probabilities are averaged", ge=1, le=5000
    )
    max_depth: int = Field(
        0,
        title="Depth",
        description="Questions on the way to a leaf",
        ge=0,
        le=64,
        json_schema_extra=zero_means("no limit"),
    )
    min_leaf: int = Field(
        1,
        title="Segments in a leaf",
        description="At least so many; more make smaller trees",
        ge=1,
        le=10_000,
    )

    def shortage(self, there: TrainingSet) -> Shortage | None:
        """A tree with a question has two leaves."""
        return _no_question(self.min_leaf, there)


@MODELS.register(
    "random_forest",
    title="Random forest",
    source="Breiman, Random forests, Machine Learning 45, 2001; scikit-learn's "
    "RandomForestClassifier",
    options=RandomForestOptions,
    accepts=_VECTOR,
    least=(1,),
    year=2001,
    idea="Many decision trees, each grown on other clips and other descriptors, are averaged.",
    classical=True,
    grows="n_estimators",
    portion=20,
)
def random_forest(options: RandomForestOptions, seed: int) -> Any:
    """Trees on bootstrap samples that choose among √n descriptors at every question."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        options.n_trees,
        max_depth=options.max_depth or None,
        min_samples_leaf=options.min_leaf,
        n_jobs=torch.get_num_threads(),
        random_state=seed,
    )


class GradientBoostingOptions(Options):
    """What can be chosen about gradient boosting."""

    iterations: int = Field(
        200, title="Iterations", description="Each adds one tree a genre", ge=1, le=5000
    )
    learning_rate: float = Field(
        0.1, title="Learning rate", description="How much of each tree is added", gt=0, le=1
    )
    leaves: int = Field(31, title="Leaves", description="Of a tree, at most", ge=2, le=1024)
    min_leaf: int = Field(
        20,
        title="Segments in a leaf",
        description="At least so many; with few clips a tree needs fewer",
        ge=1,
        le=10_000,
    )
    features: float = Field(
        0.3,
        title="Descriptors looked at",
        description="Share of them, drawn anew for every question of a tree",
        gt=0,
        le=1,
    )

    def shortage(self, there: TrainingSet) -> Shortage | None:
        """A tree with a question has two leaves."""
        return _no_question(self.min_leaf, there)


@MODELS.register(
    "gradient_boosting",
    title="Gradient boosting",
    source="Friedman, Greedy function approximation: a gradient boosting machine, Annals of "
    "Statistics 29(5), 2001; on histograms after LightGBM (Ke et al., NeurIPS 2017); "
    "scikit-learn's HistGradientBoostingClassifier",
    options=GradientBoostingOptions,
    accepts=_VECTOR,
    least=(1,),
    year=2001,
    idea="Small trees one after the other, each mending what those before it still get wrong.",
    classical=True,
    grows="max_iter",
    portion=10,
)
def gradient_boosting(options: GradientBoostingOptions, seed: int) -> Any:
    """Boosted trees on descriptors in 255 bins.

    Ours differs from scikit-learn's defaults in three things. Each question of a tree looks at 3 in
    10 descriptors only, and there are 200 iterations instead of 100: on GTZAN's table, ten
    stratified folds dealt with four split seeds, that gave 74.8 % on average, the defaults 73.5 %.
    And no segments are held back to stop early, which it would do above 10 000 of them: those could
    be of clips that it trains on.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        learning_rate=options.learning_rate,
        max_iter=options.iterations,
        max_leaf_nodes=options.leaves,
        min_samples_leaf=options.min_leaf,
        max_features=options.features,
        early_stopping=False,
        random_state=seed,
    )


def _no_question(min_leaf: int, there: TrainingSet) -> Shortage | None:
    """Where there are too few segments for two leaves, all get the same probabilities."""
    if there.n_rows >= 2 * min_leaf:
        return None
    return Shortage(
        f"No tree can ask a question: with {plural(min_leaf, 'segment')} in a leaf it needs "
        f"{2 * min_leaf} training segments, and there are {there.n_rows}. Every clip would get the "
        "same prediction.",
        {"min_leaf": max(1, there.n_rows // 4)},
        trains=True,
    )
