"""Canonical correlation analysis of any number of views, by stochastic steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from gossamer._core.errors import ShapeError, bad_argument
from gossamer.learn.cca.estimator import EYEstimator
from gossamer.linalg import canonical_correlations


class MultiviewCCA(EYEstimator):
    r"""Directions along which two or more views agree (SUMCOR), found from mini-batches.

    Minimises :math:`\mathrm{tr}(-2 C + V^2)` with :math:`C = \sum_{i \ne j} \mathrm{Cov}(X_i U_i, X_j U_j)` and
    :math:`V = \sum_i (1 - \alpha_i) \mathrm{Cov}(X_i U_i) + \alpha_i U_i^T U_i`, without a constraint, a covariance of
    features or a copy of the data: the views may be memory maps, of bytes too, or batches that an iterable yields. A
    last pass solves the problem exactly within the subspaces found.

    Parameters
    ----------
    n_components : int
        Directions K of each view; at most the features of the smallest.
    ridge : float or sequence of float
        :math:`\alpha` in [0, 1], one or one a view: 0 is CCA, 1 is PLS (unit weights), something between regularises.
    batch_size : int
        Rows of a batch. With fewer rows than features and no ridge, small batches need Adam and small rates.
    max_epochs : int
        Passes over the data.
    learning_rate : float or "auto"
        "auto" is 1e-3 up to batches of 20 rows and 3e-3 above. Of Adam, the rate of a view of p features is that times
        ``sqrt(q / p)``, q the geometric mean over views, for its weights are the smaller the more there are.
    optimizer : {"adam", "sgd"}
        "sgd" has momentum 0.9 and commutes with rotations of the features, which Adam does not.
    paired : bool
        Make the gradient unbiased by taking the two factors of V^2 from the two halves of each batch.
    shift : bool
        Count i = j in C as well: the same subspace, eigenvalues larger by one.
    average : bool
        Use a mean of the weights of all steps in which step t counts about as t^3: nearly that of the last half. It
        takes out most of the noise of small batches and bears twice the rate or more.
    scale : bool
        Divide every view by one number, its root mean variance over the first 1,000 rows. A ridge then is relative to
        that.
    finalize : bool
        Make the last pass. Without it the weights are a minimiser of the loss up to an orthogonal matrix, and nothing
        says how correlated the directions are; :meth:`rotate` makes the pass later.
    tol : float, optional
        End when no direction of any subspace moved by more than this sine over an epoch. (The loss is no criterion:
        with more features than rows it keeps falling.)
    random_state : int, Generator or None
        Of the start and the order of rows.
    n_jobs : int, optional
        Threads; the result does not depend on them.
    verbose : int
        Print the loss of every epoch.

    Attributes
    ----------
    weights_ : list of ndarray, shape (p_i, K)
        float32 for float32 and narrower data, else float64.
    means_ : list of ndarray, shape (p_i,)
        Means of the features.
    correlations_ : ndarray, shape (K,)
        Mean correlation of the scores over pairs of views, after the last pass.
    eigenvalues_ : ndarray, shape (K,)
        Of the generalised eigenproblem of the scaled views, after the last pass.
    scales_ : ndarray, shape (n_views,)
        What views were divided by.
    loss_curve_ : list of float
        Loss of every step.
    n_steps_, n_iter_ : int
        Steps and epochs.

    Raises
    ------
    ShapeError, ArgumentError
        Views with different numbers of rows, parameters out of range, NaN, and weights that diverge (with
        scikit-learn's ``FitFailedWarning``).

    Notes
    -----
    A step takes O(m K sum p_i) operations in two readings of the batch, and O(K sum p_i) memory beside it; neither N
    nor the square of p enters. Batches of int8, uint8, float16 and float32 are widened to float32 in the cache.
    Gradients longer than ten times their running median are cut to that. scikit-learn's common checks take one array
    X and do not apply to lists of views; they apply to :class:`StochasticCCA`.

    References
    ----------
    Chapman, Wells, Lawry Aguila, "Unconstrained stochastic CCA: unifying multiview and self-supervised learning",
    ICLR 2024, arXiv 2310.01012.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import MultiviewCCA
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.normal(size=(2000, 1))
    >>> views = [np.hstack([shared, rng.normal(size=(2000, 4))]) for _ in range(3)]
    >>> model = MultiviewCCA(n_components=1, max_epochs=20, random_state=0).fit(views)
    >>> bool(model.correlations_[0] > 0.99)
    True
    """

    def fit(self, Xs: Any, y: Any = None) -> MultiviewCCA:
        """Fit to views.

        Parameters
        ----------
        Xs : list of array, shape (N, p_i), or iterable of such lists
            Views with the same rows: arrays, memory maps, or an iterable (not a list) of batches.
        y : None
            Ignored.
        """
        self._fit(self._several(Xs) if isinstance(Xs, (list, tuple)) else _iterable(Xs))
        return self

    def partial_fit(self, Xs: Sequence[Any], y: Any = None) -> MultiviewCCA:
        """Take one step on a batch, a list of arrays (m, p_i); y is ignored."""
        self._partial_fit(self._several(Xs))
        return self

    def rotate(self, Xs: Any) -> MultiviewCCA:
        """Solve exactly within the subspaces, by one pass over ``Xs``; sets correlations, eigenvalues and means."""
        self._rotate(Xs)
        return self

    def transform(self, Xs: Sequence[Any]) -> list[np.ndarray]:
        """Scores of every view, a list of arrays (N, K)."""
        check_is_fitted(self, "n_steps_")
        arrays = self._check_views(Xs, reset=False, least=1)
        return [self._scores(i, X) for i, X in enumerate(arrays)]

    def fit_transform(self, Xs: Any, y: Any = None) -> list[np.ndarray]:
        """Fit, then scores of every view."""
        return self.fit(Xs).transform(Xs)

    def score(self, Xs: Sequence[Any], y: Any = None) -> float:
        """Mean canonical correlation of the scores, over components and pairs of views."""
        zs = self.transform(Xs)
        pairs = [canonical_correlations(zs[i], zs[j]).mean() for i in range(len(zs)) for j in range(i)]
        return float(np.mean(pairs))

    def _several(self, Xs: Sequence[Any]) -> Sequence[Any]:
        if len(Xs) < 2:
            raise ShapeError(f"Xs has {len(Xs)} views: expected two or more")
        return Xs

    def _publish(self, rotation: Any) -> None:
        super()._publish(rotation)
        self.weights_ = self._weights


def _iterable(Xs: Any) -> Any:
    if not hasattr(Xs, "__iter__") or hasattr(Xs, "shape"):
        raise bad_argument("Xs", type(Xs).__name__, "a list of arrays, or an iterable of such lists")
    return Xs
