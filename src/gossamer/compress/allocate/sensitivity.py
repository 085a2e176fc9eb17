r"""How much the model's loss minds an error in each output of each linear layer.

To second order a perturbation of weights raises the loss by half its Fisher norm. With the Fisher matrix of a layer
taken as the Kronecker product of the second moment :math:`H` of its inputs and a diagonal second moment
:math:`d_o = E[g_o^2]` of the gradients at its outputs, an error :math:`E` of the weights costs

.. math:: \Delta L \approx \tfrac12 \sum_o d_o \, (E H E^T)_{oo}.
"""

from __future__ import annotations

import numpy as np
import torch

from gossamer.compress.calibrate.stream import final_norm, open_stream, output_weight
from gossamer.compress.models.source import SourceModel
from gossamer.compress.progress import Reporter


def output_sensitivity(
    source: SourceModel, ids: np.ndarray, *, seed: int = 0, reporter: Reporter | None = None
) -> dict[str, np.ndarray]:
    r"""Second moments :math:`E[g_o^2]` of the loss gradients at the outputs of every linear layer.

    Labels are sampled from the model itself, as the Fisher matrix asks, not taken from the text. The backward pass
    recomputes one block at a time, so that the activations of one block and the inputs of all are alive.

    Parameters
    ----------
    source : SourceModel
        A decoder.
    ids : ndarray of int64, shape (windows, length)
        Tokens; 2,000 give a stable order of layers.
    seed : int
        Seed of the sampled labels.
    reporter : Reporter, optional
        Told after every window.

    Returns
    -------
    dict of str to ndarray of float64, shape (O,)
        By module path; gradients of the sum over tokens of the loss, squared, averaged over tokens.

    References
    ----------
    Martens and Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", ICML 2015.
    """
    generator = torch.Generator().manual_seed(seed)
    sums = {path: np.zeros(layer.out_features) for path, layer in source.linears().items()}
    pieces = [
        ids[start : start + 1] for start in range(len(ids))
    ]  # one at a time: its inputs to all blocks are kept
    with source.evaluating(), (reporter or Reporter()).stage("sensitivity", len(pieces)) as step:
        for done, piece in enumerate(pieces):
            _add(source, piece, sums, generator)
            step(done + 1)
    return {path: total / ids.size for path, total in sums.items()}


def _add(
    source: SourceModel, ids: np.ndarray, sums: dict[str, np.ndarray], generator: torch.Generator
) -> None:
    stream = open_stream(source, ids)
    blocks = [source.module.get_submodule(path) for path in source.blocks]
    inputs: list[list[torch.Tensor]] = []
    for block in blocks:
        inputs.append(list(stream.chunks))
        stream.advance(block)
    gradients = [_head_gradient(source, hidden, generator) for hidden in stream.chunks]
    for index in reversed(range(len(blocks))):
        with _Squares(source.linears(source.blocks[index]), sums):
            for chunk, gradient in enumerate(gradients):
                hidden = inputs[index][chunk].detach().requires_grad_(True)
                with torch.enable_grad():
                    out = stream.run(blocks[index], chunk, hidden)
                out.backward(gradient)
                gradients[chunk] = hidden.grad if hidden.grad is not None else torch.zeros_like(hidden)
        inputs.pop()


def _head_gradient(source: SourceModel, hidden: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Gradient at the last block's output of the summed loss against labels that the model itself draws."""
    norm, weight = final_norm(source), output_weight(source).detach()
    leaf = hidden.detach().requires_grad_(True)
    with torch.enable_grad():
        states = norm(leaf)
    flat = states.detach().reshape(-1, states.shape[-1])
    gradient = torch.empty_like(flat)
    for start in range(0, len(flat), 64):
        p = torch.softmax(flat[start : start + 64] @ weight.T, dim=-1)
        labels = torch.multinomial(p, 1, generator=generator)
        p.scatter_add_(1, labels, torch.full(labels.shape, -1.0))
        gradient[start : start + 64] = p @ weight
    states.backward(gradient.reshape(states.shape))
    return leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)


class _Squares:
    """Hooks that add the squared gradients at the outputs of linear layers."""

    def __init__(self, layers: dict[str, torch.nn.Module], sums: dict[str, np.ndarray]) -> None:
        self._layers, self._sums = layers, sums
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> None:
        for path, layer in self._layers.items():
            self._hooks.append(layer.register_forward_hook(self._watch(path)))

    def __exit__(self, *exception: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _watch(self, path: str):  # type: ignore[no-untyped-def]
        def add(gradient: torch.Tensor) -> None:
            squares = gradient.reshape(-1, gradient.shape[-1]).double().square().sum(dim=0)
            self._sums[path] += squares.numpy()

        def hook(module: torch.nn.Module, args: tuple, output: torch.Tensor) -> None:
            if output.requires_grad:
                output.register_hook(add)

        return hook
