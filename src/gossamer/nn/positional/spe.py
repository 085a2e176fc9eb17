"""Stable and expressive positional encodings."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from gossamer._core.checks import check_int
from gossamer._core.errors import ShapeError, UnsupportedError, unknown_choice
from gossamer.nn.positional.graphs import Graphs, check_batch, check_edges
from gossamer.nn.positional.phi import PowerPhi, apply_phi, make_phi
from gossamer.nn.positional.products import adjacency_powers
from gossamer.nn.positional.rho import MLPRho, make_rho

PAIRS = 1 << 18
"""Pairs of nodes that :meth:`SPE.from_adjacency` takes at a time without a block size."""


class SPE(torch.nn.Module):
    r"""Encode the nodes of graphs by smooth functions of eigenvalues, independently of the choice of eigenvectors.

    .. math:: W_l = V \mathrm{diag}(\phi_l(\lambda)) V^T, \qquad
        \mathrm{SPE}(V, \lambda) = \rho(W_1, \dots, W_m)

    Equal eigenvalues get equal values of phi, so that W depends on eigenspaces only; phi is continuous, so that the
    encoding moves little when eigenvalues meet or part, which makes a change of the graph a small change of its
    encoding. How little is what phi decides: ``"ones"`` and splines of few pieces are most stable, free functions most
    expressive. Keep all eigenpairs where graphs are small (d = nodes of the largest): then nothing is cut.

    Parameters
    ----------
    d : int
        Eigenpairs of each graph.
    out_dim : int
        Columns of the encoding, p.
    m : int
        Functions of eigenvalues, the channels of W.
    phi : {"mlp", "deepsets", "bspline", "power", "ones", "indicator"} or Module
        ``"mlp"``: a perceptron from number to number for each channel. ``"deepsets"``: layers that also see the sum
        over all eigenvalues. ``"bspline"``: :class:`BSplinePhi`. ``"power"``: ``(1 - lambda)^(l - 1)``, fixed, which
        makes W the powers of the normalised adjacency. ``"ones"``: the constant. ``"indicator"``: a channel for each
        distinct eigenvalue, the hard partition that is *not* stable, for comparison; needs ``m >= d``. A module takes
        (B, d, 1) and the mask (B, d) of what is not padding to (B, d, m).
    rho : {"gin", "mlp", "gin_deepsets", "ign", "ppgn"} or Module
        ``"gin"``: a graph network on each column of W, and the sum over columns. ``"mlp"``: a perceptron on each
        entry, and the sum. ``"gin_deepsets"``: graph networks that see the sum over columns in each layer. ``"ign"``:
        an invariant graph network on pairs of nodes. ``"ppgn"``: products of matrices, O(n^3), the most expressive. A
        module takes W (N, n_max, m), the mask (N, n_max) of columns that exist, ``edge_index`` and ``batch`` to (N, p).
    phi_init : {"power", "random"}
        For ``"mlp"`` and ``"deepsets"``: ``"power"`` adds ``(1 - lambda)^l`` to channel l and starts what is learned at
        zero; ``"random"`` is the paper's.
    channel_scale : "rms" or None
        ``"rms"`` divides each channel of W by its root mean square in the first batch that is seen in training, or in
        the one given to :meth:`calibrate`; a constant from then on, saved with the weights. None is the paper's.
    phi_hidden, phi_layers : int
        Width and linear layers of a learned phi.
    rho_hidden, rho_layers : int
        Width and layers of rho; a layer of ``"gin"`` is a perceptron of three linear layers with LayerNorm.
    spline_pieces : int
        K of ``"bspline"``.
    block : int or None
        Where the largest graph has more nodes, W is made this many columns at a time, again in the backward pass; for
        ``"gin"`` and ``"mlp"``, and modules with a true attribute ``additive``.
    detach : bool
        Whether gradients stop at eigenvalues and eigenvectors.

    Attributes
    ----------
    phi, rho : Module
        What the names stand for.
    channel_rms : tensor, shape (m,)
        What channels are divided by.
    calibrated : tensor, bool
        Whether it was measured.

    Raises
    ------
    ArgumentError
        If a size is below 1 or a name unknown; in the call, if eigenpairs are not finite, ``batch`` is not sorted, or
        an edge is out of range or joins two graphs.
    ShapeError
        In the call, if shapes do not fit.

    Notes
    -----
    O(m n^2 d) for W and O(L E n h) for ``"gin"``. Graphs of a batch do not see each other: the result is that of each
    graph alone.

    References
    ----------
    Huang et al., "On the stability of expressive positional encodings for graphs", ICLR 2024, arXiv 2310.02579.

    Examples
    --------
    >>> import networkx as nx
    >>> from gossamer.graph import laplacian_batch
    >>> from gossamer.nn import SPE
    >>> graphs = laplacian_batch([nx.petersen_graph(), nx.path_graph(4)])
    >>> SPE(d=10, out_dim=8)(*graphs.args).shape
    torch.Size([14, 8])
    """

    channel_rms: torch.Tensor
    calibrated: torch.Tensor

    def __init__(
        self,
        d: int,
        out_dim: int,
        *,
        m: int = 16,
        phi: str | torch.nn.Module = "mlp",
        rho: str | torch.nn.Module = "gin",
        phi_init: str = "power",
        channel_scale: str | None = "rms",
        phi_hidden: int = 16,
        phi_layers: int = 3,
        rho_hidden: int = 64,
        rho_layers: int = 4,
        spline_pieces: int = 8,
        block: int | None = 256,
        detach: bool = True,
    ) -> None:
        super().__init__()
        self.d, self.out_dim = check_int("d", d, low=1), check_int("out_dim", out_dim, low=1)
        self.m = check_int("m", m, low=1)
        if channel_scale not in ("rms", None):
            raise unknown_choice("channel_scale", channel_scale, ("rms", "None"))
        self.channel_scale, self.detach = channel_scale, bool(detach)
        self.block = None if block is None else check_int("block", block, low=1)
        self.phi = make_phi(
            phi, self.d, self.m, init=phi_init, hidden=phi_hidden, layers=phi_layers, pieces=spline_pieces
        )
        self.rho = make_rho(rho, self.m, rho_hidden, self.out_dim, rho_layers)
        self.register_buffer("channel_rms", torch.ones(self.m))
        self.register_buffer("calibrated", torch.tensor(False))

    def forward(
        self, lam: torch.Tensor, V: torch.Tensor, edge_index: torch.Tensor, batch: torch.Tensor
    ) -> torch.Tensor:
        """Encode the nodes of a batch of graphs.

        Parameters
        ----------
        lam : tensor, shape (B, d)
            Eigenvalues, zero where a graph has fewer than d.
        V : tensor, shape (N, d)
            Eigenvectors, zero columns likewise; both are cast to the module's dtype.
        edge_index : tensor of int64, shape (2, E)
            Edges in both directions, inside graphs.
        batch : tensor of int64, shape (N,)
            Graph of each node, ascending.

        Returns
        -------
        tensor, shape (N, out_dim)
        """
        graphs = self._graphs(lam, V, edge_index, batch)
        if self.channel_scale and self.training and not self.calibrated:
            self._calibrate(graphs)
        n, block = graphs.n_max, self.block
        if block is None or n <= block or not getattr(self.rho, "additive", False):
            return self._encode(graphs, 0, n)
        # a sum over columns: one block of W in memory, made again for gradients
        parts = (
            checkpoint(self._encode, graphs, start, min(start + block, n), use_reentrant=False)
            for start in range(0, n, block)
        )
        return sum(parts, torch.zeros((), dtype=graphs.V.dtype, device=graphs.V.device))

    def from_adjacency(self, edge_index: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Encode large graphs without eigenvectors, by sparse powers of the normalised adjacency.

        For ``phi="power"`` and ``rho="mlp"``, where the result is that of the whole spectrum (d = n): entries of W that
        no power reaches count together. An extension, not in the paper. O(Z m) for Z pairs of nodes fewer than m steps
        apart, in place of O(m n^2 d).

        Parameters
        ----------
        edge_index, batch : tensors of int64, shapes (2, E) and (N,)
            As in :meth:`forward`.

        Returns
        -------
        tensor, shape (N, out_dim)
        """
        if not isinstance(self.phi, PowerPhi) or not isinstance(self.rho, MLPRho):
            raise UnsupportedError(
                f"phi is a {type(self.phi).__name__} and rho a {type(self.rho).__name__}: expected phi='power' and "
                f"rho='mlp' for encoding without eigenvectors"
            )
        batch = check_batch(batch, len(batch))
        rows, values = adjacency_powers(check_edges(edge_index, len(batch), batch), len(batch), self.m)
        values, sizes = values.to(self.channel_rms.dtype), torch.bincount(batch)
        if self.channel_scale and self.training and not self.calibrated:
            self._set_scale(values.square().sum(0) / sizes.square().sum())
        net = self.rho.net
        nothing = net(self.channel_rms.new_zeros(self.m))
        result = sizes[batch, None] * nothing
        step = PAIRS if self.block is None else self.block**2
        for row, value in zip(rows.split(step), values.split(step)):
            told = checkpoint(net, value / self.channel_rms, use_reentrant=False) - nothing
            result = result.index_add(0, row, told)
        return result

    def channels(
        self, lam: torch.Tensor, V: torch.Tensor, edge_index: torch.Tensor, batch: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """W before scaling, (N, n_max, m), and the mask (N, n_max) of columns that exist: what rho is given."""
        graphs = self._graphs(lam, V, edge_index, batch)
        return self._channels(graphs, 0, graphs.n_max), graphs.mask

    def calibrate(
        self, lam: torch.Tensor, V: torch.Tensor, edge_index: torch.Tensor, batch: torch.Tensor
    ) -> SPE:
        """Measure the root mean square of each channel of W on a batch and divide by it from now on."""
        if self.channel_scale is None:
            raise UnsupportedError("channel_scale=None: expected 'rms' for a module that is calibrated")
        self._calibrate(self._graphs(lam, V, edge_index, batch))
        return self

    def _graphs(self, lam: Any, V: Any, edge_index: Any, batch: Any) -> Graphs:
        if self.detach and isinstance(lam, torch.Tensor) and isinstance(V, torch.Tensor):
            lam, V = lam.detach(), V.detach()
        return Graphs.check(lam, V, edge_index, batch, self.d, self.channel_rms.dtype)

    @torch.no_grad()
    def _calibrate(self, graphs: Graphs) -> None:
        total = torch.zeros_like(self.channel_rms)
        step = self.block or graphs.n_max
        for start in range(0, graphs.n_max, step):
            total += self._channels(graphs, start, min(start + step, graphs.n_max)).square().sum((0, 1))
        self._set_scale(total / graphs.sizes.square().sum())

    @torch.no_grad()
    def _set_scale(self, mean_square: torch.Tensor) -> None:
        rms = mean_square.sqrt()
        self.channel_rms.copy_(torch.where(rms > 0, rms, 1.0))
        self.calibrated.fill_(True)

    def _channels(self, graphs: Graphs, start: int, stop: int) -> torch.Tensor:
        """Columns of W from ``start`` to ``stop``, zero outside each graph."""
        values = apply_phi(self.phi, graphs.lam, graphs.eigen_mask, self.m)
        V = graphs.pad(graphs.V)
        scaled = torch.einsum("bkl,bjk->bkjl", values, V[:, start:stop])
        W = V @ scaled.flatten(2)
        return W.reshape(*V.shape[:2], stop - start, self.m)[graphs.batch, graphs.place]

    def _encode(self, graphs: Graphs, start: int, stop: int) -> torch.Tensor:
        W = self._channels(graphs, start, stop) / self.channel_rms
        result = self.rho(W, graphs.mask[:, start:stop], graphs.edge_index, graphs.batch)
        if result.shape != (len(W), self.out_dim):
            raise ShapeError(f"rho gave shape {tuple(result.shape)}: expected {(len(W), self.out_dim)}")
        return result


__all__ = ["SPE"]
