"""What the estimators of this chapter share: their parameters, the passes over data, the final rotation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from gossamer._core.checks import check_choice, check_float, check_int
from gossamer._core.errors import ArgumentError, ShapeError, bad_argument
from gossamer._core.random import RandomState, check_random_state
from gossamer._kernels.multiview import DTYPES, arithmetic, scores
from gossamer.learn.cca.batches import ArrayBatches, Batches, StreamBatches, on_disk, stored
from gossamer.learn.cca.descent import EYDescent
from gossamer.learn.cca.rotation import Rotation, ScoreMoments, rotate
from gossamer.learn.cca.view import View

START_ROWS = 100  # of arrays, that the first weights are chosen from
OPTIMIZERS = ("adam", "sgd")
ACCEPTED = [np.dtype(name) for name in ("float64", "float32", "float16", "int8", "uint8")]


class EYEstimator(TransformerMixin, BaseEstimator):
    """Linear views by stochastic steps on the Eckart-Young loss; estimators say what their views are called."""

    def __init__(
        self,
        n_components: int = 2,
        *,
        ridge: Any = 0.0,
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
        self.ridge = ridge
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

    def _view_name(self, i: int) -> str:
        return f"Xs[{i}]"

    def _check_views(self, Xs: Sequence[Any], *, reset: bool, least: int = 2) -> list[Any]:
        """One array a view, of one number of rows; memory maps stay on disk and are checked batch by batch."""
        arrays = [self._check_view(i, X, least) for i, X in enumerate(Xs)]
        rows = [len(array) for array in arrays]
        if len(set(rows)) > 1:
            raise ShapeError(f"views have {rows} rows: expected the same number")
        features = [array.shape[1] for array in arrays]
        if reset:
            check_int("n_components", self.n_components, low=1, high=min(features))
            self._features = features
        elif features != self._features:
            raise ShapeError(f"views have {features} features: expected {self._features} as in fit")
        return arrays

    def _check_view(self, i: int, X: Any, least: int) -> Any:
        name = self._view_name(i)
        if on_disk(X):
            X = X.reshape(-1, 1) if i and X.ndim == 1 else X
            if X.ndim != 2 or len(X) < least:
                raise ShapeError(f"{name} has shape {X.shape}: expected (N, p) with at least {least} rows")
            if X.dtype.kind not in "biuf":
                raise ArgumentError(f"{name} is {X.dtype}: expected real numbers")
            return X
        X = check_array(
            X, dtype=ACCEPTED, input_name=name, ensure_min_samples=least, ensure_2d=not i, estimator=self
        )
        return X.reshape(-1, 1) if X.ndim == 1 else X

    def _begin(self, arrays: Sequence[Any]) -> EYDescent:
        """Gaussian weights and a descent for views of these widths and dtypes."""
        features = [array.shape[1] for array in arrays]
        weights = self._draw(features, [array.dtype for array in arrays])
        return self._descent_of([View(w, self.n_jobs) for w in weights], features)

    def _draw(self, features: Sequence[int], dtypes: Sequence[Any]) -> list[np.ndarray]:
        """Gaussian weights (K, p_i) to start from, in the arithmetic of each view."""
        K = check_int("n_components", self.n_components, low=1, high=min(features))
        rng = self._rng = check_random_state(self.random_state)
        return [
            rng.standard_normal((K, p), dtype=np.float32).astype(_real(dtype))
            for p, dtype in zip(features, dtypes, strict=True)
        ]

    def _descent_of(
        self, views: list[Any], features: list[int], kind: type[EYDescent] = EYDescent
    ) -> EYDescent:
        rate = self.learning_rate
        if not (isinstance(rate, str) and rate == "auto"):
            rate = check_float("learning_rate", rate, low=0, closed="neither")
        return kind(
            views,
            features,
            int(self.n_components),
            self._ridges(len(views)),
            rate=rate,
            adam=check_choice("optimizer", self.optimizer, OPTIMIZERS) == "adam",
            paired=bool(self.paired),
            shift=bool(self.shift),
            scale=bool(self.scale),
            average=bool(self.average),
        )

    def _ridges(self, views: int) -> list[float]:
        given = [self.ridge] * views if np.ndim(self.ridge) == 0 else list(self.ridge)
        if len(given) != views:
            raise ShapeError(f"ridge has {len(given)} values: expected one, or one for each of {views} views")
        return [check_float("ridge", a, low=0, high=1) for a in given]

    def _fit(self, Xs: Any) -> None:
        """Fit arrays, or batches of an iterable."""
        size = check_int("batch_size", self.batch_size, low=4 if self.paired else 2)
        if isinstance(Xs, (list, tuple)):
            arrays = self._check_views(Xs, reset=True)
            self._run(ArrayBatches(arrays, size, 4 if self.paired else 2), self._begin(arrays))
            return
        source = StreamBatches(Xs, self._check_batch)
        if not source.epochs_again and (self.finalize or self.max_epochs > 1):
            raise ArgumentError(
                "an iterator passes once: expected something that can be iterated again, or max_epochs=1, "
                "finalize=False and a call of rotate"
            )
        self._features = []
        self._run(source, None)

    def _check_batch(self, item: Any) -> list[Any]:
        if not isinstance(item, (list, tuple)):
            raise bad_argument("a batch", type(item).__name__, "a list of one array a view")
        arrays = self._check_views(item, reset=not self._features)
        return [stored(array, np.arange(len(array))) for array in arrays]

    def _run(self, source: Batches, descent: EYDescent | None) -> None:
        epochs = check_int("max_epochs", self.max_epochs, low=1)
        tol = None if self.tol is None else check_float("tol", self.tol, low=0)
        before: list[np.ndarray] | None = None
        if descent is not None and isinstance(source, ArrayBatches):
            descent.begin(*source.sample(max(START_ROWS, 4 * self.n_components), self._rng), apart=True)
        for epoch in range(epochs):
            count = 0
            for xs, m in source.epoch(self._rng if descent is not None else np.random.default_rng(0)):
                descent = self._begin(xs) if descent is None else descent
                descent.step(xs, m)
                del xs  # before the next batch is read
                count += 1
            assert descent is not None
            if self.verbose:
                print(f"epoch {epoch + 1} of {epochs}: loss {np.mean(descent.losses[-count:]):.6g}")
            if tol is not None:
                bases = [np.linalg.qr(np.asarray(w, np.float64).T)[0] for w in descent.each("weights")]
                if before is not None and _largest_sine(before, bases) <= tol:
                    break
                before = bases
        self.n_iter_ = epoch + 1
        assert descent is not None
        self._descent = descent
        if self.finalize:
            self._finish(source)
        else:
            self._publish(None)

    def _finish(self, source: Batches) -> None:
        """The pass that gives exact means and the exact solution within the subspaces."""
        descent = self._descent
        grams = descent.each("forget")
        moments = ScoreMoments()
        for xs, _ in source.once():
            moments.add(
                [z / s for z, s in zip(descent.each("final_scores", xs), descent.scales, strict=True)]
            )
            del xs
        self._publish(rotate(moments.covariance, grams, descent.ridge))

    def _publish(self, rotation: Rotation | None) -> None:
        """Set the fitted attributes."""
        descent = self._descent
        self.means_ = descent.each("mean")
        weights = descent.each("weights")
        if rotation is None:
            self._weights = [w.T / w.dtype.type(s) for w, s in zip(weights, descent.scales, strict=True)]
            for name in ("eigenvalues_", "correlations_"):
                self.__dict__.pop(name, None)
        else:
            self._weights = []
            for i, (w, s, f) in enumerate(zip(weights, descent.scales, rotation.factors, strict=True)):
                # unit weights stay so; unit variance is that of the data, not of the scaled data
                turned = w.T @ (f / (1.0 if descent.ridge[i] == 1 else s)).astype(w.dtype)
                if not i:
                    largest = np.argmax(np.abs(turned), axis=0)
                    signs = np.where(turned[largest, np.arange(turned.shape[1])] < 0, -1, 1).astype(w.dtype)
                self._weights.append(turned * signs)
            self.eigenvalues_, self.correlations_ = rotation.eigenvalues, rotation.correlations
        self.scales_ = descent.scales.copy()
        self.n_steps_, self.loss_curve_ = descent.number, list(descent.losses)
        self._n_features_out = self._weights[0].shape[1]

    def _partial_fit(self, Xs: Sequence[Any]) -> None:
        first = not hasattr(self, "_descent")
        arrays = self._check_views(Xs, reset=first, least=4 if self.paired else 2)
        arrays = [stored(array, np.arange(len(array))) for array in arrays]
        if first:
            self._descent = self._begin(arrays)
        self._descent.step(arrays, len(arrays[0]))
        self.n_iter_ = 1
        self._publish(None)

    def _rotate(self, Xs: Any) -> None:
        check_is_fitted(self, "n_steps_")
        if isinstance(Xs, (list, tuple)):
            self._finish(ArrayBatches(self._check_views(Xs, reset=False), self.batch_size))
        else:
            self._finish(StreamBatches(Xs, self._check_batch))

    def _scores(self, i: int, X: Any) -> np.ndarray:
        """Scores of view i, (N, K), in the arithmetic of the data."""
        mean, weights = self.means_[i], self._weights[i]
        real = _real(X.dtype)
        out = np.empty((len(X), weights.shape[1]), real)
        rows = max(1, (1 << 24) // max(X.shape[1], 1))
        offset, u = mean.astype(real), np.ascontiguousarray(weights.T.astype(real))
        for start in range(0, len(X), rows):
            part = stored(X, np.arange(start, min(start + rows, len(X))))
            out[start : start + rows] = scores(part, offset, u, self.n_jobs)
        return out


def _real(dtype: Any) -> np.dtype:
    """What a view of this dtype is computed in; what the kernels do not know is widened to float64."""
    name = np.dtype(dtype).name
    return arithmetic(name) if name in DTYPES else np.dtype(np.float64)


def _largest_sine(before: list[np.ndarray], after: list[np.ndarray]) -> float:
    """Of the angles between the subspaces of all views."""
    return max(float(np.linalg.norm(b - a @ (a.T @ b), 2)) for a, b in zip(before, after, strict=True))
