"""The embedding and the head: wide tables, fitted some rows at a time so that memory stays small."""

from __future__ import annotations

import numpy as np

from gossamer.compress.calibrate.table import ROWS, Table
from gossamer.compress.methods.layer import Fitted
from gossamer.compress.models.source import SourceModel
from gossamer.compress.result import LayerRow
from gossamer.linalg import GroupQuant, Structure, StructuredMatrix


def head_structure(head: str, width: int) -> Structure | None:
    """The family that a recipe's ``head`` means for a table of ``width`` columns; None keeps float32.

    ``"w8"`` is symmetric, ``"w4"`` is not; groups are the largest of 64, 32 and 16 columns that divides ``width``,
    else the whole row. 4 bits use groups of 32 at most: a head is more sensitive than its size suggests.

    Parameters
    ----------
    head : {"keep", "w8", "w4"}
        The word in the recipe.
    width : int
        Columns of the table.
    """
    if head == "keep":
        return None
    sizes = (64, 32, 16) if head == "w8" else (32, 16)
    group = next((size for size in sizes if width % size == 0), 0)
    return GroupQuant(bits=8 if head == "w8" else 4, group=group, symmetric=head == "w8")


def fit_embeddings(source: SourceModel, head: str) -> tuple[dict[str, Fitted], dict[str, Table]]:
    """Embedding and head of a model by a recipe's ``head``, and the values that they then have.

    Parameters
    ----------
    source : SourceModel
        The model.
    head : {"keep", "w8", "w4"}
        See :func:`head_structure`.

    Returns
    -------
    fitted : dict of str to Fitted
        By path; empty for ``"keep"``.
    tables : dict of str to Table
        By path.
    """
    fitted, tables = {}, {}
    for path in source.embeddings:
        weight = source.weight(path).detach().numpy()
        structure = head_structure(head, weight.shape[1])
        if structure is not None:
            fitted[path], tables[path] = fit_embedding(path, weight, structure)
    return fitted, tables


def fit_embedding(path: str, W: np.ndarray, structure: Structure) -> tuple[Fitted, Table]:
    """Round a table (V, K) to the family.

    Rows are independent in the families of :func:`head_structure`, so that fitting pieces changes nothing.

    Parameters
    ----------
    path : str
        The table's path, for the row that describes it.
    W : ndarray of float32, shape (V, K)
        Its weight; not modified.
    structure : Structure
        The family.
    """
    pieces: list[StructuredMatrix] = []
    lost = total = 0.0
    zeros = 0
    for start in range(0, len(W), ROWS):
        piece = W[start : start + ROWS]
        pieces.append(structure.project(piece))
        dense = pieces[-1].to_dense()
        lost += float(np.square(piece - dense, dtype=np.float64).sum())
        total += float(np.square(piece, dtype=np.float64).sum())
        zeros += dense.size - int(np.count_nonzero(dense))
    names = pieces[0].factors
    factors = {name: np.concatenate([member.factors[name] for member in pieces]) for name in names}
    matrix = structure.matrix(structure, (W.shape[0], W.shape[1]), factors)
    row = LayerRow(
        module=path,
        structure=str(structure),
        kind=structure.kind,
        shape=(int(W.shape[0]), int(W.shape[1])),
        nbytes=matrix.nbytes,
        bits_per_weight=matrix.bits_per_weight,
        error=lost / total if total > 0 else 0.0,
        sparsity=zeros / W.size,
    )
    return Fitted(matrix, row), Table(pieces)
