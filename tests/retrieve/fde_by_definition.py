"""Fixed dimensional encodings as the paper writes them down: loops over tokens, cells and repetitions, in float64."""

import numpy as np


def gray_to_binary(bits):
    value = 0
    for bit in bits:
        value = 2 * value + (int(bit) ^ (value & 1))
    return value


def encode(x, directions, projections=None, places=None, final_dim=None, *, document, fill, center=0.0):
    """One encoding; ``directions`` (reps, k, dim), ``projections`` (reps, dim, width) or None."""
    x = np.asarray(x, np.float64)
    reps, k, dim = directions.shape
    width = dim if projections is None else projections.shape[2]
    blocks = np.zeros((reps, 2**k, width))
    for r in range(reps):
        bits = (x - center) @ directions[r].astype(np.float64).T > 0
        psi = x if projections is None else x @ projections[r].astype(np.float64)
        patterns = [tuple(int(c >> (k - 1 - t)) & 1 for t in range(k)) for c in range(2**k)]
        for pattern in patterns:
            inside = [i for i in range(len(x)) if tuple(bits[i].astype(int)) == pattern]
            cell = gray_to_binary(pattern)
            if inside:
                total = np.sum([psi[i] for i in inside], axis=0)
                blocks[r, cell] = total / len(inside) if document else total
            elif document and fill:
                distances = [int(np.sum(bits[i] != np.array(pattern, bool))) for i in range(len(x))]
                blocks[r, cell] = psi[int(np.argmin(distances))]
    flat = blocks.reshape(-1)
    if places is None:
        return flat
    out = np.zeros(final_dim)
    for value, place in zip(flat, places, strict=True):
        out[place if place >= 0 else ~place] += value if place >= 0 else -value
    return out


def chamfer(q, p):
    q, p = np.asarray(q, np.float64), np.asarray(p, np.float64)
    return sum(max(float(a @ b) for b in p) for a in q)
