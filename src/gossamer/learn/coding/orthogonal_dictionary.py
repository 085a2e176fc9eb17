"""An orthogonal dictionary learnt from a stream, by Frank-Wolfe steps over the spectral ball."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from gossamer._core.checks import check_array, check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, FormatError, ShapeError, bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer.learn.coding.orthogonal_codes import largest, random_orthogonal
from gossamer.learn.coding.orthogonal_state import FrankWolfe, Whitener
from gossamer.linalg import polar_factor
from gossamer.solve.bilevel.checkpoint import read_checkpoint, write_checkpoint

POLAR = ("auto", "svd", "newton-schulz")
NORMS = 256  # batches whose median norms say what an outlier is


class OnlineOrthogonalDictionary(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""The orthonormal basis in which the samples of a stream are sparsest; nothing of the past is stored.

    Maximises :math:`E \|D^H y\|_p^p`, :math:`p > 2`, over the spectral ball :math:`\|D\|_2 \le 1`, whose extreme points
    are the orthogonal matrices. A step averages the gradient, :math:`G \leftarrow (1 - t^{-1/2}) G + t^{-1/2} g`, and
    moves towards the polar factor of its negative, :math:`D \leftarrow (1 - t^{-3/4}) D - t^{-3/4} \mathrm{polar}(G)`:
    no retraction, no learning rate, and a gap to stationarity of order :math:`\log t / t^{1/4}`. Coding is a product.

    Parameters
    ----------
    p : float
        Norm, above 2. 3 bears outliers better, 4 is faster at the start.
    batch_size : int
        Samples of a step.
    whiten : bool
        Multiply samples by the inverse root of their running second moment, for dictionaries that are not orthogonal.
        ``components_`` then are mapped back, and not orthonormal.
    step_exponents : pair of float
        Of the averaging and of the step; (0.5, 0.75) gives the rate above.
    rho_min, gamma_min : float
        Least averaging weight and least step, for streams that change: 0.05 and 0.01 follow within some hundred steps.
    init : {"random", "identity"} or array of shape (n, n)
        First dictionary, atoms in rows, of spectral norm at most 1.
    n_nonzero : int, optional
        ``transform`` keeps so many codes of each sample.
    threshold : float, optional
        ``transform`` keeps codes that are larger.
    polar : {"auto", "svd", "newton-schulz"}
        As of :func:`gossamer.linalg.polar_factor`.
    lmo_every : int
        Steps for which one polar factor serves.
    drift : {None, "restart"}
        "restart" begins with long steps again where the codes of eight batches are less sparse than the median of the
        last hundred by six deviations. (At p = 3 the gap does not tell: near a wrong basis it is small as well.)
    clip : float, optional
        Samples longer than this times the running median length are cut to it.
    max_epochs : int
        Passes of ``fit`` over its array, in the order of rows.
    random_state : int, Generator or None
        Of the first dictionary.

    Attributes
    ----------
    components_ : ndarray, shape (n, n)
        Atoms in rows, orthonormal unless whitened: the polar factor of the iterate.
    raw_ : ndarray, shape (n, n)
        The iterate, atoms in rows, inside the ball.
    gradient_ : ndarray, shape (n, n)
        The averaged gradient, as ``raw_`` is laid out.
    gap_ : float
        Estimated Frank-Wolfe gap.
    gap_history_ : ndarray, shape (k, 2)
        Steps and gaps, at steps a tenth apart in the logarithm.
    n_steps_, n_skipped_, n_restarts_ : int
        Steps; batches of zeros, which change nothing; restarts.
    n_features_in_ : int
        n.

    Raises
    ------
    ShapeError, ArgumentError
        Parameters out of range, batches of another width, NaN.

    Notes
    -----
    ``4 m n^2`` operations and a polar factor, O(n^3), a step; memory of a few n x n matrices. Recovery of the basis
    needs sparse codes (below one half non-zero) and some ``n log n`` samples. Scaling the stream changes nothing.
    Passes ``check_estimator``, but for ``check_complex_data``: complex samples are welcome here (D is unitary then).

    References
    ----------
    Xue, Lau, "Online orthogonal dictionary learning based on Frank-Wolfe method", IEEE TNNLS 2021, arXiv 2103.01484.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.learn import OnlineOrthogonalDictionary
    >>> rng = np.random.default_rng(0)
    >>> basis = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    >>> model = OnlineOrthogonalDictionary(random_state=0)
    >>> for _ in range(2000):
    ...     codes = rng.normal(size=(16, 16)) * (rng.random((16, 16)) < 0.2)
    ...     model = model.partial_fit(codes @ basis)
    >>> bool((np.abs(model.components_ @ basis.T).max(axis=1) > 0.99).all())
    True
    """

    def __init__(
        self,
        *,
        p: float = 3,
        batch_size: int = 16,
        whiten: bool = False,
        step_exponents: tuple[float, float] = (0.5, 0.75),
        rho_min: float = 0.0,
        gamma_min: float = 0.0,
        init: Any = "random",
        n_nonzero: int | None = None,
        threshold: float | None = None,
        polar: str = "auto",
        lmo_every: int = 1,
        drift: str | None = None,
        clip: float | None = None,
        max_epochs: int = 1,
        random_state: RandomState = None,
    ) -> None:
        self.p = p
        self.batch_size = batch_size
        self.whiten = whiten
        self.step_exponents = step_exponents
        self.rho_min = rho_min
        self.gamma_min = gamma_min
        self.init = init
        self.n_nonzero = n_nonzero
        self.threshold = threshold
        self.polar = polar
        self.lmo_every = lmo_every
        self.drift = drift
        self.clip = clip
        self.max_epochs = max_epochs
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> OnlineOrthogonalDictionary:
        """Start anew and pass over X (N, n), rows in their order; y is ignored."""
        epochs = check_int("max_epochs", self.max_epochs, low=1)
        X = self._samples(X, reset=True)
        self._begin(X)
        for _ in range(epochs):
            self._feed(X, None)
        return self._publish()

    def partial_fit(self, X: Any, y: Any = None, *, reduce: Any = None) -> OnlineOrthogonalDictionary:
        """Go on with the rows of X (N, n), in batches of ``batch_size``; N may be 1.

        Parameters
        ----------
        X : array, shape (N, n)
            Next samples.
        y : None
            Ignored.
        reduce : callable, optional
            Sums an array over processes, as :func:`gossamer.solve.all_reduce_sum` gives it: a step then is that of the
            samples of all of them. Each process needs the same number of batches.
        """
        first = not hasattr(self, "_state")
        X = self._samples(X, reset=first)
        if first:
            self._begin(X)
        elif X.dtype.kind == "c" and self._state.D.dtype.kind != "c":
            raise ArgumentError("X is complex: expected real samples, as those before")
        self._feed(X, reduce)
        return self._publish()

    def restart(self) -> OnlineOrthogonalDictionary:
        """Begin with long steps again, from the dictionary at hand."""
        check_is_fitted(self, "n_steps_")
        self._state.restart()
        return self._publish()

    @property
    def components_(self) -> np.ndarray:
        """Atoms in rows: the polar factor of the iterate, computed when asked for."""
        if not hasattr(self, "_state"):
            raise AttributeError("components_")  # not fitted, in scikit-learn's way
        if not self._found:
            Q = polar_factor(self._state.D).unitary
            if self._whitener is not None:
                Q = self._whitener.inverse @ Q
            self._found.append(np.ascontiguousarray(Q.T))
        return self._found[0]

    def transform(self, X: Any) -> np.ndarray:
        """Codes (N, n) of X (N, n): all, the ``n_nonzero`` largest of each row, or those above ``threshold``."""
        check_is_fitted(self, "n_steps_")
        X = self._samples(X, reset=False)
        codes = self._codes(X)
        if self.n_nonzero is not None:
            codes = largest(codes, check_int("n_nonzero", self.n_nonzero, low=1, high=codes.shape[1]))
        if self.threshold is not None:
            codes = np.where(np.abs(codes) > check_float("threshold", self.threshold, low=0), codes, 0)
        return codes.astype(np.result_type(X.dtype, codes.dtype) if codes.dtype.kind == "c" else X.dtype)

    def inverse_transform(self, C: Any) -> np.ndarray:
        """Samples (N, n) of codes (N, n)."""
        check_is_fitted(self, "n_steps_")
        C = np.asarray(check_array("C", C, ndim=2, real=False))
        if C.shape[1] != self.n_features_in_:
            raise ShapeError(f"C has shape {C.shape}: expected (N, {self.n_features_in_})")
        return C @ self.components_

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of ``|codes|_p^p / |codes|_2^p`` over samples, at most 1: higher is sparser. y is ignored."""
        check_is_fitted(self, "n_steps_")
        codes = np.abs(self._codes(self._samples(X, reset=False))).astype(np.float64)
        norms = np.linalg.norm(codes, axis=1)
        kept = codes[norms > 0] / norms[norms > 0, None]
        return float((kept**self.p).sum(axis=1).mean()) if len(kept) else 0.0

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to ``path`` (.npz or .safetensors), whole or not at all; :meth:`load` goes on bit by bit."""
        check_is_fitted(self, "n_steps_")
        s = self._state
        params = {k: v for k, v in self.get_params().items() if k not in ("random_state", "init")}
        header = {
            "kind": type(self).__name__, "params": params, "whitened": self._whitener is not None,
            "counters": [s.t, s.steps, s.restarts, s.skipped], "gap": s.gap if s.steps else None,
        }  # fmt: skip
        arrays = {
            "D": s.D,
            "G": s.G,
            "S": s.D[:0] if s.S is None else s.S,
            "history": np.array(s.history, np.float64).reshape(-1, 2),
            "sparsity": np.array(s.sparsity, np.float64),
            "lengths": np.array(self._lengths, np.float64),
            "vector": np.zeros(0, s.D.dtype) if s.vector is None else s.vector,
        }
        w = self._whitener
        if w is not None:
            header["whitener"] = [w.rows, w.renewed]
            arrays |= {"moment": w.moment, "matrix": w.matrix, "inverse": w.inverse}
        write_checkpoint(path, header, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> OnlineOrthogonalDictionary:
        """Read what :meth:`save` wrote; a file of anything else is a :class:`FormatError`."""
        header, arrays = read_checkpoint(path)
        try:
            if header["kind"] != cls.__name__:
                raise FormatError(f"{os.fspath(path)}: holds a {header['kind']}, expected {cls.__name__}")
            params = header["params"]
            model = cls(**{**params, "step_exponents": tuple(params["step_exponents"])})
            model.n_features_in_ = len(arrays["D"])
            model._begin(arrays["D"][:0])
            s = model._state
            s.D, s.G = arrays["D"], arrays["G"]
            s.S = arrays["S"] if len(arrays["S"]) else None
            s.t, s.steps, s.restarts, s.skipped = header["counters"]
            s.gap = np.nan if header["gap"] is None else header["gap"]
            s.history = [(int(t), float(gap)) for t, gap in arrays["history"]]
            s.sparsity.extend(arrays["sparsity"].tolist())
            s.vector = arrays["vector"] if len(arrays["vector"]) else None
            model._lengths.extend(arrays["lengths"].tolist())
            if header["whitened"]:
                w = model._whitener = Whitener(arrays["moment"])
                w.rows, w.renewed = header["whitener"]
                w.matrix, w.inverse = arrays["matrix"], arrays["inverse"]
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{os.fspath(path)}: not a dictionary ({error})") from None
        return model._publish()

    def _samples(self, X: Any, *, reset: bool) -> np.ndarray:
        """Checked samples; complex ones, which scikit-learn refuses, are checked here."""
        if isinstance(X, np.ndarray) and X.dtype.kind == "c":
            X = np.asarray(check_array("X", X, ndim=2, real=False))
            if reset:
                self.n_features_in_ = X.shape[1]
            elif X.shape[1] != self.n_features_in_:
                raise ShapeError(f"X has {X.shape[1]} features: expected {self.n_features_in_}")
            return X
        return validate_data(self, X, dtype=[np.float64, np.float32], reset=reset)

    def _begin(self, X: np.ndarray) -> None:
        """A new state for samples of this width and dtype."""
        n = X.shape[1]
        p = check_float("p", self.p, low=2, closed="neither")
        exponents = tuple(check_float("step_exponents", e, low=0, high=1) for e in self.step_exponents)
        if len(exponents) != 2:
            raise bad_argument("step_exponents", self.step_exponents, "two numbers in [0, 1]")
        floors = tuple(
            check_float(name, getattr(self, name), low=0, high=1) for name in ("rho_min", "gamma_min")
        )
        if self.n_nonzero is not None:
            check_int("n_nonzero", self.n_nonzero, low=1, high=n)
        check_int("batch_size", self.batch_size, low=1)
        check_choice("drift", self.drift, (None, "restart"))
        if self.clip is not None:
            check_float("clip", self.clip, low=0, closed="neither")
        self._state = FrankWolfe(
            self._first(n, X.dtype), p, (exponents[0], exponents[1]), (floors[0], floors[1]),
            check_choice("polar", self.polar, POLAR), check_int("lmo_every", self.lmo_every, low=1),
        )  # fmt: skip
        self._whitener = Whitener(np.zeros((n, n), X.dtype)) if self.whiten else None
        self._lengths: deque[float] = deque(maxlen=NORMS)

    def _first(self, n: int, dtype: Any) -> np.ndarray:
        if isinstance(self.init, str):
            if check_choice("init", self.init, ("random", "identity")) == "identity":
                return np.eye(n, dtype=dtype)
            return random_orthogonal(n, dtype, check_random_state(self.random_state))
        C = np.asarray(check_array("init", self.init, ndim=2, real=np.dtype(dtype).kind != "c"))
        if C.shape != (n, n):
            raise ShapeError(f"init has shape {C.shape}: expected ({n}, {n})")
        if np.linalg.norm(C, 2) > 1 + 1e-5:
            raise ArgumentError(f"init has spectral norm {np.linalg.norm(C, 2):.6g}: expected at most 1")
        return np.array(C.T, dtype=dtype, order="C")

    def _feed(self, X: np.ndarray, reduce: Any) -> None:
        state = self._state
        X = X.astype(state.D.dtype, copy=False)
        size = check_int("batch_size", self.batch_size, low=1)
        for start in range(0, len(X), size):
            Y = X[start : start + size]
            if self.clip is not None:
                Y = self._clipped(Y)
            if self._whitener is not None:
                self._whitener.see(Y)
                Y = Y @ self._whitener.matrix.T
            if state.step(Y, reduce) and self.drift == "restart" and state.drifted():
                state.restart()

    def _clipped(self, Y: np.ndarray) -> np.ndarray:
        """Samples no longer than so many median lengths; a batch's own median counts from the next one on."""
        lengths = np.linalg.norm(Y, axis=1)
        median = float(np.median(self._lengths)) if self._lengths else float(np.median(lengths))
        if lengths.any():
            self._lengths.append(float(np.median(lengths[lengths > 0])))
        limit = float(self.clip or 0) * median
        factor = np.where(lengths > limit, limit / np.maximum(lengths, 1e-300), 1.0)
        return Y if not limit else Y * factor[:, None].astype(Y.real.dtype)

    def _codes(self, X: np.ndarray) -> np.ndarray:
        X = X.astype(self._state.D.dtype, copy=False) if self._state.D.dtype.kind != "c" else X
        if self._whitener is not None:
            return (X @ self._whitener.matrix.T) @ polar_factor(self._state.D).unitary.conj()
        return X @ self.components_.conj().T

    def _publish(self) -> OnlineOrthogonalDictionary:
        s = self._state
        self._found: list[np.ndarray] = []  # the components, once they are asked for
        self.raw_, self.gradient_ = s.D.T, s.G.T
        self.gap_, self.n_steps_, self.n_skipped_, self.n_restarts_ = s.gap, s.steps, s.skipped, s.restarts
        self.gap_history_ = np.array(s.history, np.float64).reshape(-1, 2)
        self._n_features_out = len(s.D)
        return self

    def __sklearn_tags__(self) -> Any:
        """float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
