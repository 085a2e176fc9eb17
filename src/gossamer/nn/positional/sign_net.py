"""SignNet: an encoding that does not depend on the signs of eigenvectors."""

from __future__ import annotations

import torch

from gossamer._core.checks import check_choice, check_int
from gossamer.nn.positional.graphs import Graphs
from gossamer.nn.positional.perceptron import perceptron
from gossamer.nn.positional.rho import GINColumns

VARIANTS = ("sum", "concat")


class SignNetPE(torch.nn.Module):
    r"""Encode nodes by what a graph network makes of each eigenvector and of its negative.

    .. math:: \mathrm{PE} = \rho\Big( \sum_{k \le d} \big[ f(v_k) + f(-v_k) \big] \Big)

    Rotations of eigenvectors with one eigenvalue do change it, and it may jump where eigenvalues meet: a baseline for
    :class:`SPE`.

    Parameters
    ----------
    d : int
        Eigenvectors.
    out_dim : int
        Columns of the encoding.
    variant : {"sum", "concat"}
        Sum over the eigenvectors that are not padding, or put ``channels`` numbers for each of all d beside each other,
        in the order of eigenvalues.
    hidden, layers : int
        Width and layers of the graph network f.
    rho_layers : int
        Linear layers of the perceptron rho, of the same width.
    channels : int
        What f gives for an eigenvector in ``"concat"``.
    detach : bool
        Whether gradients stop at eigenvectors.

    References
    ----------
    Lim et al., "Sign and basis invariant networks for spectral graph representation learning", ICLR 2023,
    arXiv 2202.13013.
    """

    def __init__(
        self,
        d: int,
        out_dim: int,
        *,
        variant: str = "sum",
        hidden: int = 64,
        layers: int = 4,
        rho_layers: int = 3,
        channels: int = 4,
        detach: bool = True,
    ) -> None:
        super().__init__()
        self.d, self.out_dim = check_int("d", d, low=1), check_int("out_dim", out_dim, low=1)
        self.variant, self.detach = check_choice("variant", variant, VARIANTS), bool(detach)
        check_int("hidden", hidden, low=1)
        width = hidden if variant == "sum" else check_int("channels", channels, low=1)
        self.each = GINColumns(1, hidden, width, check_int("layers", layers, low=1))
        together = width if variant == "sum" else width * self.d
        self.rho = perceptron(together, hidden, out_dim, check_int("rho_layers", rho_layers, low=1))

    def forward(
        self, lam: torch.Tensor, V: torch.Tensor, edge_index: torch.Tensor, batch: torch.Tensor
    ) -> torch.Tensor:
        """Encode the nodes of a batch of graphs, (N, out_dim); arguments as of :meth:`SPE.forward`."""
        graphs = Graphs.check(lam, V, edge_index, batch, self.d, next(self.parameters()).dtype)
        mask = graphs.eigen_mask[graphs.batch]
        x = graphs.V.detach() if self.detach else graphs.V
        # both signs are columns of one pass
        both = torch.cat([x, -x], dim=1)[:, :, None]
        y = self.each(both, torch.cat([mask, mask], dim=1), graphs.edge_index)
        y = y[:, : self.d] + y[:, self.d :]
        return self.rho((y * mask[:, :, None]).sum(1) if self.variant == "sum" else y.flatten(1))


__all__ = ["SignNetPE"]
