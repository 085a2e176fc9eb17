"""Small layers with correlated inputs, and the python-loop oracles that several families share."""

import itertools

import numpy as np


def layer(O, K, seed=0, tokens=None, dtype=np.float64):
    """Weights (O, K) and the second moment (K, K) of correlated inputs."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((tokens or 3 * K, K)) @ rng.standard_normal((K, K)) * rng.uniform(0.3, 2, K)
    return rng.standard_normal((O, K)).astype(dtype), (x.T @ x / len(x)).astype(dtype)


def error(W, W_hat, H=None):
    """The error of a projection in a metric of None, (K,) or (K, K), in float64."""
    difference = W.astype(np.float64) - W_hat
    H = np.eye(W.shape[1]) if H is None else np.diag(H) if H.ndim == 1 else H
    return float(np.trace(difference @ H @ difference.T))


def damped(H, damping=0.01):
    """H as the sweep sees it."""
    H = H.astype(np.float64).copy()
    H[np.diag_indices_from(H)] += np.where(np.diag(H) == 0, 1, 0)
    return H + damping * np.diag(H).mean() * np.eye(len(H))


def subsets(n, k):
    """All 0/1 masks (n,) with k ones."""
    for kept in itertools.combinations(range(n), k):
        mask = np.zeros(n, bool)
        mask[list(kept)] = True
        yield mask


def round_group(w, bits, symmetric=False, zero="int"):
    """One group on its grid, by the definition: scale, zero, codes, values."""
    top = 2**bits - 1
    low, high = min(0.0, *w), max(0.0, *w)
    if symmetric:
        scale = float(np.float16(max(-low, high) / (2 ** (bits - 1) - 1)))
        z = 2 ** (bits - 1)
        codes = [min(max(round_even(v / scale) + z, 0), top) for v in w]
        return scale, z, codes, [(q - z) * scale for q in codes]
    scale = float(np.float16((high - low) / top))
    if zero == "float":
        m = float(np.float16(-low))
        codes = [min(max(round_even((v + m) / scale), 0), top) for v in w]
        return scale, m, codes, [q * scale - m for q in codes]
    z = min(max(round_even(-low / scale), 0), top)
    codes = [min(max(round_even(v / scale) + z, 0), top) for v in w]
    return scale, z, codes, [(q - z) * scale for q in codes]


def round_even(v):
    return int(np.rint(v))
