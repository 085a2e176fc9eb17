"""Unmix spectra with robust channels and a sparsity that each pixel learns (RRLbS)."""

from __future__ import annotations

from typing import Any

from gossamer._core.random import RandomState
from gossamer.learn.unmix.unmixer import Model, Unmixer


class RRLbS(Unmixer):
    r"""Spectral unmixing by robust representation and learning-based sparsity.

    Minimises, over endmembers M >= 0 and abundances A >= 0,

    ``c sum_l sqrt(|x_l - A m_l|^2 + eps^2) + lam sum_nk (a_nk + xi)^(1 - h_n) + delta^2/2 sum_n (1 - sum_k a_nk)^2``.

    The first term counts a degraded channel l linearly, not squared. The second is an l_p norm with ``p = 1 - h_n`` of
    each pixel's own, and the guidance map h is learnt: near 0 in mixed pixels, near 1 in pure ones. The third asks
    shares to sum to one. All steps are multiplicative and never raise the objective.

    Parameters
    ----------
    n_endmembers : int
        K, at least 2.
    lam : float or "auto"
        Strength of the sparsity, for X scaled to a largest value of 1 on trusted channels; "auto" follows from the
        noise of the channels, five times as much with "evidence" as with other measures of guidance.
    robust : bool
        False squares the residuals.
    sparsity : "learned", "none", float or array of shape (n_samples,)
        Where h comes from: learnt; no sparsity term; one fixed h in [0, 1) for all pixels (0.5 is l1/2-NMF); given.
    h_max : float
        Largest h that is learnt.
    sum_to_one : float
        delta.
    init : "vca", "random" or (M, A)
        Start: corners of the trusted channels, random pixels, or given arrays (K, L) and (n_samples, K).
    max_iter : int
        Most iterations.
    inner : int
        Repeats of each multiplicative step in an iteration.
    map_every, map_iter : int
        The guidance is learnt every ``map_every`` iterations until iteration ``map_iter``; what follows is a descent.
    eps, xi : float
        As above; eps is times the root of the number of pixels.
    tol : float
        Relative change of the objective over ``map_every`` iterations at which they end.
    guidance : {"evidence", "hoyer", "gini", "max"}
        What is taken for a pure pixel: "evidence" weighs whether one endmember explains the pixel as well as the
        mixture, given the noise of its channels (Bayesian information criterion); the others are measures of how sparse
        its shares are.
    smooth_map : bool
        Take the 3 x 3 median of the guidance map; needs ``shape`` or a cube.
    n_init : int
        Starts, of which the one with the least objective is kept.
    clip_negative : bool
        Set negative values of X to zero instead of refusing them.
    dtype : {"float32", "float64"}, optional
        Of the pixels' part of the computation; that of X by default.
    random_state : int, Generator or None
        Source of the starts.

    Attributes
    ----------
    endmembers_, abundances_ : ndarray
        M, of shape (K, n_features), and A, of shape (n_samples, K).
    guidance_ : ndarray, shape (n_samples,)
        h.
    channel_weights_ : ndarray, shape (n_features,)
        u: small where channels are degraded, 0 for channels of zeros.
    trusted_ : ndarray of bool, shape (n_features,)
        Channels that the start used.
    lam_ : float
        As used.
    objective_ : float
        At the end.
    history_ : dict of list
        "objective" of each iteration, and "changed": whether its definition changed there (h or c were renewed).
    n_iter_, n_features_in_ : int

    Raises
    ------
    ArgumentError, ShapeError, ValueError
        For negative, NaN or infinite X (with the first place), K out of range, arrays that do not fit.

    Notes
    -----
    An iteration costs ``O(N L K + (N + L) K^2)``; besides X nothing of its size is kept, and X may be a memory map.
    With the sum-to-one term an l1 norm is constant: ``sparsity=0.0`` is hardly different from ``"none"``.

    References
    ----------
    Zhu, Wang, Fan, Meng, Pan, "Effective spectral unmixing via robust representation and learning-based sparsity",
    arXiv 1409.0685, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import RRLbS, sad, simulate_scene
    >>> waves = np.linspace(0, 3, 60)
    >>> spectra = np.stack([1 + np.sin(waves * k + k) for k in (1, 2, 3)])
    >>> scene = simulate_scene(spectra, (24, 24), kind="half_pure", random_state=0)
    >>> model = RRLbS(3, max_iter=300, random_state=0).fit(scene.X)
    >>> bool(sad(scene.M, model.endmembers_).max() < 0.02)
    True
    """

    def __init__(
        self,
        n_endmembers: int = 2,
        *,
        lam: float | str = "auto",
        robust: bool = True,
        sparsity: Any = "learned",
        h_max: float = 0.9,
        sum_to_one: float = 15.0,
        init: Any = "vca",
        max_iter: int = 1000,
        inner: int = 3,
        map_every: int = 10,
        map_iter: int = 300,
        eps: float = 1e-3,
        xi: float = 1e-3,
        tol: float = 1e-5,
        guidance: str = "evidence",
        smooth_map: bool = False,
        n_init: int = 1,
        clip_negative: bool = False,
        dtype: str | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.n_endmembers = n_endmembers
        self.lam = lam
        self.robust = robust
        self.sparsity = sparsity
        self.h_max = h_max
        self.sum_to_one = sum_to_one
        self.init = init
        self.max_iter = max_iter
        self.inner = inner
        self.map_every = map_every
        self.map_iter = map_iter
        self.eps = eps
        self.xi = xi
        self.tol = tol
        self.guidance = guidance
        self.smooth_map = smooth_map
        self.n_init = n_init
        self.clip_negative = clip_negative
        self.dtype = dtype
        self.random_state = random_state

    def _model(self) -> Model:
        return Model(
            robust=self.robust,
            sparsity=self.sparsity,
            delta=self.sum_to_one,
            h_max=self.h_max,
            eps=self.eps,
            xi=self.xi,
            measure=self.guidance,
            smooth=self.smooth_map,
            map_every=self.map_every,
            map_iter=self.map_iter,
        )
