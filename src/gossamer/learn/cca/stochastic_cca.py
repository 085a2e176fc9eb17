"""Canonical correlation analysis of two views, by stochastic steps."""

from __future__ import annotations

from gossamer.learn.cca.two_views import TwoViews


class StochasticCCA(TwoViews):
    r"""The directions of X and Y with the most correlated scores, found from mini-batches.

    Minimises :math:`\mathrm{tr}(-2 C + V^2)` with :math:`C = \mathrm{Cov}(XU, YW) + \mathrm{Cov}(YW, XU)` and
    :math:`V = \mathrm{Cov}(XU) + \mathrm{Cov}(YW)`, without a constraint or a covariance of features, and then solves
    the problem exactly within the two subspaces. For data that fit a p x p covariance,
    :class:`sklearn.cross_decomposition.CCA` and an SVD are exact; this is for the rest: many features, many rows,
    memory maps, streams.

    Parameters
    ----------
    n_components : int
        Directions K of each view; at most the features of the smaller one.
    ridge : float or pair of float
        :math:`\alpha` in [0, 1], one or one a view: 0 is CCA, 1 is PLS, something between regularises.
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
    x_weights_ : ndarray, shape (p, K)
    y_weights_ : ndarray, shape (q, K)
        float32 for float32 and narrower data, else float64.
    x_mean_ : ndarray, shape (p,)
    y_mean_ : ndarray, shape (q,)
        Means of the features.
    correlations_ : ndarray, shape (K,)
        Of the scores, after the last pass.
    eigenvalues_ : ndarray, shape (K,)
        Of the generalised eigenproblem of the scaled views, after the last pass; without a
        ridge, the correlations.
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
    >>> from gossamer.learn import StochasticCCA
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.normal(size=(2000, 2))
    >>> X, Y = (np.hstack([shared, rng.normal(size=(2000, 6))]) for _ in range(2))
    >>> model = StochasticCCA(n_components=2, max_epochs=20, random_state=0).fit(X, Y)
    >>> bool(model.correlations_.min() > 0.99)
    True
    >>> model.transform(X).shape
    (2000, 2)
    """
