"""Other ways to vectors of nodes, beside FastRP: DeepWalk, ProNE, truncated SVD, and FastRP's recipe in SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from scipy.special import iv
from sklearn.preprocessing import normalize, scale
from sklearn.random_projection import SparseRandomProjection
from sklearn.utils.extmath import randomized_svd


def deepwalk(A: Any, d: int, seed: int = 0, walks: int = 10, length: int = 40, epochs: int = 1) -> np.ndarray:
    """Uniform walks drawn in NumPy, all at once, and skip-gram with a window of ten on two workers (gensim)."""
    from gensim.models import Word2Vec

    rng, n = np.random.default_rng(seed), A.shape[0]
    walk = np.empty((walks * n, length), np.int64)
    walk[:, 0] = np.concatenate([rng.permutation(n) for _ in range(walks)])
    degree = np.diff(A.indptr)
    for step in range(1, length):
        here = walk[:, step - 1]
        walk[:, step] = A.indices[A.indptr[here] + (rng.random(len(here)) * degree[here]).astype(np.int64)]
    words = np.array([str(i) for i in range(n)], object)
    model = Word2Vec(
        words[walk].tolist(), vector_size=d, window=10, sg=1, min_count=0, workers=2, epochs=epochs, seed=seed
    )
    return model.wv[words.tolist()]


def svd(A: Any, d: int, seed: int = 0) -> np.ndarray:
    """Left singular vectors of the normalised adjacency, times the roots of the singular values."""
    degree = np.asarray(A.sum(axis=1)).ravel()
    inverse = scipy.sparse.diags_array(1 / np.sqrt(np.where(degree > 0, degree, 1)))
    U, s, _ = randomized_svd(scipy.sparse.csr_matrix(inverse @ A @ inverse), d, random_state=seed)
    return U * np.sqrt(s)


def prone(A: Any, d: int, seed: int = 0, order: int = 10, mu: float = 0.2, theta: float = 0.5) -> np.ndarray:
    """Factors of log-ratios of edges, then a Gaussian filter of the Laplacian as Chebyshev series (IJCAI 2019)."""
    n = A.shape[0]
    degree = np.asarray(A.sum(axis=1)).ravel()
    step = scipy.sparse.diags_array(1 / np.where(degree > 0, degree, 1)) @ A
    noise = np.asarray(step.sum(axis=0)).ravel() ** 0.75
    logs = step.tocoo()
    logs.data = np.log(logs.data) - np.log(noise[logs.col] / noise.sum())
    U, s, _ = randomized_svd(scipy.sparse.csr_matrix(logs), d, n_iter=5, random_state=seed)
    X = normalize(U * np.sqrt(s))
    loops = A + scipy.sparse.eye_array(n)
    loops = scipy.sparse.diags_array(1 / np.asarray(loops.sum(axis=1)).ravel()) @ loops
    M = scipy.sparse.eye_array(n) * (1 - mu) - loops  # the Laplacian, its band moved to 0

    def shifted(Y: np.ndarray) -> np.ndarray:
        return 0.5 * (M @ (M @ Y)) - Y

    before, now = X, shifted(X)
    kept = iv(0, theta) * before - 2 * iv(1, theta) * now
    for i in range(2, order):
        before, now = now, 2 * shifted(now) - before
        kept += (-1) ** i * 2 * iv(i, theta) * now
    U, s, _ = np.linalg.svd((A + scipy.sparse.eye_array(n)) @ (X - kept), full_matrices=False)
    return normalize(U * np.sqrt(s))


def published(A: Any, d: int, weights: Any, beta: float, seed: int = 0) -> np.ndarray:
    """The published recipe: a sparse projection, sparse products, normalisation, a weighted sum, columns scaled."""
    step, start, R = _parts(A, d, beta, seed)
    U, powers = step @ (start @ scipy.sparse.csc_matrix(R)), []
    for k in range(len(weights)):
        U = step @ U if k else U
        powers.append(normalize(U, norm="l2", axis=1))
    return scale(sum(weight * power for weight, power in zip(weights, powers, strict=True)).toarray())


def dense(A: Any, d: int, weights: Any, beta: float, seed: int = 0) -> np.ndarray:
    """The same with SciPy's product of a sparse and a dense float32 matrix from the second power on."""
    step, start, R = _parts(A, d, beta, seed)
    step = step.astype(np.float32).tocsr()
    U, total = (step @ (start @ R).astype(np.float32)).toarray(), 0
    for k, weight in enumerate(weights):
        U = step @ U if k else U
        if weight:
            total = total + np.float32(weight) * normalize(U)
    return scale(total)


def _parts(A: Any, d: int, beta: float, seed: int) -> tuple[Any, Any, Any]:
    degree = np.asarray(A.sum(axis=1)).ravel()
    R = (
        SparseRandomProjection(d, random_state=seed)
        .fit(scipy.sparse.csr_matrix((1, A.shape[0])))
        .components_.T
    )
    start = scipy.sparse.diags_array((degree / degree.sum()) ** beta)
    return scipy.sparse.diags_array(1 / degree) @ A, start, R
