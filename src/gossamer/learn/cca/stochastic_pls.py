"""Partial least squares of two views, by stochastic steps."""

from __future__ import annotations

import numpy as np

from gossamer._core.random import RandomState
from gossamer.learn.cca.rotation import Rotation
from gossamer.learn.cca.two_views import TwoViews


class StochasticPLS(TwoViews):
    r"""The unit directions of X and Y with the largest covariance: singular vectors of ``X^T Y``, from mini-batches.

    :class:`StochasticCCA` with a ridge of one: minimises :math:`\mathrm{tr}(-2 C + V^2)` with
    :math:`C = \mathrm{Cov}(XU, YW) + \mathrm{Cov}(YW, XU)` and :math:`V = U^T U + W^T W`. Equivalent to
    :class:`sklearn.cross_decomposition.PLSSVD` with ``scale=False``, for data whose cross-covariance, or which
    themselves, do not fit in memory: half a million variants of as many people as there are, as bytes on a disk.

    Parameters
    ----------
    n_components : int
        Directions K of each view; at most the features of the smaller one.
    batch_size : int
        Rows of a batch.
    max_epochs : int
        Passes over the data.
    learning_rate : float or "auto"
        "auto" is 1e-3 up to batches of 20 rows and 3e-3 above, which covariances of many features find too low: 0.01 to
        0.1 is usual, with ``average=True``. Of Adam, the rate of a view of p features is that times ``sqrt(q / p)``, q
        the geometric mean of both, for its weights are the smaller the more there are.
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
        Divide every view by one number, its root mean variance over the first 1,000 rows.
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
    x_weights_ : ndarray, shape (p, K)
    y_weights_ : ndarray, shape (q, K)
        float32 for float32 and narrower data, else float64.
    x_mean_ : ndarray, shape (p,)
    y_mean_ : ndarray, shape (q,)
        Means of the features.
    correlations_ : ndarray, shape (K,)
        Of the scores, after the last pass.
    eigenvalues_ : ndarray, shape (K,)
        Of the generalised eigenproblem of the scaled views, after the last pass.
    covariances_ : ndarray, shape (K,)
        Of the scores, in units of the data, after the last pass: singular values of the cross-covariance.
    x_scale_, y_scale_ : float
        What the views were divided by.
    loss_curve_ : list of float
        Loss of every step.
    n_steps_, n_iter_ : int
        Steps and epochs.
    n_features_in_ : int
        Features of X.

    Raises
    ------
    ShapeError, ArgumentError
        Views with different numbers of rows, parameters out of range, NaN, and weights that diverge (with
        scikit-learn's ``FitFailedWarning``). All are ``ValueError``, also for complex data, as scikit-learn's contract
        has it.

    Notes
    -----
    A step takes O(m K (p + q)) operations in two readings of the batch, and O(K (p + q)) memory beside it; neither N
    nor the square of p enters. Batches of int8, uint8, float16 and float32 are widened to float32 in the cache.
    Gradients longer than ten times their running median are cut to that. Passes every check of scikit-learn's
    ``check_estimator`` with one component, for those checks have a y of one column.

    References
    ----------
    Chapman, Wells, Lawry Aguila, "Unconstrained stochastic CCA: unifying multiview and self-supervised learning",
    ICLR 2024, arXiv 2310.01012.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import StochasticPLS
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 30)) * np.linspace(1, 3, 30)
    >>> Y = X[:, ::3] + rng.normal(size=(500, 10))
    >>> model = StochasticPLS(n_components=2, max_epochs=40, random_state=0).fit(X, Y)
    >>> exact = np.linalg.svd((X - X.mean(0)).T @ (Y - Y.mean(0)) / 499)[1][:2]
    >>> bool(np.allclose(model.covariances_, exact, rtol=0.02))
    True
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        batch_size: int = 100,
        max_epochs: int = 1,
        learning_rate: float | str = "auto",
        optimizer: str = "adam",
        paired: bool = False,
        shift: bool = False,
        average: bool = False,
        scale: bool = True,
        finalize: bool = True,
        tol: float | None = None,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.paired = paired
        self.shift = shift
        self.average = average
        self.scale = scale
        self.finalize = finalize
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _ridges(self, views: int) -> list[float]:
        return [1.0] * views

    def _publish(self, rotation: Rotation | None) -> None:
        super()._publish(rotation)
        if rotation is None:
            self.__dict__.pop("covariances_", None)
        else:
            self.covariances_ = rotation.eigenvalues * float(np.prod(self.scales_))
