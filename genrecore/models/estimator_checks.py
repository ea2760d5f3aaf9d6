"""Checks of a loaded estimator: scikit-learn indexes its arrays without looking.

A file of trusted types can still point outside its arrays, which ends the process or reads memory
that is not its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def check(estimator: Any, expected: Any, n_genres: int, n_features: int) -> None:
    """Refuses an estimator whose parts do not belong together.

    Args:
        estimator: Fitted, of unknown origin.
        expected: An estimator as the model builds it; it need not be fitted.
        n_genres: Its classes must be 0 … n_genres - 1.
        n_features: Of the vectors that it will be given.

    Raises:
        ValueError: What is wrong.
    """
    _need(type(estimator) is type(expected), f"expected {type(expected).__name__}")
    _need(np.array_equal(estimator.classes_, np.arange(n_genres)), "its genres are others")
    _need(estimator.n_features_in_ == n_features, "it takes vectors of another length")
    name = type(estimator).__name__
    if name == "KNeighborsClassifier":
        _check_neighbours(estimator, n_genres, n_features)
    elif name == "LogisticRegression":
        rows = n_genres if n_genres > 2 else 1
        _need(estimator.coef_.shape == (rows, n_features), "its weights have another shape")
    elif name == "NearestCentroid":
        _need(
            estimator.centroids_.shape == (n_genres, n_features)
            and np.shape(estimator.class_prior_) == (n_genres,)
            and estimator.metric == "euclidean",
            "its means have another shape",
        )
    elif name == "CalibratedClassifierCV":
        inner = estimator.calibrated_classifiers_[0]
        _need(type(inner.estimator) is type(expected.estimator), "it calibrates something else")
        _check_machine(inner.estimator, n_genres, n_features)
    elif name == "RandomForestClassifier":
        _check_forest(estimator, n_genres, n_features)
    elif name == "HistGradientBoostingClassifier":
        _check_boosting(estimator, n_genres, n_features)
    else:
        raise ValueError(f"nothing is known of {name}")


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _check_neighbours(estimator: Any, n_genres: int, n_features: int) -> None:
    n = len(estimator._fit_X)
    _need(estimator._fit_X.shape == (n, n_features), "its clips have another shape")
    _need(
        estimator._y.shape == (n,) and estimator.n_samples_fit_ == n, "its clips and genres differ"
    )
    _need(estimator._y.min() >= 0 and estimator._y.max() < n_genres, "its genres are others")
    _need(
        estimator._fit_method == "brute" and 1 <= estimator.n_neighbors <= n,
        "its search is another",
    )
    _need(estimator.effective_metric_ == "euclidean", "its distances are others")


def _check_machine(estimator: Any, n_genres: int, n_features: int) -> None:
    n = len(estimator.support_vectors_)
    _need(estimator.kernel == "rbf" and estimator._impl == "c_svc", "its kernel is another")
    _need(not estimator._sparse and not len(estimator._probA), "it is of another kind")
    _need(np.array_equal(estimator.classes_, np.arange(n_genres)), "its genres are others")
    _need(estimator.support_vectors_.shape == (n, n_features), "its vectors have another length")
    counts = estimator._n_support
    _need(counts.shape == (n_genres,) and counts.min() >= 0, "its counts have another shape")
    _need(estimator.support_.shape == (n,) and int(counts.sum()) == n, "its counts do not add up")
    _need(estimator._dual_coef_.shape == (n_genres - 1, n), "its weights have another shape")
    pairs = n_genres * (n_genres - 1) // 2
    _need(estimator._intercept_.shape == (pairs,), "its boundaries have another number")


def _check_forest(estimator: Any, n_genres: int, n_features: int) -> None:
    _need(estimator.n_outputs_ == 1 and len(estimator.estimators_) > 0, "it has no trees")
    for member in estimator.estimators_:
        _need(
            type(member).__name__ == "DecisionTreeClassifier", "it holds something else than trees"
        )
        tree = member.tree_
        left = tree.children_left
        _need(tree.value.shape == (len(left), 1, n_genres), "a tree has other genres")
        _check_nodes(left, tree.children_right, tree.feature, left == -1, n_features)


def _check_boosting(estimator: Any, n_genres: int, n_features: int) -> None:
    n_trees = n_genres if n_genres > 2 else 1
    _need(estimator._baseline_prediction.shape == (1, n_trees), "it starts from other genres")
    _need(len(estimator._predictors) > 0, "it has no trees")
    for iteration in estimator._predictors:
        _need(len(iteration) == n_trees, "it has trees of other genres")
        for tree in iteration:
            nodes = tree.nodes
            _need(not nodes["is_categorical"].any(), "a tree asks for categories")
            leaf = nodes["is_leaf"].astype(bool)
            _check_nodes(nodes["left"], nodes["right"], nodes["feature_idx"], leaf, n_features)


def _check_nodes(
    left: np.ndarray, right: np.ndarray, feature: np.ndarray, leaf: np.ndarray, n_features: int
) -> None:
    """Every way through a tree must go forward, end in a leaf, and ask for features there are."""
    n = len(left)
    _need(n > 0, "a tree has no nodes")
    inner = np.flatnonzero(~leaf)
    for child in (left[inner].astype(np.int64), right[inner].astype(np.int64)):
        _need(bool(((child > inner) & (child < n)).all()), "a tree's nodes point outside it")
    used = feature[inner].astype(np.int64)
    _need(bool(((used >= 0) & (used < n_features)).all()), "a tree asks for other features")
