"""Entropic transport plans as differentiable functions of costs and marginals."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from gossamer._core.checks import check_float
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError
from gossamer.linalg.transport.implicit import plan_gradient
from gossamer.linalg.transport.newton import Stages, solve_stages
from gossamer.linalg.transport.problem import Problem


def ot_plan(
    C: torch.Tensor,
    r: torch.Tensor | None = None,
    c: torch.Tensor | None = None,
    *,
    eta: float,
    n_sinkhorn: int = 20,
    max_newton: int = 100,
    tol: float = 1e-12,
) -> torch.Tensor:
    r"""Return entropic transport plans that are differentiable in costs and marginals.

    :math:`P = \arg\min \langle C, P\rangle + \frac1\eta \sum_{ij} p_{ij} \log p_{ij}` under :math:`P1 = r`,
    :math:`P^T 1 = c`. Solved to machine accuracy by Sinkhorn and sparse Newton steps; the gradient comes from the
    equations that P solves (one linear system), not from the steps, and holds no record of them.

    Parameters
    ----------
    C : tensor, shape (n, m) or (B, n, m)
        Costs, float32 or float64; computed in double precision.
    r, c : tensor, shapes (n,) and (m,), or (B, n) and (B, m), optional
        Positive marginals of the same mass; uniform of sum 1 by default.
    eta : float
        Inverse of the regularisation.
    n_sinkhorn : int
        Sinkhorn steps of the first stage.
    max_newton : int
        Most Newton steps.
    tol : float
        Largest error of the marginals, as a share of the mass.

    Returns
    -------
    tensor, shape of C
        In the dtype of C. Differentiable once. Gradients of marginals are defined up to a shift of r against c, as
        the masses stay equal; that of r has mean 0.

    Raises
    ------
    UnsupportedError
        Tensors are not on the CPU, or not of float32 or float64.
    ShapeError, ArgumentError
        Shapes do not fit, marginals are not positive or differ in mass, or a plan did not converge.

    References
    ----------
    Luise, Rudi, Pontil, Ciliberto, "Differential properties of Sinkhorn approximation for learning with Wasserstein
    distance", NeurIPS 2018.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn.functional import ot_plan
    >>> C = torch.tensor([[0.0, 1.0], [1.0, 0.0]], requires_grad=True)
    >>> ot_plan(C, eta=2.0)[0, 0].backward()
    >>> bool(C.grad[0, 0] < 0)
    True
    """
    if C.dtype not in (torch.float32, torch.float64) or C.device.type != "cpu":
        raise UnsupportedError(f"C is {C.dtype} on {C.device}: expected float32 or float64 on the CPU")
    if C.ndim not in (2, 3):
        raise ShapeError(f"C has shape {tuple(C.shape)}: expected (n, m) or (B, n, m)")
    check_float("eta", eta, low=0, closed="neither")
    check_float("tol", tol, low=0, closed="neither")
    stages = Stages(n_sinkhorn=n_sinkhorn, max_newton=max_newton)
    marginals = []
    for name, given, size in (("r", r, C.shape[-2]), ("c", c, C.shape[-1])):
        full = C.new_full((size,), 1 / max(size, 1), dtype=torch.float64) if given is None else given
        if full.shape not in ((size,), (*C.shape[:-2], size)):
            raise ShapeError(
                f"{name} has shape {tuple(full.shape)}: expected ({size},), or one for each plan"
            )
        if not bool((full > 0).all()):
            raise ArgumentError(f"{name} has entries of {float(full.min()):g}: expected positive masses")
        marginals.append(full)
    if C.ndim == 2:
        return _Plan.apply(C, *marginals, float(eta), stages, tol)
    rows, columns = (m.expand(len(C), -1) if m.ndim == 1 else m for m in marginals)
    return torch.stack([_Plan.apply(*one, float(eta), stages, tol) for one in zip(C, rows, columns)])


class _Plan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, C: torch.Tensor, r: torch.Tensor, c: torch.Tensor, eta: float, stages: Stages, tol: float
    ) -> torch.Tensor:
        problem = Problem(C, r, c, eta=eta)
        goal = tol * problem.mass
        outcome = solve_stages(
            problem, *problem.start(), stages, lambda state, error, **facts: error <= goal, goal
        )
        error = outcome.iterate.error / problem.mass
        if error > tol and not outcome.reason:
            raise ArgumentError(
                f"eta={eta!r}: the plan's marginals are {error:.2g} off after {outcome.newton} Newton steps, expected "
                f"at most tol={tol!r}; more of n_sinkhorn or max_newton, or a smaller eta, may help"
            )
        plan = torch.from_numpy(problem.stored(outcome.iterate))
        ctx.save_for_backward(plan)
        ctx.eta, ctx.dtypes = eta, (C.dtype, r.dtype, c.dtype)
        return plan.to(C.dtype, copy=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        (plan,) = ctx.saved_tensors
        parts = plan_gradient(plan.numpy(), gradient.double().numpy(), ctx.eta)
        wanted = (
            torch.from_numpy(part).to(dtype) if needed else None
            for part, dtype, needed in zip(parts, ctx.dtypes, ctx.needs_input_grad)
        )
        return (*wanted, None, None, None)
