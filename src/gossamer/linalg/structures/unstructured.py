"""Unstructured sparsity: any entry may be zero; compressed sparse rows hold what is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse

from gossamer._core.arrays import Array, is_torch, to_numpy
from gossamer._core.checks import check_choice, check_float
from gossamer._kernels import csr
from gossamer.linalg.nearest.obs import nearer, sweep
from gossamer.linalg.nearest.selection import SCOPES, count_kept, keep_largest, rationed, saliency
from gossamer.linalg.operator import Plan, StructuredMatrix
from gossamer.linalg.plans import native_plan, sparse_pays
from gossamer.linalg.structure import Structure, structure_from_config


class CSRMatrix(StructuredMatrix):
    """A sparse matrix in compressed rows: factors ``indptr`` (O+1,), ``indices`` (nnz,) and ``data`` (nnz,).

    Indices are int32 or int64; ``data`` is float32 or float64.
    """

    factor_names = ("indptr", "indices", "data")

    @classmethod
    def from_scipy(cls, A: Any, structure: Structure | None = None) -> CSRMatrix:
        """Wrap any ``scipy.sparse`` matrix; duplicates are summed, indices sorted."""
        A = scipy.sparse.csr_array(A)
        A.sum_duplicates()
        density = A.nnz / max(A.shape[0] * A.shape[1], 1)
        data = A.data if A.dtype in (np.float32, np.float64) else A.data.astype(np.float64)
        return cls(
            structure or Unstructured(density=density),
            A.shape,
            {"indptr": A.indptr, "indices": A.indices, "data": data},
        )

    def to_scipy(self) -> Any:
        """The matrix as a ``scipy.sparse.csr_array`` that shares memory."""
        f = {name: to_numpy(factor) for name, factor in self.factors.items()}
        return scipy.sparse.csr_array((f["data"], f["indices"], f["indptr"]), shape=self.shape)

    def __matmul__(self, x: Any) -> Any:
        """Product; with another :class:`CSRMatrix` it is a :class:`CSRMatrix`, by :func:`spgemm`."""
        if isinstance(x, CSRMatrix) and not (self._trains or x._trains):
            from gossamer.linalg.sparse_product.product import spgemm

            C = spgemm(self, x)
            return C.torch() if self.is_torch else C
        return super().__matmul__(x)

    @property
    def _trains(self) -> bool:
        return any(getattr(factor, "requires_grad", False) for factor in self.factors.values())

    def _check(self) -> None:
        f = {name: to_numpy(factor) for name, factor in self.factors.items()}
        csr.check(f["indptr"], f["indices"], f["data"], self.shape)

    def _dense(self) -> Array:
        data = self.factors["data"]
        if not is_torch(data):
            return self.to_scipy().toarray()
        indptr, indices = self.factors["indptr"].long(), self.factors["indices"].long()
        rows = indptr.diff().new_tensor(range(self.shape[0])).repeat_interleave(indptr.diff())
        return data.new_zeros(self.shape).index_put((rows, indices), data)

    def flops(self, n: int = 1) -> int:
        return 2 * int(self.factors["data"].shape[0]) * n

    def plan(self, n: int = 1) -> Plan:
        pays = sparse_pays(self.flops() / (2 * self.shape[0] * self.shape[1]), n, overhead=8)
        return native_plan(self, "csr.matmat", "only stored entries", n, pays=pays)

    def _multiply(self, x: np.ndarray) -> np.ndarray:
        f = {name: to_numpy(factor) for name, factor in self.factors.items()}
        return csr.matmat(f["indptr"], f["indices"], f["data"].astype(x.dtype, copy=False), x)

    def _multiply_transposed(self, y: np.ndarray) -> np.ndarray:
        return self.to_scipy().T @ y


@dataclass(frozen=True)
class Unstructured(Structure):
    r"""Matrices with at most ``ceil(density n)`` non-zero entries, of n in the matrix or in each row.

    Parameters
    ----------
    density : float in (0, 1]
        Fraction of entries kept.
    scope : {"matrix", "row"}
        What the density counts: the entries of the whole matrix, or of each row (Wanda's choice for language
        models).

    Notes
    -----
    ``project`` is exactly nearest without a metric (keep the largest ``|w|``) and in a diagonal metric (keep
    the largest ``w^2 h_j``; with ``scope="row"`` that is Wanda). With a full metric it prunes in OBS order,
    adaptively in windows of 128 columns, and moves the error to the columns that are still open (SparseGPT).
    That is no worse in the metric than with its diagonal, but not exactly nearest, which is NP-hard.

    References
    ----------
    Frantar and Alistarh, "SparseGPT", ICML 2023. Sun, Liu, Bair and Kolter, "A simple and effective pruning
    approach for large language models" (Wanda), ICLR 2024.
    """

    density: float = 0.5
    scope: str = "matrix"
    kind: ClassVar[str] = "unstructured"
    matrix: ClassVar[type[StructuredMatrix]] = CSRMatrix

    def __post_init__(self) -> None:
        check_float("density", self.density, low=0, high=1, closed="right")
        check_choice("scope", self.scope, SCOPES)

    def _project(self, W: np.ndarray, metric: np.ndarray | None) -> CSRMatrix:
        if metric is not None and metric.ndim == 2:
            swept = sweep(W, metric, select=rationed(self.density, self.scope)).weights
            return nearer(W, metric, CSRMatrix.from_scipy(swept, self), self._project(W, np.diagonal(metric)))
        mask = keep_largest(saliency(W, metric), self.density, self.scope)
        return CSRMatrix.from_scipy(np.where(mask, W, 0), self)

    @property
    def nearest_in(self) -> frozenset[str]:
        return frozenset({"none", "diagonal"})

    def bits_per_weight(self, shape: tuple[int, int]) -> float:
        each = shape[0] if self.scope == "row" else 1
        kept = each * count_kept(self.density, shape[0] * shape[1] // each)
        return (64 * kept + 32 * (shape[0] + 1)) / (shape[0] * shape[1])

    def quantized(self, bits: int = 4, group: int = 32, **options: Any) -> Structure:
        """The same sparsity with values on grids of ``bits`` bits: :class:`UnstructuredQuant`."""
        config = {"kind": "unstructured-quant", "density": self.density, "scope": self.scope}
        return structure_from_config(config | {"bits": bits, "group": group} | options)
