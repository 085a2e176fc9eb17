"""MACE with Gaunt products: messages by rotated convolutions, many-body features by powers of functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import ArgumentError
from gossamer.nn.equivariant.degree_weights import DegreeLinear
from gossamer.nn.equivariant.gaunt_convolution import GauntConvolution
from gossamer.nn.equivariant.gaunt_many_body import GauntManyBody
from gossamer.nn.equivariant.radial import RadialMLP
from gossamer.science.forcefield.structures import AtomBatch

ManyBody = Callable[[int, int, int, int, int], torch.nn.Module]


class GauntMACE(torch.nn.Module):
    r"""Force field of the MACE family whose tensor products are Gaunt products.

    In every interaction messages :math:`h_j \otimes R(r_{ij}) Y(\hat r_{ij})` are summed to atomic densities A, which
    are raised to powers up to ``correlation``, weighted for each element, channel and degree, and mixed; the energy
    of an atom is read from the invariant features of every interaction. Forces are derivatives: they conserve energy,
    and the energy does not change under translations, rotations, reflections and permutations of like atoms.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers that may occur.
    channels : int
        Of all features.
    max_ell : int
        Degree of filters and densities.
    hidden_degree : int
        Degree of the features between interactions.
    correlation : int
        Factors of the many-body products, up to 4.
    interactions : int
        How many.
    r_max : float
        Cutoff in Å.
    radials, p : int
        Bessel functions, and order of the cutoff polynomial.
    mean_neighbours : float
        Sums over neighbours are divided by this.
    energies : sequence of float, optional
        Energy of a free atom of each element, in eV; zeros by default.
    scale : float
        Unit of the learned energies, for example the root mean square of the forces.
    edge_chunk : int, optional
        Form the messages of so many edges at a time.
    many_body : callable, optional
        Makes the layer of powers from (L_in, L_out, correlation, channels, elements); :class:`GauntManyBody` if None.

    References
    ----------
    Batatia et al. MACE. NeurIPS 2022, arXiv 2206.07697. Luo, Chen, Krishnapriyan. Gaunt Tensor Products. ICLR 2024,
    arXiv 2401.10216.

    Examples
    --------
    >>> import numpy as np
    >>> from gossamer.science import GauntMACE, Structure, batch_structures
    >>> atoms = Structure(np.array([29, 29, 13]), np.array([[0, 0, 0], [2.5, 0, 0], [0, 2.5, 0.0]]))
    >>> model = GauntMACE([13, 29], channels=8)
    >>> energy, forces = model.energy_and_forces(batch_structures([atoms], [13, 29], model.r_max))
    >>> energy.shape, forces.shape
    (torch.Size([1]), torch.Size([3, 3]))
    """

    energies: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        elements: Sequence[int],
        channels: int = 64,
        max_ell: int = 3,
        hidden_degree: int = 2,
        correlation: int = 3,
        interactions: int = 2,
        r_max: float = 5.0,
        *,
        radials: int = 8,
        p: int = 5,
        mean_neighbours: float = 12.0,
        energies: Sequence[float] | None = None,
        scale: float = 1.0,
        edge_chunk: int | None = None,
        many_body: ManyBody | None = None,
    ) -> None:
        super().__init__()
        self.elements = [check_int("an element", z, low=1) for z in elements]
        if not self.elements or len(set(self.elements)) < len(self.elements):
            raise ArgumentError(f"elements={list(elements)}: expected different atomic numbers")
        if energies is not None and len(energies) != len(self.elements):
            raise ArgumentError(f"energies has {len(energies)} entries: expected {len(self.elements)}")
        self.r_max = check_float("r_max", r_max, low=0, closed="neither")
        self.register_buffer("energies", torch.tensor(energies or [0.0] * len(self.elements)))
        self.register_buffer("scale", torch.tensor(check_float("scale", scale, low=0, closed="neither")))
        self.embedding = torch.nn.Linear(len(self.elements), channels, bias=False)
        torch.nn.init.normal_(self.embedding.weight)
        self.interactions = torch.nn.ModuleList()
        self.readouts = torch.nn.ModuleList()
        count = check_int("interactions", interactions, low=1)
        for i in range(count):
            last = i == count - 1
            degrees = (0 if i == 0 else hidden_degree, max_ell, 0 if last else hidden_degree)
            radial = RadialMLP(channels * (max_ell + 1), (64, 64), radials, self.r_max, p)
            powers = (many_body or GauntManyBody)(*degrees[1:], correlation, channels, len(self.elements))
            self.interactions.append(
                _Interaction(
                    degrees, channels, len(self.elements), radial, powers, mean_neighbours, edge_chunk
                )
            )
            self.readouts.append(
                torch.nn.Sequential(torch.nn.Linear(channels, 16), torch.nn.SiLU(), torch.nn.Linear(16, 1))
                if last
                else torch.nn.Linear(channels, 1)
            )

    def forward(self, batch: AtomBatch, positions: torch.Tensor | None = None) -> torch.Tensor:
        """Energies (structures,) in eV; ``positions`` instead of those of the batch."""
        positions = batch.positions if positions is None else positions
        vectors = positions[batch.senders] - positions[batch.receivers]
        h = self.embedding(batch.onehot)[..., None]
        own = batch.onehot @ self.energies.to(h.dtype)
        for interaction, readout in zip(self.interactions, self.readouts):
            h = interaction(h, batch, vectors)
            own = own + self.scale.to(h.dtype) * readout(h[..., 0])[:, 0]
        return own.new_zeros(len(batch.sizes)).index_add(0, batch.graph, own)

    def energy_and_forces(self, batch: AtomBatch, train: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Energies (structures,) in eV and forces (atoms, 3) in eV/Å; ``train``: to be differentiated again."""
        with torch.enable_grad():
            positions = batch.positions.detach().requires_grad_()
            energy = self(batch, positions)
            (slope,) = torch.autograd.grad(energy.sum(), positions, create_graph=train)
        return (energy, -slope) if train else (energy.detach(), -slope)


class _Interaction(torch.nn.Module):
    """One round of messages, powers of what arrives, and a linear map of what was there."""

    def __init__(
        self,
        degrees: tuple[int, int, int],
        channels: int,
        elements: int,
        radial: RadialMLP,
        many_body: torch.nn.Module,
        mean_neighbours: float,
        edge_chunk: int | None,
    ) -> None:
        super().__init__()
        L_in, L, L_out = degrees
        self.mean_neighbours = check_float("mean_neighbours", mean_neighbours, low=0, closed="neither")
        self.edge_chunk = edge_chunk
        self.before = DegreeLinear(L_in, channels, channels)
        self.convolution = GauntConvolution(L_in, L, L, channels, radial)
        self.density = DegreeLinear(L, channels, channels)
        self.many_body = many_body
        self.after = DegreeLinear(L_out, channels, channels)
        self.kept = min(L_in, L_out)
        self.skip = DegreeLinear(self.kept, channels, channels)
        self.skip_element = torch.nn.Linear(elements, channels, bias=False)
        torch.nn.init.ones_(self.skip_element.weight)

    def forward(self, h: torch.Tensor, batch: AtomBatch, vectors: torch.Tensor) -> torch.Tensor:
        sent = self.before(h)
        size = (self.convolution.degrees[2] + 1) ** 2
        total = h.new_zeros(len(h), h.shape[1], size)
        for edges in torch.arange(len(vectors)).split(self.edge_chunk or max(len(vectors), 1)):
            messages = self.convolution(sent[batch.senders[edges]], vectors[edges])
            total = total.index_add(0, batch.receivers[edges], messages)
        density = self.density(total / self.mean_neighbours)
        kept = self.skip(h[..., : (self.kept + 1) ** 2]) * self.skip_element(batch.onehot)[..., None]
        new = self.after(self.many_body(density, batch.onehot))
        return new + torch.nn.functional.pad(kept, (0, new.shape[-1] - kept.shape[-1]))
