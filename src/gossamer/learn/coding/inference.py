"""What a trained model of sparse coding says of samples, and draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from gossamer._core.checks import check_array, check_int
from gossamer._core.errors import ShapeError
from gossamer._core.random import RandomState, check_random_state
from gossamer.learn.coding.e_step import EStep, Params, evaluate, pieces
from gossamer.learn.coding.posterior import PosteriorResult, infer
from gossamer.learn.coding.rows import LocalRows


class Inference:
    """Codes, posteriors, scores and samples of a fitted :class:`TruncatedCoding`."""

    n_components: int
    chunk_size: int
    components_: np.ndarray
    _params: Params
    _size: tuple[int, int]
    _dtype: Any
    _anneals_prior: Any
    _codes: Any
    _constant: Any
    _superpose: Any
    _draw: Any
    _emit: Any

    def transform(self, X: Any) -> np.ndarray:
        """Posterior means of the causes (with amplitudes, where there are any): (n_samples, n_components)."""
        params, step = self._learnt()
        return self._by_pieces(
            X, step, lambda Y: self._codes(Y, params, evaluate(Y, self, params, step, None))
        )

    def posterior(
        self,
        X: Any,
        top_k: int = 10,
        adaptive: bool = True,
        max_active: int | None = None,
        n_candidates: int | None = None,
    ) -> PosteriorResult:
        """Which causes are in each sample, and with which certainty.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        top_k : int
            States to list a sample, the most probable first.
        adaptive : bool
            Where the most probable state has as many causes as were allowed, allow one more among one more candidate,
            and repeat up to the limits.
        max_active, n_candidates : int, optional
            The limits; without ``adaptive``, what is used. All components, or those of the fit, if None.
        """
        params, step = self._learnt()
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return infer(
            self, X, params, step, check_int("top_k", top_k, low=1), adaptive, max_active, n_candidates
        )

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-likelihood of each sample over the states considered, which bounds it from below: (n_samples,)."""
        params, step = self._learnt()
        constant = self._constant(params)
        return self._by_pieces(X, step, lambda Y: evaluate(Y, self, params, step, None).evidence + constant)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of :meth:`score_samples`."""
        return float(np.mean(self.score_samples(X)))

    def inverse_transform(self, S: Any) -> np.ndarray:
        """What causes S (n_samples, n_components) superpose to, without noise: (n_samples, n_features)."""
        params, _ = self._learnt()
        S = check_array("S", S, ndim=2)
        if S.shape[1] != self.n_components:
            raise ShapeError(f"S has shape {S.shape}: expected {self.n_components} columns")
        return self._superpose(S.astype(np.float64), params).astype(self._dtype)

    def sample(self, n_samples: int, random_state: RandomState = None, return_latent: bool = False) -> Any:
        """Draw from the model.

        Parameters
        ----------
        n_samples : int
        random_state : int, Generator or None
        return_latent : bool
            Return the causes as well, (n_samples, n_components).
        """
        params, _ = self._learnt()
        rng = check_random_state(random_state)
        S = self._draw(check_int("n_samples", n_samples, low=1), params, rng)
        X = self._emit(self._superpose(S, params), params, rng).astype(self._dtype)
        return (X, S) if return_latent else X

    def _learnt(self) -> tuple[Params, EStep]:
        check_is_fitted(self, "components_")
        return self._params, EStep(*self._size, anneal_prior=self._anneals_prior())

    def _by_pieces(self, X: Any, step: EStep, work: Any) -> np.ndarray:
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        blocks = LocalRows(X, check_int("chunk_size", self.chunk_size, low=1)).blocks
        return np.concatenate([work(Y) for b in blocks for Y in pieces(b, self, step)]).astype(
            X.dtype, copy=False
        )

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)
