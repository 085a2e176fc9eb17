"""Chamfer similarity (MaxSim) of sets of vectors, exact, and fewer query vectors for it by ball carving."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer._core.arrays import widen
from gossamer._core.checks import check_float
from gossamer._core.errors import ShapeError
from gossamer._kernels import maxsim
from gossamer.retrieve.multivector.ragged import as_ragged


def chamfer(
    Q: Any, D: Any, offsets: Any = None, *, normalize: bool = False, threads: int | None = None
) -> np.ndarray:
    r"""Chamfer similarity of one query with documents.

    .. math:: \mathrm{Chamfer}(Q, P) = \sum_{q \in Q} \max_{p \in P} \langle q, p\rangle

    Not symmetric. ColBERT and other late-interaction models call it MaxSim.

    Parameters
    ----------
    Q : array of shape (m, dim)
        Vectors of the query, NumPy or torch.
    D : array (sum l, dim) with ``offsets``, list of (l_i, dim), one (l, dim), or TokenVectors
        Vectors of the documents; float32, float16 and bfloat16 are read as they are.
    offsets : array of shape (n + 1,), optional
        Where documents begin in ``D``.
    normalize : bool
        Divide by m.
    threads : int, optional
        Results do not depend on it.

    Returns
    -------
    ndarray of float32, shape (n,)

    Raises
    ------
    ShapeError, ArgumentError
        For other shapes, an empty set, NaN or infinity.

    Notes
    -----
    2 m dim flops a document vector, products in float32; nothing of size m times l is stored.

    References
    ----------
    Khattab, Zaharia, "ColBERT: efficient and effective passage search via contextualized late interaction over BERT",
    SIGIR 2020, arXiv 2004.12832.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.retrieve import chamfer
    >>> chamfer(np.eye(2), [np.eye(2), [[0.0, 1.0], [0.0, 0.5]]])
    array([2., 1.], dtype=float32)
    """
    query = one_set("Q", Q)
    vectors, starts = as_ragged("D", D, offsets, dim=query.shape[1])
    count = len(starts) - 1
    scores = maxsim.chamfer(
        query, np.array([0, len(query)]), vectors, starts, np.array([0, count]), np.arange(count), threads
    )
    return scores / np.float32(len(query)) if normalize else scores


def ball_carve(Q: Any, tau: float = 0.7) -> np.ndarray:
    """Group similar vectors of a query, and put the sum of each group in its place.

    Groups are taken greedily: the first vector that is left, with all that are left and have an inner product of
    ``tau`` or more with it. Chamfer similarity of the sums is that of the query where vectors of a group agree on
    their best match, and lower otherwise; it takes fewer products. Vectors are taken to have length 1.

    Parameters
    ----------
    Q : array of shape (m, dim)
        Vectors of the query.
    tau : float
        Smallest inner product within a group; above 1 nothing is grouped.

    Returns
    -------
    ndarray of float32, shape (groups, dim)
        In the order of the groups' first vectors.

    Raises
    ------
    ShapeError, ArgumentError
        If ``Q`` is not one set of finite vectors.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.retrieve import ball_carve
    >>> ball_carve(np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]), tau=0.7)
    array([[1.8, 0.6],
           [0. , 1. ]], dtype=float32)
    """
    query, tau = one_set("Q", Q), check_float("tau", tau)
    near = query @ query.T >= tau
    left = np.ones(len(query), bool)
    groups = []
    for i in range(len(query)):
        if left[i]:
            group = near[i] & left
            group[i] = True
            left &= ~group
            groups.append(query[group].sum(0))
    return np.stack(groups)


def one_set(name: str, Q: Any) -> np.ndarray:
    """One set of finite vectors (m, dim), float32."""
    vectors, starts = as_ragged(name, Q)
    if len(starts) != 2:
        raise ShapeError(f"{name} holds {len(starts) - 1} sets of vectors: expected one")
    return np.ascontiguousarray(widen(vectors), np.float32)
