"""Two views as scikit-learn's cross decomposition has them: X and y."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import check_is_fitted, validate_data

from gossamer._core.errors import ArgumentError
from gossamer.learn.cca.batches import on_disk
from gossamer.learn.cca.estimator import EYEstimator
from gossamer.learn.cca.rotation import Rotation
from gossamer.linalg import canonical_correlations


class TwoViews(EYEstimator):
    """``fit(X, y)`` and the attributes of both sides."""

    def fit(self, X: Any, y: Any = None) -> TwoViews:
        """Fit to two views.

        Parameters
        ----------
        X : array, shape (N, p), or iterable of pairs of arrays
            The first view, an array or a memory map; or, without y, batches ``(x, y)``: a list, a generator, a loader.
        y : array, shape (N, q) or (N,)
            The second view.
        """
        if y is None and not hasattr(X, "shape") and hasattr(X, "__iter__"):
            self._fit(X if not isinstance(X, (list, tuple)) else _Listed(X))
            return self
        self._remember(X, y, reset=True)
        self._fit([X, y])
        return self

    def partial_fit(self, X: Any, y: Any = None) -> TwoViews:
        """Take one step on a batch: X (m, p), y (m, q)."""
        self._remember(X, y, reset=not hasattr(self, "_descent"))
        self._partial_fit([X, y])
        return self

    def rotate(self, X: Any, y: Any = None) -> TwoViews:
        """Solve exactly within the subspaces, by one pass over the views; sets correlations, eigenvalues and means."""
        check_is_fitted(self, "n_steps_")
        self._rotate([X, y] if y is not None else _Listed(X) if isinstance(X, (list, tuple)) else X)
        return self

    def transform(self, X: Any, y: Any = None) -> Any:
        """Scores of X, (N, K), or of both views as a pair."""
        check_is_fitted(self, "n_steps_")
        array = self._check_view(0, X, 1)
        if not on_disk(X):
            validate_data(self, X, reset=False, skip_check_array=True)
        self._same_features(0, array)
        scores = self._scores(0, array)
        if y is None:
            return scores
        y = self._check_view(1, y, 1)
        self._same_features(1, y)
        return scores, self._scores(1, y)

    def score(self, X: Any, y: Any) -> float:
        """Mean canonical correlation of the scores of X and y."""
        return float(canonical_correlations(*self.transform(X, y)).mean())

    def __sklearn_tags__(self) -> Any:
        """Two targets and more are welcome, and one is needed."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.two_d_labels = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _view_name(self, i: int) -> str:
        return "Xy"[i]

    def _remember(self, X: Any, y: Any, *, reset: bool) -> None:
        """Feature names and counts, as scikit-learn keeps them."""
        if y is None:
            raise ArgumentError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: it needs two views"
            )
        if on_disk(X):
            if reset:
                self.n_features_in_ = X.shape[-1]
            return
        validate_data(self, X, reset=reset, skip_check_array=True)

    def _same_features(self, i: int, X: Any) -> None:
        if X.shape[1] != self._features[i]:
            raise ArgumentError(
                f"{'XY'[i]} has {X.shape[1]} features, but {type(self).__name__} is expecting {self._features[i]} "
                "features as input"
            )

    def _publish(self, rotation: Rotation | None) -> None:
        super()._publish(rotation)
        self.n_features_in_ = self._features[0]
        self.x_weights_, self.y_weights_ = self._weights
        self.x_mean_, self.y_mean_ = self.means_
        self.x_scale_, self.y_scale_ = (float(s) for s in self.scales_)


class _Listed:
    """A list of batches: something to pass over again, but not a list of views."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        return iter(self.batches)
