"""Non-negative factors with one sparsity for all samples: NMF, l1, l1/2 and l_p."""

from __future__ import annotations

from typing import Any

from gossamer._core.checks import check_float
from gossamer._core.errors import bad_argument
from gossamer._core.random import RandomState
from gossamer.learn.unmix.unmixer import Model, Unmixer


class SparseNMF(Unmixer):
    r"""Non-negative matrix factorisation with an l_p penalty on shares that sum to one.

    Minimises, over components H >= 0 and shares W >= 0,

    ``1/2 |X - W H|_F^2 + lam sum_nk (w_nk + xi)^p + delta^2/2 sum_n (1 - sum_k w_nk)^2``.

    p = 1/2 is l1/2-NMF, the usual choice for mixed spectra. ``lam=0`` is NMF with shares that sum to one, and with
    ``sum_to_one=0`` as well plain NMF. With p = 1 and shares that sum to one the penalty is a constant.

    Parameters
    ----------
    n_components : int
        K, at least 1.
    p : float
        In (0, 1].
    lam : float or "auto"
        Strength of the penalty, for X scaled to a largest value of 1 on trusted features; "auto" follows from the noise
        of features that are neighbours, as in spectra.
    sum_to_one : float
        delta; 0 only with ``lam=0``: shares could vanish under the penalty while components grow.
    init : "vca", "random" or (H, W)
        Start: corners of the data, random samples, or given arrays (K, L) and (n_samples, K).
    max_iter : int
        Most iterations.
    inner : int
        Repeats of each multiplicative step in an iteration.
    xi : float
        Keeps the slope of the penalty finite at zero.
    tol : float
        Relative change of the objective over ten iterations at which they end.
    n_init : int
        Starts, of which the one with the least objective is kept.
    clip_negative : bool
        Set negative values of X to zero instead of refusing them.
    dtype : {"float32", "float64"}, optional
        Of the samples' part of the computation; that of X by default.
    random_state : int, Generator or None
        Source of the starts.

    Attributes
    ----------
    components_ : ndarray, shape (K, n_features)
        H; also ``endmembers_``.
    abundances_ : ndarray, shape (n_samples, K)
        W.
    lam_ : float
        As used.
    objective_ : float
        At the end, of the scaled X.
    history_ : dict of list
        "objective" of each iteration.
    trusted_ : ndarray of bool, shape (n_features,)
        Features that the start used.
    n_iter_, n_features_in_ : int

    Raises
    ------
    ArgumentError, ShapeError, ValueError
        For negative, NaN or infinite X (with the first place), parameters out of range, arrays that do not fit.

    See Also
    --------
    RRLbS : Channels that may be degraded, and a sparsity that each pixel learns.
    sklearn.decomposition.NMF : Without a constraint on sums, with l1 and l2 penalties.

    Notes
    -----
    The updates are multiplicative and never raise the objective; an iteration costs ``O(N L K + (N + L) K^2)``.

    References
    ----------
    Qian, Jia, Zhou, Robles-Kelly, "Hyperspectral unmixing via L1/2 sparsity-constrained nonnegative matrix
    factorization", IEEE TGRS 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import SparseNMF
    >>> rng = np.random.default_rng(0)
    >>> W = rng.dirichlet(np.full(3, 0.3), 200)
    >>> model = SparseNMF(3, max_iter=200, random_state=0).fit(W @ rng.random((3, 20)))
    >>> bool(np.abs(model.abundances_.sum(axis=1) - 1).max() < 0.01)
    True
    """

    _count = "n_components"
    _least = 1

    def __init__(
        self,
        n_components: int = 2,
        *,
        p: float = 0.5,
        lam: float | str = "auto",
        sum_to_one: float = 15.0,
        init: Any = "vca",
        max_iter: int = 1000,
        inner: int = 3,
        xi: float = 1e-3,
        tol: float = 1e-5,
        n_init: int = 1,
        clip_negative: bool = False,
        dtype: str | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.n_components = n_components
        self.p = p
        self.lam = lam
        self.sum_to_one = sum_to_one
        self.init = init
        self.max_iter = max_iter
        self.inner = inner
        self.xi = xi
        self.tol = tol
        self.n_init = n_init
        self.clip_negative = clip_negative
        self.dtype = dtype
        self.random_state = random_state

    @property
    def components_(self) -> Any:
        """Components H: (K, n_features)."""
        return self.endmembers_

    def _model(self) -> Model:
        p = check_float("p", self.p, low=0, high=1, closed="right")
        free = not isinstance(self.lam, str) and self.lam == 0
        if not free and self.sum_to_one == 0:
            raise bad_argument("sum_to_one", 0, "more than 0 with a penalty, or lam=0")
        return Model(robust=False, sparsity="none" if free else 1 - p, delta=self.sum_to_one, xi=self.xi)
