"""The contract of a family of matrices."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, GossamerError
from gossamer.linalg.metric import weighted_error
from gossamer.linalg.operator import StructuredMatrix
from gossamer.linalg.structure import Structure, structure_from_config
from gossamer.testing.operators import require, require_raises, require_same_factors


def check_structure(
    structure: Structure, shape: tuple[int, int], *, trials: int = 20, random_state: int = 0
) -> None:
    """Check that a family keeps every promise of the class, on matrices of one small shape.

    Members for all metrics, from arrays and tensors, with inputs left alone and bits repeated; where
    ``structure.nearest_in`` says that the projection is exact: no other member that we find is nearer, projecting
    twice changes nothing, and a metric never hurts, measured in it; the config survives JSON; the stated bits are
    what a member takes; bad input is refused.

    Parameters
    ----------
    structure : Structure
        The family.
    shape : (int, int)
        A small shape that it accepts.
    trials : int
        Members that compete with the projection, for each metric.
    random_state : int
        Seed of the matrices.

    Raises
    ------
    AssertionError
        Naming the broken clause.
    """
    rng = np.random.default_rng(random_state)
    W = rng.standard_normal(shape).astype(np.float32)
    # inputs of two scales and strong correlation: what tells a metric from none
    X = rng.standard_normal((4 * shape[1], shape[1])) @ (
        np.eye(shape[1]) + rng.standard_normal((shape[1],) * 2) / 2
    )
    H = (X.T @ X / len(X)).astype(np.float32)
    metrics: dict[str, Any] = {"none": None, "diagonal": np.diagonal(H).copy(), "full": H}
    unknown = structure.nearest_in - set(metrics)
    require(not unknown, f"nearest_in holds {sorted(unknown)}, expected some of {sorted(metrics)}")
    plain = structure.project(W)
    for name, metric in metrics.items():
        member = _project(structure, W, metric, name)
        if name in structure.nearest_in:
            _nothing_nearer(structure, W, metric, name, member, rng, trials)
        _metric_helps(structure, shape, metric, name, rng, 1 if name in structure.nearest_in else 10)
    if "none" in structure.nearest_in:
        again = structure.project(plain.to_dense())
        drift = weighted_error(plain.to_dense(), again.to_dense())
        size = weighted_error(plain.to_dense(), np.zeros(shape))
        require(
            drift <= 1e-10 * size + 1e-12, f"projecting twice moves the matrix by {drift:.2g} of {size:.2g}"
        )
    _torch(structure, W, plain)
    _accounts(structure, shape, plain)
    _bad_input(structure, W, H)


def _project(structure: Structure, W: np.ndarray, metric: Any, name: str) -> StructuredMatrix:
    kept = W.copy(), None if metric is None else metric.copy()
    member = structure.project(W, metric)
    require(np.array_equal(W, kept[0]), f"metric {name}: project changed W")
    require(metric is None or (metric == kept[1]).all(), f"metric {name}: project changed the metric")
    require(isinstance(member, structure.matrix), f"project gave a {type(member).__name__}")
    require(member.structure == structure, f"the member says {member.structure}, projected on {structure}")
    require(member.shape == W.shape and not member.is_torch, "the member has another shape or kind than W")
    dense = member.to_dense()
    require(dense.dtype == member.dtype, f"to_dense() is {dense.dtype}, the member {member.dtype}")
    require(np.isfinite(dense).all(), f"metric {name}: the member holds NaN or infinity")
    twin = structure.project(W, metric)
    same = all(twin.factors[k].tobytes() == f.tobytes() for k, f in member.factors.items())
    require(same, f"metric {name}: project gives different bits the second time")
    return member


def _metric_helps(
    structure: Structure, shape: tuple[int, int], metric: Any, name: str, rng: np.random.Generator, count: int
) -> None:
    """An exact fit gains by the metric every time; heuristics over a few matrices, or lose a twentieth at most."""
    aware = blind = size = 0.0
    for _ in range(count):
        W = rng.standard_normal(shape).astype(np.float32)
        aware += weighted_error(W, structure.project(W, metric).to_dense(), metric)
        blind += weighted_error(W, structure.project(W).to_dense(), metric)
        size += weighted_error(W, np.zeros(shape), metric)
    slack = 1e-4 if name in structure.nearest_in else 0.05
    require(
        aware <= blind * (1 + slack) + 1e-10 * size,
        f"metric {name}: error {aware:.6g}, without the metric {blind:.6g}",
    )


def _nothing_nearer(
    structure: Structure,
    W: np.ndarray,
    metric: Any,
    name: str,
    member: StructuredMatrix,
    rng: np.random.Generator,
    trials: int,
) -> None:
    best = weighted_error(W, member.to_dense(), metric)
    slack = 1e-5 * best + 1e-9 * weighted_error(W, np.zeros(W.shape), metric)
    for trial in range(trials):
        step = 10.0 ** rng.uniform(-3, 0)
        rivals = {
            "a moved factor": _moved(member, step, rng),
            "the projection of a near matrix": structure.project(W + step * rng.standard_normal(W.shape)),
        }
        for what, rival in rivals.items():
            error = weighted_error(W, rival.to_dense(), metric)
            require(
                error >= best - slack,
                f"metric {name}, trial {trial}: {what} is nearer, {error:.8g} against {best:.8g}",
            )


def _moved(member: StructuredMatrix, step: float, rng: np.random.Generator) -> StructuredMatrix:
    factors = {
        name: (factor + step * rng.standard_normal(factor.shape)).astype(factor.dtype)
        if np.issubdtype(factor.dtype, np.floating)
        else factor
        for name, factor in member.factors.items()
    }
    return member._with(factors)


def _torch(structure: Structure, W: np.ndarray, plain: StructuredMatrix) -> None:
    import torch

    tensor = torch.from_numpy(W)
    member = structure.project(tensor)
    require(member.is_torch, "a tensor W must give torch factors")
    require_same_factors(member.numpy(), plain, "a tensor W")
    half = structure.project(tensor.bfloat16())
    require(half.is_torch and half.dtype == plain.dtype, f"a bfloat16 W gave {half}")


def _accounts(structure: Structure, shape: tuple[int, int], plain: StructuredMatrix) -> None:
    config = json.loads(json.dumps(structure.to_config()))
    require(structure_from_config(config) == structure, f"the config {config} gives another family")
    require(hash(structure) == hash(structure_from_config(config)), "equal families have different hashes")
    stored = getattr(structure, "dtype", None) == "float64"
    require(plain.dtype == np.float32 or stored, f"a float32 W gave a {plain.dtype} member")
    stated, actual = structure.bits_per_weight(shape), plain.bits_per_weight
    slack = 0.1 * actual + 64 / (shape[0] * shape[1])
    # a member may hold fewer entries than its family allows, as when W has zeros
    require(
        stated / 2 - slack <= actual <= stated + slack,
        f"bits_per_weight says {stated:.4g}, a member takes {actual:.4g}",
    )
    require_raises(
        GossamerError, lambda: structure_from_config({**config, "no_such_parameter": 1}), "unknown parameter"
    )


def _bad_input(structure: Structure, W: np.ndarray, H: np.ndarray) -> None:
    holed = W.copy()
    holed[0, 0] = np.nan
    crooked = H.copy()
    crooked[0, -1] += 10 * np.abs(H).max()
    calls: dict[str, Any] = {
        "NaN in W": lambda: structure.project(holed),
        "complex W": lambda: structure.project(W.astype(complex)),
        "1-D W": lambda: structure.project(W[0]),
        "empty W": lambda: structure.project(W[:0]),
        "metric of another size": lambda: structure.project(W, np.ones(W.shape[1] + 1)),
        "negative metric": lambda: structure.project(W, -np.ones(W.shape[1])),
        "NaN in the metric": lambda: structure.project(W, np.full(W.shape[1], np.nan)),
    }
    if W.shape[1] > 1:
        calls["metric that is not symmetric"] = lambda: structure.project(W, crooked)
    for what, call in calls.items():
        require_raises(ArgumentError, call, what)
