"""The contract of a torch module."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np

from gossamer._core.arrays import to_numpy
from gossamer.testing.operators import require, require_raises


def check_module(module: Any, *inputs: Any, half: bool = True, learning_rate: float = 1e-2) -> None:
    """Check that a ``torch.nn.Module`` behaves as users of torch expect.

    Same result in evaluation mode for the same input, and with and without gradients; gradients reach every
    trainable parameter; a strict ``state_dict`` round trip through a file without pickled code, extra or missing
    keys refused; copies and pickles after use; a few gradient steps lower a squared loss;
    bfloat16 inputs keep their dtype.

    Parameters
    ----------
    module : torch.nn.Module
        With at least one parameter; it is not changed.
    *inputs : tensors
        What it is called with; it returns one tensor.
    half : bool
        Whether bfloat16 inputs are promised.
    learning_rate : float
        Of the gradient steps: large enough to move half-precision parameters.

    Raises
    ------
    AssertionError
        Naming the broken clause.
    """
    import torch

    module = copy.deepcopy(module).eval()
    with torch.no_grad():
        expected = module(*inputs)
        _same(module(*inputs), expected, "the second call")
    require(expected.isfinite().all(), "the result holds NaN or infinity")
    _close(module(*inputs), expected, "the result with gradients")
    _gradients(module, inputs)

    for name, twin in (("deepcopy", copy.deepcopy(module)), ("pickle", pickle.loads(pickle.dumps(module)))):
        with torch.no_grad():
            _same(twin(*inputs), expected, name)

    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    other = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
        other.load_state_dict(state, strict=True)
        _same(other(*inputs), expected, "the loaded state_dict")
    require_raises(
        RuntimeError,
        lambda: other.load_state_dict({**state, "surplus": state[next(iter(state))]}),
        "surplus key",
    )
    require_raises(RuntimeError, lambda: other.load_state_dict(dict(list(state.items())[1:])), "missing key")

    _trains(module, inputs, learning_rate)
    if half:
        with torch.no_grad():
            result = copy.deepcopy(module).bfloat16()(
                *(x.bfloat16() if x.is_floating_point() else x for x in inputs)
            )
        require(result.dtype == torch.bfloat16, f"bfloat16 inputs gave {result.dtype}")
        _close(result.float(), expected.float(), "the result in bfloat16", 5e-2)
    require(type(module).__name__ in repr(module), "repr does not name the class")


def _gradients(module: Any, inputs: Any) -> None:
    import torch

    leaves = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    module.zero_grad(set_to_none=True)
    weight = torch.linspace(0.5, 1.5, module(*leaves).numel()).reshape(module(*leaves).shape)
    (module(*leaves) * weight).sum().backward()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            require(
                parameter.grad is not None and parameter.grad.isfinite().all(), f"no gradient reaches {name}"
            )
    for i, leaf in enumerate(leaves):
        require(not leaf.requires_grad or leaf.grad is not None, f"no gradient reaches input {i}")
    module.zero_grad(set_to_none=True)


def _trains(module: Any, inputs: Any, learning_rate: float) -> None:
    import torch

    trained = copy.deepcopy(module).train()
    parameters = [p for p in trained.parameters() if p.requires_grad]
    if not parameters:
        return
    with torch.no_grad():
        target = torch.zeros_like(trained(*inputs))
    optimiser = torch.optim.SGD(parameters, lr=learning_rate)
    losses = []
    for _ in range(3):
        optimiser.zero_grad()
        loss = ((trained(*inputs) - target) ** 2).mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    require(losses[-1] < losses[0], f"gradient steps do not lower the loss: {losses}")


def _same(actual: Any, expected: Any, what: str) -> None:
    require(np.array_equal(to_numpy(actual), to_numpy(expected)), f"{what} gives other bits")


def _close(actual: Any, expected: Any, what: str, tolerance: float = 1e-4) -> None:
    a, b = to_numpy(actual).astype(np.float64), to_numpy(expected).astype(np.float64)
    error = np.linalg.norm(a - b) / max(float(np.linalg.norm(b)), 1e-12)
    require(error <= tolerance, f"{what} differs by {error:.2g}, allowed {tolerance:.2g}")
