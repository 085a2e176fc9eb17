"""Cubic splines of eigenvalues, with a Lipschitz constant that can be read off and set."""

from __future__ import annotations

import math

import torch

from gossamer._core.checks import check_float, check_int

DEGREE = 3


class BSplinePhi(torch.nn.Module):
    r"""m learned cubic splines on [0, 2], the range of a normalised Laplacian's eigenvalues.

    .. math:: \phi_l(\lambda) = \sum_{k=1}^{K+3} c_{lk} B_k(\lambda)

    with K pieces of equal length and clamped knots t. The Lipschitz constant of each, which bounds how far the encoding
    can move, is known exactly; it is at most :math:`\max_k |3 (c_{l,k+1} - c_{lk}) / (t_{k+4} - t_{k+1})|`. Few pieces,
    or a bound set by :meth:`project_lipschitz_`, give a stabler encoding of less expressive power. Eigenvalues outside
    are moved to the nearer end.

    Parameters
    ----------
    m : int
        Splines.
    pieces : int
        K.

    Attributes
    ----------
    coefficients : Parameter, shape (m, K + 3)
        Drawn from ``N(0, 1 / sqrt(K + 3))``, the second number a standard deviation.
    knots : tuple of float
        The K + 7 numbers t.

    References
    ----------
    Huang et al., ICLR 2024, arXiv 2310.02579, section 4.3; de Boor, "A practical guide to splines", 1978.

    Examples
    --------
    >>> import torch
    >>> from gossamer.nn import BSplinePhi
    >>> spline = BSplinePhi(4, pieces=8).project_lipschitz_(0.5)
    >>> bool((spline.lipschitz() <= 0.5001).all())
    True
    """

    def __init__(self, m: int, pieces: int = 8) -> None:
        super().__init__()
        check_int("m", m, low=1)
        self.pieces = check_int("spline_pieces", pieces, low=1)
        count = self.pieces + DEGREE
        self.coefficients = torch.nn.Parameter(torch.randn(m, count) / math.sqrt(count))
        inner = [2 * k / self.pieces for k in range(self.pieces + 1)]
        # no buffer, which a cast to float32 and back would round
        self.knots = (*[0.0] * DEGREE, *inner, *[2.0] * DEGREE)

    def forward(self, lam: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Values (B, d, m) at eigenvalues (B, d, 1)."""
        return self.basis(lam[..., 0]) @ self.coefficients.T

    def basis(self, x: torch.Tensor) -> torch.Tensor:
        """Values of the K + 3 basis functions, (...) to (..., K + 3), by the recursion of Cox and de Boor."""
        t = x.new_tensor(self.knots)
        x = x.clamp(0, 2)
        # the last piece holds its right end
        piece = (x.detach() * (self.pieces / 2)).long().clamp(max=self.pieces - 1)
        values = torch.nn.functional.one_hot(piece + DEGREE, len(t) - 1).to(x.dtype)
        x = x[..., None]
        for p in range(1, DEGREE + 1):
            left, right = t[p:-1] - t[: -p - 1], t[p + 1 :] - t[1:-p]
            rising = torch.where(left > 0, (x - t[: -p - 1]) / torch.where(left > 0, left, 1), 0.0)
            falling = torch.where(right > 0, (t[p + 1 :] - x) / torch.where(right > 0, right, 1), 0.0)
            values = rising * values[..., :-1] + falling * values[..., 1:]
        return values

    def lipschitz(self) -> torch.Tensor:
        """The Lipschitz constant of each spline, (m,): its steepest slope, exactly."""
        t, c = self.coefficients.new_tensor(self.knots), self.coefficients
        first = DEGREE * c.diff(dim=1) / (t[DEGREE + 1 : -1] - t[1 : -DEGREE - 1])
        # second derivatives at the ends of pieces, between which they are linear
        second = 2 * first.diff(dim=1) / (t[DEGREE + 1 : -2] - t[2 : -DEGREE - 1])
        h, left, right = 2 / self.pieces, second[:, :-1], second[:, 1:]
        slope = torch.cat([first[:, :1], first[:, :1] + torch.cumsum(h * (left + right) / 2, 1)], dim=1)
        # inside a piece the slope turns where the second derivative crosses zero
        turns = left * right < 0
        where = left / torch.where(turns, left - right, 1)
        inside = torch.where(turns, slope[:, :-1] + h * left * where / 2, slope[:, :-1])
        return torch.cat([slope, inside], dim=1).abs().amax(1)

    @torch.no_grad()
    def project_lipschitz_(self, bound: float) -> BSplinePhi:
        """Shrink coefficients about their mean where the constant exceeds ``bound``; call it after each step."""
        bound = check_float("bound", bound, low=0)
        found = self.lipschitz()[:, None]
        c = self.coefficients
        mean = c.mean(1, keepdim=True)
        shrunk = mean + bound / found.clamp_min(torch.finfo(found.dtype).tiny) * (c - mean)
        c.copy_(torch.where(found > bound, shrunk, c))
        return self

    def extra_repr(self) -> str:
        """Splines and pieces."""
        return f"{len(self.coefficients)}, pieces={self.pieces}"


__all__ = ["BSplinePhi"]
