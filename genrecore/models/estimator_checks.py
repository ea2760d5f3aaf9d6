"""What a loaded estimator must hold to: what scikit-learn would index without looking.

A file of trusted types can still be made to point outside its arrays, which ends the process or
reads memory that is not its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def check(found: Any, like: Any, n_genres: int, n_features: int) -> None:
    """Refuses an estimator whose parts do not belong together.

    Args:
        found: Fitted, of unknown origin.
        like: One of the kind it must be, as the model builds it; it need not be fitted.
        n_genres: Its classes must be 0 … n_genres - 1.
        n_features: Of the vectors that it will be given.

    Raises:
        ValueError: What is wrong.
    """
    _need(type(found) is type(like), f"expected {type(like).__name__}")
    _need(np.array_equal(found.classes_, np.arange(n_genres)), "its genres are others")
    _need(found.n_features_in_ == n_features, "it takes vectors of another length")
    name = type(found).__name__
    if name == "KNeighborsClassifier":
        _check_neighbours(found, n_genres, n_features)
    elif name == "LogisticRegression":
        rows = n_genres if n_genres > 2 else 1
        _need(found.coef_.shape == (rows, n_features), "its weights have another shape")
    elif name == "CalibratedClassifierCV":
        inner = found.calibrated_classifiers_[0]
        _need(type(inner.estimator) is type(like.estimator), "it calibrates something else")
        _check_machine(inner.estimator, n_genres, n_features)
    elif name == "RandomForestClassifier":
        _check_forest(found, n_genres, n_features)
    elif name == "HistGradientBoostingClassifier":
        _check_boosting(found, n_genres, n_features)
    else:
        raise ValueError(f"nothing is known of {name}")


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _check_neighbours(found: Any, n_genres: int, n_features: int) -> None:
    n = len(found._fit_X)
    _need(found._fit_X.shape == (n, n_features), "its clips have another shape")
    _need(found._y.shape == (n,) and found.n_samples_fit_ == n, "its clips and genres differ")
    _need(found._y.min() >= 0 and found._y.max() < n_genres, "its genres are others")
    _need(found._fit_method == "brute" and 1 <= found.n_neighbors <= n, "its search is another")
    _need(found.effective_metric_ == "euclidean", "its distances are others")


def _check_machine(found: Any, n_genres: int, n_features: int) -> None:
    n = len(found.support_vectors_)
    _need(found.kernel == "rbf" and found._impl == "c_svc", "its kernel is another")
    _need(not found._sparse and not len(found._probA), "it is of another kind")
    _need(np.array_equal(found.classes_, np.arange(n_genres)), "its genres are others")
    _need(found.support_vectors_.shape == (n, n_features), "its vectors have another length")
    counts = found._n_support
    _need(counts.shape == (n_genres,) and counts.min() >= 0, "its counts have another shape")
    _need(found.support_.shape == (n,) and int(counts.sum()) == n, "its counts do not add up")
    _need(found._dual_coef_.shape == (n_genres - 1, n), "its weights have another shape")
    pairs = n_genres * (n_genres - 1) // 2
    _need(found._intercept_.shape == (pairs,), "its boundaries have another number")


def _check_forest(found: Any, n_genres: int, n_features: int) -> None:
    _need(found.n_outputs_ == 1 and len(found.estimators_) > 0, "it has no trees")
    for one in found.estimators_:
        _need(type(one).__name__ == "DecisionTreeClassifier", "it holds something else than trees")
        tree = one.tree_
        left = tree.children_left
        _need(tree.value.shape == (len(left), 1, n_genres), "a tree has other genres")
        _check_nodes(left, tree.children_right, tree.feature, left == -1, n_features)


def _check_boosting(found: Any, n_genres: int, n_features: int) -> None:
    n_trees = n_genres if n_genres > 2 else 1
    _need(found._baseline_prediction.shape == (1, n_trees), "it starts from other genres")
    _need(len(found._predictors) > 0, "it has no trees")
    for iteration in found._predictors:
        _need(len(iteration) == n_trees, "it has trees of other genres")
        for one in iteration:
            nodes = one.nodes
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
    asked = feature[inner].astype(np.int64)
    _need(bool(((asked >= 0) & (asked < n_features)).all()), "a tree asks for other features")
